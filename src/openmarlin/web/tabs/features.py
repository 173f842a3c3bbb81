"""Features: where the windows of several clips lie, and how similar their faces are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from openmarlin.errors import InputError
from openmarlin.web import tasks
from openmarlin.web.desk import Desk, Job, buttons, download, offered, page_of_a_report
from openmarlin.web.embed import framed

MAX_CLIPS = 8


def add(desk: Desk, clip: gr.Video) -> None:
    """The tab."""
    with gr.Tab("Features"):
        more = gr.File(
            label=f"More clips to compare with, up to {MAX_CLIPS}",
            file_count="multiple",
            height=140,
        )
        start, stop = buttons("Compare")
        report = page_of_a_report(
            "A map of all windows, and how similar the faces are. With one clip, its own faces."
        )
        files = download()
    desk.accept(more, tasks.check_clip)

    def work(job: Job) -> list[Any]:
        clips = _clips(job, clip, more)
        shown = job.do(tasks.extract, clips, job.out, desk.settings.max_seconds)
        return [framed(shown.report, "Features of the clips"), offered(shown.files)]

    desk.wire("features", start, stop, work, {clip, more}, [report, files])


def _clips(job: Job, clip: gr.Video, more: gr.File) -> list[Path]:
    """All that are to be compared, each once."""
    values = [job.values[clip], *(job.values[more] or [])]
    clips = list(dict.fromkeys(job.session.take(value) for value in values if value))
    if not clips:
        raise InputError("choose a clip first")
    if len(clips) > MAX_CLIPS + 1:
        raise InputError(f"these are {len(clips)} clips: {MAX_CLIPS + 1} are compared at most")
    return clips
