"""prepare, end to end: the same store whatever is killed and however many processes work."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from media import numbered, write_video

from openmarlin.data import preparation
from openmarlin.data.store import Store
from openmarlin.data.store.writer import JOURNAL_FILE
from openmarlin.errors import InputError
from openmarlin.jobs.prepare import Preparation, announce, prepare
from openmarlin.regions import region_bits
from openmarlin.video.reader import VideoReader

OPTIONS = {"min_frames": 8, "max_frames": 10, "limit_seconds": 0.8}
FILES = ("signer_thanks.mkv", "broken.mp4", "no_face.mp4", "two_people.mp4")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory, clips: Path) -> list[Path]:
    """Two videos with faces (the second has 12 frames a second), a broken one, one without."""
    folder = tmp_path_factory.mktemp("videos")
    for name in FILES:
        if (clips / name).exists():
            (folder / name).symlink_to(clips / name)
    (folder / "broken.mp4").write_bytes(b"no video")
    write_video(folder / "no_face.mp4", numbered(20))
    return [folder / name for name in FILES]


@pytest.fixture(scope="module")
def whole(videos: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Preparation:
    return prepare(videos, out=tmp_path_factory.mktemp("whole") / "s", workers=1, **OPTIONS)


def contents(path: Path) -> dict[str, bytes]:
    """What a reader of the store sees, and the list of failures."""
    names = ("index.json", "tracks.parquet", "contact.png", "failures.csv")
    files = [*(path / name for name in names), *sorted(path.glob("shard-*"))]
    return {file.name: file.read_bytes() for file in files}


def test_what_is_in_it(whole: Preparation, videos: list[Path]) -> None:
    store = whole.store
    assert (store.size, whole.videos) == (256, 4)
    assert [(Path(t.video).name, t.n_frames) for t in store.tracks] == [
        ("signer_thanks.mkv", 10),
        ("signer_thanks.mkv", 14),  # a rest of 4 would be too short
        ("two_people.mp4", 10),
        ("two_people.mp4", 10),
    ]
    assert len({t.name for t in store.tracks}) == 4
    first, second = store.tracks[:2]
    assert second.start_s - first.start_s == pytest.approx(10 / 30, abs=2e-3)
    assert 70 < first.face_px < 90
    assert first.seen == 1
    assert store.verify() == []
    assert (store.path / "contact.png").stat().st_size > 50_000
    assert sorted(whole.failures) == sorted(map(str, videos[1:3]))


def test_regions_lie_on_the_face(whole: Preparation) -> None:
    """In a frontal crop the parts stand where MARLIN's framing puts them."""
    images, cells = whole.store.read(0, [0, 9])
    assert images.shape == (2, 256, 256, 3)
    assert cells.shape == (2, 32, 32)
    centres = {}
    for name in ("right_eye", "left_eye", "nose", "mouth", "hair", "skin"):
        centres[name] = np.argwhere(cells[0] & region_bits([name])).mean(axis=0) / 32
    (y_eye, x_right), (y_left, x_left) = centres["right_eye"], centres["left_eye"]
    assert x_right < 0.5 < x_left  # the person's own right is on the left
    assert abs(y_eye - y_left) < 0.1
    assert y_eye < centres["nose"][0] < centres["mouth"][0] < 0.9
    assert centres["hair"][0] < y_eye
    assert np.abs(centres["skin"] - 0.5).max() < 0.15


