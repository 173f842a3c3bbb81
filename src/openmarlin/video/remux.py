"""A video written again with its sound earlier or later; nothing is encoded anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import av
from av.container import InputContainer, OutputContainer
from av.stream import Disposition, Stream

from openmarlin.errors import InputError, VideoError
from openmarlin.files import atomic

Packet: TypeAlias = "av.Packet[Any]"

CONTAINERS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
}
"""Suffixes of targets, and FFmpeg's names of the formats."""

_EDITED = ("mp4", "mov")  # a list of edits lets them start in the middle of a packet
_LEAST_ORIGIN_S = 1.0  # a clock that starts later is set back, as that of a broadcast
_PAUSE_S = 0.02  # less than this is rounding
_ROUNDING_S = 1.5e-3  # of the times of Matroska
_MAX_FAILURES = 32  # errors of the container in a row after which reading stops
_OF_THE_FILE = ("major_brand", "minor_version", "compatible_brands", "encoder")


@dataclass(frozen=True, slots=True)
class Copy:
    """What came of it.

    Attributes:
        dropped_s: sound before time 0 that is left out.
        notes: what else could not be copied, a short line each.
    """

    dropped_s: float
    notes: list[str]


def shift_sound(source: str | Path, target: str | Path, delay_s: float) -> Copy:
    """Copy pictures, sound and subtitles packet by packet, the sound at other times.

    Sound that would come before time 0 is left out: to the sample in an mp4 or mov, which trim the
    packet in which it lies, and in whole packets (some 20 ms) in others.

    Args:
        source: a video with sound.
        target: an .mp4, .m4v, .mov, .mkv or .webm; it appears whole or not at all.
        delay_s: the sound comes so much later; earlier where it is below 0.

    Raises:
        InputError: the target is of another kind, the source itself, does not take what is in the
            source, or cannot be written.
        VideoError: the source cannot be read, or has no picture or no sound.
    """
    source, target = Path(source), Path(target)
    kind = check_target(source, target)
    with closing(_open(source)) as container:
        streams = _streams(container, source)
        with (
            atomic(target) as part,
            part.open("wb") as file,  # which reports a full disk; FFmpeg's own may not
            av.open(file, "w", format=kind) as out,
        ):
            notes: list[str] = []
            added = _add_streams(out, streams, target, notes)
            copy = _Copying(container, added, delay_s, target)
            for packet in copy.packets(notes):
                out.mux(packet)
    return Copy(copy.dropped_s, notes)


def check_target(source: Path, target: Path) -> str:
    """FFmpeg's name of the format of a target.

    Raises:
        InputError: it is of another kind, or the source itself.
    """
    kind = CONTAINERS.get(target.suffix.lower())
    if kind is None:
        raise InputError(f"{target}: name a file that ends with {', '.join(CONTAINERS)}")
    if target.exists() and source.exists() and target.samefile(source):
        raise InputError(f"{target}: would replace its own source; give another name")
    return kind


def _open(source: Path) -> InputContainer:
    options = {"protocol_whitelist": "file"}  # a play list must not make FFmpeg open addresses
    try:
        return av.open(f"file:{source}", options=options, metadata_errors="replace")
    except av.FFmpegError as error:
        raise VideoError(f"{source}: cannot be read: {error.strerror}") from None


def _streams(container: InputContainer, source: Path) -> list[Stream]:
    """Pictures, sound and subtitles; a cover is no picture."""
    films = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    sounds = [s for s in container.streams.audio if s.codec_context is not None]
    for streams, noun in ((films, "picture"), (sounds, "sound")):
        if not streams:
            raise VideoError(f"{source}: has no {noun}")
    return [*films, *sounds, *container.streams.subtitles]


def _add_streams(
    out: OutputContainer, streams: Iterable[Stream], target: Path, notes: list[str]
) -> dict[int, Stream]:
    """A stream of the target for each of the source that it takes, by the index of the latter."""
    added: dict[int, Stream] = {}
    for stream in streams:
        codec = stream.codec_context
        name = codec.codec.canonical_name if codec is not None else "none"
        if name in out.supported_codecs:
            new: Stream = out.add_stream_from_template(stream)
            new.time_base = stream.time_base
            new.metadata.update(stream.metadata)
            new.disposition = stream.disposition
            added[stream.index] = new
        elif stream.type == "subtitle":
            notes.append(f"subtitles ({name}) left out: {target.suffix} does not take them")
        else:
            raise InputError(
                f"{target}: {target.suffix} does not take {name} as it is; name an .mkv"
            )
    of_source = next(iter(streams)).container.metadata
    out.metadata.update({k: v for k, v in of_source.items() if k not in _OF_THE_FILE})
    return added


