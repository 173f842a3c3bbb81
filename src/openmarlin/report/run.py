"""The report of a training run of any task: one HTML file, made from what the run folder holds."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
from markupsafe import Markup
from rich.markup import escape

from openmarlin.console import console
from openmarlin.errors import option
from openmarlin.output import CONFIG_FILE, ENVIRONMENT_FILE
from openmarlin.report import words
from openmarlin.report.figure import Curve
from openmarlin.report.page import data_address, write_page
from openmarlin.report.plots import curves_svg
from openmarlin.report.strips import spread
from openmarlin.settings import group, read_recipe
from openmarlin.training.checkpoint import Checkpoint, Checkpoints
from openmarlin.training.engine import is_main_process
from openmarlin.training.fit import MODEL, NON_FINITE_FILE, PICTURES
from openmarlin.training.log import METRICS_FILE, read_metrics
from openmarlin.training.result import TrainingResult
from openmarlin.training.settings import RunSettings
from openmarlin.training.task import Monitor

REPORT_FILE = "report.html"

MAX_STEPS = 8
"""Pictures of the first clip, from the first validation to the last."""

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Plot:
    """Curves that belong together.

    Attributes:
        title: above them.
        curves: metric -> label; those without rows are left out.
        note: below them.
        logarithmic: where all values are positive.
        share: the values are parts of a whole.
    """

    title: str
    curves: Mapping[str, str]
    note: str = ""
    logarithmic: bool = False
    share: bool = False


@dataclass(frozen=True)
class About:
    """What a report says of a task beside its numbers.

    Attributes:
        verb: that made the run.
        settings: their class.
        monitor: the metric that tells which checkpoint is the best.
        plots: those of its losses; a metric that none of them names gets a plot of its own.
        pictures: a sentence on what the pictures show.
        footer: a sentence on what to do with the model.
        publish: which checkpoint became the model of the run, see `Task.publish`.
    """

    verb: str
    settings: type[RunSettings]
    monitor: Monitor
    plots: Sequence[Plot] = field(default_factory=tuple)
    pictures: str = ""
    footer: str = ""
    publish: Literal["last", "best"] = "last"


_MACHINE = (
    Plot("Learning rate", {"lr": "lr"}, "Of all networks that learn."),
    Plot("Speed", {"clips_per_s": "clips/s"}, "Of training alone: no validation, no saving."),
    Plot(
        "Waiting for data",
        {"data_wait": "share"},
        "Share of the time in which the model waits for the next clips.",
        share=True,
    ),
)
_NOT_DRAWN = {"step", "epoch", "memory_gb"}


def write_run_report(run: Path, about: About, file: str = REPORT_FILE) -> Path:
    """Write a page into a run folder, with no reference to anything outside it.

    Args:
        run: the folder.
        about: what it says beside the numbers.
        file: name of the page.

    Raises:
        InputError: the folder is no run, or the file cannot be written.
    """
    rows = read_metrics(run / METRICS_FILE)
    recipe = read_recipe(run / CONFIG_FILE)
    checkpoints = Checkpoints(run, about.monitor, int(recipe["keep"]))
    content = {
        "about": about,
        "monitor": about.monitor.metric,
        **_summary(run, rows, checkpoints.newest(), about.monitor),
        "non_finite": _read_json(run / NON_FINITE_FILE),
        "plots": _plots(rows, about.plots),
        "checkpoints": _checkpoints(run, checkpoints, about),
        "settings": [*_grouped(recipe, about.settings), *_environment(run)],
        "clips": _pictures(run / PICTURES),
    }
    return write_page(run / file, "run.html", content)


def curves_of(run: Path, plot: Plot, name: str) -> str:
    """The curves of a run folder as SVG, for another page; `name` keeps its ids apart."""
    return _draw(read_metrics(run / METRICS_FILE), plot, name)


def _summary(run: Path, rows: Rows, newest: Checkpoint | None, monitor: Monitor) -> dict[str, Any]:
    step = max([row["step"] for row in rows] + ([newest.step] if newest else []), default=0)
    steps = newest.progress.steps if newest else 0
    if steps and step >= steps:
        state = f"Finished after {words.count(step, 'step')}"
    else:
        of = f" of {steps:,}" if steps else ""
        state = f"Stopped after step {step:,}{of}; it goes on with {option('resume', True)}"
    facts: list[tuple[str, str, str]] = []
    validated = _finite(rows, monitor.metric)
    if validated:
        last = validated[-1]
        best = (min if monitor.mode == "min" else max)(validated, key=lambda pair: pair[1])
        facts.append((metric_title(monitor.metric), f"{last[1]:.5f}", f"after step {last[0]:,}"))
        if best[0] != last[0]:
            facts.append(("Best", f"{best[1]:.5f}", f"after step {best[0]:,}"))
    trained = _finite(rows, "loss")
    if trained:
        facts.append(("Training loss", f"{trained[-1][1]:.5f}", f"first {trained[0][1]:.5f}"))
    for name, title, form in (
        ("clips_per_s", "Speed", "{:.3g} clips/s"),
        ("data_wait", "Waiting for data", "{:.0%}"),
        ("memory_gb", "Memory of the device", "{:.1f} GB"),
    ):
        numbers = [value for _, value in _finite(rows, name)]
        if numbers and (name != "memory_gb" or max(numbers) > 0):
            facts.append((title, form.format(median(numbers)), "median"))
    return {"headline": run.resolve().name, "verdict": f"{state}.", "facts": facts}


def metric_title(name: str) -> str:
    """A metric as people read it: val_rec -> Validation rec."""
    text = f"validation {name[4:]}" if name.startswith("val_") else name
    return text.replace("_", " ").capitalize()


def _plots(rows: Rows, plots: Sequence[Plot]) -> list[dict[str, Any]]:
    """Those for which the run has rows: the task's, the metrics that it does not name, the rest."""
    named = {name for plot in (*plots, *_MACHINE) for name in plot.curves} | _NOT_DRAWN
    others: dict[str, dict[str, str]] = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        if name not in named:
            label = "validation" if name.startswith("val_") else "training"
            others.setdefault(name.removeprefix("val_"), {})[name] = label
    more = [Plot(metric_title(name), curves) for name, curves in others.items()]
    drawn: list[dict[str, Any]] = []
    for plot in (*plots, *more, *_MACHINE):
        if any(_finite(rows, name) for name in plot.curves):
            # Titles are no ids: metrics may be called anything.
            svg = _draw(rows, plot, f"plot-{len(drawn)}")
            drawn.append({"title": plot.title, "svg": Markup(svg), "note": plot.note})
    return drawn


