"""Synthetic videos for tests: frames that carry their own number, written to any container."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
import av.container
import numpy as np
from av.audio.frame import AudioFrame
from numpy.typing import NDArray

Image = NDArray[np.uint8]

_BITS = 10


def numbered(n: int, width: int = 64, height: int = 48, first: int = 0) -> list[Image]:
    """n RGB frames; `number_of` reads 0, 1, ... back, even after lossy coding and turning.

    Ten columns hold the number's bits, black or white, over the upper two thirds; the lower third
    is red on the left and blue on the right, so that a turned or mirrored picture shows.
    """
    frames = []
    for number in range(first, first + n):
        image = np.zeros((height, width, 3), np.uint8)
        image[height * 2 // 3 :, : width // 2] = (220, 30, 30)
        image[height * 2 // 3 :, width // 2 :] = (30, 30, 220)
        edges = np.linspace(0, width, _BITS + 1).astype(int)
        for bit in range(_BITS):
            if number >> bit & 1:
                image[: height * 2 // 3, edges[bit] : edges[bit + 1]] = 235
        frames.append(image)
    return frames


def number_of(image: Image) -> int:
    """The number that a frame of `numbered` carries."""
    height, width = image.shape[:2]
    edges = np.linspace(0, width, _BITS + 1)
    centres = ((edges[:-1] + edges[1:]) / 2).astype(int)
    row = image[height // 4 : height // 4 + 2].mean(axis=(0, 2))
    return sum(1 << bit for bit, x in enumerate(centres) if row[x] > 128)


def write_video(
    path: Path,
    frames: Iterable[Image],
    *,
    fps: float | Fraction = 25,
    codec: str = "libx264",
    pixel_format: str = "yuv420p",
    times: Sequence[float] | None = None,
    rotation: int = 0,
    mirror: bool = False,
    audio: Literal["first", "last"] | None = None,
    interlaced: bool = False,
    color: tuple[int, int] | None = None,
    pixel_aspect: Fraction | None = None,
    options: dict[str, str] | None = None,
    container_format: str | None = None,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Write RGB or RGBA frames as a video.

    Args:
        path: the suffix chooses the container unless `container_format` is given.
        frames: uint8 (H, W, 3) or (H, W, 4).
        times: presentation times in seconds instead of fps (variable frame rate).
        rotation: degrees counter-clockwise that the display matrix asks for; the frames are
            stored as given.
        mirror: the display matrix also mirrors left and right.
        audio: a quiet tone as the first or the last stream.
        interlaced: code fields and flag the frames so (libx264, mpeg2video).
        color: matrix and range to convert with and to tag, FFmpeg's numbers
            (matrix 1 BT.709, 5 BT.601; range 1 limited, 2 full).
        pixel_aspect: width over height of a pixel, as the codec states it.
        options: options of the encoder.
        container_options: options of the container, for example {"movflags": "faststart"}.
    """
    frames = iter(frames)
    head = next(frames)
    rate = Fraction(fps).limit_denominator(100000)
    options = dict(options or {})
    if interlaced:
        options |= {"flags": "+ildct+ilme"} | ({"x264-params": "tff=1"} if "264" in codec else {})
    with av.open(
        str(path), "w", format=container_format, options=container_options or {}
    ) as container:
        tone = container.add_stream("aac", rate=16000) if audio == "first" else None
        stream = container.add_stream(codec, rate=rate, options=options)
        if audio == "last":
            tone = container.add_stream("aac", rate=16000)
        stream.width, stream.height = head.shape[1], head.shape[0]
        stream.pix_fmt = pixel_format
        stream.codec_context.thread_count = 1
        stream.codec_context.time_base = Fraction(1, 90000) if times is not None else 1 / rate
        if color is not None:
            stream.codec_context.colorspace, stream.codec_context.color_range = color
        if pixel_aspect is not None:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if rotation or mirror:
            stream.set_display_rotation(rotation, hflip=mirror)
        if tone is not None:
            _write_tone(container, tone)
        shown_s = 0.0
        for index, image in enumerate([head, *frames]):
            picture = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(image), format="rgba" if image.shape[2] == 4 else "rgb24"
            )
            if color is not None:
                picture = picture.reformat(
                    format=pixel_format, dst_colorspace=color[0], dst_color_range=color[1]
                )
            base = stream.codec_context.time_base
            shown_s = times[index] if times is not None else index / float(rate)
            picture.pts = round(shown_s / base) if times is not None else index
            picture.time_base = base
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def _write_tone(container: av.container.OutputContainer, stream: av.AudioStream) -> None:
    wave = 0.05 * np.sin(2 * np.pi * 220 * np.arange(16000) / 16000).astype(np.float32)
    for start in range(0, len(wave), 1024):
        block = np.ascontiguousarray(wave[None, start : start + 1024])
        sound = AudioFrame.from_ndarray(block, format="fltp", layout="mono")
        sound.sample_rate, sound.pts, sound.time_base = 16000, start, Fraction(1, 16000)
        container.mux(stream.encode(sound))
    container.mux(stream.encode())


def write_audio(path: Path) -> Path:
    """One second of a quiet tone, no picture."""
    with av.open(str(path), "w") as container:
        _write_tone(container, container.add_stream("aac", rate=16000))
    return path


def write_tones(
    path: Path,
    tones: Sequence[tuple[float, float, float]],
    *,
    rate: int = 48_000,
    layout: str = "stereo",
    codec: str = "pcm_s16le",
    block_samples: int = 1024,
) -> Path:
    """Sine tones, each (start time, length in seconds, frequency); the same in all channels.

    Args:
        block_samples: a packet; two that are long can overlap.
    """
    sample_format = {"pcm_s16le": "s16", "pcm_f32le": "flt", "aac": "fltp", "wavpack": "fltp"}[
        codec
    ]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        stream.codec_context.time_base = Fraction(1, rate)
        n_channels = stream.codec_context.layout.nb_channels
        for start_s, length_s, hertz in tones:
            n = round(length_s * rate)
            wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(n) / rate)
            for first in range(0, n, block_samples):
                block = np.repeat(wave[None, first : first + block_samples], n_channels, 0)
                if sample_format == "s16":
                    block = (block * 32_767).round().astype(np.int16)
                block = block.astype(np.int16 if sample_format == "s16" else np.float32)
                if not sample_format.endswith("p"):
                    block = block.T.reshape(1, -1)
                frame = AudioFrame.from_ndarray(
                    np.ascontiguousarray(block), format=sample_format, layout=layout
                )
                frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
                frame.pts = round(start_s * rate) + first
                container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
