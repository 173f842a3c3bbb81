"""What the reader makes of healthy files, in every shape they come in."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from media import number_of, numbered, write_audio, write_video

from openmarlin.errors import InputError, VideoError
from openmarlin.video import reader as reader_module
from openmarlin.video.reader import VideoReader
from openmarlin.video.windows import ticks

N = 12
FAST_VP9 = {"deadline": "realtime", "cpu-used": "8"}


def numbers(path: Path) -> list[int]:
    return [number_of(frame.image) for frame in VideoReader(path)]


def times(path: Path) -> list[float]:
    return [frame.time_s for frame in VideoReader(path)]


def have_encoder(codec: str) -> bool:
    try:
        av.codec.Codec(codec, "w")
    except ValueError:
        return False
    return True


# --- containers and codecs

FORMATS = {
    "h264.mp4": {},
    "h264.mkv": {},
    "h264.ts": {},
    "h264.avi": {},  # B frames in a container without presentation times
    "h264_10bit.mp4": {"pixel_format": "yuv420p10le"},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "log-level=none"}},
    "vp8.webm": {"codec": "libvpx", "options": {"deadline": "realtime"}},
    "vp9.webm": {"codec": "libvpx-vp9", "options": FAST_VP9},
    "mpeg4.avi": {"codec": "mpeg4"},
    "mpeg4_b.avi": {"codec": "mpeg4", "options": {"bf": "2"}},
    "wmv.asf": {"codec": "mpeg4"},
    "flash.flv": {"codec": "flv"},
    "mpeg2.mpg": {"codec": "mpeg2video"},
    "ffv1.mkv": {"codec": "ffv1"},
    "ffv1_444.mkv": {"codec": "ffv1", "pixel_format": "yuv444p"},
    "ffv1_10bit.mkv": {"codec": "ffv1", "pixel_format": "yuv420p10le"},
    "ffv1_gray.mkv": {"codec": "ffv1", "pixel_format": "gray"},
    "ffv1_rgb.mkv": {"codec": "ffv1", "pixel_format": "bgr0"},
    "prores.mov": {"codec": "prores_ks", "pixel_format": "yuv422p10le"},
    "motion.mjpeg": {"codec": "mjpeg", "pixel_format": "yuvj420p"},
    "bare.h264": {},  # no container, no times at all
    "animated.gif": {"codec": "gif", "pixel_format": "rgb8"},
    "animated.png": {"codec": "apng", "pixel_format": "rgba", "container_format": "apng"},
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_frame_in_order_at_its_time(tmp_path, name):
    setup = FORMATS[name]
    if not have_encoder(setup.get("codec", "libx264")):
        pytest.skip(f"this FFmpeg cannot write {name}")
    path = write_video(tmp_path / name, numbered(N), **setup)
    with VideoReader(path) as video:
        frames = list(video)
        assert [number_of(frame.image) for frame in frames] == list(range(N))
        assert [frame.index for frame in frames] == list(range(N))
        assert video.problems == []
        assert video.info.fps == pytest.approx(25)
        assert [tick for tick, _ in ticks(frames, video.info.fps)] == list(range(N))
    steps = [after.time_s - before.time_s for before, after in pairwise(frames)]
    assert steps == pytest.approx([0.04] * (N - 1), abs=1e-3)
    assert {(f.width, f.height, *f.image.shape) for f in frames} == {(64, 48, 48, 64, 3)}
    assert frames[0].image.dtype == np.uint8
    assert frames[0].image.flags.c_contiguous
    left, right = frames[3].image[40, 3].astype(int), frames[3].image[40, -4].astype(int)
    if "gray" not in name:
        assert left[0] > left[2] + 80
        assert right[2] > right[0] + 80


def test_info(tmp_path):
    path = write_video(tmp_path / "a.mp4", numbered(50), fps=Fraction(30000, 1001), audio="last")
    info = VideoReader(path).info
    assert info.path == path
    assert (info.width, info.height, info.codec, info.pixel_format) == (64, 48, "h264", "yuv420p")
    assert info.fps == pytest.approx(30000 / 1001)
    assert info.duration_s == pytest.approx(50 * 1001 / 30000, abs=1e-3)
    assert (info.rotation, info.has_audio) == (0, True)
    assert VideoReader(write_video(tmp_path / "b.mkv", numbered(3))).info.has_audio is False


@pytest.mark.parametrize("audio", ["first", "last"])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_audio_beside_the_picture(tmp_path, audio, suffix):
    path = write_video(tmp_path / f"a.{suffix}", numbered(N), audio=audio)
    video = VideoReader(path)
    assert [number_of(frame.image) for frame in video] == list(range(N))
    assert video.info.has_audio
    assert video.problems == []  # although the sound lasts longer


def test_shipped_clips(clips):
    counts = {}
    for path in sorted(clips.glob("*.m*")):
        if path.suffix == ".md":
            continue
        video = VideoReader(path)
        shown = list(ticks(video, video.info.fps))
        counts[path.stem] = len(shown)
        assert video.problems == []
        assert [frame.index for _, frame in shown] == list(range(len(shown)))
    assert counts["face_then_none"] == 192
    assert counts["single_face"] == 72
    assert counts["two_people"] == 56


def test_files_as_found(shared):
    seen = set()
    for path in sorted((shared / "data" / "raw").iterdir()):
        if path.suffix == ".md":
            continue
        with VideoReader(path) as video:
            shown = []
            for frame in video:
                shown.append(frame.time_s)
                if frame.index == 15:
                    assert frame.image[::4, ::4].std() > 5
        seen.add(video.info.codec)
        assert video.problems == []
        assert len(shown) > 20
        assert video.info.duration_s == pytest.approx(shown[-1] + 1 / video.info.fps, abs=0.1)
    assert seen == {"mpeg4", "gif", "h264", "hevc", "mpeg1video", "vp9"}


# --- geometry


@pytest.mark.parametrize(("width", "height"), [(65, 47), (8, 8), (2, 2), (1, 1), (854, 16)])
def test_odd_sizes(tmp_path, width, height):
    image = np.full((height, width, 3), (200, 100, 50), np.uint8)
    path = write_video(tmp_path / "a.mkv", [image] * 2, codec="ffv1", pixel_format="yuv444p")
    for frame in VideoReader(path):
        assert frame.image.shape == (height, width, 3) == (frame.height, frame.width, 3)
        assert np.abs(frame.image.astype(int) - image).max() <= 3


def test_odd_size_with_subsampled_colour(tmp_path):
    path = write_video(tmp_path / "a.mkv", numbered(3, 65, 47), codec="ffv1")
    assert numbers(path) == [0, 1, 2]


def test_8k(tmp_path):
    image = np.zeros((4320, 7680, 3), np.uint8)
    image[:, 3840:] = 200
    path = write_video(tmp_path / "a.mkv", [image], codec="mjpeg", pixel_format="yuvj420p")
    (frame,) = VideoReader(path)
    assert frame.image.shape == (4320, 7680, 3)
    assert frame.image[4000, 100].max() < 10
    assert frame.image[4000, 7000].min() > 190


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_turned_videos_come_upright(tmp_path, rotation, suffix):
    stored = [np.rot90(image, -rotation // 90) for image in numbered(N)]
    path = write_video(tmp_path / f"a.{suffix}", stored, rotation=rotation)
    video = VideoReader(path)
    assert (video.info.width, video.info.height) == (64, 48)
    assert video.info.rotation == 360 - rotation
    for number, frame in enumerate(video):
        assert number_of(frame.image) == number
        assert frame.image[40, 3, 0] > 150  # red on the left
        assert frame.image[40, -4, 2] > 150
        assert frame.image.flags.c_contiguous


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_mirrored_videos_come_upright(tmp_path, rotation):
    """A front camera: the matrix turns first and mirrors then, so storing undoes that."""
    stored = [np.rot90(image[:, ::-1], -rotation // 90) for image in numbered(4)]
    path = write_video(tmp_path / "a.mp4", stored, rotation=rotation, mirror=True)
    assert numbers(path) == [0, 1, 2, 3]
    assert next(iter(VideoReader(path))).image[40, 3, 0] > 150


# --- colour


@pytest.mark.parametrize("codec", ["libx264", "ffv1"])
@pytest.mark.parametrize("matrix", [1, 5, 9])  # BT.709, BT.601, BT.2020
@pytest.mark.parametrize("full_range", [False, True])
def test_matrix_and_range_are_followed(tmp_path, codec, matrix, full_range):
    colours = [(220, 30, 30), (30, 200, 60), (20, 40, 230), (255, 255, 255), (0, 0, 0)]
    images = [np.full((32, 32, 3), colour, np.uint8) for colour in colours]
    path = write_video(
        tmp_path / "a.mkv", images, codec=codec, color=(matrix, 1 + full_range), options={"g": "1"}
    )
    for frame, colour in zip(VideoReader(path), colours, strict=True):
        assert np.abs(frame.image[16, 16].astype(int) - colour).max() <= 6


def test_10_bit_keeps_its_levels(tmp_path):
    ramp = np.repeat(np.arange(0, 256, dtype=np.uint8)[None, :, None], 3, axis=2)
    image = np.repeat(ramp, 16, axis=0)
    path = write_video(tmp_path / "a.mkv", [image], codec="ffv1", pixel_format="yuv444p10le")
    (frame,) = VideoReader(path)
    assert np.abs(frame.image.astype(int) - image).max() <= 3


@pytest.mark.parametrize(
    ("name", "setup"),
    [
        ("a.mkv", {"codec": "ffv1", "pixel_format": "bgra"}),
        ("a.mov", {"codec": "qtrle", "pixel_format": "argb"}),
        ("b.mov", {"codec": "prores_ks", "pixel_format": "yuva444p10le"}),
        ("a.png", {"codec": "apng", "pixel_format": "rgba", "container_format": "apng"}),
    ],
)
def test_transparent_becomes_black(tmp_path, name, setup):
    image = np.full((32, 48, 4), 200, np.uint8)
    image[:, :16, 3], image[:, 16:32, 3], image[:, 32:, 3] = 0, 128, 255
    (frame,) = VideoReader(write_video(tmp_path / name, [image], **setup))
    assert frame.image.shape == (32, 48, 3)
    assert frame.image[16, [4, 24, 44], 0].tolist() == pytest.approx([0, 100, 200], abs=3)


def test_transparent_gif(tmp_path):
    """GIF has a palette with one transparent entry; here, the left half of the picture."""
    picture = av.VideoFrame(32, 16, "pal8")
    indices = np.zeros((16, picture.planes[0].line_size), np.uint8)
    indices[:, 16:] = 1
    palette = np.zeros(256, np.uint32)
    palette[:2] = 0x00FFFFFF, 0xFFC86432  # ARGB
    picture.planes[0].update(indices)
    picture.planes[1].update(palette)
    with av.open(str(tmp_path / "a.gif"), "w") as container:
        stream = container.add_stream("gif", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "pal8"
        container.mux(stream.encode(picture))
        container.mux(stream.encode())
    (frame,) = VideoReader(tmp_path / "a.gif")
    assert frame.image[8, 4].tolist() == [0, 0, 0]
    assert frame.image[8, 28].tolist() == [0xC8, 0x64, 0x32]


# --- interlaced


def comb(image: np.ndarray) -> float:
    """How much neighbouring lines disagree."""
    grey = image.mean(axis=2)
    return float(np.abs(grey[1:-1] - (grey[:-2] + grey[2:]) / 2).mean())


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.mpg", "mpeg2video")])
def test_interlaced_frames_are_made_whole(tmp_path, name, codec):
    woven = []
    for number in range(10):
        image = np.zeros((96, 160, 3), np.uint8)
        for field in (0, 1):
            left = (2 * number + field) * 6
            image[field::2, left : left + 30] = 220
        woven.append(image)
    flagged = list(VideoReader(write_video(tmp_path / name, woven, codec=codec, interlaced=True)))
    assert len(flagged) == len(woven)
    assert max(comb(frame.image) for frame in flagged) < 0.1 * comb(woven[5])
    steps = [after.time_s - before.time_s for before, after in pairwise(flagged)]
    assert steps == pytest.approx([0.04] * 9, abs=1e-3)
    progressive = VideoReader(write_video(tmp_path / f"p{name}", woven, codec=codec))
    assert min(comb(frame.image) for frame in progressive) > 0.9 * comb(woven[5])


def test_interlaced_colour_and_order(tmp_path):
    path = write_video(tmp_path / "a.mp4", numbered(N, 64, 64), interlaced=True, color=(1, 2))
    frames = list(VideoReader(path))
    assert [number_of(frame.image) for frame in frames] == list(range(N))
    assert np.abs(frames[4].image[-6, 3].astype(int) - (220, 30, 30)).max() <= 6


# --- times


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "mov"])
def test_variable_frame_rate(tmp_path, suffix):
    shown = [0, 0.04, 0.08, 0.2, 0.24, 0.5, 0.54, 0.58, 0.62, 0.66, 0.7, 0.74]
    path = write_video(tmp_path / f"a.{suffix}", numbered(N), times=shown)
    video = VideoReader(path)
    frames = list(video)
    assert [frame.time_s for frame in frames] == pytest.approx(shown, abs=1e-3)
    assert video.info.fps == pytest.approx(25, rel=1e-3)
    on_clock = [number_of(frame.image) for _, frame in ticks(frames, 50)]
    held = [round(50 * (after - before)) for before, after in pairwise(shown)] + [1]
    assert on_clock == [number for number, count in enumerate(held) for _ in range(count)]


def test_the_clock_of_the_container_is_kept(tmp_path):
    """A recording that starts at 7.5 s keeps its times."""
    shown = [7.5 + i / 10 for i in range(N)]
    path = write_video(tmp_path / "a.mkv", numbered(N), times=shown)
    assert times(path) == pytest.approx(shown, abs=1e-3)


def test_slow_and_fast_rates(tmp_path):
    for fps in (Fraction(1, 5), 240):
        path = write_video(tmp_path / f"a{fps.denominator}.mp4", numbered(N), fps=fps)
        assert VideoReader(path).info.fps == pytest.approx(float(fps))
        assert times(path) == pytest.approx([i / fps for i in range(N)], abs=1e-4)


def test_gif_of_30_fps(tmp_path):
    path = write_video(tmp_path / "a.gif", numbered(40), fps=30, codec="gif", pixel_format="rgb8")
    video = VideoReader(path)
    assert video.info.fps == pytest.approx(30, rel=0.02)
    assert [frame.index for _, frame in ticks(video, video.info.fps)] == list(range(40))


def write_with_times(path: Path, shown: list[float]) -> Path:
    """Frames in file order, their times as given, however wrong."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for index, (image, time_s) in enumerate(zip(numbered(len(shown)), shown, strict=True)):
            picture = av.VideoFrame.from_ndarray(image, format="rgb24")
            for packet in stream.encode(picture):
                packet.time_base = Fraction(1, 1000)
                packet.dts, packet.pts = index - 10**6, round(time_s * 1000)
                container.mux(packet)
    return path