def _draw(rows: Rows, plot: Plot, name: str) -> str:
    curves = {label: _curve(rows, n) for n, label in plot.curves.items() if _finite(rows, n)}
    positive = all((values > 0).all() for _, values in curves.values())
    logarithmic = plot.logarithmic and positive
    return curves_svg(curves, name, logarithmic=logarithmic, share=plot.share)


def _finite(rows: Rows, name: str) -> list[tuple[int, float]]:
    """Steps and values of a metric where it is a number."""
    pairs = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
    return [(int(step), float(value)) for step, value in pairs if math.isfinite(value)]


def _curve(rows: Rows, name: str) -> Curve:
    steps, values = zip(*_finite(rows, name), strict=True)
    return np.array(steps, np.float64), np.array(values, np.float64)


def _checkpoints(run: Path, checkpoints: Checkpoints, about: About) -> list[dict[str, Any]]:
    best, metric = checkpoints.best(), about.monitor.metric
    rows = [
        {
            "step": checkpoint.step,
            "metric": f"{checkpoint.metrics[metric]:.5f}" if metric in checkpoint.metrics else "–",
            "best": best is not None and best.path == checkpoint.path,
            "model": checkpoint.model.relative_to(run),
        }
        for checkpoint in checkpoints.all()
    ]
    if rows and (run / MODEL).is_dir():
        of_best = [row for row in rows if row["best"]] if about.publish == "best" else []
        rows.append({**(of_best or rows)[-1], "best": False, "model": MODEL})
    return rows


def _grouped(
    recipe: Mapping[str, Any], settings: type[RunSettings]
) -> list[tuple[str, words.Pairs]]:
    groups: dict[str, dict[str, Any]] = {}
    for name, value in recipe.items():
        groups.setdefault(group(settings.model_fields[name]), {})[name] = value
    return words.settings(groups)


def _environment(run: Path) -> list[tuple[str, words.Pairs]]:
    """The last sitting's, and how many there were."""
    sittings = (_read_json(run / ENVIRONMENT_FILE) or {}).get("sittings", [])
    if not sittings:
        return []
    last = {**sittings[-1], "command": " ".join(sittings[-1].get("command", []))}
    return words.settings({"environment": {"sittings": len(sittings), **last}})


def _pictures(folder: Path) -> list[dict[str, Any]]:
    """Each clip's pictures as they lie there: what stays, and one for each validation.

    Of the first clip some steps are shown, evenly spread, of the others the newest.
    """
    clips: list[dict[str, Any]] = []
    for clip in sorted(path for path in folder.glob("clip-*") if path.is_dir()):
        files = sorted(clip.glob("*.jpg"))
        steps = [file for file in files if file.stem.startswith("step-")]
        chosen = [steps[i] for i in spread(len(steps), MAX_STEPS)] if not clips else steps[-1:]
        clips.append(
            {
                "fixed": [_picture(file) for file in files if file not in steps],
                "steps": [_picture(file) for file in chosen],
                "hidden": len(steps) - len(chosen),
            }
        )
    return clips


def _picture(file: Path) -> tuple[str, str]:
    """What a picture shows, by the name of its file (step-00000500, 1-original), and itself."""
    kind, _, what = file.stem.partition("-")
    label = f"step {int(what):,}" if kind == "step" else what.replace("-", " ")
    return label, data_address(file.read_bytes())


def _read_json(file: Path) -> Any:
    """What a JSON file holds; None where there is none."""
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def announce_run(result: TrainingResult) -> None:
    """Say on the terminal what a run has made, how good it is, and where to look."""
    if not is_main_process():
        return
    best = ""
    if result.best is not None:
        title = metric_title(result.monitor).lower()
        best = f", best {title} {result.best[1]:.4f} after step {result.best[0]}"
    console.print(
        f"{result.step} of {result.steps} steps{best} -> {escape(str(result.model))}",
        soft_wrap=True,
    )
    console.print(f"Look at {escape(str(result.out / REPORT_FILE))}", soft_wrap=True)
    if result.stopped:
        console.print(f"Stopped early; run again with {option('resume', True)} to go on")
