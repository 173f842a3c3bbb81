"""The report of a pre-training run: one HTML file, made from what the run folder holds."""

from __future__ import annotations

import base64
import json
import math
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
from markupsafe import Markup

from openmarlin.output import CONFIG_FILE, ENVIRONMENT_FILE
from openmarlin.pretraining.settings import PretrainSettings
from openmarlin.pretraining.task import MONITOR
from openmarlin.report import words
from openmarlin.report.page import Image
from openmarlin.report.plots import Curve, curves_svg
from openmarlin.report.reconstruction import cut_reconstructions
from openmarlin.report.strips import spread
from openmarlin.report.template import write_page
from openmarlin.settings import group, read_recipe
from openmarlin.training.checkpoint import Checkpoint, Checkpoints
from openmarlin.training.fit import MODEL, NON_FINITE_FILE, PICTURES
from openmarlin.training.log import METRICS_FILE, read_metrics

MAX_STEPS = 8
"""Pictures of the first clip, from the first validation to the last."""

_STRIP_PX = 1120  # width in the page's data: twice what a laptop shows
_QUALITY = 82  # of its JPEG
REPORT_FILE = "report.html"

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class ClipStrips:
    """One clip as three pictures, data addresses."""

    original: str
    seen: str
    made: str


def write_run_report(run: Path) -> Path:
    """Write `report.html` into a run folder, with no reference to anything outside it.

    Raises:
        InputError: the folder is no run, or the file cannot be written.
    """
    settings = PretrainSettings.of({**read_recipe(run / CONFIG_FILE), "out": run})
    rows = read_metrics(run / METRICS_FILE)
    checkpoints = Checkpoints(run, MONITOR, settings.keep)
    content = {
        **_summary(run, rows, checkpoints.newest()),
        "non_finite": _read_json(run / NON_FINITE_FILE),
        "plots": _plots(rows, settings),
        "checkpoints": _checkpoints(run, checkpoints),
        "settings": [*_grouped(settings), *_environment(run)],
        **_pictures(run, settings.architecture().image_size),
    }
    return write_page(run / REPORT_FILE, "pretrain.html", content)


def _summary(run: Path, rows: Rows, newest: Checkpoint | None) -> dict[str, Any]:
    step = max([row["step"] for row in rows] + ([newest.step] if newest else []), default=0)
    steps = newest.progress.steps if newest else 0
    if steps and step >= steps:
        state = f"Finished after {words.count(step, 'step')}"
    else:
        of = f" of {steps:,}" if steps else ""
        state = f"Stopped after step {step:,}{of}; it goes on with --resume"
    facts = []
    held_out = _finite(rows, "val_rec")
    if held_out:
        last, best = held_out[-1], min(held_out, key=lambda pair: pair[1])
        facts.append(("Validation rec", f"{last[1]:.5f}", f"after step {last[0]:,}"))
        if best[0] != last[0]:
            facts.append(("Best", f"{best[1]:.5f}", f"after step {best[0]:,}"))
    trained = _finite(rows, "rec")
    if trained:
        facts.append(("Training rec", f"{trained[-1][1]:.5f}", f"first {trained[0][1]:.5f}"))
    for name, title, form in (
        ("clips_per_s", "Speed", "{:.3g} clips/s"),
        ("data_wait", "Waiting for data", "{:.0%}"),
        ("memory_gb", "Memory of the device", "{:.1f} GB"),
    ):
        values = [value for _, value in _finite(rows, name)]
        if values and (name != "memory_gb" or max(values) > 0):
            facts.append((title, form.format(median(values)), "median"))
    return {"headline": run.resolve().name, "verdict": f"{state}.", "facts": facts}


