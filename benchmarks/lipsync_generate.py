"""How fast `lipsync generate` is at 720p, and where the time goes.

    python -m benchmarks.lipsync_generate [--model NAME]

A video of one face gets the sound of tones. Frames a second are of the second pass (frames read,
mouths drawn and pasted, H.264); the first pass, which follows faces, is timed beside it, and a
second run with the same video takes its tracks from the cache. Each run is a process of its own,
whose largest memory is told. `--model none` gives faces back as they are: all but the model.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common import console, save
from benchmarks.videos import face_video
from openmarlin.jobs import lipsync_generate
from openmarlin.lipsync.mouth_model import Reference
from openmarlin.video.audio import Sound
from tests.media import write_tones


class Nothing:
    """A model that gives faces back as they are."""

    name, digest, size = "none", "0" * 12, 96

    def hear(self, sound: Sound, times_s: NDArray[np.float64]) -> object:  # noqa: ARG002
        return None

    def draw(
        self,
        heard: object,  # noqa: ARG002
        start: int,  # noqa: ARG002
        faces: NDArray[np.uint8],
        points: NDArray[np.float32],  # noqa: ARG002
        references: list[Reference],  # noqa: ARG002
    ) -> NDArray[np.uint8]:
        return faces


def one_run(video: Path, sound: Path, out: Path, model: str) -> None:
    """Make a result, and print what was measured as JSON."""
    if model == "none":
        lipsync_generate.load_mouth_model = lambda *_: Nothing()  # type: ignore[assignment]
    result = lipsync_generate.generate(video, sound, out=out, model=model, overwrite=True)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"frames": result.meta["frames"], **result.meta["speed"], "peak_mib": peak}))


def measured(video: Path, sound: Path, out: Path, model: str) -> dict[str, Any]:
    """`one_run` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.lipsync_generate", "--one", str(video)]
    command += [str(sound), str(out), "--model", model]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result: dict[str, Any] = json.loads(output.splitlines()[-1])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, nargs="+", default=[10, 40])
    parser.add_argument("--model", default="none")
    parser.add_argument("--one", nargs=3, type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        one_run(*arguments.one, arguments.model)
        return
    results: dict[str, Any] = {"model": arguments.model, "runs": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for seconds in arguments.seconds:
            video = face_video(folder / f"{seconds}.mp4", seconds)
            sound = write_tones(folder / "a.wav", [(0, seconds, 300)])
            for cached in (False, True):
                run = measured(video, sound, folder / "out.mp4", arguments.model)
                results["runs"].append({"seconds": seconds, "cached": cached, **run})
                stages = {key: round(value, 2) for key, value in run["took_s"].items()}
                console.print(
                    f"{seconds} s of 720p{', tracks cached' if cached else ''}: second pass "
                    f"{run['frames_per_s']:.0f} frames a second, whole {run['wall_s']:.1f} s "
                    f"({run['frames'] / run['wall_s']:.0f} frames a second), "
                    f"{run['peak_mib']:.0f} MiB; seconds {stages}"
                )
    save("lipsync_generate", results)


if __name__ == "__main__":
    main()
