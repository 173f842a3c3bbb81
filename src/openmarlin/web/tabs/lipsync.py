"""Lip sync: do lips and sound go together, and lips for another sound."""

from __future__ import annotations

from typing import Any

import gradio as gr

from openmarlin.web import tasks
from openmarlin.web.desk import Desk, Job, buttons, download, film, offered, page_of_a_report
from openmarlin.web.embed import framed


def add(desk: Desk, clip: gr.Video) -> None:
    """The tab."""
    with gr.Tab("Lip sync"), gr.Tabs():
        with gr.Tab("Score"):
            _add_score(desk, clip)
        with gr.Tab("New sound"):
            _add_generate(desk, clip)


def _add_score(desk: Desk, clip: gr.Video) -> None:
    start, stop = buttons("Score the clip's own sound")
    report = page_of_a_report("By how much the sound is off, and how sure that is.")
    files = download()

    def work(job: Job) -> list[Any]:
        shown = job.do(tasks.score, job.file(clip, "a clip"), job.out, desk.settings.max_seconds)
        return [framed(shown.report, "Lips and sound"), offered(shown.files)]

    desk.wire("score", start, stop, work, {clip}, [report, files])


def _add_generate(desk: Desk, clip: gr.Video) -> None:
    sound = gr.Audio(
        label="Sound for the lips",
        sources=["upload", "microphone"],
        type="filepath",
        buttons=[],
    )
    gr.Markdown(
        "Mark what you make as generated, and ask the person it shows.", elem_classes="told"
    )
    start, stop = buttons("Make the video")
    player = film()
    told = gr.Markdown(elem_classes="told")
    report = page_of_a_report("The clip with lips that fit the sound, and how well they do.")
    desk.accept(sound, tasks.check_sound)

    def work(job: Job) -> list[Any]:
        files = (job.file(clip, "a clip"), job.file(sound, "a sound"))
        shown = job.do(tasks.generate, *files, job.out)
        return [shown.film, shown.told, framed(shown.report, "How it was made")]

    desk.wire("generate", start, stop, work, {clip, sound}, [player, told, report])