def _plots(rows: Rows, settings: PretrainSettings) -> list[dict[str, Any]]:
    """Those for which the run has rows."""
    kind = "normalised cubes" if settings.normalize_targets else "pixels in [0, 1]"
    weighted = {"rec_feature": settings.w_feature, "adv": settings.w_adv}
    parts = [f"{weight:g} × {name}" for name, weight in weighted.items() if weight]
    wanted: list[tuple[str, dict[str, str], str, dict[str, bool]]] = [
        (
            "Reconstruction",
            {"rec": "training", "val_rec": "validation", "rec_feature": "from the feature alone"},
            f"Mean squared error over masked cubes, {kind}.",
            {"logarithmic": True},
        ),
        (
            "Whole loss",
            {"loss": "loss"},
            f"{' + '.join(['rec', *parts])}: what the autoencoder minimises.",
            {},
        ),
        (
            "Critic",
            {"critic": "critic: mean D(made) − mean D(true)", "adv": "adv: −mean D(made)"},
            "The critic pushes its curve down, the autoencoder the other.",
            {},
        ),
        ("Learning rate", {"lr": "lr"}, "Of both networks.", {}),
        (
            "Speed",
            {"clips_per_s": "clips/s"},
            "Of training alone: no validation, no saving.",
            {},
        ),
        (
            "Waiting for data",
            {"data_wait": "share"},
            "Share of the time in which the model waits for the next clips.",
            {"share": True},
        ),
    ]
    if not parts:
        wanted = [plot for plot in wanted if plot[0] != "Whole loss"]
    plots = []
    for title, names, note, style in wanted:
        curves = {label: _curve(rows, name) for name, label in names.items() if _finite(rows, name)}
        if curves:
            positive = all((values > 0).all() for _, values in curves.values())
            style = {**style, "logarithmic": style.get("logarithmic", False) and positive}
            svg = curves_svg(curves, title.lower().replace(" ", "-"), **style)
            plots.append({"title": title, "svg": Markup(svg), "note": note})
    return plots


def _finite(rows: Rows, name: str) -> list[tuple[int, float]]:
    """Steps and values of a metric where it is a number."""
    pairs = [(row["step"], row[name]) for row in rows if row.get(name) is not None]
    return [(int(step), float(value)) for step, value in pairs if math.isfinite(value)]


def _curve(rows: Rows, name: str) -> Curve:
    steps, values = zip(*_finite(rows, name), strict=True)
    return np.array(steps, np.float64), np.array(values, np.float64)


def _checkpoints(run: Path, checkpoints: Checkpoints) -> list[dict[str, Any]]:
    best = checkpoints.best()
    rows = [
        {
            "step": checkpoint.step,
            "val_rec": f"{checkpoint.metrics['val_rec']:.5f}" if checkpoint.metrics else "–",
            "best": best is not None and best.path == checkpoint.path,
            "model": checkpoint.model.relative_to(run),
        }
        for checkpoint in checkpoints.all()
    ]
    if rows and (run / MODEL).is_dir():
        rows.append({**rows[-1], "best": False, "model": MODEL})
    return rows


def _grouped(settings: PretrainSettings) -> list[tuple[str, words.Pairs]]:
    groups: dict[str, dict[str, Any]] = {}
    for name, value in settings.recipe().items():
        title = group(PretrainSettings.model_fields[name])
        groups.setdefault(title, {})[name] = value
    return words.settings(groups)


def _environment(run: Path) -> list[tuple[str, words.Pairs]]:
    """The last sitting's, and how many there were."""
    sittings = (_read_json(run / ENVIRONMENT_FILE) or {}).get("sittings", [])
    if not sittings:
        return []
    last = {**sittings[-1], "command": " ".join(sittings[-1].get("command", []))}
    return words.settings({"environment": {"sittings": len(sittings), **last}})


def _pictures(run: Path, size: int) -> dict[str, Any]:
    """The newest picture whole, and the first clip of some before it."""
    files = {int(file.stem[5:]): file for file in sorted((run / PICTURES).glob("step-*.png"))}
    chosen = [list(files)[i] for i in spread(len(files), MAX_STEPS)]
    drawn = {step: clips for step in chosen if (clips := _read_picture(files[step], size))}
    newest = max(drawn, default=0)
    return {
        "newest": [ClipStrips(*map(_jpeg, clip)) for clip in drawn.get(newest, [])],
        "newest_step": newest,
        "evolution": [(step, _jpeg(clips[0][2])) for step, clips in drawn.items()],
        "pictures_hidden": len(files) - len(drawn),
    }


def _read_picture(file: Path, size: int) -> list[tuple[Image, Image, Image]]:
    """BGR; nothing where the file is no picture."""
    picture = cv2.imread(str(file), cv2.IMREAD_COLOR)
    return [] if picture is None else cut_reconstructions(np.asarray(picture, np.uint8), size)


def _jpeg(strip: Image) -> str:
    """A BGR strip as a data address."""
    height, width = strip.shape[:2]
    if width > _STRIP_PX:
        shape = (_STRIP_PX, round(height * _STRIP_PX / width))
        strip = np.asarray(cv2.resize(strip, shape, interpolation=cv2.INTER_AREA), np.uint8)
    _, jpeg = cv2.imencode(".jpg", strip, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(jpeg.tobytes()).decode()


def _read_json(file: Path) -> Any:
    """What a JSON file holds; None where there is none."""
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
