"""Read randomly damaged videos until the time is up. Run by test_damage.py as its own process.

    python mutate.py SEED SECONDS FILE...

Prints how many files were read in part, in full and not at all. Anything but a VideoError, a
crash, a frame that breaks a promise or a file that takes very long ends with a non-zero status.
"""

from __future__ import annotations

import faulthandler
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from openmarlin.errors import VideoError
from openmarlin.video.reader import VideoReader

MOST_FRAMES = 400


def set_bytes(data: bytearray, rng: random.Random, end: int) -> None:
    for _ in range(rng.choice([1, 5, 50, 500])):
        data[rng.randrange(end)] = rng.randrange(256)


def anywhere(data: bytearray, rng: random.Random) -> None:
    set_bytes(data, rng, len(data))


def header(data: bytearray, rng: random.Random) -> None:
    set_bytes(data, rng, min(len(data), 2000))


def block(data: bytearray, rng: random.Random) -> None:
    start, size = rng.randrange(len(data)), rng.choice([10, 1000, len(data) // 10])
    data[start : start + size] = rng.randbytes(len(data[start : start + size]))


def cut_out(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    del data[start : start + rng.randrange(1, len(data) // 4)]


def repeat(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    data[start:start] = data[start : start + rng.randrange(1, len(data) // 4)]


DAMAGES: list[Callable[[bytearray, random.Random], None]] = [
    anywhere,
    header,
    block,
    cut_out,
    repeat,
]


def read(path: Path) -> str:
    try:
        with VideoReader(path) as video:
            before_s = float("-inf")
            for frame in video:
                assert frame.time_s > before_s
                before_s = frame.time_s
                if frame.index % 9 == 0:
                    assert frame.image.shape == (frame.height, frame.width, 3)
                if frame.index == MOST_FRAMES:
                    break
            assert all(
                "\n" not in line and len(line) < 120 for line in video.problems + video.notes
            )
            return "in part" if video.problems else "in full"
    except VideoError as error:
        if "\n" in str(error) or not str(error).startswith(f"{path}: "):
            raise
        return "not at all"


def main(seed: int, seconds: float, sources: list[Path]) -> None:
    faulthandler.enable()
    outcomes: Counter[str] = Counter()
    stop = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        for number in range(100_000):
            if time.monotonic() > stop:
                break
            rng = random.Random(f"{seed} {number}")
            source = rng.choice(sources)
            data, damage = bytearray(source.read_bytes()), rng.choice(DAMAGES)
            damage(data, rng)
            path = Path(folder) / f"damaged{source.suffix}"
            path.write_bytes(data)
            sys.stderr.write(f"{number} {source.name} {damage.__name__}\n")
            outcomes[read(path)] += 1
    sys.stdout.write(f"{dict(outcomes)}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), [Path(name) for name in sys.argv[3:]])
