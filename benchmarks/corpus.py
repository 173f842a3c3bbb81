"""The corpus: which clips are used, who trains and who tests; `python -m benchmarks.corpus`.

Writes a CSV of the training clips for `openmarlin prepare`. The split is by group of faces, decided
by the group's name alone, so it never changes: a fifth of the groups is held out for the probes and
never seen in pre-training.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common import console

EXCLUDED = {
    "73cd80b3": "a statue",
    "1a4af4ee": "a rendered figure",
    "f9851813": "one face stretched beyond recognition",
    "1ece35f7": "several pictures in a frame",
    "a76d6cea": "a fish",
    "e0e65909": "a classroom from afar",
    "75f351f8": "a robot",
    "f7d30499": "a painting",
    "7e893bf2": "a painting",
    "91d6fd80": "a painting",
    "d318d0d6": "a painting",
}
"""Found on contact sheets of all real clips: by the hash in the file's name."""

NOT_A_FACE = ("composite", "statue", "illustration")
"""Labels of clips that are left out as well."""


@dataclass(frozen=True)
class Clip:
    """A row of the manifest.

    Attributes:
        path: the video.
        group: people who are shown; one person may rarely be in two.
        kind: real, generated, swapped or unknown.
        source: the collection it comes from, which says much about resolution and watermarks.
        emotion: as labelled, or empty.
        has_sound: there is a sound track.
    """

    path: Path
    group: str
    kind: str
    source: str
    emotion: str
    has_sound: bool

    @property
    def held_out(self) -> bool:
        """Whether its group is kept from pre-training."""
        return is_held_out(self.group)


def is_held_out(group: str) -> bool:
    """A fifth of the groups, by name."""
    return int(hashlib.sha256(group.encode()).hexdigest(), 16) % 5 == 0


def read_corpus(folder: Path) -> list[Clip]:
    """All clips that show a face, in the order of the manifest."""
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [_clip(folder, row) for row in rows if not _left_out(row)]


def _left_out(row: dict[str, str]) -> bool:
    identity = Path(row["video"]).stem.rpartition("_")[2]
    return identity in EXCLUDED or any(word in row["labels"] for word in NOT_A_FACE)


def _clip(folder: Path, row: dict[str, str]) -> Clip:
    emotion = re.search(r"emotion=(\w+)", row["labels"])
    return Clip(
        path=folder / row["video"],
        group=row["group"],
        kind=row["kind"],
        source=Path(row["video"]).stem.rpartition("_")[0],
        emotion=emotion[1] if emotion else "",
        has_sound=row["audio"] == "1",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("corpus", type=Path, help="folder with manifest.csv and videos/")
    parser.add_argument("--out", type=Path, required=True, help="CSV of the training clips")
    args = parser.parse_args()
    real = [clip for clip in read_corpus(args.corpus) if clip.kind == "real"]
    training = [clip for clip in real if not clip.held_out]
    with args.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["video", "group"])
        writer.writerows((clip.path.resolve(), clip.group) for clip in training)
    groups, all_groups = ({clip.group for clip in some} for some in (training, real))
    console.print(
        f"{len(training)} of {len(real)} real clips, {len(groups)} of {len(all_groups)} groups, "
        f"train -> {args.out}"
    )


if __name__ == "__main__":
    main()