def test_failures_are_listed_in_the_order_of_the_inputs(
    whole: Preparation, videos: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with (whole.store.path / "failures.csv").open(newline="") as file:
        rows = [(row["video"], row["reason"]) for row in csv.DictReader(file)]
    assert [video for video, _ in rows] == [str(videos[1]), str(videos[2])]
    assert "cannot be read as video" in rows[0][1]
    assert rows[1][1] == "no face found"
    announce(whole)
    told = capsys.readouterr().err
    assert "2 of 4 videos, 4 tracks" in told
    assert "clips/s" in told


def test_the_same_from_two_processes(
    whole: Preparation, videos: list[Path], tmp_path: Path
) -> None:
    again = prepare(videos, out=tmp_path / "s", workers=2, **OPTIONS)
    assert contents(again.store.path) == contents(whole.store.path)
    assert again.failures == whole.failures


def test_killed_and_gone_on_with(
    whole: Preparation, videos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, asked = tmp_path / "s", list(map(str, videos))
    script = (
        "from openmarlin.jobs.prepare import prepare\n"
        f"prepare({asked!r}, out={str(out)!r}, workers=1, **{OPTIONS!r})"
    )
    run = subprocess.Popen([sys.executable, "-c", script])
    end = time.monotonic() + 120
    while not (out / JOURNAL_FILE).exists() or (out / JOURNAL_FILE).read_text().count("\n") < 2:
        assert time.monotonic() < end
        assert run.poll() is None
        time.sleep(0.02)
    run.kill()
    assert run.wait() == -signal.SIGKILL
    with pytest.raises(InputError, match="not finished yet"):
        Store(out)
    redone = []
    make = preparation.make_tracks
    monkeypatch.setattr(
        preparation,
        "make_tracks",
        lambda source, *rest: (redone.append(source.row.video), make(source, *rest))[1],
    )
    resumed = prepare(videos, out=out, workers=1, resume=True, **OPTIONS)
    assert videos[0] not in redone
    assert videos[2] not in redone  # that it shows no face was known
    assert set(redone) <= {videos[1], videos[3]}
    assert contents(out) == contents(whole.store.path)
    assert resumed.failures == whole.failures

    redone.clear()  # a finished store is gone on with at no cost; what failed is tried again
    prepare(videos, out=out, workers=1, resume=True, **OPTIONS)
    assert redone == [videos[1]]
    assert contents(out) == contents(whole.store.path)


def test_nothing_to_keep(videos: list[Path], tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"none of 2 videos shows a face to keep; see failures.csv"
    ):
        prepare(videos[2:4], out=tmp_path / "s", workers=1, limit_seconds=0.3)
    told = (tmp_path / "s" / "failures.csv").read_text()
    assert "no face to keep (2 shorter than 29 frames)" in told


def test_refusals(videos: list[Path], whole: Preparation, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="margin=3"):
        prepare(videos, out=tmp_path / "s", margin=3)
    with pytest.raises(InputError, match="resume="):
        prepare(videos, out=whole.store.path)
    with pytest.raises(InputError, match="max_frames was 10, is 300"):
        prepare(videos, out=whole.store.path, resume=True, min_frames=8, limit_seconds=0.8)
    assert json.loads((whole.store.path / "index.json").read_text())["size"] == 256


def test_a_table_names_parts_groups_and_labels(clips: Path, tmp_path: Path) -> None:
    clip = clips / "signer_thanks.mkv"
    table = tmp_path / "list.csv"
    table.write_text(f"\ufeffVideo;start_s;end_s;group;smile\r\n{clip};0,4;1,2;anna;1\r\n")
    store = prepare(table, out=tmp_path / "s", workers=1, min_frames=8).store
    (track,) = store.tracks
    assert (track.group, store.columns["smile"]) == ("anna", [1])
    assert track.start_s == pytest.approx(0.4, abs=1 / 30)
    assert track.start_s + track.n_frames / track.fps == pytest.approx(1.2, abs=1 / 30)


def test_a_file_that_changed_is_read_again(clips: Path, tmp_path: Path) -> None:
    video, out = tmp_path / "a.mkv", tmp_path / "s"
    video.write_bytes((clips / "signer_thanks.mkv").read_bytes())
    options = {"workers": 1, "min_frames": 8, "limit_seconds": 0.5}
    first = prepare(video, out=out, **options).store.tracks
    video.write_bytes((clips / "signer_yes.mkv").read_bytes())
    second = prepare(video, out=out, resume=True, **options).store
    assert len(second) == len(first)
    assert second.tracks[0].n_bytes != first[0].n_bytes
    assert second.verify() == []


def test_tracks_of_a_file_that_changed_and_cannot_be_read_go(clips: Path, tmp_path: Path) -> None:
    out, videos = tmp_path / "s", [tmp_path / "a.mkv", tmp_path / "b.mkv"]
    table = tmp_path / "list.csv"
    table.write_text("video,smile\na.mkv,1\nb.mkv,2\n")
    for video, name in zip(videos, ("signer_thanks.mkv", "signer_yes.mkv"), strict=True):
        video.write_bytes((clips / name).read_bytes())
    options = {"out": out, "workers": 1, "min_frames": 8, "limit_seconds": 0.5}
    assert prepare(table, **options).store.columns["smile"] == [1, 2]
    videos[0].write_bytes(b"no video")
    for _ in range(2):
        result = prepare(table, resume=True, **options)
        assert [track.video for track in result.store.tracks] == [str(videos[1])]
        assert result.store.columns["smile"] == [2]
        assert list(result.failures) == [str(videos[0])]
    videos[1].write_bytes(b"no video")
    with pytest.raises(InputError, match="none of 2 videos"):
        prepare(table, resume=True, **options)
    with pytest.raises(InputError, match="resume"):
        Store(out)


def test_sound_lies_on_the_clock_of_the_pictures(clips: Path, tmp_path: Path) -> None:
    with VideoReader(clips / "signer_thanks.mkv") as reader:
        faces = [frame.image for frame in islice(reader, 40)]
    video = write_video(tmp_path / "v.mp4", faces, fps=25, audio="last")
    options = {"workers": 1, "min_frames": 8, "max_frames": 12}
    store = prepare(video, out=tmp_path / "s", sound=True, **options).store
    for number, track in enumerate(store.tracks):
        sound = store.sound(number)
        assert sound is not None
        assert len(sound) == pytest.approx(track.n_frames / track.fps * 16000, abs=1)
    assert np.abs(store.sound(0)[1600:]).max() > 500  # the tone lasts a second
    assert np.abs(store.sound(len(store) - 1)[-1600:]).max() == 0
    silent = prepare(clips / "signer_yes.mkv", out=tmp_path / "t", sound=True, **options).store
    assert {silent.sound(number) is None for number in range(len(silent))} == {True}


def test_points_lie_on_the_regions_and_change_nothing_else(
    whole: Preparation, videos: list[Path], tmp_path: Path
) -> None:
    store = prepare(videos[0], out=tmp_path / "s", workers=1, points=True, **OPTIONS).store
    images, cells = store.read(1, [0, 13])
    points = store.points(1, [0, 13])
    assert points.shape == (2, 478, 2)
    for (x, y), name in ((points[0, 4], "nose"), (points[1, 468], "right_eye")):
        assert cells[:, int(y) // 8, int(x) // 8].max() & region_bits([name])
    bare_images, bare_cells = whole.store.read(1, [0, 13])
    np.testing.assert_array_equal(images, bare_images)
    np.testing.assert_array_equal(cells, bare_cells)
    assert store.verify() == []


def test_parts_that_fail_are_listed_in_order_with_their_bounds(clips: Path, tmp_path: Path) -> None:
    clip, table = clips / "signer_thanks.mkv", tmp_path / "list.csv"
    table.write_text(f"video,start_s,end_s\n{clip},9,\n{clip},0,0.5\n{clip},8,9\n")
    options = {"workers": 1, "min_frames": 8}
    result = prepare(table, out=tmp_path / "s", **options)
    assert list(result.failures) == [f"{clip} [9.0 s to end]", f"{clip} [8.0 s to 9.0 s]"]
    assert len(result.store) == 1
    with pytest.raises(InputError, match="none of 2 videos"):
        prepare(tmp_path / "s" / "failures.csv", out=tmp_path / "t", **options)
    listed = [(tmp_path / name / "failures.csv").read_text() for name in ("s", "t")]
    assert listed[0] == listed[1]


def test_a_pause_ends_a_track_and_a_short_repeat_does_not(clips: Path, tmp_path: Path) -> None:
    """30 frames, of which the 11th stands for 0.4 s; 2 s of the last one; 15 more."""
    with VideoReader(clips / "signer_thanks.mkv") as reader:
        faces = [frame.image for frame in islice(reader, 45)]
    times = [i / 25 + 0.36 * (i > 10) + 1.96 * (i > 29) for i in range(45)]
    video = write_video(tmp_path / "v.mkv", faces, fps=25, times=times)
    options = {"workers": 1, "min_frames": 8, "max_frames": 15}
    store = prepare(video, out=tmp_path / "s", **options).store
    assert [track.n_frames for track in store.tracks] == [15, 15, 9, 15]
    starts_s = [track.start_s for track in store.tracks]
    assert starts_s == pytest.approx([0, 15 / 25, 30 / 25, times[30]], abs=2e-3)


def test_a_script_without_a_main_guard_is_told_so(clips: Path, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    videos = [str(clips / "signer_yes.mkv"), str(clips / "signer_thanks.mkv")]
    out = str(tmp_path / "s")
    script.write_text(
        "from openmarlin.jobs.prepare import prepare\n"
        f"prepare({videos!r}, out={out!r}, workers=2, limit_seconds=0.3)\n"
    )
    run = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=100, check=False
    )
    assert run.returncode != 0
    assert "__main__" in run.stderr.splitlines()[-1]
    assert not (tmp_path / "s").exists()
