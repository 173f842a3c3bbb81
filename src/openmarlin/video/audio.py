"""The sound of a video: 16 kHz mono on the clock of its pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from numpy.typing import NDArray

RATE = 16_000
"""Samples a second."""

_JITTER_S = 0.02
"""Blocks whose time differs less from where the last one ended follow it without a gap: containers
such as Matroska round times to the millisecond."""

_SEEK_BACK_S = 2.0  # codecs need a little of what comes before


@dataclass(frozen=True)
class Sound:
    """Sound with times.

    Attributes:
        samples: int16 (n,), 16 kHz mono.
        start_s: presentation time of the first sample.
    """

    samples: NDArray[np.int16]
    start_s: float

    def between(self, start_s: float, end_s: float) -> NDArray[np.int16]:
        """The sound from one presentation time to another, zeros where there is none."""
        n = round((end_s - start_s) * RATE)
        first = round((start_s - self.start_s) * RATE)
        result = np.zeros(n, np.int16)
        begin, end = max(0, first), min(len(self.samples), first + n)
        if begin < end:
            result[begin - first : end - first] = self.samples[begin:end]
        return result


def read_sound(
    path: str | Path, start_s: float | None = None, end_s: float | None = None
) -> Sound | None:
    """Decode the first sound track of a video, whole or a part: 32 kB a second in memory.

    Streams may start apart, and pause: each block stands where its presentation time says, and
    what lies between is zeros. Damaged blocks are left out.

    Returns:
        None where there is no sound (in the part), or none that can be decoded.
    """
    begin_s, n_samples, first_s = start_s or 0.0, 0, 0.0
    pieces: list[NDArray[np.int16]] = []
    for time_s, samples in _blocks(Path(path), begin_s):
        if end_s is not None and time_s >= end_s:
            break
        if time_s + len(samples) / RATE <= begin_s:
            continue
        if not pieces:
            first_s = time_s
        gap = round((time_s - first_s) * RATE) - n_samples
        piece = np.concatenate([np.zeros(max(0, gap), np.int16), samples[max(0, -gap) :]])
        pieces.append(piece)
        n_samples += len(piece)
    return Sound(np.concatenate(pieces), first_s) if pieces else None


def _blocks(path: Path, begin_s: float) -> Iterator[tuple[float, NDArray[np.int16]]]:
    """Stretches of sound without a gap, and when they start."""
    try:
        container = av.open(f"file:{path}", options={"protocol_whitelist": "file"})
    except av.FFmpegError:
        return  # the reader of the pictures says what is wrong with the file
    with closing(container):
        if not container.streams.audio:
            return
        if begin_s > _SEEK_BACK_S:
            with suppress(av.FFmpegError):
                container.seek(int((begin_s - _SEEK_BACK_S) * av.time_base))
        resampler, next_s = av.AudioResampler("s16", "mono", RATE), -math.inf
        block: list[NDArray[np.int16]] = []
        start_s = 0.0
        for frame in _decoded(container):
            time_s = next_s if frame.time is None else frame.time
            if abs(time_s - next_s) > _JITTER_S:
                if block:
                    yield start_s, np.concatenate([*block, *_samples(resampler.resample(None))])
                resampler, block = av.AudioResampler("s16", "mono", RATE), []
                start_s = max(0.0, time_s) if math.isinf(time_s) else time_s
            frame.pts = None  # gaps are filled here, not by the resampler
            block += _samples(resampler.resample(_finite(frame)))
            next_s = time_s + frame.samples / frame.sample_rate
        if block:
            yield start_s, np.concatenate([*block, *_samples(resampler.resample(None))])


def _decoded(container: InputContainer) -> Iterator[av.AudioFrame]:
    """The frames of the first sound track; a packet that is damaged is left out."""
    packets = container.demux(container.streams.audio[0])
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.FFmpegError):
            return
        with suppress(av.FFmpegError):
            yield from packet.decode()


def _finite(frame: av.AudioFrame) -> av.AudioFrame:
    """A frame with zeros for what is no number: a resampler would spread it to its neighbours."""
    if not frame.format.name.startswith(("flt", "dbl")):
        return frame
    values = frame.to_ndarray()
    broken = ~np.isfinite(values)
    if not broken.any():
        return frame
    values[broken] = 0
    clean = av.AudioFrame.from_ndarray(values, format=frame.format.name, layout=frame.layout.name)
    clean.sample_rate = frame.sample_rate
    return clean


def _samples(frames: list[av.AudioFrame]) -> list[NDArray[np.int16]]:
    return [np.asarray(frame.to_ndarray(), np.int16).reshape(-1) for frame in frames]
