"""The talking faces of the corpus, and who trains and tests: `python -m benchmarks.lipsync_corpus`.

    python -m benchmarks.lipsync_corpus FACES FACES2 --out CLIPS.csv
    openmarlin prepare CLIPS.csv --sound --points --out STORE

Real clips with sound. The split is by group of faces, decided by the group's name alone, so it
never changes: 60 % of the groups train, 15 % choose, 25 % test.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
from collections import Counter
from pathlib import Path

from benchmarks.common import console
from benchmarks.corpus import read_corpus

OUT_OF_SYNC = ("deception-detection",)
"""Sources whose sound is early by up to 0.3 s (docs/lab/lipsync.md)."""

_SPLITS = ("test",) * 5 + ("val",) * 3 + ("train",) * 12


def split_of(group: str) -> str:
    """Where a group of faces belongs."""
    return _SPLITS[int(hashlib.sha256(group.encode()).hexdigest(), 16) % len(_SPLITS)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpora", type=Path, nargs="+", help="folders with manifest.csv")
    parser.add_argument("--out", type=Path, required=True, help="CSV of the clips")
    args = parser.parse_args()
    clips = [
        clip
        for corpus in args.corpora
        for clip in read_corpus(corpus)
        if clip.kind == "real" and clip.has_sound and clip.source not in OUT_OF_SYNC
    ]
    with args.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["video", "group", "split"])
        writer.writerows((clip.path.resolve(), clip.group, split_of(clip.group)) for clip in clips)
    for name, count in Counter(split_of(clip.group) for clip in clips).items():
        groups = {clip.group for clip in clips if split_of(clip.group) == name}
        console.print(f"{name}: {count} clips of {len(groups)} groups")


if __name__ == "__main__":
    main()