class _Copying:
    """Packets on their way to other streams.

    Attributes:
        dropped_s: sound that was left out so far.
    """

    def __init__(
        self,
        container: InputContainer,
        added: dict[int, Stream],
        delay_s: float,
        target: Path,
    ) -> None:
        self.dropped_s = 0.0
        self._container, self._added, self._name = container, added, target
        self._edited = CONTAINERS[target.suffix.lower()] in _EDITED
        sources = [container.streams[index] for index in added]
        starts = [s.start_time * s.time_base for s in sources if s.start_time and s.time_base]
        origin = min(starts, default=Fraction(0)) if len(starts) == len(sources) else Fraction(0)
        self._origin_s = origin if origin >= _LEAST_ORIGIN_S else Fraction(0)
        self._delay_s = Fraction(delay_s).limit_denominator(1_000_000)
        self._ends: dict[int, int] = {}  # of the last packet of each sound
        self._last: dict[int, int] = {}  # decoding time of the last packet of each stream

    def packets(self, notes: list[str]) -> Iterator[Packet]:
        """All packets for the target, in the order of the source."""
        held: dict[int, list[Packet]] = {index: [] for index in self._added}
        for packet in self._read(notes):
            waiting = held[packet.stream_index]
            waiting.append(packet)
            if packet.dts is not None:  # at the beginning, Matroska may not tell it
                yield from self._timed(waiting)
                waiting.clear()
        for waiting in held.values():
            yield from self._timed(waiting)

    def _read(self, notes: list[str]) -> Iterator[Packet]:
        streams = [self._container.streams[index] for index in self._added]
        failures = 0
        while failures < _MAX_FAILURES:
            try:
                for packet in self._container.demux(streams):
                    failures = 0
                    if packet.size and (packet.pts is not None or packet.dts is not None):
                        yield packet
                return
            except (av.FFmpegError, IndexError):  # IndexError: see `decode.packets`
                failures += 1
        notes.append("the source is damaged: what comes after the damage is not copied")

    def _timed(self, waiting: list[Packet]) -> Iterator[Packet]:
        """Packets of one stream with times on the target's clock; those without get theirs."""
        for place, packet in enumerate(waiting):
            if packet.dts is None:
                packet.dts = self._decoding_time(waiting, place)
            packet.pts = packet.dts if packet.pts is None else packet.pts
            base, index = packet.time_base, packet.stream_index
            moved_s = -self._origin_s
            if packet.stream.type == "audio":
                moved_s += self._delay_s
            shift = round(moved_s / base)
            packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
            if packet.stream.type == "audio" and self._is_before(packet):
                self.dropped_s += float(_length(packet) * base)
                continue
            if packet.stream.type == "audio":
                self._check_pause(packet)
            packet.dts = max(packet.dts, self._last.get(index, packet.dts - 1) + 1)
            self._last[index] = packet.dts
            packet.stream = self._added[index]
            yield packet

    def _decoding_time(self, waiting: list[Packet], place: int) -> int:
        """As much before the first time there is as the packets in between last."""
        last = waiting[-1]
        if last.dts is None:  # none at all
            return int(waiting[place].pts or 0)
        return int(last.dts) - sum(max(1, packet.duration or 1) for packet in waiting[place:-1])

    def _is_before(self, packet: Packet) -> bool:
        """Whether it would be heard before time 0, where all else would have to move for it.

        A list of edits says where in a packet to begin. It must not begin in a pause, so nothing
        that ends before is kept; what only readies the decoder stays where nothing is moved.
        """
        if self._edited:
            return self._delay_s < 0 and (packet.pts or 0) + _length(packet) <= 0
        codec = packet.stream.codec_context
        head = codec.extradata or b""
        early = 0.0
        if (
            codec.name in ("opus", "libopus") and head[:8] == b"OpusHead"
        ):  # the decoder leaves it out
            early = int.from_bytes(head[10:12], "little") / 48_000
        return float((packet.pts or 0) * packet.time_base) < -early - _ROUNDING_S

    def _check_pause(self, packet: Packet) -> None:
        """An mp4 or mov tells the time of PCM by counting samples, and so has no pauses.

        Raises:
            InputError: there is one.
        """
        end = self._ends.get(packet.stream_index)
        self._ends[packet.stream_index] = (packet.pts or 0) + _length(packet)
        is_pcm = packet.stream.codec_context.name.startswith("pcm_")
        if self._edited and is_pcm and end is not None:
            pause_s = float(((packet.pts or 0) - end) * packet.time_base)
            if pause_s > _PAUSE_S:
                raise InputError(
                    f"{self._name}: cannot hold this sound, uncompressed with pauses; name an .mkv"
                )


def _length(packet: Packet) -> int:
    """How long a packet of sound is heard; an mp4 adds the pause behind it to its duration."""
    codec, duration = packet.stream.codec_context, int(packet.duration or 0)
    if not (codec.frame_size and codec.sample_rate):
        return duration
    return min(duration, round(Fraction(codec.frame_size, codec.sample_rate) / packet.time_base))
