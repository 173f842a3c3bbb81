"""Self-blended clips: fakes made of real clips, to train a detector without any fake.

Shiohara and Yamasaki, "Detecting Deepfakes with Self-Blended Images" (CVPR 2022), for clips: of two
copies of a clip one is changed in colour and sharpness, then the face of the one is pasted into the
other, a little out of place. What remains is what face swaps have in common: a border, and two
sides that do not quite match. Everything is drawn once a clip, or flicker would give the fakes
away; only the outline of the mask follows the face from frame to frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from openmarlin.data.transforms import Clip, Images, Points, colour_matrix, recolour
from openmarlin.errors import InputError, option
from openmarlin.face.mesh import FOREHEAD, fill_gaps

Masks = NDArray[np.float32]

_FACE = np.setdiff1d(np.arange(468), FOREHEAD)  # from the brows down
_SIDE_PX = 224
"""Pixels below are of a crop of this side; others get as large a share of theirs."""

_SHRINK = 2  # masks are made at half the size: they are blurred anyway
_TINT_LEVELS, _TINT_SHARE = 20.0, 0.3  # of each of R, G, B, and in which share of the clips
_HUE_DEG, _SATURATION, _VALUE = 8.0, 0.3, 0.1
"""Published as 0.3 for all three, of what is left open: a hue 0.3 of a turn away is green skin, and
0.3 less light a border that anybody sees. These were chosen by looking at clips."""
_BRIGHTNESS, _CONTRAST = 0.1, 0.1
_SHARPEN = (0.1, 0.3)
_SHIFT_XY, _SCALE = (0.03, 0.015), 0.95  # shares of the side; the least scale, 1 / it is the most
_ELASTIC, _ELASTIC_SIGMA_PX = 50.0, 7.0
_BLUR_PX = (5.0, 25.0)  # width of a Gaussian's window
_RATIOS = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)
_FINE = 4  # pixels a side filled for one of a small mask: edges must not jump between frames
_FRACTION_BITS = 4  # of a polygon's corners


@dataclass(frozen=True, slots=True)
class Colours:
    """A change of colours.

    Attributes:
        tint: levels of 255 that are added to R, G, B.
        hue: angle by which hues turn, radians.
        factors: of brightness (value included), contrast and saturation.
    """

    tint: tuple[float, float, float]
    hue: float
    factors: tuple[float, float, float]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:
        tint = rng.uniform(-_TINT_LEVELS, _TINT_LEVELS, 3) * (rng.random() < _TINT_SHARE)
        most = (_VALUE, _BRIGHTNESS, _CONTRAST, _SATURATION)
        value, brightness, contrast, saturation = (1 + rng.uniform(-1, 1, 4) * most).tolist()
        hue = math.radians(rng.uniform(-_HUE_DEG, _HUE_DEG))
        return cls(tuple(tint.tolist()), hue, (value * brightness, contrast, saturation))

    def __call__(self, images: Images) -> Images:
        """All frames (T, H, W, 3) changed alike."""
        grey = np.ones(3) / math.sqrt(3)  # the axis about which hue turns (Rodrigues)
        turn = math.cos(self.hue) * np.eye(3) + (1 - math.cos(self.hue)) * np.outer(grey, grey)
        turn += math.sin(self.hue) * np.cross(np.eye(3), grey)
        matrix = colour_matrix(images, *self.factors)
        matrix[:, :3] @= turn
        matrix[:, 3] += self.tint
        return recolour(images, matrix)


@dataclass(frozen=True, slots=True)
class Blend:
    """What is drawn for a clip.

    Attributes:
        forehead: the mask reaches up to the hair, not only to the brows.
        pasted_changes: the copy that is changed is the one that is pasted, not the one below.
        colours: of the changed copy.
        shrink: the changed copy is made so much smaller, and larger again; 1 for not at all.
        sharpen: how much of a sharper picture is mixed into it; 0 where it is shrunk.
        place: (2, 3), where a point (x, y, 1) of the pasted copy goes, pixels.
        sigmas: of the two blurs of a mask of half the size, in its pixels.
        ratio: how opaque the pasted face is.
        warp: (2, h, w) float32, x and y from where each pixel of that mask is taken.
    """

    forehead: bool
    pasted_changes: bool
    colours: Colours
    shrink: int
    sharpen: float
    place: NDArray[np.float64]
    sigmas: tuple[float, ...]
    ratio: float
    warp: NDArray[np.float32]


@dataclass(frozen=True)
class SelfBlend:
    """Makes a fake of some clips, and adds the label: `target`, (1,) float32, 1 for a fake.

    Clips labelled 1 already (real fakes) and clips in which no face was seen stay as they are. Real
    and fake alike then get a change of colours and, half of them, JPEG, so that these say nothing.
    The chance comes from generators of its own: what other transforms draw is what they would draw
    without this one.

    Attributes:
        probability: share of the clips that become fakes.

    Raises:
        InputError: the share is none; when called, the store has no mesh points.
    """

    probability: float = 0.5
    needs_points: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise InputError(f"probability is {self.probability}; give a number from 0 to 1")

    def __call__(self, clip: Clip, rng: np.random.Generator) -> Clip:
        if clip.points is None:
            raise InputError(
                f"{clip.track.name}: the store has no mesh points, which self-blended clips need; "
                f"prepare the videos with {option('points', True)}"
            )
        fakes, both = rng.spawn(2)
        images, target = clip.images, clip.extras.get("target", torch.zeros(1))
        points = fill_gaps([p if np.isfinite(p).all() else None for p in clip.points])
        if points is not None and not target.any() and fakes.random() < self.probability:
            images, _ = self_blend(images, points, draw_blend(images.shape[1], fakes))
            target = torch.ones(1)
        images = alike(images, both)
        return replace(clip, images=images, extras={**clip.extras, "target": target})


def draw_blend(side: int, rng: np.random.Generator) -> Blend:
    """Draw the parameters of a clip whose pictures have `side` pixels a side."""
    unit = side / _SIDE_PX / _SHRINK  # pixels of a small mask a pixel of the paper
    shrink = int(rng.choice([1, 2, 4], p=[0.5, 0.25, 0.25]))
    return Blend(
        forehead=rng.random() < 0.75,
        pasted_changes=rng.random() < 0.5,
        colours=Colours.draw(rng),
        shrink=shrink,
        sharpen=float(rng.uniform(*_SHARPEN)) if shrink == 1 else 0.0,
        place=_draw_place(side, rng),
        sigmas=tuple(unit * _sigma(rng.uniform(*_BLUR_PX)) for _ in range(2)),
        ratio=float(rng.choice(_RATIOS)),
        warp=_draw_warp(-(-side // _SHRINK), unit, rng),  # last: it draws more in a larger picture
    )


def self_blend(images: Images, points: Points, blend: Blend) -> tuple[Images, Masks]:
    """Paste the faces of a clip into the clip.

    Args:
        images: uint8 (T, S, S, 3).
        points: mesh points (T, 478, 2), pixels.
        blend: what was drawn for the clip.

    Returns:
        The fake, uint8 (T, S, S, 3), and how much of it was pasted, float32 (T, S, S) in [0, 1].
    """
    masks = face_masks(points, images.shape[1], blend)
    changed = _change(images, blend)
    pasted, below = (changed, images) if blend.pasted_changes else (images, changed)
    fakes = np.empty_like(images)
    for frame, ground, mask, fake in zip(pasted, below, masks, fakes, strict=True):
        moved = cv2.warpAffine(
            frame, blend.place, mask.shape, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
        )
        cv2.blendLinear(moved, np.ascontiguousarray(ground), mask, 1 - mask, dst=fake)
    return fakes, masks


def face_masks(points: Points, side: int, blend: Blend) -> Masks:
    """The soft masks of a clip's faces: points (T, 478, 2) -> (T, S, S) in [0, ratio].

    The convex hull of the face, moved as the pasted picture is, warped, and blurred twice.
    """
    small = -(-side // _SHRINK)
    chosen = points if blend.forehead else points[:, _FACE]
    moved = chosen @ blend.place[:, :2].T + blend.place[:, 2]
    fine = moved * (_FINE / _SHRINK) - 0.5  # OpenCV counts from pixel centres
    corners = np.round(fine * (1 << _FRACTION_BITS)).astype(np.int32)
    masks = np.empty((len(points), side, side), np.float32)
    for polygon, mask in zip(corners, masks, strict=True):
        hull = np.zeros((_FINE * small,) * 2, np.uint8)
        cv2.fillConvexPoly(hull, cv2.convexHull(polygon), 255, cv2.LINE_8, _FRACTION_BITS)
        coarse = cv2.resize(hull, (small, small), interpolation=cv2.INTER_AREA).astype(np.float32)
        soft = _soft(coarse, blend)
        full = cv2.resize(soft, (_SHRINK * small,) * 2, interpolation=cv2.INTER_LINEAR)
        np.multiply(full[:side, :side], blend.ratio / 255, out=mask)
    return masks


def _soft(mask: NDArray[np.float32], blend: Blend) -> NDArray[np.float32]:
    """A mask warped and blurred."""
    x, y = blend.warp
    warped = cv2.remap(mask, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    for sigma in blend.sigmas:
        warped = cv2.GaussianBlur(warped, (0, 0), sigma)
    return np.asarray(warped, np.float32)


def alike(images: Images, rng: np.random.Generator) -> Images:
    """What real and fake clips go through: other colours, and half of them JPEG (40 to 100)."""
    images = Colours.draw(rng)(images)
    if rng.random() < 0.5:
        images = _jpeg(images, int(rng.integers(40, 101)))
    return images


def _draw_place(side: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """A scale about the middle, and a shift."""
    scale = rng.uniform(_SCALE, 1 / _SCALE)
    shift = rng.uniform(-1, 1, 2) * _SHIFT_XY * side
    return np.column_stack([scale * np.eye(2), (1 - scale) * side / 2 + shift])


def _draw_warp(small: int, unit: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Smooth noise added to the place of each pixel (Simard et al., ICDAR 2003)."""
    noise = rng.uniform(-1, 1, (2, small, small)).astype(np.float32)
    smooth = np.stack([cv2.GaussianBlur(part, (0, 0), _ELASTIC_SIGMA_PX * unit) for part in noise])
    # The fewer pixels are averaged, the more of the noise remains: hence unit twice.
    own = np.stack(np.meshgrid(*[np.arange(small, dtype=np.float32)] * 2))
    return np.asarray(own + np.float32(_ELASTIC * unit * unit) * smooth, np.float32)


def _sigma(window_px: float) -> float:
    """The sigma that OpenCV takes for a window of this width."""
    return 0.3 * ((window_px - 1) / 2 - 1) + 0.8


def _change(images: Images, blend: Blend) -> Images:
    """The copy that is to look different."""
    out = blend.colours(images)
    side = images.shape[1]
    small = -(-side // blend.shrink)
    for frame in out:
        if blend.shrink > 1:
            coarse = cv2.resize(frame, (small, small), interpolation=cv2.INTER_AREA)
            cv2.resize(coarse, (side, side), dst=frame, interpolation=cv2.INTER_LINEAR)
        else:
            kernel = np.full((3, 3), -blend.sharpen, np.float32)
            kernel[1, 1] = 1 + 8 * blend.sharpen
            cv2.filter2D(frame, -1, kernel, dst=frame)
    return out


def _jpeg(images: Images, quality: int) -> Images:
    out = np.empty_like(images)
    for frame, target in zip(images, out, strict=True):
        bgr = cv2.cvtColor(frame, cv2.COLOR_RGB2BGR)
        data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        target[:] = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
    return out
