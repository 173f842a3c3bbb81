"""Small good files, and ways to damage them: the material of benchmarks/trust_fuzz.py."""

from __future__ import annotations

import json
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.videos import EXAMPLES
from tests.media import write_audio, write_video
from tests.video.mutate import DAMAGES

Damage = Callable[[bytearray, random.Random], None]
"""Changes bytes in place."""

EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
_HEAD = 4096


def flip_bits(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice([1, 8, 64, 512])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def cut_short(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(1, len(data)) :]


def lose_beginning(data: bytearray, rng: random.Random) -> None:
    del data[: rng.randrange(1, len(data))]


def zero_block(data: bytearray, rng: random.Random) -> None:
    start, size = rng.randrange(len(data)), rng.choice([64, 4096, 1 + len(data) // 3])
    data[start : start + size] = bytes(len(data[start : start + size]))


def swap_blocks(data: bytearray, rng: random.Random) -> None:
    size = rng.randrange(1, 1 + len(data) // 3)
    first = rng.randrange(len(data) - 2 * size + 1)
    second = rng.randrange(first + size, len(data) - size + 1)
    one, other = data[first : first + size], data[second : second + size]
    data[first : first + size], data[second : second + size] = other, one


def header_fields(data: bytearray, rng: random.Random) -> None:
    """Whole numbers of 1 to 8 bytes in the first or last kilobytes become extreme ones."""
    for _ in range(rng.choice([1, 2, 5])):
        size = rng.choice([1, 2, 4, 8])
        near = rng.randrange(min(_HEAD, len(data)))
        at = near if rng.random() < 0.6 else len(data) - 1 - near
        number = rng.choice(EXTREMES) % 256**size
        data[at : at + size] = number.to_bytes(size, "big")[: len(data[at : at + size])]


def names_of_boxes(data: bytearray, rng: random.Random) -> None:
    """The sizes and names of mp4 boxes and Matroska elements, wherever they are."""
    names = [b"moov", b"trak", b"stts", b"stsz", b"stco", b"mdat", b"avcC", b"tkhd", b"mdhd"]
    names += [b"stsd", b"elst", b"ctts", b"\x1a\x45\xdf\xa3", b"\x16\x54\xae\x6b", b"\x1f\x43\xb6"]
    names += [b"RIFF", b"strh", b"strf", b"movi", b"idx1", b"FLV\x01"]
    places = [at for name in names if (at := data.find(name)) >= 0]
    at = max(0, rng.choice(places or [0]) + rng.randrange(-4, 32))
    data[at : at + 4] = rng.choice(EXTREMES).to_bytes(4, "big")


def several(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.randrange(2, 5)):
        if len(data) > 64:
            rng.choice(BYTES)(data, rng)


_EARLIER = {"anywhere": "bytes", "header": "header bytes", "block": "block of noise"}
_EARLIER |= {"cut_out": "block removed", "repeat": "block doubled"}
BYTES: tuple[Damage, ...] = (
    *DAMAGES,
    *(flip_bits, cut_short, lose_beginning, zero_block, swap_blocks),
    *(header_fields, names_of_boxes),
)


def name_of(damage: Damage) -> str:
    """Of a damage, for a table."""
    return _EARLIER.get(damage.__name__, damage.__name__.replace("_", " "))


def face_frames(count: int, width: int, height: int) -> list[NDArray[np.uint8]]:
    """RGB frames that a face fills, out of an example clip."""
    frames = []
    with av.open(str(EXAMPLES / "single_face.mp4")) as source:
        for frame in source.decode(video=0):
            image = frame.to_ndarray(format="rgb24")
            side = image.shape[0]
            middle = image[:, (image.shape[1] - side) // 2 :][:, :side]
            whole = cv2.resize(middle, (height, height), interpolation=cv2.INTER_AREA)
            sides = ((width - height) // 2, width - height - (width - height) // 2)
            frames.append(cv2.copyMakeBorder(whole, 0, 0, *sides, cv2.BORDER_REPLICATE))
            if len(frames) == count:
                break
    return frames


def write_clips(folder: Path) -> list[Path]:
    """Second-long clips of a face, 160 x 120, in the containers and codecs that people have."""
    folder.mkdir(parents=True, exist_ok=True)
    frames = face_frames(25, 160, 120)
    odd = [frame[:119, :159] for frame in frames[:10]]
    pauses = [0.04 * i + 0.3 * (i > 9) + 0.013 * (i % 3) for i in range(len(frames))]
    jpeg = {"codec": "mjpeg", "pixel_format": "yuvj420p"}
    clips = {
        "h264.mp4": {},
        "sound.mp4": {"audio": "last"},
        "fragments.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
        "turned.mp4": {"rotation": 90},
        "vfr.mkv": {"times": pauses},
        "vp9.webm": {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "deadline": "realtime"}},
        "mjpeg.avi": jpeg,
        "mpeg4.mov": {"codec": "mpeg4", "audio": "first"},
        "hevc.mkv": {
            "codec": "libx265",
            "options": {"preset": "ultrafast", "x265-params": "log-level=none"},
        },
        "mpeg2.ts": {"codec": "mpeg2video"},
        "flv.flv": {"codec": "flv"},
        "interlaced.mkv": {"interlaced": True},
    }
    made = [write_video(folder / name, frames, **how) for name, how in clips.items()]  # type: ignore[arg-type]
    made.append(write_video(folder / "odd.mkv", odd, codec="ffv1", pixel_format="yuv444p"))
    made.append(write_video(folder / "picture.gif", frames[:8], codec="gif", pixel_format="rgb8"))
    return made


def other_formats(folder: Path) -> list[bytes]:
    """What is no video, or only names one."""
    folder.mkdir(parents=True, exist_ok=True)
    image = face_frames(1, 160, 120)[0]
    archive = folder / "archive.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("zeros", bytes(1 << 20))
    return [
        b"",
        b"\0",
        bytes(4096),
        "not a video: \N{FULL BLOCK}\n".encode() * 40,
        b"<!DOCTYPE html><html><body>404</body></html>",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n",
        b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
        b"ffconcat version 1.0\nfile 00-good.mp4\n",
        b"%PDF-1.4\n%%EOF\n",
        json.dumps({"video": "a.mp4"}).encode(),
        archive.read_bytes(),
        *(cv2.imencode(suffix, image)[1].tobytes() for suffix in (".png", ".jpg", ".webp")),
        write_audio(folder / "sound.m4a").read_bytes(),
        write_audio(folder / "sound.mka").read_bytes(),
    ]


class Videos:
    """Damaged videos by number: the same number gives the same file.

    Args:
        clips: good ones.
        others: contents of files that are no videos.
    """

    def __init__(self, clips: list[Path], others: list[bytes]) -> None:
        self.clips = [(clip.suffix, clip.read_bytes()) for clip in clips]
        self.others = others
        self._ways = [self._damaged] * 14
        self._ways += [self._several, self._joined, self._renamed, self._random, self._other]

    def make(self, number: int) -> tuple[str, str, bytes]:
        """Name and bytes of file `number`, and what was done to it in between."""
        rng = random.Random(f"video {number}")
        kind, suffix, data = rng.choice(self._ways)(rng)
        return f"{number:05d}{suffix}", kind, data

    def _damaged(self, rng: random.Random) -> tuple[str, str, bytes]:
        suffix, good = rng.choice(self.clips)
        damage, data = rng.choice(BYTES), bytearray(good)
        damage(data, rng)
        return name_of(damage), suffix, bytes(data)

    def _several(self, rng: random.Random) -> tuple[str, str, bytes]:
        suffix, good = rng.choice(self.clips)
        data = bytearray(good)
        several(data, rng)
        return "several of these", suffix, bytes(data)

    def _joined(self, rng: random.Random) -> tuple[str, str, bytes]:
        (suffix, first), (_, second) = rng.choice(self.clips), rng.choice(self.clips)
        if rng.random() < 0.5:
            first, second = first[: len(first) // 2], second[len(second) // 2 :]
        return "two files joined", suffix, first + second

    def _renamed(self, rng: random.Random) -> tuple[str, str, bytes]:
        suffixes = sorted({suffix for suffix, _ in self.clips} | {".wmv", ".mxf", ".3gp", ".ogv"})
        return "wrong suffix", rng.choice(suffixes), rng.choice(self.clips)[1]

    def _random(self, rng: random.Random) -> tuple[str, str, bytes]:
        suffix, good = rng.choice(self.clips)
        head = good[: rng.choice([0, 0, 16, 512])]
        return "random bytes", suffix, head + rng.randbytes(rng.choice([1, 100, 20_000]))

    def _other(self, rng: random.Random) -> tuple[str, str, bytes]:
        return "another format", rng.choice(self.clips)[0], rng.choice(self.others)
