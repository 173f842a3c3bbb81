"""Peak memory of `lipsync generate` by length: `python -m benchmarks.lipsync_memory`.

Small pictures at few a second, with as much sound as the video is long, so that an hour can be
tried. Each length is a process of its own.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.common import console, save
from benchmarks.videos import face_video
from openmarlin.video.audio import RATE
from tests.media import write_tones

SIZE, FPS = (320, 180), 2

_JOB = """
import resource, sys
from openmarlin.lipsync import generate
result = generate(sys.argv[1], sys.argv[2], out=sys.argv[3])
print(result.meta["frames"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak(folder: Path, minutes: int) -> tuple[int, float]:
    """Frames, and the peak resident memory in MiB of a process that draws them."""
    video = face_video(folder / f"{minutes}.mp4", 60 * minutes, size=SIZE, fps=FPS)
    tones = [(second, 0.7, 300) for second in range(60 * minutes)]
    sound = write_tones(folder / f"{minutes}.mkv", tones, rate=RATE, layout="mono")
    command = [sys.executable, "-c", _JOB, str(video), str(sound), str(folder / "out.mp4")]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    frames, kibibytes = map(int, output.split()[-2:])
    return frames, kibibytes / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, nargs="+", default=[1, 60])
    args = parser.parse_args()
    runs = {}
    for minutes in args.minutes:
        with tempfile.TemporaryDirectory() as folder:
            frames, mib = peak(Path(folder), minutes)
        runs[minutes] = {"frames": frames, "peak_mib": mib}
        console.print(f"{minutes} min, {frames:,} frames: {mib:.0f} MiB")
    short, long = runs[min(runs)], runs[max(runs)]
    growth = {
        "mib": long["peak_mib"] - short["peak_mib"],
        "share": long["peak_mib"] / short["peak_mib"] - 1,
    }
    console.print(f"from {min(runs)} to {max(runs)} min: {growth['share']:+.1%}")
    save("lipsync_memory", {"size": SIZE, "fps": FPS, "runs": runs, "growth": growth})


if __name__ == "__main__":
    main()
