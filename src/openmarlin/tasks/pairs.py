"""Fakes and the real videos they were made of, side by side in a batch.

What tells two clips of one person in one place apart is the manipulation and little else, so
training on pairs leaves a detector less to learn of people, places and encodings.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import PurePath

import numpy as np

from openmarlin.data.dataset import Key
from openmarlin.errors import InputError

Pair = tuple[int, int]
"""Positions of a fake and of its real."""


class PairStream:
    """An endless row of keys: fake, its real, fake, its real; in every epoch each fake once.

    Where several fakes share a real, it is seen once with each of them, and is drawn anew: the
    first number of a key counts draws, of which an epoch has as many as the busiest real needs.

    Args:
        pairs: positions of a fake and its real.
        seed: of the orders.

    Raises:
        InputError: there are no pairs.
    """

    together = 2
    """Keys that belong together, see `KeyStream`."""

    def __init__(self, pairs: Sequence[Pair], seed: int) -> None:
        if not pairs:
            raise InputError("no fake has its real among the videos: nothing to pair")
        self.seed, self._pairs = seed, np.array(pairs, np.int64)
        if len(np.unique(self._pairs[:, 0])) < len(pairs):
            raise ValueError("a fake in two pairs")
        seen: Counter[int] = Counter()
        turns = []
        for _, real in pairs:  # which fake of its real each is
            turns.append(seen[real])
            seen[real] += 1
        self._turns, self._draws = np.array(turns), max(seen.values())
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def __len__(self) -> int:
        """Keys in an epoch: two a pair."""
        return 2 * len(self._pairs)

    def __call__(self, first: int, count: int) -> list[Key]:
        """Keys number first .. first + count - 1."""
        return [self._key(position) for position in range(first, first + count)]

    def _key(self, position: int) -> Key:
        epoch, place = divmod(position, len(self))
        if epoch != self._epoch:
            rng = np.random.default_rng([self.seed, epoch])
            self._epoch, self._order = epoch, rng.permutation(len(self._pairs))
        which, is_real = self._order[place // 2], place % 2
        turn = int(self._turns[which]) if is_real else 0
        return epoch * self._draws + turn, int(self._pairs[which, is_real])


def pairs_by_original(
    videos: Sequence[str], originals: Sequence[str | None], start_s: Sequence[float] | None = None
) -> tuple[list[Pair], list[int]]:
    """Pair rows by a column that names the real video of each fake.

    Args:
        videos: of every row, a path.
        originals: of every row, the path of the real video; empty or None for a real one. As in
            `videos`, or its last parts where these are those of one video only.
        start_s: when each row begins; of a video of several rows the nearest is taken.

    Returns:
        Pairs of rows (fake, real), and the rows of fakes whose real is not there.
    """
    find = _finder(videos)
    reals = {row: find(text) for row, text in enumerate(originals) if text}
    return _paired(reals, videos, start_s)


def pairs_by_group(
    videos: Sequence[str],
    groups: Sequence[str],
    fakes: Sequence[bool],
    start_s: Sequence[float] | None = None,
) -> tuple[list[Pair], list[int]]:
    """Pair rows by a column whose values name one real video and its fakes.

    Args:
        videos: of every row, a path.
        groups: of every row; one that has no real video, or several, is not paired.
        fakes: whether each row is fake.
        start_s: when each row begins; of a video of several rows the nearest is taken.

    Returns:
        Pairs of rows (fake, real), and the rows of fakes that have no real of their own.
    """
    by_group: defaultdict[str, dict[str, None]] = defaultdict(dict)
    for video, group, fake in zip(videos, groups, fakes, strict=True):
        if not fake:
            by_group[group][video] = None
    only = {group: next(iter(names)) for group, names in by_group.items() if len(names) == 1}
    reals = {row: only.get(groups[row]) for row, fake in enumerate(fakes) if fake}
    return _paired(reals, videos, start_s)


def _paired(
    reals: dict[int, str | None], videos: Sequence[str], start_s: Sequence[float] | None
) -> tuple[list[Pair], list[int]]:
    """For rows of fakes and their real videos: the row of that video which begins the nearest."""
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for row, video in enumerate(videos):
        rows[video].append(row)
    starts = np.zeros(len(videos)) if start_s is None else np.asarray(start_s, float)
    pairs = []
    for fake, real in reals.items():
        if real is not None:
            own = rows[real]
            nearest = int(np.abs(starts[own] - starts[fake]).argmin())
            pairs.append((fake, own[nearest]))
    return pairs, [fake for fake, real in reals.items() if real is None]


def _finder(videos: Sequence[str]) -> Callable[[str], str | None]:
    """Looks up a video by its path, or by the last parts of it."""
    whole = set(videos)
    by_name: defaultdict[str, list[tuple[str, tuple[str, ...]]]] = defaultdict(list)
    for video in whole:
        path = PurePath(video)
        by_name[path.name].append((video, path.parts))

    def find(text: str) -> str | None:
        if text in whole:
            return text
        parts = tuple(part for part in PurePath(text).parts if part not in ("..", "."))
        ends = [v for v, own in by_name[PurePath(text).name] if own[-len(parts) :] == parts]
        return ends[0] if len(ends) == 1 else None

    return find
