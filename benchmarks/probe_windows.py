"""Windows of the corpus to probe with: `python -m benchmarks.probe_windows CORPUS --out FOLDER`.

What all contenders of `benchmarks.probes` see is cut once, by the project's own face front-end:
windows.npy uint8 (W, 16, 224, 224, 3); table.parquet, a row a window; mesh.npy float32
(W, 16, 478, 2), crop pixels; movement.npy float32 (W, 16, 52 + 3), blendshapes and head pose of
every second frame. What was not measured is NaN in both.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.common import console
from benchmarks.corpus import Clip, read_corpus
from openmarlin.console import job_progress
from openmarlin.data.clips import ClipReader, FaceClip, Sampling
from openmarlin.errors import VideoError
from openmarlin.face.landmarker import Landmarker
from openmarlin.face.pose import head_pose

OF_A_GROUP = 6  # training clips of a group, so that a few do not outweigh all others
OF_A_CLIP = 2
EVERY = 2  # frames of a window that are measured
N_MOVEMENT = 52 + 3


def choose(clips: list[Clip]) -> list[Clip]:
    """All held-out real clips, all fakes, and some training clips of every group."""
    taken: Counter[str] = Counter()
    chosen = []
    for clip in clips:
        if clip.kind == "unknown":
            continue
        if clip.kind == "real" and not clip.held_out:
            taken[clip.group] += 1
            if taken[clip.group] > OF_A_GROUP:
                continue
        chosen.append(clip)
    return chosen


def windows_of(clip: Clip, landmarker: Landmarker) -> list[FaceClip]:
    """The first windows with a face; a clip that cannot be read has none."""
    reader = ClipReader(clip.path, Sampling(), landmarker)
    try:
        return list(islice((w for w in reader if w.pixels is not None), OF_A_CLIP))
    except VideoError as error:
        console.print(f"left out: {error}")
        return []


def movement(window: FaceClip, landmarker: Landmarker) -> NDArray[np.float32]:
    """Blendshapes, and yaw, pitch, roll in radians, of every second frame; NaN elsewhere."""
    assert window.pixels is not None
    out = np.full((len(window.pixels), N_MOVEMENT), np.nan, np.float32)
    for i in range(0, len(out), EVERY):
        image, points = window.pixels[i], window.points[i]
        if points is None:
            continue
        box = np.concatenate([points.min(axis=0), points.max(axis=0)])
        face = landmarker.follow([image], [[box]])[0][0]
        if face is not None and face.blendshapes is not None:
            pose = np.radians(head_pose(face.points[None])[0])
            out[i] = np.concatenate([face.blendshapes, pose])
    return out


def collect(clips: list[Clip]) -> Iterator[tuple[Clip, FaceClip, NDArray[np.float32]]]:
    """Windows of all clips, in order."""
    landmarker, expressions = Landmarker(), Landmarker(blendshapes=True)
    with ThreadPoolExecutor(2) as pool, job_progress("clips") as bar:
        task = bar.add_task("windows", total=len(clips), note="")
        found = pool.map(partial(windows_of, landmarker=landmarker), clips)
        for clip, windows in zip(clips, found, strict=True):
            for window in windows:
                yield clip, window, movement(window, expressions)
            bar.advance(task)


def mesh(window: FaceClip) -> NDArray[np.float32]:
    """(16, 478, 2), NaN where none was seen."""
    missing = np.full((478, 2), np.nan, np.float32)
    return np.stack([missing if p is None else p[:, :2] for p in window.points])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    clips = choose(read_corpus(args.corpus))
    store = np.lib.format.open_memmap(
        args.out / "windows.npy", "w+", np.uint8, (OF_A_CLIP * len(clips), 16, 224, 224, 3)
    )
    rows, meshes, movements = [], [], []
    for clip, window, moved in collect(clips):
        store[len(rows)] = window.pixels
        meshes.append(mesh(window))
        movements.append(moved)
        rows.append(
            {
                "clip": clip.path.stem,
                "group": clip.group,
                "kind": clip.kind,
                "source": clip.source,
                "emotion": clip.emotion,
                "held_out": clip.held_out,
            }
        )
    store.flush()
    np.save(args.out / "mesh.npy", np.stack(meshes))
    np.save(args.out / "movement.npy", np.stack(movements))
    pd.DataFrame(rows).to_parquet(args.out / "table.parquet")
    console.print(f"{len(rows)} windows of {len(clips)} clips -> {args.out}")


if __name__ == "__main__":
    main()
