"""`faces`: real clips to a table; resumed, in part, as one file; wrong requests."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from media import numbered, write_video
from pandas.testing import assert_frame_equal

import openmarlin
from openmarlin.data.face_table import read_faces
from openmarlin.data.manifest import Row
from openmarlin.errors import InputError, OpenMarlinError
from openmarlin.face.blendshapes import BLENDSHAPE_NAMES
from openmarlin.jobs.faces import Faces, announce, faces
from openmarlin.video.reader import VideoReader

ALONE = {"workers": 1}
COLUMNS = [
    *("video", "frame", "time_s", "face", "ok", "interpolated", "score", "x1", "y1", "x2", "y2"),
    *("yaw", "pitch", "roll", *BLENDSHAPE_NAMES),
]


@pytest.fixture(scope="module")
def folder(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Faces]:
    """One run over three clips into a folder, with everything, looked at by several tests."""
    source, out = tmp_path_factory.mktemp("videos"), tmp_path_factory.mktemp("run") / "out"
    for name in ("single_face.mp4", "face_then_none.mp4", "two_people.mp4"):
        shutil.copy(clips / name, source)
    return out, faces(source, out=out, points=True, overlay=True, limit_seconds=3.0, **ALONE)


def of(result: Faces, name: str) -> pd.DataFrame:
    frame = result.to_pandas()
    return frame[frame["video"].str.endswith(name)].reset_index(drop=True)


def test_every_frame_has_its_rows_at_its_own_time(folder: tuple[Path, Faces]) -> None:
    _, result = folder
    assert result.failures == {}
    assert result.table.column_names == [*COLUMNS, "points"]
    assert all(column.null_count == 0 for column in result.table.columns)
    one = of(result, "single_face.mp4")
    with VideoReader(one["video"][0]) as reader:
        expected = [(frame.index, frame.time_s) for frame in reader]
    assert list(zip(one["frame"], one["time_s"], strict=True)) == expected
    assert set(one["face"]) == {0}
    assert one["ok"].all()
    two = of(result, "two_people.mp4")
    assert set(two["face"]) == {0, 1}
    assert (two.groupby("frame")["face"].count() == 2).all()


def test_frames_without_a_face_are_flagged(folder: tuple[Path, Faces]) -> None:
    _, result = folder
    gone = of(result, "face_then_none.mp4")
    seen = gone["ok"]
    assert seen.iloc[0]
    assert not seen.iloc[-1]
    nobody = gone[gone["face"] == -1]
    assert len(nobody)
    assert not nobody["ok"].any()
    assert not nobody["interpolated"].any()
    assert nobody[["score", "x1", "yaw", "jawOpen"]].isna().all(axis=None)
    assert gone[seen][COLUMNS[6:]].notna().all(axis=None)
    counts = result.meta["counts"]
    assert counts["frames_without_face"] == len(nobody)
    assert counts["videos"] == counts["videos_done"] == 3
    assert counts["faces"] == 4


def test_boxes_hold_the_points_and_angles_are_degrees(folder: tuple[Path, Faces]) -> None:
    _, result = folder
    frame, points = result.to_pandas(), result.points
    ok = frame["ok"].to_numpy()
    assert points.shape == (len(frame), 478, 3)
    np.testing.assert_allclose(points[ok][:, :, 0].min(axis=1), frame["x1"][ok])
    np.testing.assert_allclose(points[ok][:, :, 1].max(axis=1), frame["y2"][ok])
    assert np.isnan(points[~ok]).all()
    man, woman = (of(result, "two_people.mp4").query("face == @i")["yaw"].mean() for i in (0, 1))
    assert woman < -20
    assert man > 0


def test_a_smile_is_seen(folder: tuple[Path, Faces]) -> None:
    smile = of(folder[1], "single_face.mp4")["mouthSmileLeft"]
    assert smile[:10].mean() < 0.2
    assert smile[30:60].mean() > 0.6


def test_the_folder_holds_what_the_docs_say(folder: tuple[Path, Faces]) -> None:
    out, result = folder
    names = {file.name for file in out.iterdir() if not file.name.startswith(".")}
    assert names == {
        *("faces.parquet", "meta.json", "report.html", "config.yaml", "environment.json"),
        *("parts", "overlay"),
    }
    assert_frame_equal(pd.read_parquet(out / "faces.parquet")[COLUMNS], result.to_pandas()[COLUMNS])
    assert json.loads((out / "meta.json").read_text())["counts"] == result.meta["counts"]


def test_the_overlay_shows_as_many_pictures_and_the_same_sound(folder: tuple[Path, Faces]) -> None:
    out, result = folder
    one = of(result, "single_face.mp4")
    (drawn,) = out.glob("overlay/single_face-*.mp4")
    with VideoReader(drawn) as after, VideoReader(one["video"][0]) as before:
        assert after.info.has_audio
        pairs = [(a.time_s, b.time_s, a.image, b.image) for a, b in zip(after, before, strict=True)]
    np.testing.assert_allclose(*zip(*[pair[:2] for pair in pairs], strict=True), atol=1e-3)
    for (_, _, now, then), row in zip(pairs[::10], one[::10].itertuples(), strict=True):
        edge = np.s_[round(row.y1) : round(row.y2), round(row.x1) - 1 : round(row.x1) + 2]
        inside = np.s_[-40:, -40:]
        assert np.abs(now[edge].astype(int) - then[edge]).mean() > 20
        assert np.abs(now[inside].astype(int) - then[inside]).mean() < 6
    (short,) = out.glob("overlay/face_then_none-*.mp4")
    with VideoReader(short) as reader:
        assert sum(1 for _ in reader) == of(result, "face_then_none.mp4")["frame"].nunique()


def test_largest_rate_and_limit(clips: Path) -> None:
    result = faces(
        clips / "two_people.mp4", faces="largest", rate=3, limit_seconds=1.0, **ALONE
    ).to_pandas()
    assert result["frame"].tolist() == [0, 3, 6, 9]
    assert result["time_s"].max() < 1.0
    with pytest.raises(InputError, match="points=True"):
        faces(clips / "two_people.mp4", limit_seconds=0.2, **ALONE).points  # noqa: B018


def test_a_variable_frame_rate_keeps_its_times(clips: Path, tmp_path: Path) -> None:
    with VideoReader(clips / "single_face.mp4") as reader:
        images = [frame.image for frame, _ in zip(reader, range(14), strict=False)]
    times = [0.0, 0.03, 0.1, 0.11, 0.3, 0.34, 0.7, 0.71, 0.72, 1.2, 1.3, 2.9, 2.95, 3.0]
    video = write_video(tmp_path / "a.mp4", images, times=times)
    table = faces(video, **ALONE).to_pandas()
    np.testing.assert_allclose(table["time_s"], times, atol=1e-4)
    assert table["frame"].tolist() == list(range(14))
    assert table["ok"].all()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_one_file(clips: Path, tmp_path: Path, suffix: str) -> None:
    out = tmp_path / "new" / f"faces{suffix}"
    options = {"limit_seconds": 0.4, **ALONE}
    result = faces(clips / "face_then_none.mp4", out=out, **options)
    assert [file.name for file in out.parent.iterdir()] == [out.name]
    whole = faces(clips / "face_then_none.mp4", **options).to_pandas()
    assert_frame_equal(result.to_pandas(), whole)
    assert_frame_equal(read_faces(out).to_pandas(), whole)
    with pytest.raises(InputError, match="overwrite=True"):
        faces(clips / "face_then_none.mp4", out=out, **options)
    faces(clips / "face_then_none.mp4", out=out, overwrite=True, **options)


def test_a_csv_gives_parts_and_columns(clips: Path, tmp_path: Path) -> None:
    shutil.copy(clips / "single_face.mp4", tmp_path / "a.mp4")
    table = tmp_path / "list.csv"
    table.write_text("video,start_s,end_s,group,smiles\na.mp4,0.2,0.4,anna,1\na.mp4,2.2,,anna,0\n")
    out = tmp_path / "out"
    result = faces(table, out=out, overlay=True, **ALONE)
    frame = result.to_pandas()
    assert frame.columns[:6].tolist() == [
        *("video", "smiles", "group", "part_start_s", "part_end_s", "frame")
    ]
    parts = frame.groupby("smiles")["time_s"]
    assert parts.min()[1] == pytest.approx(0.2)
    assert parts.max()[1] < 0.4
    assert parts.min()[0] == pytest.approx(2.2)
    assert sorted(frame["frame"]) == sorted([*range(6, 12), *range(66, 72)])
    lengths = []
    for drawn in out.glob("overlay/a-*.mp4"):
        with VideoReader(drawn) as reader:
            shown = [frame.time_s for frame in reader]
        assert shown[0] == pytest.approx(0, abs=1e-3)
        lengths.append(len(shown))
    assert lengths == [6, 6]
    table.write_text("video,yaw\na.mp4,1\n")
    with pytest.raises(InputError, match="'yaw'"):
        faces(table, out=tmp_path / "other", **ALONE)
    assert not (tmp_path / "other").exists()


def test_one_bad_video_stops_nothing_and_is_tried_again(clips: Path, tmp_path: Path) -> None:
    source, out = tmp_path / "v", tmp_path / "out"
    source.mkdir()
    (source / "bad.mp4").write_text("not a video")
    write_video(source / "good.mp4", numbered(6, 160, 120))
    result = faces(source, out=out, **ALONE)
    assert set(result.failures) == {str(source / "bad.mp4")}
    assert (out / "failures.csv").is_file()
    assert result.to_pandas()["face"].tolist() == [-1] * 6
    part = out / "parts" / f"{Row(source / 'good.mp4').key}.parquet"
    written = part.stat().st_mtime_ns
    shutil.copy(source / "good.mp4", source / "bad.mp4")
    again = faces(source, out=out, resume=True, **ALONE)
    assert again.failures == {}
    assert len(again.table) == 12
    assert part.stat().st_mtime_ns == written
    with pytest.raises(InputError, match="rate"):
        faces(source, out=out, resume=True, rate=2, **ALONE)


def test_nothing_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "bad.mp4").write_text("not a video")
    result = faces(tmp_path / "bad.mp4", out=tmp_path / "out", **ALONE)
    assert len(result.table) == 0
    assert result.table.column_names == COLUMNS
    assert (tmp_path / "out" / "report.html").is_file()
    announce(result)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"points": True, "out": "a.csv"}, "points=True.*CSV"),
        ({"overlay": True, "out": "a.parquet"}, "overlay=True"),
        ({"resume": True}, "resume=True"),
        ({"faces": 0}, "faces=0"),
        ({"rate": 0}, "rate=0"),
        ({"workers": 0}, "workers=0"),
        ({"pints": True}, "'pints'.*'points'"),
    ],
)
def test_wrong_requests_are_one_line(clips: Path, options: dict, message: str) -> None:
    with pytest.raises(OpenMarlinError, match=message) as caught:
        faces(clips / "single_face.mp4", **options)
    assert "\n" not in str(caught.value)


def test_killed_and_resumed_with_two_processes(clips: Path, tmp_path: Path) -> None:
    """SIGKILL as soon as a video is done; the resumed table equals an undisturbed one."""
    source, out = tmp_path / "videos", tmp_path / "out"
    source.mkdir()
    for name in ("signer_yes.mkv", "signer_help.mkv", "single_face.mp4"):
        shutil.copy(clips / name, source)
    verb = ["faces", source, "--out", out, "--limit-seconds", "0.8"]
    command = [sys.executable, "-m", "openmarlin", *map(str, verb)]
    first = subprocess.Popen([*command, "--workers", "1"], stderr=subprocess.DEVNULL)
    while first.poll() is None and not list((out / "parts").glob("*.json")):
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.wait()
    before = {path: path.stat().st_mtime_ns for path in (out / "parts").glob("*.json")}
    assert before
    assert not (out / "faces.parquet").exists()
    second = subprocess.run(
        [*command, "--workers", "2", "--resume"], capture_output=True, text=True, check=False
    )
    assert second.returncode == 0, second.stderr
    assert "frames a second" in second.stderr
    assert all(path.stat().st_mtime_ns == at for path, at in before.items())
    whole = faces(source, limit_seconds=0.8, **ALONE).to_pandas()
    resumed = read_faces(out).to_pandas()
    assert_frame_equal(resumed, whole)
    assert openmarlin.faces is faces


def test_pieces_are_joined_into_few_row_groups(folder: tuple[Path, Faces]) -> None:
    out, result = folder
    assert pq.ParquetFile(out / "faces.parquet").num_row_groups == 1
    assert re.search(r"\d frames", repr(result))
    assert all(a <= b for a, b in pairwise(of(result, "two_people.mp4")["frame"]))
