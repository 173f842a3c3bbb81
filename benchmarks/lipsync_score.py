"""How fast `lipsync score` is: `python -m benchmarks.lipsync_score [VIDEO] [--rounds N]`.

A 720p video is scored by one process, and as many copies as there are cores by as many processes;
and where the time of one goes: faces that are followed alone, and with the expert. Without VIDEO it
is an example clip with noise as its sound, which costs as much as speech.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame

from benchmarks.common import console, save
from benchmarks.videos import face_video
from openmarlin.jobs.lipsync_score import score
from openmarlin.lipsync.scoring import open_expert, score_video, steady_landmarker
from openmarlin.lipsync.shipped import DEFAULT_EXPERT
from openmarlin.lipsync.talkers import read_talkers
from openmarlin.native import one_opencv_thread
from openmarlin.video.audio import RATE
from openmarlin.video.reader import VideoReader

SECONDS = 20


def talking_video(path: Path, seconds: int) -> Path:
    """An example face at 720p with noise that comes and goes."""
    silent = face_video(path.with_stem("silent"), seconds)
    swell = 0.5 + 0.5 * np.sin(2 * np.pi * 4 * np.arange(seconds * RATE) / RATE)
    samples = 9000 * swell * np.random.default_rng(0).uniform(-1, 1, seconds * RATE)
    with av.open(str(silent)) as source, av.open(str(path), "w") as out:
        pictures = out.add_stream_from_template(source.streams.video[0])
        sound = out.add_stream("aac", rate=RATE, layout="mono")
        block = np.ascontiguousarray(samples.astype(np.int16)[None])
        frame = AudioFrame.from_ndarray(block, "s16", "mono")
        frame.sample_rate = RATE
        out.mux([*sound.encode(frame), *sound.encode()])
        for packet in source.demux(0):
            if packet.dts is not None:
                packet.stream = pictures
                out.mux(packet)
    return path


def inside(video: Path, rounds: int) -> dict[str, Any]:
    """Seconds of following alone and of scoring, taken in turns, after a round that compiles."""
    expert, landmarker = open_expert(DEFAULT_EXPERT), steady_landmarker()
    seconds: dict[str, list[float]] = {"following": [], "scoring": []}
    with one_opencv_thread():
        for turn in range(rounds + 1):
            start = time.perf_counter()
            with VideoReader(video) as reader:
                for _ in read_talkers(reader, landmarker, expert.view, margin=expert.margin):
                    pass
            middle = time.perf_counter()
            score_video(video, expert, landmarker)
            if turn:
                seconds["following"].append(middle - start)
                seconds["scoring"].append(time.perf_counter() - middle)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {**medians, "rounds": seconds}


def verb(video: Path, workers: int) -> Mapping[str, float]:
    """The verb as a user calls it, start included: as many videos as workers."""
    with tempfile.TemporaryDirectory() as folder:
        copies = [Path(folder) / f"{i}{video.suffix}" for i in range(workers)]
        for copy in copies:
            copy.write_bytes(video.read_bytes())
        result = score(copies, out=Path(folder) / "out", workers=workers)
    throughput: Mapping[str, float] = result.meta["throughput"]
    return throughput


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        video = arguments.video or talking_video(Path(folder) / "talk.mp4", SECONDS)
        cores = os.cpu_count() or 1
        results = {
            "inside": inside(video, arguments.rounds),
            "verb": {str(n): verb(video, n) for n in sorted({1, cores})},
        }
    for workers, speed in results["verb"].items():
        console.print(f"{workers} processes: {speed['times_real_time']:.1f} times real time")
    times = results["inside"]
    share = times["following"] / times["scoring"]
    console.print(f"{100 * share:.0f} % of scoring is decoding and following faces")
    save("lipsync_score", results)


if __name__ == "__main__":
    main()