def test_times_that_run_backwards(tmp_path):
    shown = [0.0, 0.04, 0.08, 0.02, 0.16, 0.2, 0.24, 0.28]
    video = VideoReader(write_with_times(tmp_path / "a.mkv", shown))
    frames = list(video)
    assert [frame.time_s for frame in frames] == pytest.approx([i / 25 for i in range(8)], abs=2e-3)
    assert [number_of(frame.image) for frame in frames] == list(range(8))
    assert video.problems == [
        "1 frame with a broken time, timed by the nominal rate (first near 0.12 s)"
    ]


def test_joined_recordings(tmp_path):
    """Two transport streams in one file: the clock starts again in the middle."""
    one = write_video(tmp_path / "1.ts", numbered(N), codec="mpeg2video")
    two = write_video(tmp_path / "2.ts", numbered(N, first=N), codec="mpeg2video")
    path = tmp_path / "both.ts"
    path.write_bytes(one.read_bytes() + two.read_bytes())
    shown = times(path)
    assert numbers(path) == list(range(2 * N))
    assert [b - a for a, b in pairwise(shown)] == pytest.approx([0.04] * (2 * N - 1), abs=2e-3)


# --- how it is used


def test_one_frame(tmp_path):
    for name, setup in (("a.mp4", {}), ("a.gif", {"codec": "gif", "pixel_format": "rgb8"})):
        video = VideoReader(write_video(tmp_path / name, numbered(1), **setup))
        (frame,) = video
        assert (frame.index, frame.image.shape) == (0, (48, 64, 3))
        assert video.info.fps > 0


