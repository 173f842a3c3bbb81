"""How often the offsets that `lipsync score` calls sure are right.

    python -m benchmarks.lipsync_certainty STORE RUN --splits val test

Tracks that an expert never saw (the store's column `split` says which), scored as `lipsync score`
does it, once with their own sound, taken to be in sync, and once with that of a track of other
people, where there is nothing to find. By threshold: how many are called sure, and how many of
these are within one frame and two. Of those further off, how many are where the correlation of the
opening of the mouth with the loudness, which learns nothing, has its peak, within two frames: then
the clip is out of sync, and the expert right. Intervals: the bootstrap over groups of faces.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rich.table import Table

from benchmarks.common import console, save
from benchmarks.lipsync_expert import correlation
from openmarlin.data.store import Store
from openmarlin.lipsync.expert import Expert
from openmarlin.lipsync.experts.own import load_own
from openmarlin.lipsync.experts.talks import Talks
from openmarlin.lipsync.offsets import MAX_SHIFT, measure_offset
from openmarlin.lipsync.scoring import mean_interval
from openmarlin.lipsync.speech import speech_mask
from openmarlin.lipsync.store_tracks import track_sound
from openmarlin.lipsync.talkers import Stretch
from openmarlin.lipsync.track_score import LEAST_WINDOWS, SURE, TrackDistances, TrackScore
from openmarlin.video.audio import Sound

NEAR = 2
THRESHOLDS = (0.8, 0.9, SURE, 0.99)


@dataclass(frozen=True)
class Trial:
    """A track with some sound.

    Attributes:
        group: whom it shows.
        ticks: the offset that is found.
        certainty: of it; 0 where it cannot be sure for another reason.
        unlearnt_ticks: the offset by the correlation of opening and loudness.
    """

    group: str
    ticks: int
    certainty: float
    unlearnt_ticks: int


def scored(talks: Talks, index: int, sound: Sound, expert: Expert) -> TrackScore:
    """A track as `lipsync score` scores it."""
    views = talks.views(index)
    one = TrackDistances(expert, sound, speech_mask(sound))
    boxes, seen = np.zeros((len(views), 4), np.float32), np.ones(len(views), bool)
    one.add(Stretch(0, 0, 0.0, views, boxes, seen))
    return one.score(0)


def trials(talks: Talks, chosen: Sequence[int], expert: Expert, *, own: bool) -> list[Trial]:
    """The tracks with their own sound, or each with that of the next track of another group."""
    result = []
    for place, index in enumerate(chosen):
        giver = index
        if not own:
            later = [*chosen[place + 1 :], *chosen[:place]]
            group, n_ticks = talks.track(index).group, talks.n_ticks
            others = [i for i in later if talks.track(i).group != group]
            giver = next((i for i in others if n_ticks[i] >= n_ticks[index]), -1)
            if giver < 0:
                continue
        sound = track_sound(talks.store, talks.numbers[giver])
        score = scored(talks, index, sound, expert)
        if "valid" not in score.scores or {"no speech", "no sound"} & set(score.flags):
            continue
        ticks = score.scores["valid"].ticks
        certainty = score.certainty if abs(ticks) < MAX_SHIFT else 0.0
        unlearnt = measure_offset(*correlation(talks, index)).ticks if own else 0
        result.append(Trial(talks.track(index).group, ticks, certainty, unlearnt))
    return result


def row(own: Sequence[Trial], other: Sequence[Trial], threshold: float) -> dict[str, Any]:
    """What a threshold does."""
    sure = [trial for trial in own if trial.certainty >= threshold]
    groups = [trial.group for trial in sure]
    off = [trial for trial in sure if abs(trial.ticks) > NEAR]
    within = {
        f"within_{most}": mean_interval([abs(t.ticks) <= most for t in sure], groups)
        for most in (1, NEAR)
    }
    return {
        "threshold": threshold,
        "sure": len(sure),
        "groups": len(set(groups)),
        **within,
        "off": len(off),
        "off_confirmed": sum(abs(t.ticks - t.unlearnt_ticks) <= NEAR for t in off),
        "sure_of_another": sum(trial.certainty >= threshold for trial in other),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--splits", nargs="+", default=["val", "test"])
    options = parser.parse_args()
    run = options.run
    expert = load_own(run / "model" if (run / "model").is_dir() else run)
    results: dict[str, Any] = {}
    with TemporaryDirectory() as folder:
        has_views = (run / "views.npy").is_file()
        talks = Talks(Store(options.store), run if has_views else Path(folder))
        splits = talks.store.columns["split"]
        for split in options.splits:
            chosen = [
                index
                for index, number in enumerate(talks.numbers)
                if splits[number] == split
                and talks.n_ticks[index] >= LEAST_WINDOWS + expert.window - 1
            ]
            own, other = (trials(talks, chosen, expert, own=flag) for flag in (True, False))
            rows = [row(own, other, threshold) for threshold in THRESHOLDS]
            results[split] = {"tracks": len(own), "with_another": len(other), "rows": rows}
            show(split, results[split])
    save("lipsync_certainty", results)


def show(split: str, result: dict[str, Any]) -> None:
    title = f"{split}: {result['tracks']} tracks; {result['with_another']} with another's sound"
    heads = "certainty", "sure", "groups", "within 1", "2", "off, confirmed", "sure of another's"
    table = Table(*heads, title=title)
    for line in result["rows"]:
        within = ("{:.2f} [{:.2f}, {:.2f}]".format(*line[f"within_{most}"]) for most in (1, NEAR))
        counts = str(line["sure"]), str(line["groups"])
        off = f"{line['off']}, {line['off_confirmed']}"
        other = str(line["sure_of_another"])
        table.add_row(f"{line['threshold']:.2f}", *counts, *within, off, other)
    console.print(table)


if __name__ == "__main__":
    main()
