"""How loud it is in every time step of a window: `python -m benchmarks.probe_sound CORPUS WINDOWS`.

Writes WINDOWS/sound.npy for `benchmarks.probes`, float32 (W, 8) in dB, NaN where a clip has no
sound or its window ends before. Nobody is trained on it, and a talking mouth has to be seen moving
to know it. The windows are found anew to have their times, which takes as long as their cutting.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.common import console
from benchmarks.corpus import Clip, read_corpus
from benchmarks.probe_inputs import N_STEPS, SOUND_FILE, Array
from benchmarks.probe_windows import windows_of
from openmarlin.console import job_progress
from openmarlin.data.clips import Sampling
from openmarlin.data.features import WindowRow
from openmarlin.face.landmarker import Landmarker
from openmarlin.files import atomic
from openmarlin.model.config import PRESETS
from openmarlin.video.audio import Sound, read_sound

FRAMES = PRESETS["tiny"].tubelet  # of a time step
RANGE_DB = 40.0  # below the loudest step: silence, however deep


def loudness(sound: Sound, row: WindowRow) -> Array:
    """(8,) dB of the sound of every time step whose frames are real."""
    steps = np.full(N_STEPS, np.nan, np.float32)
    rate = Sampling().rate
    tick_s = (row.end_s - row.start_s) / ((row.n_real - 1) * rate + 1)
    step_s = FRAMES * rate * tick_s
    for i in range(row.n_real // FRAMES):
        samples = sound.between(row.start_s + i * step_s, row.start_s + (i + 1) * step_s)
        steps[i] = 10 * np.log10(np.mean(samples.astype(np.float64) ** 2) + 1)
    return np.fmax(steps, np.nanmax(steps, initial=-np.inf) - RANGE_DB) if row.n_real > 1 else steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("windows", type=Path)
    args = parser.parse_args()
    table = pd.read_parquet(args.windows / "table.parquet")
    names = table["clip"].to_numpy()
    used = set(names[(table.kind == "real").to_numpy()])
    clips: list[Clip] = [c for c in read_corpus(args.corpus) if c.has_sound and c.path.stem in used]
    heard, landmarker = np.full((len(table), N_STEPS), np.nan, np.float32), Landmarker()
    with job_progress("clips") as bar:
        task = bar.add_task("sound", total=len(clips), note="")
        for clip in clips:
            sound, places = read_sound(clip.path), np.flatnonzero(names == clip.path.stem)
            if sound is not None:
                for place, window in zip(places, windows_of(clip, landmarker), strict=True):
                    heard[place] = loudness(sound, window.row)
            bar.advance(task)
    with atomic(args.windows / SOUND_FILE) as part, part.open("wb") as file:
        np.save(file, heard)
    n_heard = int(np.isfinite(heard).any(axis=1).sum())
    console.print(f"{n_heard} of {len(table)} windows with sound -> {args.windows / SOUND_FILE}")


if __name__ == "__main__":
    main()
