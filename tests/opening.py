"""An expert without weights: it compares how far a mouth is open with how loud the sound is.

With it go videos whose sound follows the mouth: the pictures of a clip, and noise as loud as the
mouth of a face in it is open.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
from av.audio.frame import AudioFrame
from numpy.typing import NDArray

from openmarlin.face.landmarker import Landmarker
from openmarlin.lipsync.offsets import TICK_RATE
from openmarlin.lipsync.talkers import read_talkers
from openmarlin.video.audio import RATE, Sound
from openmarlin.video.reader import VideoReader

Floats = NDArray[np.float32]
TICK = RATE // TICK_RATE


def opening(image: NDArray[np.uint8], points: Floats) -> Floats:
    """Height of the inner mouth in distances of the outer corners of the eyes, (1,)."""
    apart = np.linalg.norm(points[13] - points[14]) / np.linalg.norm(points[33] - points[263])
    return np.array([apart], np.float32)


class OpeningExpert:
    """See `openmarlin.lipsync.expert.Expert`."""

    name, digest, framing, window, margin = "opening", "0" * 12, "inner lips", 13, 0.0

    def view(self, image: NDArray[np.uint8], points: Floats) -> Floats:
        return opening(image, points)

    def embed_faces(self, views: NDArray[np.generic]) -> Floats:
        return self._windows(np.asarray(views, np.float64)[:, 0])

    def embed_sound(self, sound: Sound, start_s: float, count: int) -> Floats:
        n_ticks = count + self.window - 1
        samples = sound.between(start_s, start_s + n_ticks / TICK_RATE).astype(np.float64)
        return self._windows(np.abs(samples.reshape(n_ticks, TICK)).mean(axis=1))

    def _windows(self, values: NDArray[np.float64]) -> Floats:
        windows = np.lib.stride_tricks.sliding_window_view(values, self.window)
        centred = windows - windows.mean(axis=1, keepdims=True)
        length = np.linalg.norm(centred, axis=1, keepdims=True)
        return np.asarray(centred / np.maximum(length, 1e-6), np.float32)


@cache
def landmarker() -> Landmarker:
    return Landmarker(precise=False)


@cache
def openings(clip: Path) -> dict[int, tuple[float, Floats]]:
    """Of every face: when it is first seen, and its opening tick by tick."""
    result: dict[int, tuple[float, Floats]] = {}
    with VideoReader(clip) as reader:
        for stretch in read_talkers(reader, landmarker(), opening, margin=0.0):
            result.setdefault(stretch.track, (stretch.start_s, stretch.views[:, 0]))
    return result


def voice(clip: Path, *, track: int = 0, early: int = 0, speech: slice = slice(None)) -> Sound:
    """Noise that is as loud as a mouth is open.

    Args:
        clip: with the face.
        track: whose mouth.
        early: ticks by which the sound comes before the lips.
        speech: ticks that sound; the others are silent.
    """
    start_s, values = openings(clip)[track]
    loud = np.zeros(len(values))
    loud[speech] = ((values - values.min()) / np.ptp(values))[speech] ** 2 + 0.01
    rng = np.random.default_rng(0)
    noise = rng.uniform(-1, 1, len(loud) * TICK) * np.repeat(loud, TICK)
    return Sound((20_000 * noise).astype(np.int16), start_s - early / TICK_RATE)


def with_sound(clip: Path, sound: Sound, target: Path) -> Path:
    """The pictures of a clip, copied, with other sound: AAC in mp4 and mov, else PCM."""
    codec = "aac" if target.suffix in (".mp4", ".mov") else "pcm_s16le"
    codec = "libopus" if target.suffix == ".webm" else codec
    cut = max(0, round(-sound.start_s * RATE))
    samples, first = sound.samples[cut:], max(0, round(sound.start_s * RATE))
    with av.open(str(clip)) as source, av.open(str(target), "w") as out:
        picture = source.streams.video[0]
        pictures = out.add_stream_from_template(picture)
        rate = 48_000 if codec == "libopus" else RATE
        stream = out.add_stream(codec, rate=rate, layout="mono")
        packets = []
        for begin in range(0, len(samples), 960 * 16_000 // rate):
            block = samples[None, begin : begin + 960 * 16_000 // rate]
            block = np.repeat(block, rate // RATE, axis=1)
            frame = AudioFrame.from_ndarray(np.ascontiguousarray(block), "s16", "mono")
            frame.sample_rate, frame.time_base = rate, Fraction(1, RATE)
            frame.pts = first + begin
            packets += stream.encode(frame)
        packets += stream.encode()
        films = [packet for packet in source.demux(picture) if packet.size]
        late = next(place for place, packet in enumerate(films) if packet.dts is not None)
        for place, packet in enumerate(films):
            if place < late:  # Matroska does not tell it
                packet.dts = films[late].dts - (late - place) * packet.duration
            packet.stream = pictures
        packets += films
        for packet in sorted(packets, key=lambda p: float(p.dts * p.time_base)):
            out.mux(packet)
    return target