def test_a_still_picture_is_a_video_of_one_frame(tmp_path):
    (frame,) = VideoReader(
        write_video(
            tmp_path / "a.jpg",
            numbered(1, first=5),
            codec="mjpeg",
            pixel_format="yuvj420p",
            container_format="image2",
        )
    )
    assert number_of(frame.image) == 5


def test_frames_are_converted_once_and_only_on_demand(tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", numbered(N))
    converted = []
    convert = reader_module.to_rgb
    monkeypatch.setattr(
        reader_module, "to_rgb", lambda *args: converted.append(1) or convert(*args)
    )
    for frame in VideoReader(path):
        if frame.index % 4 == 0:
            assert frame.image is frame.image
    assert len(converted) == N / 4


def test_frames_outlive_the_reader(tmp_path):
    with VideoReader(write_video(tmp_path / "a.mp4", numbered(N))) as video:
        frames = list(video)
    assert [number_of(frame.image) for frame in frames] == list(range(N))


def test_every_iteration_starts_at_the_beginning(tmp_path):
    with VideoReader(write_video(tmp_path / "a.mp4", numbered(N))) as video:
        first = iter(video)
        assert [next(first).index for _ in range(3)] == [0, 1, 2]
        assert [number_of(frame.image) for frame in video] == list(range(N))
        assert next(first, None) is None  # one iteration at a time
        assert len(list(video)) == N


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_threads_change_nothing(tmp_path, threads):
    path = write_video(tmp_path / "a.mp4", numbered(60))
    video = VideoReader(path, threads=threads)
    assert [number_of(frame.image) for frame in video] == list(range(60))


def test_file_names_are_only_names(tmp_path):
    """None of this is read as a protocol, a pattern or an encoding."""
    clip = write_video(tmp_path / "a.mp4", numbered(2)).read_bytes()
    for name in ("http:x%03d.mp4", "concat:a|b.mp4", " é 😀 [1].mp4", "-i.mp4"):
        path = tmp_path / name
        path.write_bytes(clip)
        assert numbers(path) == [0, 1]
        assert len(list(VideoReader(str(path)))) == 2


def test_threads_must_make_sense(tmp_path):
    with pytest.raises(InputError, match="threads is -1"):
        VideoReader(tmp_path / "a.mp4", threads=-1)


def test_cover_picture_is_no_video(tmp_path):
    path = tmp_path / "song.mp3"
    with av.open(str(path), "w") as container:
        if not have_encoder("libmp3lame"):
            pytest.skip("this FFmpeg cannot write mp3")
        sound = container.add_stream("libmp3lame", rate=16000)
        cover = container.add_stream("mjpeg")
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        picture = av.VideoFrame.from_ndarray(numbered(1)[0], format="rgb24")
        container.mux(cover.encode(picture))
        silence = av.AudioFrame.from_ndarray(
            np.zeros((1, 16000), np.float32), format="fltp", layout="mono"
        )
        silence.sample_rate = 16000
        container.mux(sound.encode(silence))
        container.mux(sound.encode())
    with pytest.raises(VideoError, match="holds only audio"):
        VideoReader(path)


def test_audio_only(tmp_path):
    with pytest.raises(VideoError, match=r"a\.m4a: holds only audio; give a file with a picture"):
        VideoReader(write_audio(tmp_path / "a.m4a"))
