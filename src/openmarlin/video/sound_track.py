"""The sound of one file as packets of another: copied where an mp4 takes it, else encoded anew."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.filter import Graph

from openmarlin.video.audio import Packet, open_sound, sound_frames, sound_packets

_COPIED = ("aac", "ac3", "alac", "eac3", "mp3", "opus")
"""Codecs of sound that players take in an mp4."""

_BLOCK = 1024  # samples a frame of AAC
_RATES = (8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100)  # of AAC; others become 48,000


Heard: TypeAlias = Generator[tuple[float, list[Packet]]]


@dataclass(frozen=True, slots=True)
class Cut:
    """Which part of the source is kept, and which of its times is 0 in the target; seconds."""

    begin_s: float
    stop_s: float
    zero_s: float


def sound_track(source: Path, target: OutputContainer, cut: Cut) -> Heard:
    """Add the first sound track of a file to another, and give its packets.

    The stream is there when the function returns, which must be before anything is written.

    Yields:
        When in the source packets are heard, and the packets; in the order of time.
    """
    opened = open_sound(source)
    if opened is None:
        return _silence()
    container, stream = opened
    if stream.codec_context.name in _COPIED:
        added = target.add_stream_from_template(stream)
        return _copied(container, stream, added, cut)
    rate = stream.codec_context.sample_rate
    encoded = target.add_stream("aac", rate=rate if rate in _RATES else 48_000)
    assert isinstance(encoded, AudioStream)
    encoded.codec_context.layout = "mono" if stream.codec_context.channels == 1 else "stereo"
    return _encoded(container, stream, encoded, cut)


def _silence() -> Heard:
    yield from ()


def _copied(container: InputContainer, stream: AudioStream, added: AudioStream, cut: Cut) -> Heard:
    with closing(container):
        for packet in sound_packets(container, stream):
            base = packet.time_base
            if packet.dts is None or packet.pts is None or base is None or not packet.size:
                continue
            time_s = float(packet.pts * base)
            if time_s >= cut.stop_s:
                return
            if time_s >= cut.begin_s:
                shift = round(cut.zero_s / base)
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = added
                yield time_s, [packet]


def _encoded(container: InputContainer, stream: AudioStream, added: AudioStream, cut: Cut) -> Heard:
    with closing(container):
        for block in _blocks(_inside(sound_frames(container, stream), cut), added):
            yield (block.time or 0.0) + cut.zero_s, added.encode(block)
        yield cut.stop_s, added.encode(None)


def _inside(frames: Iterable[av.AudioFrame], cut: Cut) -> Iterator[av.AudioFrame]:
    """The frames of the part, on the clock of the target."""
    for frame in frames:
        base = frame.time_base
        if frame.pts is None or base is None or frame.pts * base < cut.begin_s:
            continue
        if frame.pts * base >= cut.stop_s:
            return
        frame.pts -= round(cut.zero_s / base)
        yield frame


def _blocks(frames: Iterable[av.AudioFrame], added: AudioStream) -> Iterator[av.AudioFrame]:
    """Frames of as many samples as the encoder takes; silence where the source has a gap."""
    graph: Graph | None = None
    shape: tuple[str, str, int] | None = None
    for frame in frames:
        now = (frame.format.name, frame.layout.name, frame.sample_rate)
        if graph is None or now != shape:
            yield from _pulled(graph, None)
            graph, shape = _graph(frame, added), now
        yield from _pulled(graph, frame)
    yield from _pulled(graph, None)


def _pulled(graph: Graph | None, frame: av.AudioFrame | None) -> Iterator[av.AudioFrame]:
    if graph is None:
        return
    graph.push(frame)
    while True:
        try:
            block = graph.pull()
        except (av.BlockingIOError, av.EOFError):
            return
        assert isinstance(block, av.AudioFrame)
        yield block


def _graph(frame: av.AudioFrame, added: AudioStream) -> Graph:
    context = added.codec_context
    graph = Graph()
    source = graph.add_abuffer(
        format=frame.format.name,
        sample_rate=frame.sample_rate,
        layout=frame.layout.name,
        time_base=frame.time_base,
    )
    layout = f"channel_layouts={context.layout.name}"
    form = f"sample_fmts=fltp:sample_rates={context.sample_rate}:{layout}"
    graph.link_nodes(
        source,
        graph.add("aresample", "async=1"),  # silence in gaps
        graph.add("aformat", form),
        graph.add("asetnsamples", f"n={_BLOCK}:p=1"),
        graph.add("abuffersink"),
    ).configure()
    return graph
