"""Masks: what a model sees of a face, and what it makes of the rest."""

from __future__ import annotations

from typing import Any

import gradio as gr

from openmarlin.masking import STRATEGIES
from openmarlin.regions import REGIONS
from openmarlin.web import tasks
from openmarlin.web.desk import Desk, Job, buttons, film


def add(desk: Desk, clip: gr.Video) -> None:
    """The tab."""
    with gr.Tab("Reconstruction"):
        with gr.Row(equal_height=True):
            ratio = gr.Slider(10, 95, 90, step=5, label="Hidden, percent", scale=2, min_width=260)
            strategy = gr.Dropdown(
                list(STRATEGIES), value="fasking", label="Strategy", min_width=110
            )
            regions = gr.Dropdown(
                [(name.replace("_", " "), name) for name in REGIONS],
                multiselect=True,
                label="Hide first",
                min_width=110,
            )
        start, stop = buttons("Reconstruct")
        player = film()
        told = gr.Markdown(elem_classes="told")
        strips = gr.Image(
            show_label=False, interactive=False, visible=False, buttons=["fullscreen"]
        )

    def work(job: Job) -> list[Any]:
        share = job.values[ratio] / 100
        how = (job.values[strategy], share, job.values[regions] or [])
        shown = job.do(tasks.reconstruct, job.file(clip, "a clip"), job.out, *how)
        return [shown.film, shown.told, gr.Image(shown.files[0], visible=True)]

    inputs = {clip, ratio, strategy, regions}
    desk.wire("masks", start, stop, work, inputs, [player, told, strips])
