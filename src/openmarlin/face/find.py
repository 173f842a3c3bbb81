"""The faces of every frame of a short stretch of one shot, at a price close to following them.

Searching a frame for faces is dear, following a face is cheap and works in batches. So only
the ends of a stretch are searched. A face that is at both ends is looked for in between along the
straight line; one that is at one end only, near there: faces that come are found from their
first frame, not only once a search notices them.

Where crops are all that is wanted, not every frame is looked at: between two looks in which every
face is almost in the same place, meshes are interpolated.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from openmarlin.face.landmarker import Box, Face, Landmarker, distinct
from openmarlin.face.track import distances, nearest_pairs
from openmarlin.video.picture import Image

_SAME_PLACE = 1.0  # meshes this close (sides) at both ends of a stretch may be one face
_STEADY = 0.05  # meshes this close (sides) in two looks are interpolated between them


def find_faces(
    images: Sequence[Image],
    landmarker: Landmarker,
    before: Sequence[NDArray[np.float32]] | None,
    *,
    search_end: bool,
    looks: Sequence[int] | None = None,
) -> list[list[Face]]:
    """All faces of consecutive frames of one shot.

    Args:
        images: the frames, uint8 RGB (H, W, 3).
        before: meshes (478, 3) of the faces just before the first frame; None at the start of a
            shot, where the first frame is searched.
        search_end: whether the last frame is searched, too.
        looks: ascending positions of the frames to look at, the first and the last among them; the
            rest is interpolated where faces keep still. None for all.

    Returns:
        For every frame its faces, each once.
    """
    first = landmarker.search(images[0]) if before is None else None
    alone = first is not None and len(images) == 1
    last = landmarker.search(images[-1]) if search_end and not alone else None
    starts = [face.points for face in first] if first is not None else list(before or [])
    ends = [face.points for face in last] if last is not None else []
    # Frames in terms of the line from the starts (0) to the ends (1).
    start_frame = 0 if first is not None else -1
    steps = max(len(images) - 1 - start_frame, 1)
    lines = _lines(starts, ends)
    boxes = [
        [_between(line, (k - start_frame) / steps) for line in lines] for k in range(len(images))
    ]
    # The faces of a search are followed in the same frame, too: the two ways measure a face a few
    # percent differently, which would shake the track at every search.
    searched: list[list[Face]] = [[] for _ in images]
    for k, faces in ((0, first), (-1, last)):
        if faces is not None:
            searched[k], boxes[k] = faces, [face.box for face in faces]
    looks = range(len(images)) if looks is None else looks
    faces_at = _look(images, landmarker, boxes, searched, looks)
    moving = []  # frames between two looks in which somebody moved, came or went
    for start, stop in pairwise(looks):
        pairs = _steady_pairs(faces_at[start], faces_at[stop])
        for k in range(start + 1, stop):
            if pairs is None:
                moving.append(k)
            else:
                part = (k - start) / (stop - start)
                faces_at[k] = [_interpolated(first, last, part) for first, last in pairs]
    faces_at |= _look(images, landmarker, boxes, searched, moving)
    return [faces_at[k] for k in range(len(images))]


def _look(
    images: Sequence[Image],
    landmarker: Landmarker,
    boxes: list[list[Box]],
    searched: list[list[Face]],
    looks: Sequence[int],
) -> dict[int, list[Face]]:
    """The faces of some frames, where they are expected and where a search has found them."""
    expected = [boxes[k] for k in looks]
    if any(expected):
        followed = landmarker.follow([images[k] for k in looks], expected)
    else:
        followed = [[] for _ in looks]
    return {
        k: distinct([face for face in (*row, *searched[k]) if face is not None])
        for k, row in zip(looks, followed, strict=True)
    }


def _steady_pairs(first: list[Face], last: list[Face]) -> list[tuple[Face, Face]] | None:
    """Each face in two looks, or None if one of them moved, came or went."""
    meshes, later = ([face.points for face in faces] for faces in (first, last))
    pairs = [(first[i], last[j]) for i, j in nearest_pairs(distances(meshes, later, _STEADY))]
    return pairs if len(pairs) == len(first) == len(last) else None


def _interpolated(first: Face, last: Face, part: float) -> Face:
    points = first.points + np.float32(part) * (last.points - first.points)
    return Face(points, min(first.score, last.score))


def _lines(
    starts: list[NDArray[np.float32]], ends: list[NDArray[np.float32]]
) -> list[tuple[Box, Box]]:
    """Boxes at both ends of a stretch: of pairs that may be one face, else the only one twice."""
    pairs = list(nearest_pairs(distances(starts, ends, _SAME_PLACE)))
    lines = [(mesh_box(starts[i]), mesh_box(ends[j])) for i, j in pairs]
    used_starts, used_ends = {i for i, _ in pairs}, {j for _, j in pairs}
    alone = [start for i, start in enumerate(starts) if i not in used_starts]
    alone += [end for j, end in enumerate(ends) if j not in used_ends]
    return lines + [(mesh_box(points), mesh_box(points)) for points in alone]


def _between(line: tuple[Box, Box], part: float) -> Box:
    start, end = line
    return np.asarray(start + np.float32(part) * (end - start), dtype=np.float32)


def mesh_box(points: NDArray[np.float32]) -> Box:
    """x1, y1, x2, y2 (4,) float32 of the points of a mesh."""
    return np.concatenate([points[:, :2].min(axis=0), points[:, :2].max(axis=0)])
