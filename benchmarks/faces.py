"""How fast `faces` is on one core and on two: `python -m benchmarks.faces`.

Pictures of a 720p video are held in memory, so that what is timed is everything but decoding:
finding and following, mesh, head pose, expressions, table. Processes are bound to cores (Linux).
Beside the time on the clock there is the processor time, which says what the machine would do if
nobody else used it. Then the verb as a user calls it, decoding, start and report included.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2

from benchmarks.common import console, save
from benchmarks.videos import EXAMPLES, FPS, HEIGHT, WIDTH, face_video
from openmarlin.data.face_reader import FaceMeasuring, FaceSampling
from openmarlin.data.manifest import Row
from openmarlin.face.landmarker import DETECT_EVERY, Landmarker
from openmarlin.jobs.faces import faces
from openmarlin.native import one_opencv_thread
from openmarlin.video.reader import Frame, VideoReader

N_FRAMES = 600


def memory_frames(n: int) -> list[Frame]:
    """Frames of an example clip at 720p, forth and back without a jump."""
    with VideoReader(EXAMPLES / "single_face.mp4") as video:
        images = [cv2.resize(frame.image, (WIDTH, HEIGHT)) for frame in video]
    images += images[-2:0:-1]
    return [Frame(i, i / FPS, WIDTH, HEIGHT, lambda i=i: images[i % len(images)]) for i in range(n)]


def measure(n: int, rounds: int) -> dict[str, list[float]]:
    """Frames a second, on the clock and of processor time, of every round, in this process."""
    landmarker, frames = Landmarker(detect_every=DETECT_EVERY), memory_frames(n)
    rates: dict[str, list[float]] = {"wall": [], "processor": []}
    with one_opencv_thread():
        for turn in range(rounds + 1):
            wall_s, core_s = time.perf_counter(), time.process_time()
            for _ in FaceMeasuring(Row(Path("memory")), FaceSampling(), landmarker).tables(
                frames, FPS
            ):
                pass
            if turn:  # the first one compiles the nets
                rates["wall"].append(n / (time.perf_counter() - wall_s))
                rates["processor"].append(n / (time.process_time() - core_s))
    return rates


def on_cores(cores: list[int], rounds: int) -> list[dict[str, list[float]]]:
    """`measure` at the same time in a process for each core."""
    command = [sys.executable, "-m", "benchmarks.faces", "--rounds", str(rounds), "--core"]
    processes = [
        subprocess.Popen([*command, str(core)], stdout=subprocess.PIPE, text=True) for core in cores
    ]
    return [json.loads(process.communicate()[0].splitlines()[-1]) for process in processes]


def verb(seconds: int, workers: int) -> dict[str, float]:
    """`faces` on as many 720p videos as workers."""
    with tempfile.TemporaryDirectory() as folder:
        video = face_video(Path(folder) / "0.mp4", seconds)
        videos = [video, *(Path(folder) / f"{i}.mp4" for i in range(1, workers))]
        for copy in videos[1:]:
            copy.write_bytes(video.read_bytes())
        start = os.times()
        result = faces(videos, out=Path(folder) / "out", workers=workers)
        spent = os.times()
    core_s = sum(spent[:4]) - sum(start[:4])
    frames = result.meta["counts"]["frames"]
    return {
        "frames": frames,
        "wall_s": spent.elapsed - start.elapsed,
        "frames_per_s": frames / (spent.elapsed - start.elapsed),
        "core_ms_a_frame": 1e3 * core_s / frames,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--core", type=int, help="used by this program itself")
    args = parser.parse_args()
    if args.core is not None:
        os.sched_setaffinity(0, {args.core})
        print(json.dumps(measure(N_FRAMES, args.rounds)))
        return
    results: dict[str, Any] = {"frames": N_FRAMES, "size": [WIDTH, HEIGHT], "in_memory": {}}
    for cores in ([0], [0, 1]):
        runs = on_cores(cores, args.rounds)
        total = {
            kind: sum(statistics.median(run[kind]) for run in runs)
            for kind in ("wall", "processor")
        }
        results["in_memory"][str(len(cores))] = {"frames_per_s": total, "runs": runs}
        console.print(
            f"{len(cores)} cores, without decoding: {total['wall']:.0f} frames a second on the "
            f"clock, {total['processor']:.0f} of processor time"
        )
    results["verb"] = {str(n): verb(args.seconds, n) for n in (1, 2)}
    for workers, run in results["verb"].items():
        console.print(
            f"faces, {workers} videos and workers: {run['frames_per_s']:.0f} frames a second on "
            f"the clock, {run['core_ms_a_frame']:.1f} core-ms a frame"
        )
    save("faces", results)


if __name__ == "__main__":
    main()
