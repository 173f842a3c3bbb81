"""A video with what `faces` measured drawn on it: boxes, meshes and head poses."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from openmarlin.data.face_table import POINTS, POSE, pieces
from openmarlin.data.features import NO_FACE
from openmarlin.data.manifest import Row
from openmarlin.report.overlay import FaceLabel, draw_labels
from openmarlin.video.overlay import write_overlay
from openmarlin.video.picture import Image

_COLUMNS = ["time_s", "face", "x1", "y1", "x2", "y2", *POSE, "points"]
_ROUNDING_S = 1e-6  # a time in a table of videos is a rounded one


def draw_overlay(row: Row, table: Path, target: Path, limit_s: float | None = None) -> None:
    """Write the video of a row, or the part that it names, with its faces.

    Args:
        row: which video.
        table: its rows as `measure_video` wrote them, with points.
        target: the .mp4.
        limit_s: so much of the video was measured; None for all.

    Raises:
        VideoError: the video cannot be read.
        InputError: the table cannot be read, or the target cannot be written.
    """
    moments = _moments(table)
    time_s, labels = next(moments, (0.0, []))
    ends = [row.end_s] if row.end_s is not None else []
    ends += [time_s + limit_s] if limit_s is not None else []
    shown: list[FaceLabel] = []

    def draw(image: Image, now_s: float) -> Image:
        """With the faces of the last frame that has rows."""
        nonlocal time_s, labels, shown
        while time_s <= now_s + _ROUNDING_S:
            shown = labels
            time_s, labels = next(moments, (math.inf, []))
        return draw_labels(image, shown)

    write_overlay(
        row.video,
        target,
        draw,
        start_s=None if row.start_s is None else row.start_s - _ROUNDING_S,
        end_s=min(ends) - _ROUNDING_S if ends else None,
    )


def _moments(table: Path) -> Iterator[tuple[float, list[FaceLabel]]]:
    """The faces of each frame that has rows, and when it is shown."""
    rows = (row for piece in pieces(table, _COLUMNS) for row in _rows(piece))
    for time_s, group in groupby(rows, key=lambda row: float(row["time_s"])):
        yield time_s, [_label(row) for row in group if row["face"] != NO_FACE]


def _rows(piece: Any) -> Iterator[dict[str, Any]]:
    points = piece.column("points").combine_chunks().flatten().to_numpy(zero_copy_only=False)
    meshes = points.reshape(-1, POINTS, 3)
    for row, mesh in zip(piece.drop_columns(["points"]).to_pylist(), meshes, strict=True):
        yield row | {"points": mesh}


def _label(row: dict[str, Any]) -> FaceLabel:
    box, name = np.array([row[side] for side in ("x1", "y1", "x2", "y2")]), f"face {row['face']}"
    if math.isnan(row["yaw"]):
        return FaceLabel(row["face"], box, [f"{name}: not seen"])
    pose = "  ".join(f"{angle} {round(row[angle]):+d}" for angle in POSE)
    return FaceLabel(row["face"], box, [name, pose], row["points"])
