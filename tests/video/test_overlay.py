"""What is drawn on is shown when it was shown before, and heard as it was heard."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import av
import numpy as np
import pytest
from media import number_of, numbered, write_audio, write_tones, write_video

from openmarlin.errors import InputError, VideoError
from openmarlin.video.audio import read_sound
from openmarlin.video.overlay import write_overlay
from openmarlin.video.reader import VideoReader

UNEVEN = [0.0, 0.04, 0.08, 0.3, 0.31, 0.5, 1.2, 1.24, 1.9, 2.0]


def same(image: np.ndarray, time_s: float) -> np.ndarray:
    return image


def shown(path: Path) -> tuple[list[float], list[int]]:
    with VideoReader(path) as reader:
        frames = [(frame.time_s, number_of(frame.image)) for frame in reader]
        assert reader.problems == []
    return [time_s for time_s, _ in frames], [number for _, number in frames]


def join(target: Path, video: Path, sound: Path) -> Path:
    """The pictures of one file and the sound of another."""
    with av.open(str(video)) as a, av.open(str(sound)) as b, av.open(str(target), "w") as out:
        streams = [(a, a.streams.video[0]), (b, b.streams.audio[0])]
        added = [out.add_stream_from_template(stream) for _, stream in streams]
        packets = []
        for (container, stream), to in zip(streams, added, strict=True):
            for packet in container.demux(stream):
                if packet.dts is not None:
                    packet.stream = to
                    packets.append((float(packet.dts * packet.time_base), packet))
        for _, packet in sorted(packets, key=lambda pair: pair[0]):
            out.mux(packet)
    return target


def sound_packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def test_every_picture_is_drawn_on_at_its_own_time(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mkv", numbered(10), times=UNEVEN)
    asked = []

    def draw(image: np.ndarray, time_s: float) -> np.ndarray:
        asked.append(time_s)
        image[-8:, :8] = 255
        return image

    write_overlay(source, tmp_path / "new" / "b.mp4", draw)
    times, numbers = shown(tmp_path / "new" / "b.mp4")
    assert numbers == list(range(10))
    np.testing.assert_allclose(times, UNEVEN, atol=1.1e-3)  # Matroska rounds to milliseconds
    np.testing.assert_allclose(times, asked, atol=1e-4)
    with VideoReader(tmp_path / "new" / "b.mp4") as reader:
        assert all(frame.image[-4, 3].min() > 200 for frame in reader)


def test_a_late_start_is_kept_and_a_clock_of_hours_is_not(tmp_path: Path) -> None:
    for start_s, expected in ((0.52, 0.52), (36_000.0, 0.0)):
        times = [start_s + n / 25 for n in range(6)]
        source = write_video(tmp_path / "a.mkv", numbered(6), times=times)
        write_overlay(source, tmp_path / "b.mp4", same)
        found, numbers = shown(tmp_path / "b.mp4")
        assert numbers == list(range(6))
        np.testing.assert_allclose(found, expected + np.arange(6) / 25, atol=1.1e-3)


def test_the_sound_is_copied_packet_by_packet(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", numbered(30), audio="last")
    write_overlay(source, tmp_path / "b.mp4", same)
    assert sound_packets(tmp_path / "b.mp4") == sound_packets(source)
    before, after = read_sound(source), read_sound(tmp_path / "b.mp4")
    assert before.start_s == pytest.approx(after.start_s, abs=1e-3)
    np.testing.assert_array_equal(before.samples, after.samples)


def test_sound_of_a_transport_stream_is_copied(tmp_path: Path) -> None:
    """Its AAC has headers of its own, which an mp4 does not take; its clock starts at 1.4 s."""
    source = write_video(tmp_path / "a.ts", numbered(30), audio="last")
    write_overlay(source, tmp_path / "b.mp4", same)
    before, after = read_sound(source), read_sound(tmp_path / "b.mp4")
    assert len(after.samples) == pytest.approx(len(before.samples), abs=400)
    apart = [shown(path)[0][0] - sound.start_s for path, sound in
             ((source, before), (tmp_path / "b.mp4", after))]  # fmt: skip
    assert apart[0] == pytest.approx(apart[1], abs=2e-3)


@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_f32le", "wavpack"])
def test_other_sound_becomes_aac_of_the_same_length(tmp_path: Path, codec: str) -> None:
    """Two tones with a pause in between, which starts later than the pictures."""
    tones = [(0.5, 0.5, 440.0), (1.6, 0.4, 880.0)]
    tone = write_tones(tmp_path / "tone.mkv", tones, codec=codec)
    film = write_video(tmp_path / "film.mkv", numbered(60))
    source = join(tmp_path / "a.mkv", film, tone)
    write_overlay(source, tmp_path / "b.mp4", same)
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
    before, after = read_sound(source), read_sound(tmp_path / "b.mp4")
    for start_s, end_s, loud in ((0.55, 0.95, True), (1.05, 1.55, False), (1.65, 1.95, True)):
        for sound in (before, after):
            level = np.abs(sound.between(start_s, end_s).astype(float)).mean()
            assert (level > 5000) == loud
            assert loud or level < 300


def test_without_sound_there_is_none(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", numbered(5))
    write_overlay(source, tmp_path / "b.mp4", same)
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video"]


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_turned_pictures_are_drawn_on_upright_and_written_so(tmp_path: Path, rotation: int) -> None:
    source = write_video(tmp_path / "a.mp4", numbered(5, 64, 48), rotation=rotation)
    with VideoReader(source) as reader:
        expected = [frame.image for frame in reader]
    write_overlay(source, tmp_path / "b.mp4", same)
    with VideoReader(tmp_path / "b.mp4") as reader:
        assert reader.info.rotation == 0
        for frame, image in zip(reader, expected, strict=True):
            assert frame.image.shape == image.shape
            assert np.abs(frame.image.astype(int) - image).mean() < 6


def test_odd_sides_and_another_size(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mkv", numbered(4, 64, 48), codec="ffv1")
    write_overlay(source, tmp_path / "b.mp4", lambda image, _: image[:47, :63])
    with VideoReader(tmp_path / "b.mp4") as reader:
        assert [frame.image.shape for frame in reader] == [(48, 64, 3)] * 4


def test_a_source_that_changes_size_is_fitted_into_the_first(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", numbered(4, 64, 48))
    sizes = iter([(48, 64), (48, 64), (96, 64), (24, 64)])
    write_overlay(
        source, tmp_path / "b.mp4", lambda image, _: np.full((*next(sizes), 3), 200, np.uint8)
    )
    with VideoReader(tmp_path / "b.mp4") as reader:
        images = [frame.image for frame in reader]
    assert {image.shape for image in images} == {(48, 64, 3)}
    assert images[2][:, :12].max() < 40  # black beside what is too tall ...
    assert images[3][:8].max() < 40  # ... above what is too wide
    assert images[2][24, 32].min() > 180


def test_a_part_begins_at_0_with_its_own_sound(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", numbered(25), audio="last")
    write_overlay(source, tmp_path / "b.mp4", same, start_s=0.4, end_s=0.8)
    times, numbers = shown(tmp_path / "b.mp4")
    assert numbers == list(range(10, 20))
    np.testing.assert_allclose(times, np.arange(10) / 25, atol=1e-4)
    sound = read_sound(tmp_path / "b.mp4")
    assert len(sound.samples) / 16_000 == pytest.approx(0.4, abs=0.13)
    with pytest.raises(VideoError, match=r"no picture from 7\.0"):
        write_overlay(source, tmp_path / "c.mp4", same, start_s=7.0, end_s=8.0)


def test_what_fails_leaves_no_file(tmp_path: Path) -> None:
    source = write_video(tmp_path / "a.mp4", numbered(5))

    def fail(image: np.ndarray, time_s: float) -> np.ndarray:
        if time_s > 0.1:
            raise RuntimeError("no pen")
        return image

    with pytest.raises(RuntimeError, match="no pen"):
        write_overlay(source, tmp_path / "out" / "b.mp4", fail)
    assert not list((tmp_path / "out").iterdir())
    with pytest.raises(VideoError):
        write_overlay(write_audio(tmp_path / "a.m4a"), tmp_path / "out" / "b.mp4", same)
    (tmp_path / "file").touch()
    with pytest.raises(InputError):
        write_overlay(source, tmp_path / "file" / "b.mp4", same)


def test_memory_does_not_grow_with_length(tmp_path: Path) -> None:
    def peak(n: int) -> int:
        source = write_video(tmp_path / "a.mp4", numbered(n), audio="first")
        tracemalloc.start()
        write_overlay(source, tmp_path / "b.mp4", same)
        try:
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(400) < peak(50) + 50 * numbered(1)[0].nbytes
