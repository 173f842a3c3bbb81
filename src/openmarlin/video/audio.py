"""The sound of a video: 16 kHz mono on the clock of its pictures."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import av
import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from openmarlin.errors import InputError
from openmarlin.storage import fetched, locate

Packet: TypeAlias = "av.Packet[AudioStream]"

RATE = 16_000
"""Samples a second."""

_JITTER_S = 0.02  # less than this between a time and the samples counted is rounding: no gap

_SEEK_BACK_S = 2.0  # codecs need a little of what comes before
_MAX_FAILURES = 32  # errors of the container in a row after which reading stops


class SampleFile:
    """Samples on disk instead of in memory: 115 MB an hour. The file has no name and is nobody's.

    `samples[first:stop]` reads a part.

    Args:
        folder: where there is room.

    Raises:
        InputError: nothing can be written there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._count = folder, 0
        try:
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - lives as we do
        except OSError as error:
            raise self._full(error) from error

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, part: slice) -> NDArray[np.int16]:
        first, stop, _ = part.indices(self._count)
        self._file.seek(2 * first)
        return np.frombuffer(self._file.read(2 * max(0, stop - first)), np.int16)

    def append(self, samples: NDArray[np.int16]) -> None:
        """Write behind what is there.

        Raises:
            InputError: the disk is full.
        """
        try:
            self._file.seek(2 * self._count)
            self._file.write(samples.tobytes())
            self._file.flush()
        except OSError as error:
            raise self._full(error) from error
        self._count += len(samples)

    def _full(self, error: OSError) -> InputError:
        return InputError(
            f"cannot write the sound to {self._folder}: {error.strerror}; choose another place or "
            "make room"
        )


Samples: TypeAlias = "NDArray[np.int16] | SampleFile"


@dataclass(frozen=True)
class Sound:
    """Sound with times.

    Attributes:
        samples: int16 (n,), 16 kHz mono.
        start_s: presentation time of the first sample.
    """

    samples: Samples
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
    path: str | Path,
    start_s: float | None = None,
    end_s: float | None = None,
    *,
    folder: Path | None = None,
) -> Sound | None:
    """Decode the first sound track of a video, whole or a part: 32 kB a second.

    Streams may start apart, and pause: each block stands where its presentation time says, and
    what lies between is zeros. Damaged blocks are left out.

    Args:
        path: the file.
        start_s: presentation time at which the part begins.
        end_s: where it ends.
        folder: keeps the samples in a file there, see `SampleFile`; None keeps them in memory.

    Returns:
        None where there is no sound (in the part), or none that can be decoded.

    Raises:
        InputError: the folder cannot be written.
    """
    begin_s, n_samples, first_s = start_s or 0.0, 0, 0.0
    file = None if folder is None else SampleFile(folder)
    pieces: list[NDArray[np.int16]] = []
    for time_s, samples in _blocks(locate(path), begin_s):
        if end_s is not None and time_s >= end_s:
            break
        if time_s + len(samples) / RATE <= begin_s:
            continue
        if not n_samples:
            first_s = time_s
        gap = round((time_s - first_s) * RATE) - n_samples
        piece = np.concatenate([np.zeros(max(0, gap), np.int16), samples[max(0, -gap) :]])
        if file is None:
            pieces.append(piece)
        else:
            file.append(piece)
        n_samples += len(piece)
    if not n_samples:
        return None
    return Sound(np.concatenate(pieces) if file is None else file, first_s)


def _blocks(path: Path, begin_s: float) -> Iterator[tuple[float, NDArray[np.int16]]]:
    """The sound and when it starts, block by block.

    Times of frames are rounded, so places are counted, from where a stretch without a gap begins.
    Where time or format jumps, another begins, with a resampler of its own.
    """
    opened = open_sound(path)
    if opened is None:
        return
    container, stream = opened
    with closing(container):
        if begin_s > _SEEK_BACK_S:
            with suppress(av.FFmpegError):
                container.seek(int((begin_s - _SEEK_BACK_S) * av.time_base))
        resampler: av.AudioResampler | None = None
        sound_format: tuple[str, str, int] | None = None
        due_s = time_s = 0.0  # of the next frame, and of the next sample that the resampler gives
        for frame in sound_frames(container, stream):
            late_s = 0.0 if frame.time is None else frame.time - due_s
            if resampler is None or _format(frame) != sound_format or abs(late_s) > _JITTER_S:
                if resampler is not None:
                    yield time_s, _resampled(resampler, None)
                resampler = av.AudioResampler("s16", "mono", RATE)
                sound_format, due_s = _format(frame), due_s + late_s
                time_s = due_s
            due_s += frame.samples / frame.sample_rate
            frame.pts = None  # gaps are filled by `read_sound`, not by the resampler
            block = _resampled(resampler, frame)
            yield time_s, block
            time_s += len(block) / RATE
        if resampler is not None:
            yield time_s, _resampled(resampler, None)


def _resampled(resampler: av.AudioResampler, frame: av.AudioFrame | None) -> NDArray[np.int16]:
    blocks = [block.to_ndarray().reshape(-1) for block in resampler.resample(frame)]
    return np.concatenate([np.zeros(0, np.int16), *blocks])


def _format(frame: av.AudioFrame) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate


def open_sound(path: Path) -> tuple[InputContainer, AudioStream] | None:
    """A file and its first sound track, None where there is none that can be decoded."""
    options = {"protocol_whitelist": "file"}  # a play list must not make FFmpeg open addresses
    try:
        with fetched(path) as file:  # who reads the pictures keeps it
            container = av.open(f"file:{file}", options=options, metadata_errors="replace")
    except (av.FFmpegError, InputError):
        return None  # the reader of the pictures says what is wrong with the file
    stream = next((s for s in container.streams.audio if s.codec_context is not None), None)
    if stream is None:
        container.close()
        return None
    return container, stream


def sound_packets(container: InputContainer, stream: AudioStream) -> Iterator[Packet]:
    """The packets of a sound track; errors of the container are passed over."""
    failures = 0
    while failures < _MAX_FAILURES:
        try:
            for packet in container.demux(stream):
                failures = 0
                yield packet
            return
        except (av.FFmpegError, IndexError):  # IndexError: see `decode.packets`
            failures += 1


def sound_frames(container: InputContainer, stream: AudioStream) -> Iterator[av.AudioFrame]:
    """The frames of a sound track; damaged packets are passed over."""
    for packet in sound_packets(container, stream):
        with suppress(av.FFmpegError):
            yield from (_finite(frame) for frame in packet.decode() if frame.samples)


def _finite(frame: av.AudioFrame) -> av.AudioFrame:
    """A frame with zeros for what is no number: a resampler would spread it to its neighbours."""
    if not frame.format.name.startswith(("flt", "dbl")):
        return frame
    values = frame.to_ndarray()
    if np.isfinite(values).all():
        return frame
    values[~np.isfinite(values)] = 0
    clean = av.AudioFrame.from_ndarray(values, format=frame.format.name, layout=frame.layout.name)
    clean.sample_rate, clean.pts = frame.sample_rate, frame.pts
    clean.time_base = frame.time_base
    return clean
