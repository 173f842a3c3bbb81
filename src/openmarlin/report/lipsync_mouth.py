"""What the report of a training of the small mouth model says, and its pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from openmarlin.files import atomic
from openmarlin.lipsync.small import renderer_task, shape_task
from openmarlin.lipsync.small.renderer_task import DrawnMouth
from openmarlin.lipsync.small.settings import MouthSettings
from openmarlin.lipsync.small.shape_data import FRAME_RATE
from openmarlin.lipsync.small.shape_task import OpeningCurve
from openmarlin.report.image_grid import FAINT, Sheet
from openmarlin.report.page import jpeg
from openmarlin.report.run import About, Plot

_QUALITY = 92
_MOST_SHOWN = 8  # pictures of mouths side by side
_COLUMN, _HEIGHT, _TITLE = 4, 70, 22  # pixels: for 1/25 s, of a curve, of the line above it
_WIDTH = 900


def about(settings: MouthSettings) -> About:
    """The report of a run with these settings."""
    if settings.stage == "shape":
        plots = (
            Plot("Opening of the lips", {"val_opening_r": "correlation, held-out groups"}),
            Plot("Loss", {"loss": "training", "val_loss": "validation"}, logarithmic=True),
            Plot(
                "Parts of the loss",
                {name: name for name in ("place", "velocity", "opening")},
                logarithmic=True,
            ),
        )
        return About(
            "lipsync train-mouth",
            MouthSettings,
            shape_task.MONITOR,
            plots,
            "How far the lips of held-out people are open: grey as the mesh has it, black as the "
            "sound has it.",
            "Train the renderer on it: openmarlin lipsync train-mouth DATA --stage renderer "
            "--shape RUN.",
            publish="best",
        )
    return About(
        "lipsync train-mouth",
        MouthSettings,
        renderer_task.MONITOR,
        (
            Plot(
                "Error of colours",
                {"l1": "training, weighted", "val_lips": "lips", "val_hole": "whole hole"},
                "Mean absolute error, colours in [0, 1]; lips and hole of held-out people.",
                logarithmic=True,
            ),
            Plot("Whole loss", {"loss": "loss"}, logarithmic=True),
        ),
        "People of the validation: as filmed; what the renderer sees, with the drawing of the "
        "mouth it is to make; the two pictures it may copy from; and what it makes.",
        "Use it: openmarlin lipsync generate VIDEO SOUND --model RUN/model.",
    )


def painter(settings: MouthSettings) -> Callable[[Path, int, Sequence[Any]], None]:
    """What draws the pictures of a validation of this stage."""
    return draw_curves if settings.stage == "shape" else draw_mouths


def draw_mouths(folder: Path, step: int, mouths: Sequence[DrawnMouth]) -> None:
    """Pictures of a validation, one person beside the other.

    Args:
        folder: of the run's pictures.
        step: steps that are done.
        mouths: to draw.
    """
    some = mouths[:_MOST_SHOWN]
    rows = {
        "1-filmed": [m.target for m in some],
        "2-seen-by-the-renderer": [m.seen for m in some],
        "3-closed-reference": [m.references[0] for m in some],
        "4-open-reference": [m.references[1] for m in some],
        f"step-{step:08d}": [m.result for m in some],
    }
    for name, images in rows.items():
        _write(folder / "clip-0" / f"{name}.jpg", np.hstack(images))


def draw_curves(folder: Path, step: int, curves: Sequence[OpeningCurve]) -> None:
    """The opening of the lips of some clips of a validation, as it was and as it was heard.

    Args:
        folder: of the run's pictures.
        step: steps that are done.
        curves: to draw.
    """
    sheet = Sheet(_WIDTH, max(1, len(curves)) * (_HEIGHT + _TITLE))
    for number, curve in enumerate(curves):
        r = shape_task.correlation(curve.real, curve.heard)
        top = number * (_HEIGHT + _TITLE)
        sheet.text(
            8,
            top + 16,
            f"{curve.name}, {len(curve.real) / FRAME_RATE:.1f} s",
            size=9,
            colour=FAINT,
            room=600,
        )
        sheet.text(_WIDTH - 70, top + 16, f"r {r:.2f}", size=10)
    image = sheet.image()
    for number, curve in enumerate(curves):
        for values, colour in ((curve.real, 170), (curve.heard, 20)):
            middle = number * (_HEIGHT + _TITLE) + _TITLE + _HEIGHT // 2
            _trace(image, values, middle, colour)
    _write(folder / "clip-0" / f"step-{step:08d}.jpg", image)


def _trace(image: np.ndarray, values: np.ndarray, base: int, colour: int) -> None:
    """A curve of values around 0 on a picture; 0.2 distances of the eyes are the whole height."""
    x = np.arange(len(values) * _COLUMN)
    heights = np.interp(x / _COLUMN, np.arange(len(values)), values) / 0.2 * _HEIGHT
    y = np.clip(base - heights, base - _HEIGHT // 2, base + _HEIGHT // 2 - 2).round().astype(int)
    for column in x[: image.shape[1] - 8]:
        last = y[max(0, column - 1)]
        low, high = sorted((int(last), int(y[column])))
        image[low : high + 2, 8 + column] = colour


def _write(path: Path, image: np.ndarray) -> None:
    with atomic(path) as part:
        part.write_bytes(jpeg(np.asarray(image, np.uint8), _QUALITY))
