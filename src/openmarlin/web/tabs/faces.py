"""Faces and tracks: meshes on the frames, and how heads turned and expressions moved."""

from __future__ import annotations

from typing import Any

import gradio as gr

from openmarlin.web import tasks
from openmarlin.web.desk import Desk, Job, buttons
from openmarlin.web.embed import framed


def add(desk: Desk, clip: gr.Video) -> None:
    """The tab."""
    with gr.Tab("Faces"):
        start, stop = buttons("Measure faces")
        film = gr.Video(
            label="Boxes, meshes and angles", interactive=False, autoplay=True, loop=True
        )
        report = gr.HTML()
        files = gr.File(label="The table", file_count="multiple", interactive=False)

    def work(job: Job) -> list[Any]:
        shown = job.do(tasks.measure, job.file(clip, "a clip"), job.out, desk.settings.max_seconds)
        return [shown.film, framed(shown.report, "Faces of the clip"), shown.files]

    desk.wire("faces", start, stop, work, {clip}, [film, report, files])
