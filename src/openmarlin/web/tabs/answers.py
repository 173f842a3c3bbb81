"""Answers: what a model of a task says of the clip over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from openmarlin.web import tasks
from openmarlin.web.desk import Desk, Job, buttons, download, film, offered, page_of_a_report
from openmarlin.web.embed import framed


def add(desk: Desk, clip: gr.Video, models: Sequence[tuple[str, str]]) -> None:
    """The tab.

    Args:
        desk: what does the work.
        clip: of the page.
        models: names to show and what `predict` calls them; the first one is chosen.
    """
    with gr.Tab("Expressions and tasks"):
        model = gr.Dropdown(list(models), value=models[0][1], label="Model")
        start, stop = buttons("Ask the model")
        player = film()
        report = page_of_a_report("What the model says, window by window.")
        files = download()

    def work(job: Job) -> list[Any]:
        how = (job.values[model], desk.settings.max_seconds)
        shown = job.do(tasks.predict, job.file(clip, "a clip"), job.out, *how)
        return [shown.film, framed(shown.report, "Answers over time"), offered(shown.files)]

    desk.wire("answers", start, stop, work, {clip, model}, [player, report, files])
