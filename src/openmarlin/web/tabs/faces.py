"""Faces and tracks: meshes on the frames, and how heads turned and expressions moved."""

from __future__ import annotations

from typing import Any

import gradio as gr

from openmarlin.web import tasks
from openmarlin.web.desk import Desk, Job, buttons, download, film, offered, page_of_a_report
from openmarlin.web.embed import framed


def add(desk: Desk, clip: gr.Video) -> None:
    """The tab."""
    with gr.Tab("Faces"):
        start, stop = buttons("Measure faces")
        player = film()
        report = page_of_a_report("Curves of head pose and expression, face by face.")
        files = download()

    def work(job: Job) -> list[Any]:
        shown = job.do(tasks.measure, job.file(clip, "a clip"), job.out, desk.settings.max_seconds)
        return [shown.film, framed(shown.report, "Faces of the clip"), offered(shown.files)]

    desk.wire("faces", start, stop, work, {clip}, [player, report, files])
