"""`extract`, `predict`, `prepare` and `pretrain` on full and read-only disks, and in 2 GiB.

    python -m benchmarks.trust_limits

Disks are tmpfs mounts, for which one must be root. A full disk is tried at several sizes: the run
must stop with one line, and go on to the result of an undisturbed one when there is room. The limit
of memory is RLIMIT_DATA: every private page that a process may write to counts, whether it is used
or not, so that it is stricter than 2 GiB of memory would be.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.trust_kill import COMPARE, Kills
from benchmarks.trust_runs import JOBS, End, Setup, leftovers, start
from benchmarks.videos import face_video
from tests.toys import toy_store

MEMORY = 2 << 30
SHARES = (0.02, 0.2, 0.4, 0.6, 0.8, 0.95)
"""Sizes of a full disk, of what the whole run writes."""

LIMIT_S = 1800.0
_ALL_READ_ONLY = ("unshare", "-m", "sh", "-c", 'mount -o remount,bind,ro / && exec "$@"', "sh")


@contextmanager
def disk(place: Path, options: str) -> Iterator[Path]:
    """A disk in memory at `place`, for as long as the block runs.

    Raises:
        PermissionError: this user may not mount.
    """
    place.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", options, "trust", place)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def _mount(*words: str | Path) -> None:
    done = subprocess.run(["mount", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise PermissionError(done.stderr.strip())


def size_kib(folder: Path) -> int:
    """What a folder takes on a disk of pages of 4 KiB."""
    sizes = [path.lstat().st_size for path in folder.rglob("*")]
    return sum(4 * -(-size // 4096) for size in sizes)


def _run(command: list[str], environment: dict[str, str]) -> End:
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    return End(done.returncode, done.stdout + done.stderr)


class Limits:
    """Runs on bad disks and in little memory.

    Args:
        folder: for everything that is made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.kills = folder, Kills(folder / "kills")

    def full_disk(self, verb: str, share: float) -> tuple[str, str]:
        """What a run says on a disk that is too small, and what is wrong with that."""
        whole, place = self.kills.whole(verb), self.folder / f"{verb}-full-{share}"
        kib = max(16, round(share * size_kib(whole.out)))
        with disk(place / "disk", f"size={kib}k") as mount:
            out = mount / "out"
            words = [verb, *self.kills.words[verb], "--out", out]
            end = start(words, place).wait(LIMIT_S)
            fault = end.fault()
            if not fault and end.code == 2 and (left := leftovers(mount, place / "temp")):
                fault = f"left over: {left[0]}"
            if fault:
                return end.line or end.log[-300:], fault
            _mount("-o", "remount,size=512m", mount)
            if end.code == 2:
                again = start([*words, "--resume"], place, name="resume").wait(LIMIT_S)
                fault = self.kills.look(verb, place / "disk", again)
            else:  # the pages of the file system count, too: it may just fit
                fault = COMPARE[verb](out, whole.out)
        shutil.rmtree(place)
        return end.line or "fits", fault

    def read_only_output(self, verb: str) -> tuple[str, str]:
        """A folder for the results that cannot be written to."""
        place = self.folder / f"{verb}-read-only"
        with disk(place / "disk", "ro,size=1m") as mount:
            words = [verb, *self.kills.words[verb], "--out", mount / "out"]
            end = start(words, place).wait(LIMIT_S)
        fault = end.fault() or ("" if end.code == 2 else f"exit code {end.code}, not 2")
        return end.line, fault

    def read_only_rest(self, verb: str) -> tuple[str, str]:
        """Only the folder of the results can be written to: not the home, not the temporary one.

        Each is a process of its own, with everything that the first start of a command does: one
        must say what it needs, and with TMPDIR in that folder the other must do all.
        """
        place = self.folder / f"{verb}-only-out"
        with disk(place / "disk", "size=512m") as mount:
            words = [sys.executable, "-m", "openmarlin", verb, *self.kills.words[verb]]
            command = list(map(str, [*_ALL_READ_ONLY, *words, "--out", mount / "out"]))
            first = _run(command, {})
            fault = first.fault()
            if not fault and (first.code != 2 or "TMPDIR" not in first.line):
                fault = f"exit code {first.code}: {first.line}"
            (mount / "temp").mkdir()
            second = _run(command, {"TMPDIR": str(mount / "temp")})
            fault = fault or self.kills.look(verb, mount, second)
        return first.line, fault

    def memory(self, name: str, words: Sequence[str | Path]) -> tuple[End, str]:
        """A run in which no process may have more than 2 GiB that it can write to."""
        place = self.folder / f"memory-{name}"
        shutil.rmtree(place, ignore_errors=True)
        end = start([*words, "--out", place / "out"], place, Setup(MEMORY)).wait(LIMIT_S)
        return end, end.fault()


def memory_words(folder: Path, long_s: int) -> dict[str, list[str | Path]]:
    """What is run in little memory, by name: models and settings are the defaults."""
    sharp = face_video(folder / "720p.mp4", 10)
    long = face_video(folder / "long.mp4", long_s, size=(320, 180), fps=10)
    store = folder / "store"
    if not store.is_dir():
        toy_store(store, tracks=8, n_frames=40, size=224, margin=16)
    recipe = Path(__file__).parents[1] / "recipes" / "pretrain_tiny_cpu.yaml"
    words: dict[str, list[str | Path]] = {}
    for name, video in (("10 s of 720p", sharp), (f"{long_s // 60} min of 320x180", long)):
        for verb in ("extract", "predict", "prepare"):
            more = ["--workers", "1"] if verb == "prepare" else []
            words[f"{verb}, {name}"] = [verb, video, *more]
    training = ["epochs=null", "steps=2", "workers=0", "per_group=null", "val_clips=4"]
    words["pretrain, the tiny recipe"] = ["pretrain", store, "--config", recipe, *training]
    words["pretrain, with batch=2"] = [*words["pretrain, the tiny recipe"], "batch=2"]
    return words


def measure(folder: Path, long_s: int) -> dict[str, Any]:
    """Try everything; rows of verb, what was tried, what it said, what was wrong."""
    limits, rows = Limits(folder), []
    for verb in JOBS:
        tried = [("disk full", *limits.full_disk(verb, share)) for share in SHARES]
        tried.append(("output read-only", *limits.read_only_output(verb)))
        tried.append(("all but the output read-only", *limits.read_only_rest(verb)))
        for kind, said, fault in tried:
            print(verb, kind, said, fault, sep=" | ", flush=True)
            said = said.replace(f"{folder}/", "")
            rows.append({"verb": verb, "kind": kind, "said": said, "fault": fault})
    memory = []
    for name, words in memory_words(folder, long_s).items():
        end, fault = limits.memory(name.replace(" ", "-"), words)
        print(name, f"{end.peak_mib:.0f} MiB", fault, sep=" | ", flush=True)
        said = fault or end.line or "done"
        memory.append({"name": name, "peak_mib": round(end.peak_mib), "said": said})
    return {"disks": rows, "memory": memory, "limit_mib": MEMORY >> 20}


def main() -> None:
    from benchmarks.common import save  # not above: every run is a fork that would import it

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--long-s", type=int, default=1200, help="seconds of the long video")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "trust-limits")
    args = parser.parse_args()
    save("trust_limits", measure(args.work, args.long_s))


if __name__ == "__main__":
    main()
