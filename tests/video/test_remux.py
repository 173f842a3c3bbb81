"""Sound at other times: pictures and sound stay what they were, byte by byte."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from media import numbered, write_audio, write_tones, write_video

from openmarlin.errors import InputError, VideoError
from openmarlin.video.audio import RATE, read_sound
from openmarlin.video.reader import VideoReader
from openmarlin.video.remux import shift_sound


def payload(path: Path, kind: str) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(**{kind: 0}) if packet.size]


def shown(path: Path) -> list[float]:
    with VideoReader(path) as reader:
        return [frame.time_s for frame in reader]


def join(target: Path, video: Path, sound: Path) -> Path:
    """The pictures of one file and the sound of another."""
    with av.open(str(video)) as a, av.open(str(sound)) as b, av.open(str(target), "w") as out:
        packets = []
        for container, kind in ((a, "video"), (b, "audio")):
            stream = getattr(container.streams, kind)[0]
            added = out.add_stream_from_template(stream)
            for packet in container.demux(stream):
                if packet.dts is not None:
                    packet.stream = added
                    packets.append(packet)
        for packet in sorted(packets, key=lambda p: float(p.dts * p.time_base)):
            out.mux(packet)
    return target


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two seconds of pictures with tones, of which the first begins at 0.3 s."""
    folder = tmp_path_factory.mktemp("films")
    tones = [(0.3, 0.5, 440.0), (1.2, 0.5, 880.0)]
    pcm = write_tones(folder / "pcm.mkv", tones, rate=RATE, layout="mono")
    aac = write_tones(folder / "aac.mkv", tones, codec="aac")
    h264 = write_video(folder / "h264.mkv", numbered(50))
    vp9 = write_video(folder / "vp9.mkv", numbered(50), codec="libvpx-vp9")
    with av.open(str(folder / "opus.webm"), "w") as out:
        stream = out.add_stream("libopus", rate=48_000, layout="mono")
        with av.open(str(pcm)) as source:
            for frame in source.decode(audio=0):
                out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return {
        "mp4": join(folder / "a.mp4", h264, aac),
        "mov": join(folder / "a.mov", h264, aac),
        "mkv": join(folder / "a.mkv", h264, pcm),
        "webm": join(folder / "a.webm", vp9, folder / "opus.webm"),
    }


def edge_s(path: Path) -> float:
    """When the second tone begins."""
    sound = read_sound(path)
    loud = np.abs(sound.between(0, 3).astype(float))
    level = np.convolve(loud, np.ones(80) / 80, "same")
    quiet = np.flatnonzero(level[RATE // 2 :] < 300)[0] + RATE // 2
    return float(np.flatnonzero(level[quiet:] > 3000)[0] + quiet) / RATE


@pytest.mark.parametrize("delay_s", [0.2, -0.2, 0.0, 0.013])
@pytest.mark.parametrize(
    ("source", "suffix"),
    [
        ("mp4", "mp4"),
        ("mp4", "mkv"),
        ("mov", "mp4"),
        ("mkv", "mkv"),
        ("mov", "mov"),
        ("webm", "webm"),
        ("webm", "mkv"),
    ],
)
def test_sound_moves_and_pictures_stay(
    films: dict[str, Path], tmp_path: Path, source: str, suffix: str, delay_s: float
) -> None:
    film, target = films[source], tmp_path / f"b.{suffix}"
    copy = shift_sound(film, target, delay_s)
    assert copy.notes == []
    assert payload(target, "video") == payload(film, "video")
    np.testing.assert_allclose(shown(target), shown(film), atol=1.5e-3)
    before, after = payload(film, "audio"), payload(target, "audio")
    assert after == before[len(before) - len(after) :]  # what is left out is at the beginning
    assert copy.dropped_s < 0.1
    assert edge_s(target) == pytest.approx(edge_s(film) + delay_s, abs=4e-3)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_sound_before_the_start_is_left_out(
    films: dict[str, Path], tmp_path: Path, suffix: str
) -> None:
    """With a pause where the new one begins, and in the middle of the first tone."""
    target = tmp_path / f"b.{suffix}"
    for delay_s, starts in ((-0.9, 0.3), (-0.51, 0.0)):
        copy = shift_sound(films["mp4"], target, delay_s)
        assert copy.dropped_s > 0.1
        np.testing.assert_allclose(shown(target), shown(films["mp4"]), atol=1.5e-3)
        loud = np.abs(read_sound(target).between(0, 2).astype(float))
        level = np.convolve(loud, np.ones(80) / 80, "same")
        assert np.flatnonzero(level > 3000)[0] / RATE == pytest.approx(starts, abs=0.03)
    assert edge_s(target) == pytest.approx(edge_s(films["mp4"]) - 0.51, abs=5e-3)


def test_pauses_of_samples_that_are_only_counted(films: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"pauses.*\.mkv"):
        shift_sound(films["mkv"], tmp_path / "b.mov", 0.1)
    assert not list(tmp_path.iterdir())


def test_rotation_and_uneven_times_stay(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.08, 0.3, 0.31, 0.5, 1.2, 1.24, 1.9, 2.0]
    film = write_video(tmp_path / "a.mp4", numbered(10), times=times, rotation=90, audio="first")
    shift_sound(film, tmp_path / "b.mp4", 0.12)
    with VideoReader(film) as before, VideoReader(tmp_path / "b.mp4") as after:
        assert after.info.rotation == before.info.rotation == 270
        np.testing.assert_allclose(
            [frame.time_s for frame in after], [frame.time_s for frame in before], atol=1e-4
        )


def test_a_clock_of_a_broadcast_is_set_back(tmp_path: Path) -> None:
    film = write_video(tmp_path / "a.ts", numbered(30), audio="last")
    shift_sound(film, tmp_path / "b.mp4", 0.1)
    apart = [read_sound(path).start_s - shown(path)[0] for path in (film, tmp_path / "b.mp4")]
    assert apart[1] == pytest.approx(apart[0] + 0.1, abs=5e-3)
    assert shown(tmp_path / "b.mp4")[0] < 0.2


def test_what_is_refused(films: dict[str, Path], tmp_path: Path) -> None:
    film = films["webm"]
    with pytest.raises(InputError, match=r"\.mp4"):
        shift_sound(film, tmp_path / "b.avi", 0.1)
    with pytest.raises(InputError, match="its own source"):
        shift_sound(film, film, 0.1)
    with pytest.raises(InputError, match=r"does not take h264.*\.mkv"):
        shift_sound(films["mp4"], tmp_path / "b.webm", 0.1)
    with pytest.raises(VideoError, match="no sound"):
        shift_sound(write_video(tmp_path / "a.mp4", numbered(3)), tmp_path / "b.mp4", 0.1)
    with pytest.raises(VideoError, match="no picture"):
        shift_sound(write_audio(tmp_path / "c.mp4"), tmp_path / "b.mp4", 0.1)
    (tmp_path / "d.mp4").write_text("no video")
    with pytest.raises(VideoError, match="cannot be read"):
        shift_sound(tmp_path / "d.mp4", tmp_path / "b.mp4", 0.1)
    assert not (tmp_path / "b.mp4").exists()
    assert not (tmp_path / "b.webm").exists()
