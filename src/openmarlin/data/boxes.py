"""Where the faces of a video are in every sampled frame, and in between."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save

from openmarlin.files import atomic

_GAP = 2.5  # times the usual step between samples: a face unseen for longer has no box meanwhile

Box = NDArray[np.float64]
"""x1, y1, x2, y2 in source pixels, (4,)."""


@dataclass(frozen=True)
class FaceBoxes:
    """Boxes of the faces of one video.

    Attributes:
        tracks: by face, float64 (n, 5): time in seconds, ascending, and x1, y1, x2, y2.
    """

    tracks: Mapping[int, NDArray[np.float64]]

    @classmethod
    def joined(cls, pieces: Mapping[int, Sequence[NDArray[np.float64]]]) -> Self:
        """Of the windows of a video, which may overlap."""
        tracks = {}
        for face, parts in pieces.items():
            rows = np.concatenate(parts)
            _, first = np.unique(rows[:, 0], return_index=True)
            tracks[face] = rows[first]
        return cls(tracks)

    def at(self, time_s: float) -> Iterator[tuple[int, Box]]:
        """The faces in view at a time and their boxes, straight lines between the samples."""
        for face, track in self.tracks.items():
            box = _box_at(track, self._steps_s[face], time_s)
            if box is not None:
                yield face, box

    @cached_property
    def _steps_s(self) -> dict[int, float]:
        """The usual time between two samples, by face."""
        return {
            face: float(np.median(np.diff(track[:, 0]))) if len(track) > 1 else 0.0
            for face, track in self.tracks.items()
        }

    def save(self, path: Path) -> None:
        """Write a file, whole or not at all.

        Raises:
            InputError: it cannot be written.
        """
        with atomic(path) as part:
            part.write_bytes(save({str(face): track for face, track in self.tracks.items()}))

    @classmethod
    def load(cls, path: Path) -> Self:
        """Undo `save`."""
        return cls({int(face): track for face, track in sorted(load_file(path).items())})


def _box_at(track: NDArray[np.float64], step_s: float, time_s: float) -> Box | None:
    times = track[:, 0]
    after = int(np.searchsorted(times, time_s))
    before = after - 1
    if after < len(times) and times[after] == time_s:
        return track[after, 1:]
    if before >= 0 and after < len(times) and times[after] - times[before] <= _GAP * step_s:
        share = (time_s - times[before]) / (times[after] - times[before])
        return np.asarray((1 - share) * track[before, 1:] + share * track[after, 1:])
    if before >= 0 and time_s - times[before] < step_s:  # frames behind the last sample
        return track[before, 1:]
    return None
