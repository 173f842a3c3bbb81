"""How good lip-sync experts are on held-out speakers: `python -m benchmarks.lipsync_expert`.

    python -m benchmarks.lipsync_expert STORE --runs points=RUN1 mouth=RUN2

Judges the clips of the store's split `test` that the rule of `openmarlin.lipsync.experts.judge`
takes, beside a baseline that learns nothing: the correlation of the opening of the mouth with the
loudness of the sound. Intervals: the bootstrap over groups of faces.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import RESULTS, console, save
from openmarlin.data.store import Store
from openmarlin.lipsync.experts.data import is_judgeable
from openmarlin.lipsync.experts.judge import JudgedClip, judge, measures
from openmarlin.lipsync.experts.mouth_view import POINTS
from openmarlin.lipsync.experts.network import WINDOW
from openmarlin.lipsync.experts.own import load_own
from openmarlin.lipsync.experts.talks import Talks
from openmarlin.lipsync.offsets import TICK_RATE
from openmarlin.lipsync.store_tracks import track_sound

Floats = NDArray[np.float32]
Embed = Callable[[Talks, int], tuple[Floats, Floats]]

NAMES = ("within_0", "within_1", "within_2", "within_1_surest_third", "auc")
_RESAMPLES = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("--runs", nargs="*", default=[], metavar="NAME=RUN")
    parser.add_argument("--split", default="test")
    parser.add_argument("--views", type=Path, help="a run folder that has the pictures of mouths")
    options = parser.parse_args()
    experts = {"opening and loudness, nothing learnt": correlation}
    for named in options.runs:
        name, _, run = named.partition("=")
        experts[name] = _embedder(Path(run))
    with TemporaryDirectory() as folder:
        talks = Talks(Store(options.store), options.views or Path(folder))
        splits = talks.store.columns["split"]
        chosen = [i for i, n in enumerate(talks.numbers) if splits[n] == options.split]
        judged = [i for i in chosen if is_judgeable(talks, i)]
        groups = [talks.track(i).group for i in judged]
        rows = {
            name: _row([judge(*embed(talks, i)) for i in judged], groups)
            for name, embed in experts.items()
        }
    content = {
        "split": options.split,
        "clips": len(judged),
        "groups": len(set(groups)),
        "minutes": sum(talks.n_ticks[i] for i in judged) / TICK_RATE / 60,
        "left_out": len(chosen) - len(judged),
        "rows": rows,
    }
    save("lipsync_expert", content)
    for name, row in rows.items():
        told = ", ".join(
            f"{key} {row[key][0]:.2f} [{row[key][1]:.2f}, {row[key][2]:.2f}]" for key in NAMES
        )
        console.print(f"{name}: {told}")
    console.print(f"{len(judged)} clips, {len(set(groups))} groups -> {RESULTS}")


def _embedder(run: Path) -> Embed:
    expert = load_own(run / "model" if (run / "model").is_dir() else run)

    def embed(talks: Talks, index: int) -> tuple[Floats, Floats]:
        faces = expert.embed_faces(talks.views(index))
        sound = track_sound(talks.store, talks.numbers[index])
        return faces, expert.embed_sound(sound, 0.0, len(faces))

    return embed


def correlation(talks: Talks, index: int) -> tuple[Floats, Floats]:
    """Windows of opening and of loudness, each of mean 0 and length 1: distance is correlation."""
    points = talks.views(index)["points"]
    opening = points[:, POINTS.index(14), 1] - points[:, POINTS.index(13), 1]
    loudness = talks.mel(index).mean(axis=0)[: 4 * len(opening)].reshape(-1, 4).mean(axis=1)
    return _windows(opening), _windows(loudness)


def _windows(curve: Floats) -> Floats:
    windows = np.lib.stride_tricks.sliding_window_view(curve, WINDOW)
    centred = windows - windows.mean(axis=1, keepdims=True)
    return np.asarray(centred / (np.linalg.norm(centred, axis=1, keepdims=True) + 1e-6), np.float32)


def _row(clips: Sequence[JudgedClip], groups: Sequence[str]) -> dict[str, Any]:
    """Every measure with its interval."""
    rng = np.random.default_rng(0)
    places: dict[str, list[int]] = {}
    for i, group in enumerate(groups):
        places.setdefault(group, []).append(i)
    members, values = list(places.values()), measures(clips)
    draws = []
    for _ in range(_RESAMPLES):
        drawn = [i for g in rng.integers(len(members), size=len(members)) for i in members[g]]
        draws.append(measures([clips[i] for i in drawn]))
    return {
        name: (values[name], *np.percentile([draw[name] for draw in draws], (2.5, 97.5)))
        for name in NAMES
    }


if __name__ == "__main__":
    main()
