"""How a store should be kept: JPEG or H.264, plain shards or webdataset tars. Medians, one run.

    python benchmarks/store.py [VIDEO...]

crops the faces of videos (by default the example clips), keeps them in every way, and times what a
loader worker does again and again: a random clip of 16 frames at rate 2. webdataset is optional:
`pip install webdataset`.
"""

from __future__ import annotations

import io
import json
import sys
import tarfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import cv2
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from openmarlin.data.layouts import list_sources
from openmarlin.data.store import Store, StoreWriter
from openmarlin.data.tracks import TrackRules, fill_gaps
from openmarlin.face.landmarker import Landmarker
from openmarlin.face.parser import MeshParser
from openmarlin.regions import to_cells

Frames = NDArray[np.uint8]

CLIPS, RATE, ROUNDS, MOST_FRAMES = 16, 2, 6, 100
SPAN = (CLIPS - 1) * RATE + 1
FULL_RANGE = {"src_color_range": 2, "dst_color_range": 2}
BT601 = {"src_colorspace": "ITU601", "dst_colorspace": "ITU601"}


class Jpeg:
    """Every frame by itself, as the store keeps it."""

    def __init__(self, quality: int) -> None:
        self.quality = quality

    def __str__(self) -> str:
        return f"JPEG, quality {self.quality}"

    def encode(self, frames: Frames) -> list[bytes]:
        options = [cv2.IMWRITE_JPEG_QUALITY, self.quality]
        return [cv2.imencode(".jpg", f[..., ::-1], options)[1].tobytes() for f in frames]

    def decode(self, data: list[bytes], wanted: range) -> Frames:
        out = np.empty((len(wanted), *cv2.imdecode(_u8(data[0]), 1).shape), np.uint8)
        for image, i in zip(out, wanted, strict=True):
            image[:] = cv2.imdecode(_u8(data[i]), cv2.IMREAD_COLOR_RGB)
        return out


class H264:
    """Groups of frames, each decodable by itself; full range, settings that decode fast."""

    def __init__(self, crf: int, group: int) -> None:
        self.crf, self.group = crf, group

    def __str__(self) -> str:
        return f"H.264, crf {self.crf}, key frame every {self.group}"

    def encode(self, frames: Frames) -> list[bytes]:
        codec, convert = av.CodecContext.create("libx264", "w"), VideoReformatter()
        codec.height, codec.width = frames.shape[1:3]
        codec.pix_fmt, codec.time_base, codec.thread_count = "yuvj420p", Fraction(1, 25), 1
        keys = f"keyint={self.group}:min-keyint={self.group}:scenecut=0:bframes=0:threads=1"
        codec.options = {
            "crf": str(self.crf),
            "preset": "medium",
            "tune": "fastdecode",
            "x264-params": keys,
        }
        packets = []
        for i, image in enumerate(frames):
            rgb = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame = convert.reformat(rgb, format="yuvj420p", **BT601, **FULL_RANGE)
            frame.pts = i
            packets += codec.encode(frame)
        return [bytes(packet) for packet in packets + codec.encode(None)]

    def decode(self, data: list[bytes], wanted: range) -> Frames:
        codec, convert = av.CodecContext.create("h264", "r"), VideoReformatter()
        codec.thread_count = 1
        out = []
        start = wanted[0] // self.group * self.group
        packets = []
        for i in range(start, wanted[-1] + 1):
            packet = av.Packet(data[i])
            packet.pts = i
            packets.append(packet)
        for packet in [*packets, None]:
            for frame in codec.decode(packet):
                if frame.pts in wanted:
                    rgb = convert.reformat(frame, format="rgb24", **BT601, **FULL_RANGE)
                    out.append(rgb.to_ndarray())
        return np.stack(out)


def _u8(data: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(data, np.uint8)


def crop_faces(videos: list[str], store: Path) -> list[Frames]:
    """The longest face of each video, uncompressed; and all of them with their cells as a store."""
    landmarker, tracks = Landmarker(), []
    parser, rules = MeshParser(landmarker.nets), TrackRules()
    shape = {"size": rules.size, "margin": rules.margin, "limit_s": MOST_FRAMES / 25}
    with StoreWriter(store, size=rules.size + 2 * rules.margin) as writer:
        for source in list_sources(videos):
            with source.open(landmarker, **shape) as faces:
                crops = [crop for _, _, crops in faces.ticks for crop in crops if crop.track == 0]
            if len(crops) >= SPAN:
                images = np.stack([crop.image for crop in crops])
                points = fill_gaps([crop.points for crop in crops])
                assert points is not None
                writer.add(str(source.row.video), images, to_cells(parser(images, points)))
                tracks.append(images)
    return tracks


def psnr(a: Frames, b: Frames) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(np.float32) - b) ** 2)))


