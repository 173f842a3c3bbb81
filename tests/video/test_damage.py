"""Files that are wrong, broken or endless: what can be read is used, the rest is told."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media import number_of, numbered, write_audio, write_video

from openmarlin.errors import VideoError
from openmarlin.video.decode import MAX_PIXELS
from openmarlin.video.deinterlace import Deinterlacer
from openmarlin.video.problems import Problems
from openmarlin.video.reader import VideoReader

MJPEG = {"codec": "mjpeg", "pixel_format": "yuvj420p"}


# --- not a video


def empty(folder: Path) -> Path:
    (folder / "a.mp4").touch()
    return folder / "a.mp4"


def text(folder: Path) -> Path:
    (folder / "a.mp4").write_text("this is not a video\n" * 50)
    return folder / "a.mp4"


def letters(folder: Path) -> Path:
    (folder / "a.txt").write_text("FFmpeg would draw these letters\n" * 50)
    return folder / "a.txt"


def play_list(folder: Path) -> Path:
    """Must not make FFmpeg read another file, let alone an address."""
    target = write_video(folder / "target.ts", numbered(3))
    (folder / "a.mp4").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n"
    )
    return folder / "a.mp4"


def concatenation(folder: Path) -> Path:
    target = write_video(folder / "target.mp4", numbered(3))
    (folder / "a.mp4").write_text(f"ffconcat version 1.0\nfile {target.name}\n")
    return folder / "a.mp4"


def no_frames(folder: Path) -> Path:
    """A proper header and not one packet."""
    with av.open(str(folder / "a.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    return folder / "a.mkv"


def garbage_packets(folder: Path) -> Path:
    path = write_video(folder / "a.avi", numbered(8), **MJPEG)
    damage_packets(path, range(8))
    return path


def socket_file(folder: Path) -> Path:
    os.mkfifo(folder / "a.mp4")
    return folder / "a.mp4"


def locked(folder: Path) -> Path:
    path = write_video(folder / "a.mp4", numbered(2))
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder / "a.mp4", "no such file; check the path"),
        (lambda folder: folder, "is a folder; name a video file inside it"),
        (empty, "the file is empty (0 bytes); copy or download it again"),
        (text, "cannot be read as video (invalid data found"),
        (letters, "is a text file or a play list; give a video file"),
        (play_list, "cannot be read as video ("),
        (concatenation, "is a text file or a play list; give a video file"),
        (lambda folder: write_audio(folder / "a.m4a"), "holds only audio; give a file with a"),
        (no_frames, "cannot be read as video (end of file)"),
        (garbage_packets, "not one frame can be decoded; the file is damaged or cut off"),
        (socket_file, "is not a regular file; save the video to disk first"),
        (locked, "cannot be opened (permission denied); check its name and permissions"),
        (lambda folder: folder / ("a" * 300), "cannot be opened (file name too long)"),
    ],
)
def test_one_clear_line(tmp_path, make, message):
    path = make(tmp_path)
    with pytest.raises(VideoError) as caught:
        list(VideoReader(path))
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


def test_a_file_that_vanishes(tmp_path):
    path = write_video(tmp_path / "a.mp4", numbered(2))
    video = VideoReader(path)
    path.unlink()
    with pytest.raises(VideoError, match="no such file"):
        list(video)


# --- cut off


@pytest.mark.parametrize(
    ("name", "setup"),
    [
        ("a.mkv", {}),
        ("a.avi", {"codec": "mpeg4"}),
        ("a.ts", {"codec": "mpeg2video"}),
        ("a.mpg", {"codec": "mpeg2video"}),
        ("a.gif", {"codec": "gif", "pixel_format": "rgb8"}),
        ("a.webm", {"codec": "libvpx", "options": {"deadline": "realtime"}}),
        ("index_first.mp4", {"container_options": {"movflags": "faststart"}}),
        ("index_last.mp4", {}),
    ],
)
def test_cut_at_every_tenth(tmp_path, name, setup):
    whole = write_video(tmp_path / name, numbered(60), **setup).read_bytes()
    counts = []
    for tenth in range(11):
        path = tmp_path / f"cut{tenth}{Path(name).suffix}"
        path.write_bytes(whole[: len(whole) * tenth // 10])
        try:
            video = VideoReader(path)
        except VideoError:
            counts.append(0)
            continue
        shown = [number_of(frame.image) for frame in video]
        intact = shown if tenth == 10 else shown[:-2]  # the last may be half a picture
        assert intact == list(range(len(intact)))
        counts.append(len(shown))
        if name not in ("a.ts", "a.mpg", "a.gif"):  # these do not state how long they are
            assert video.problems or len(shown) > 54
        assert tenth < 10 or video.problems == []
    assert counts == sorted(counts)
    assert counts[0] == 0
    assert counts[10] == 60
    if name == "index_last.mp4":
        assert counts[9] == 0
    else:
        assert counts[9] > 40
        assert counts[6] > 5


def test_how_much_is_missing_is_told(tmp_path, clips):
    path = tmp_path / "cut.mkv"
    whole = (clips / "signer_yes.mkv").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    video = VideoReader(path)
    assert len(list(video)) == 26
    assert video.problems == ["the file ends early: 1.00 s of 2.20 s could be read"]


# --- holes in the middle


def damage_packets(path: Path, numbers) -> None:
    """Overwrite the data of some packets."""
    with av.open(str(path)) as container:
        places = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    for number in numbers:
        position, size = places[number]
        # The container's own bytes before the data differ; the whole packet is in here.
        data[position + 8 : position + size] = bytes(size - 8)
    path.write_bytes(data)


def test_a_bad_packet_does_not_stop_reading(tmp_path):
    path = write_video(tmp_path / "a.avi", numbered(30), **MJPEG)
    damage_packets(path, [11, 20, 21])
    video = VideoReader(path)
    frames = list(video)
    shown = [number_of(frame.image) for frame in frames]
    assert shown == [i for i in range(30) if i not in (11, 20, 21)]
    assert [frame.time_s for frame in frames] == pytest.approx([i / 25 for i in shown])
    assert video.problems == ["3 damaged packets skipped (first near 0.40 s)"]


def test_h264_recovers_at_the_next_key_frame(tmp_path):
    path = write_video(tmp_path / "a.mp4", numbered(40), options={"g": "10", "bf": "0"})
    damage_packets(path, [12])
    video = VideoReader(path)
    frames = {round(frame.time_s * 25): number_of(frame.image) for frame in video}
    good = [*range(12), *range(20, 40)]
    assert [frames[i] for i in good] == good
    assert len(video.problems) == 1


def test_a_hole_in_the_container(tmp_path):
    """Matroska clusters overwritten: the demuxer has to find its way back."""
    path = write_video(tmp_path / "a.mkv", numbered(200, 128, 96), **MJPEG)
    data = bytearray(path.read_bytes())
    third = len(data) // 3
    data[third : third + 4000] = np.random.default_rng(0).bytes(4000)
    path.write_bytes(data)
    video = VideoReader(path)
    frames = list(video)
    assert 100 < len(frames) < 200
    assert round(frames[-1].time_s * 25) == number_of(frames[-1].image) == 199


def test_nothing_is_printed(tmp_path, capfd):
    path = write_video(tmp_path / "a.mp4", numbered(40))
    damage_packets(path, [0, 5, 12])
    capfd.readouterr()
    list(VideoReader(path))
    with pytest.raises(VideoError):
        VideoReader(text(tmp_path / ".."))
    assert capfd.readouterr() == ("", "")


def test_claimed_sizes_are_bounded(tmp_path):
    """A damaged header may claim a picture of many gigabytes."""
    path = write_video(tmp_path / "a.gif", numbered(1), codec="gif", pixel_format="rgb8")
    data = bytearray(path.read_bytes())
    data[6:10] = b"\xff\xff\xff\xff"  # 65535 x 65535
    path.write_bytes(data)
    assert MAX_PIXELS < 65535**2
    with pytest.raises(VideoError):
        list(VideoReader(path))


def test_problems_are_short():
    problems = Problems()
    for second in range(1000):
        problems.now_s = second
        problems.note("packet")
    problems.now_s = 3.14159
    problems.note("frame")
    problems.ends_early(5.0, 10.0)
    assert problems.lines() == [
        "1000 damaged packets skipped (first near 0.00 s)",
        "1 damaged frame kept as far as decoded (first near 3.14 s)",
        "the file ends early: 5.00 s of 10.00 s could be read",
    ]


def test_deinterlacer_lets_tiny_and_changing_pictures_pass():
    """Two lines are too few for the filter; a change of size starts it afresh."""
    deinterlacer = Deinterlacer(Fraction(1, 25))
    out = []
    for pts, side in enumerate([2, 2, 32, 32, 32, 64, 64, 2]):
        frame = av.VideoFrame(side, side, "yuv420p")
        frame.pts = pts
        out += deinterlacer.push(frame)
    out += deinterlacer.flush()
    assert [frame.width for frame, _ in out] == [2, 2, 32, 32, 32, 64, 64, 2]
    assert [time_s for _, time_s in out] == pytest.approx([i / 25 for i in range(8)])


# --- other processes: crashes, hangs and memory show there


def test_mutated_files(tmp_path, clips):
    """Real and synthetic files with random damage: a VideoError or frames, nothing else."""
    small = numbered(20)
    sources = [
        clips / "two_people.mp4",
        clips / "signer_thanks.mkv",
        write_video(tmp_path / "a.mp4", small, audio="first"),
        write_video(tmp_path / "b.avi", small, codec="mpeg4", options={"bf": "2"}),
        write_video(tmp_path / "c.webm", small, codec="libvpx", options={"deadline": "realtime"}),
        write_video(tmp_path / "d.ts", small, interlaced=True),
        write_video(tmp_path / "e.mkv", small, codec="ffv1", pixel_format="bgra"),
        write_video(tmp_path / "f.gif", small, codec="gif", pixel_format="rgb8"),
        write_video(tmp_path / "g.mpg", small, codec="mpeg2video"),
        write_video(tmp_path / "h.mov", small, codec="prores_ks", pixel_format="yuv422p10le"),
    ]
    script = Path(__file__).with_name("mutate.py")
    ran = subprocess.run(
        [sys.executable, str(script), "1", "4", *map(str, sources)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    outcomes = ast.literal_eval(ran.stdout)
    assert sum(outcomes.values()) >= 10
    assert outcomes.get("in part", 0) + outcomes.get("in full", 0) > 0


MEASURE = """
import resource, sys
from openmarlin.video.reader import VideoReader

for path in sys.argv[1:]:
    frames = 0
    for frame in VideoReader(path):
        frames += 1
        if frame.index % 8 == 0:
            frame.image
    print(frames, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.parametrize("interlaced", [False, True])
def test_memory_does_not_grow_with_length(tmp_path, interlaced):
    """900 frames more are 25 MiB of pictures; not a sixth of it may stay."""
    pytest.importorskip("resource")
    setup = {"codec": "mpeg2video", "interlaced": interlaced}
    paths = []
    for name, n in (("short.mkv", 100), ("long.mkv", 1000)):
        picture = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
        paths.append(str(write_video(tmp_path / name, (picture for _ in range(n)), **setup)))
    told = subprocess.run(
        [sys.executable, "-c", MEASURE, *paths], capture_output=True, text=True, check=True
    ).stdout.split()
    short, short_kb, long, long_kb = map(int, told)
    assert (short, long) == (100, 1000)
    assert long_kb - short_kb < 4096
