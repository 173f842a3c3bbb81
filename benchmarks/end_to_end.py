"""`extract` on a 720p video with ViT-S, as a user would call it: `python -m benchmarks.end_to_end`.

Besides the time on the clock there is the processor time, which says what the machine would do if
nobody else used it. The reference cannot be run whole beside it: its face detector's weights and
its video reader (torchvision.io, since removed) cannot be had. Its encoder alone is measured on the
same number of clips, in the same run.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

import openmarlin
from benchmarks.common import REFERENCE, console, pair, save, side_by_side
from benchmarks.videos import FPS, HEIGHT, WIDTH, face_video
from openmarlin.model.io import save_folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    theirs, _ = pair("small")
    video = torch.rand(1, 3, 16, 224, 224)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        path = face_video(Path(folder) / "face.mp4", args.seconds)
        model = Path(folder) / "small"
        save_folder(openmarlin.load("small"), model)
        result = openmarlin.extract(path, model=model)
        core_s: list[float] = []

        def extract() -> None:
            start = time.process_time()
            openmarlin.extract(path, model=model)
            core_s.append(time.process_time() - start)

        jobs = {
            "extract": extract,
            "reference": lambda: theirs.extract_features(video, keep_seq=False),
        }
        seconds = side_by_side(jobs, args.rounds)
    wall_s = statistics.median(seconds["extract"])
    clip_s = statistics.median(seconds["reference"])
    windows = len(result)
    numbers = {
        "video": f"{WIDTH}x{HEIGHT}, {FPS} fps, {args.seconds} s, one face",
        "windows": windows,
        "windows_with_face": int(sum(result.table.column("ok").to_pylist())),
        "backend": result.meta["backend"],
        "precision": result.meta["precision"],
        "wall_s": wall_s,
        "times_real_time": args.seconds / wall_s,
        "core_s_a_second": statistics.median(core_s) / args.seconds,
        "reference_encoder_alone_times_real_time": args.seconds / (windows * clip_s),
        "seconds": seconds,
    }
    console.print(
        f"{numbers['video']}: {wall_s:.1f} s, {numbers['times_real_time']:.2f}x real time "
        f"({numbers['core_s_a_second']:.2f} core-seconds a second, {windows} windows, "
        f"{numbers['backend']} {numbers['precision']}); the encoder alone of "
        f"{REFERENCE}: {numbers['reference_encoder_alone_times_real_time']:.2f}x"
    )
    save("end_to_end", numbers)


if __name__ == "__main__":
    main()
