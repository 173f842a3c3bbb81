"""A video with what a task model says of its faces drawn on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from openmarlin.data.boxes import FaceBoxes
from openmarlin.data.manifest import Row
from openmarlin.report.answers import Wording
from openmarlin.report.overlay import FaceLabel, draw_labels
from openmarlin.tasks.inference import Answers
from openmarlin.tasks.labels import Values
from openmarlin.video.overlay import write_overlay
from openmarlin.video.picture import Image

MOST_LINES = 3
_ROUNDING_S = 1e-6  # a time in a table of videos is a rounded one
_SLACK = 0.15  # of a window: the last sample is shown a little longer than the window says


@dataclass(frozen=True)
class AnswersOverTime:
    """What is said of the faces of one video.

    Attributes:
        first_s: when its first window starts.
        faces: of every answered window (n,).
        spans: their start and end (n, 2) in seconds.
        answers: (n, C).
    """

    first_s: float
    faces: NDArray[np.int64]
    spans: Values
    answers: Values

    @classmethod
    def of(cls, answers: Answers, place: int) -> Self:
        """Those of a row, by its place in the manifest."""
        table = answers.extracted.features.table
        mine = answers.extracted.row_of == place
        names = ("start_s", "end_s", "face")
        start_s, end_s, face = (table.column(name).to_numpy()[mine] for name in names)
        said = answers.windows[mine]
        answered = np.isfinite(said).all(axis=1)
        spans = np.stack([start_s, end_s], axis=1)[answered]
        first_s = float(start_s.min()) if len(start_s) else 0.0
        return cls(first_s, face[answered].astype(np.int64), spans, said[answered])

    def at(self, face: int, time_s: float) -> Values | None:
        """The answer (C,) to a face at a time: that of the window, or the mean of those that
        overlap there; None where there is none."""
        mine = self.faces == face
        starts, ends = self.spans[mine].T
        over = (starts <= time_s) & (time_s < ends)
        if not over.any():
            over = (ends <= time_s) & (time_s < ends + _SLACK * (ends - starts))
        return np.asarray(self.answers[mine][over].mean(axis=0)) if over.any() else None


def draw_answers(
    row: Row,
    target: Path,
    boxes: FaceBoxes,
    answers: AnswersOverTime,
    wording: Wording,
    limit_s: float | None = None,
) -> None:
    """Write the video of a row, or the part that it names, with a box and a label a face.

    Args:
        row: which video.
        target: the .mp4.
        boxes: where its faces are.
        answers: what is said of them.
        wording: how that is said.
        limit_s: so much of the video was read; None for all.

    Raises:
        VideoError: the video cannot be read.
        InputError: the target cannot be written.
    """

    def draw(image: Image, time_s: float) -> Image:
        labels = []
        for face, box in boxes.at(time_s):
            answer = answers.at(face, time_s)
            lines = [] if answer is None else wording.lines(answer, MOST_LINES)
            labels.append(FaceLabel(face, box, lines))
        return draw_labels(image, labels)

    ends_s = [] if row.end_s is None else [row.end_s]
    ends_s += [] if limit_s is None else [answers.first_s + limit_s]
    write_overlay(
        row.video,
        target,
        draw,
        start_s=None if row.start_s is None else row.start_s - _ROUNDING_S,
        end_s=min(ends_s) - _ROUNDING_S if ends_s else None,
    )
