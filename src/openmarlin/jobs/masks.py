"""`masks`: every masking strategy on one real face, side by side, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.markup import escape

from openmarlin.console import console
from openmarlin.data.clips import ClipReader, Sampling, clip_labels, first_clips
from openmarlin.errors import InputError
from openmarlin.face.landmarker import Landmarker
from openmarlin.jobs.settings import MasksSettings
from openmarlin.masking import STRATEGIES, make_mask, n_visible
from openmarlin.regions import region_bits, to_cells, unknown_cells
from openmarlin.report.masks import MaskRow, masks_sheet
from openmarlin.settings import documented, read_settings
from openmarlin.video.windows import CLIP_FRAMES

_CROP_PX, _GRID = 224, (8, 14, 14)

NOTES = {
    "fasking": "as released: background stays",
    "fasking_paper": "as published: parts go first",
    "fasking_opposite": "face parts stay",
    "tube": "the same places at all times",
    "random": "any place at any time",
    "frame": "whole steps in time",
}
"""What each strategy does, in a few words."""


@dataclass(frozen=True)
class MaskPicture:
    """What was drawn.

    Attributes:
        out: the picture, a PNG.
    """

    out: Path


@documented(MasksSettings)
def masks(
    video: str | Path,
    *,
    config: str | Path | None = None,
    progress: bool = False,  # noqa: ARG001 - every verb takes it; this one is done in seconds
    **settings: Any,
) -> MaskPicture:
    """Draw what each masking strategy hides of the largest face in the first window with one.

    A row a strategy, a column a step of two frames; the regions of the face on top.

    Args:
        video: a video with a face.
        config: a recipe, a YAML file of settings; arguments go over it.
        progress: changes nothing.
        {settings}

    Raises:
        OpenMarlinError: the video cannot be read or shows no face, or an option is impossible.
    """
    s = read_settings(MasksSettings, config, settings)
    if s.out.suffix.lower() != ".png":
        raise InputError(f"{s.out}: the picture is a PNG; give it a name that ends in .png")
    region_bits(s.regions)
    tokens = int(np.prod(_GRID))
    masked = tokens - n_visible(tokens, s.mask_ratio)
    images, cells = _first_clip(Path(video))

    def row(name: str, note: str, strategy: str, hidden: Sequence[str] = ()) -> MaskRow:
        rng = np.random.default_rng(s.seed)
        mask = make_mask(
            strategy, cells, grid=_GRID, mask_ratio=s.mask_ratio, rng=rng, regions=hidden
        )
        return MaskRow(name, note, mask.reshape(_GRID))

    rows = [row(name, NOTES[name], name) for name in STRATEGIES]
    if s.regions:
        names = ", ".join(name.replace("_", " ") for name in s.regions)
        rows.append(row("random + regions", f"never visible: {names}", "random", s.regions))
    title = f"{Path(video).name}: {masked:,} of {tokens:,} tokens are masked"
    masks_sheet(s.out, images, cells, rows, title=title)
    return MaskPicture(s.out)


def announce(result: MaskPicture) -> None:
    """Say where to look."""
    console.print(f"Look at {escape(str(result.out))}", soft_wrap=True)


def _first_clip(video: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint16]]:
    """Crops (16, 224, 224, 3) of the first window with a face, and their cells."""
    landmarker = Landmarker()
    reader = ClipReader(video, Sampling(), landmarker, _CROP_PX)
    (clip,) = first_clips(reader, 1)
    labels = clip_labels(clip, landmarker)
    assert clip.pixels is not None
    if labels is None:
        return clip.pixels, unknown_cells(CLIP_FRAMES, _CROP_PX)
    return clip.pixels, to_cells(labels)