class Stopwatch:
    """Milliseconds of wall and of processor time, by name."""

    def __init__(self) -> None:
        self.laps: dict[str, list[tuple[float, float]]] = {}

    def __call__(self, name: str, job: Callable[[], Frames]) -> Frames:
        wall, cpu = time.perf_counter(), time.process_time()
        result = job()
        lap = 1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu)
        self.laps.setdefault(name, []).append(lap)
        return result

    def medians(self, name: str) -> tuple[float, float]:
        wall, cpu = np.median(self.laps[name], axis=0)
        return float(wall), float(cpu)


def compare_codecs(tracks: list[Frames], rng: np.random.Generator) -> None:
    """Size, quality and time of every codec on the same random clips, in turns."""
    ways = [Jpeg(75), Jpeg(90), Jpeg(95), H264(18, 16), H264(12, 8), H264(12, 16), H264(6, 8)]
    kept = [[way.encode(frames) for frames in tracks] for way in ways]
    watch, quality = Stopwatch(), {str(way): [] for way in ways}
    for turn in range(ROUNDS):
        for number, frames in enumerate(tracks):
            first = int(rng.integers(len(frames) - SPAN + 1))
            wanted = range(first, first + SPAN, RATE)
            for way, data in zip(ways, kept, strict=True):
                read = watch(str(way), lambda w=way, d=data[number], i=wanted: w.decode(d, i))
                if turn == 0:
                    quality[str(way)].append(psnr(frames[wanted.start : wanted.stop : RATE], read))
    total = sum(map(len, tracks))
    print("| kept as | kB a frame | PSNR dB | ms a clip | CPU ms a clip |\n|---|---|---|---|---|")
    for way, data in zip(ways, kept, strict=True):
        size = sum(len(frame) for track in data for frame in track) / total / 1e3
        wall, cpu = watch.medians(str(way))
        db = np.mean(quality[str(way)])
        print(f"| {way} | {size:.1f} | {db:.1f} | {wall:.1f} | {cpu:.1f} |")


def write_tar(path: Path, store: Store, most_frames: int) -> None:
    """The tracks of a store as a webdataset shard: samples of so many frames with their cells."""
    with tarfile.open(path, "w") as tar:
        for number, track in enumerate(store.tracks):
            for first in range(0, track.n_frames - SPAN + 1, most_frames):
                frames = range(first, min(first + most_frames, track.n_frames))
                if len(frames) < SPAN:
                    continue
                images, cells = store.read(number, frames)
                jpegs = Jpeg(90).encode(images)
                head = json.dumps([len(jpeg) for jpeg in jpegs]).encode()
                files = {"json": head, "jpegs": b"".join(jpegs), "cells": cells.tobytes()}
                for kind, data in files.items():
                    info = tarfile.TarInfo(f"{number:04d}_{first:06d}.{kind}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))


def compare_shards(store: Store, rng: np.random.Generator, folder: Path) -> None:
    """A random clip from the indexed store, and from tars streamed through a shuffle buffer."""
    watch = Stopwatch()
    for _ in range(20 * ROUNDS):
        number = int(rng.integers(len(store)))
        first = int(rng.integers(store.tracks[number].n_frames - SPAN + 1))
        watch("indexed", lambda n=number, f=first: store.read(n, range(f, f + SPAN, RATE))[0])
    print("\n| shards | ms a clip | CPU ms a clip |\n|---|---|---|")
    print("| indexed store, any clip | {:.1f} | {:.1f} |".format(*watch.medians("indexed")))
    try:
        import webdataset as wds
    except ImportError:
        print("| webdataset | not installed | |")
        return
    for most in (MOST_FRAMES, SPAN):
        write_tar(folder / "shard.tar", store, most)
        stream = wds.WebDataset(
            str(folder / "shard.tar"), shardshuffle=False, empty_check=False
        ).shuffle(8)

        def clip(samples: object = iter(stream.repeat())) -> Frames:
            sample = next(samples)  # type: ignore[call-overload]
            sizes = json.loads(sample["json"])
            ends = np.cumsum([0, *sizes])
            first = int(rng.integers(len(sizes) - SPAN + 1))
            wanted = range(first, first + SPAN, RATE)
            jpegs = {i: sample["jpegs"][ends[i] : ends[i + 1]] for i in wanted}
            cells = np.frombuffer(sample["cells"], np.uint16).reshape(len(sizes), -1)
            cells[list(wanted)].copy()
            return np.stack([cv2.imdecode(_u8(d), cv2.IMREAD_COLOR_RGB) for d in jpegs.values()])

        for _ in range(20 * ROUNDS):
            watch(f"tar {most}", clip)
        told = "{:.1f} | {:.1f}".format(*watch.medians(f"tar {most}"))
        print(f"| webdataset, samples of up to {most} frames | {told} |")


def main() -> None:
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    with TemporaryDirectory() as name:
        folder = Path(name)
        tracks = crop_faces(sys.argv[1:] or ["examples/clips"], folder / "store")
        size = tracks[0].shape[1]
        print(f"{len(tracks)} faces, {sum(map(len, tracks))} frames of {size} px\n")
        compare_codecs(tracks, rng)
        compare_shards(Store(folder / "store"), rng, folder)


if __name__ == "__main__":
    main()
