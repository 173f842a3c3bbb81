"""Peak memory of `extract` on a video and on one ten times as long."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.common import console, save
from benchmarks.videos import face_video

_JOB = """
import resource, sys, openmarlin
result = openmarlin.extract(sys.argv[1], model=sys.argv[2])
print(len(result), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak(video: Path, model: str) -> tuple[int, float]:
    """Windows, and the peak resident memory in MiB of a process that extracts them."""
    command = [sys.executable, "-c", _JOB, str(video), model]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    windows, kibibytes = map(int, output.split()[-2:])
    return windows, kibibytes / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=30, help="of the shorter video")
    parser.add_argument("--model", default="tiny")
    args = parser.parse_args()
    runs = {}
    with tempfile.TemporaryDirectory() as folder:
        for seconds in (args.seconds, 10 * args.seconds):
            windows, mib = peak(face_video(Path(folder) / "face.mp4", seconds), args.model)
            runs[seconds] = {"windows": windows, "peak_mib": mib}
            console.print(f"{seconds} s of 720p, {windows} windows: {mib:.0f} MiB")
    short, long = runs.values()
    growth = long["peak_mib"] / short["peak_mib"] - 1
    console.print(f"ten times the length: {growth:+.1%}")
    save("memory", {"model": args.model, "runs": runs, "growth": growth})


if __name__ == "__main__":
    main()
