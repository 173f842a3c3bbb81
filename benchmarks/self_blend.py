"""Self-blended clips to look at: `python benchmarks/self_blend.py STORE SHEET.png [SEED]`.

Also prints how much processor time a clip takes, and how unsteady each fake is: the mean step from
frame to frame of what was added to the real clip, where something was, in levels of 255. It grows
with the motion of the face.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import cv2
import numpy as np

from openmarlin.data.dataset import draw_frames
from openmarlin.data.store import Store
from openmarlin.data.transforms import Clip, Crop
from openmarlin.face.mesh import fill_gaps
from openmarlin.report.self_blend import BlendedClip, self_blend_sheet
from openmarlin.tasks.self_blend import Blend, SelfBlend, draw_blend, self_blend

FRAMES, RATE, SIZE, SHOWN = 16, 2, 224, 8


def some_clip(store: Store, number: int, rng: np.random.Generator) -> Clip:
    """A random clip of a track, as a network sees it."""
    track = store.tracks[number]
    frames = draw_frames(track.n_frames, FRAMES, RATE, rng)
    images, cells = store.read(number, frames)
    clip = Clip(track, frames, images, cells, points=store.points(number, frames))
    margin = int(store.info["settings"]["margin"])
    return Crop(store.size, margin, SIZE)(clip, rng)


def describe(blend: Blend) -> str:
    """The parameters in a line."""
    copy = "face changed" if blend.pasted_changes else "surroundings changed"
    detail = f"1/{blend.shrink}" if blend.shrink > 1 else f"sharpened {blend.sharpen:.2f}"
    return f"{copy}, {detail}, opaque {blend.ratio:g}, forehead {blend.forehead}"


def flicker(clip: BlendedClip) -> float:
    """Mean step of the difference to the real clip within the mask."""
    difference = clip.fake.astype(np.float32) - clip.real
    steps = np.abs(np.diff(difference, axis=0)).mean(axis=-1)
    return float(steps[clip.masks[1:] > 0.05].mean())


def median_ms(clip: Clip, probability: float) -> float:
    """Processor time of the whole transform."""
    seconds = []
    for seed in range(60):
        start = time.process_time()
        SelfBlend(probability)(clip, np.random.default_rng(seed))
        seconds.append(time.process_time() - start)
    return 1e3 * float(np.median(seconds))


def main(folder: str, sheet: str, seed: str = "0") -> None:
    cv2.setNumThreads(1)
    store, rng = Store(folder), np.random.default_rng(int(seed))
    clips = []
    for number in sorted(rng.permutation(len(store))[:SHOWN].tolist()):
        clip = some_clip(store, number, rng)
        blend = draw_blend(SIZE, rng)
        points = fill_gaps([p if np.isfinite(p).all() else None for p in clip.points])
        fake, masks = self_blend(np.ascontiguousarray(clip.images), points, blend)
        title = f"{clip.track.name}: {describe(blend)}"
        clips.append(BlendedClip(clip.images, fake, masks, title))
        print(f"{title}: flicker {flicker(clips[-1]):.2f}")
    self_blend_sheet(Path(sheet), clips, title="Self-blended clips")
    clip = some_clip(store, 0, rng)
    print(
        f"{FRAMES} x {SIZE} px: {median_ms(clip, 1):.1f} ms a fake, {median_ms(clip, 0):.1f} real"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
