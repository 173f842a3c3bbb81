"""`lipsync score`: what is written, what fails, how it goes on."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pages
import pytest
from full_disk import full_disk, run_limited
from opening import OpeningExpert, voice, with_sound

import openmarlin.lipsync
from openmarlin.errors import InputError, ModelError
from openmarlin.files import file_sha256
from openmarlin.jobs import lipsync_score
from openmarlin.jobs.lipsync_score import Scores, announce, score
from openmarlin.lipsync import scoring

HEAD = [
    *("video", "track", "start_s", "end_s", "n_frames", "offset_frames", "offset_ms"),
    *("lse_d", "lse_c", "variant", "expert"),
]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def videos(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of four videos of three people: early, in sync, short, and no video."""
    folder = tmp_path_factory.mktemp("videos")
    book, single = clips / "signer_book.mkv", clips / "single_face.mp4"
    with_sound(book, voice(book, early=3), folder / "early.mkv")
    with_sound(book, voice(book, early=0), folder / "sync.mkv")
    with_sound(single, voice(single, early=-7), folder / "short.mkv")
    (folder / "text.mp4").write_text("no video")
    lines = ["video,group", "early.mkv,a", "sync.mkv,b", "short.mkv,c", "text.mp4,c"]
    (folder / "list.csv").write_text("\n".join(lines) + "\n")
    return folder / "list.csv"


@pytest.fixture(scope="module")
def run(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Scores:
    return score(videos, out=tmp_path_factory.mktemp("out") / "run", expert=OpeningExpert())


def test_a_row_a_face_and_variant(run: Scores) -> None:
    rows = table(run.out / "scores.csv")
    assert list(rows[0])[: len(HEAD)] == HEAD
    assert list(rows[0])[-1] == "group"
    told = {(Path(r["video"]).name, r["variant"]): r for r in rows}
    assert len(rows) == len(told) == 6
    early = told["early.mkv", "valid"]
    assert (early["offset_frames"], early["offset_ms"]) == ("3", "120")
    assert (early["n_frames"], early["speaks"], early["flags"]) == ("91", "1", "")
    assert (early["expert"], early["framing"]) == ("opening@000000000000", "inner lips")
    assert float(early["lse_c"]) > 0.3
    assert told["sync.mkv", "compat"]["offset_ms"] == "0"
    short = told["short.mkv", "valid"]
    assert (short["lse_d"], short["offset_ms"], short["flags"]) == ("", "", "short")
    assert told["short.mkv", "compat"]["offset_frames"] == "-7"


def test_meta_and_failures(run: Scores, videos: Path) -> None:
    meta = json.loads((run.out / "meta.json").read_text())
    assert meta["expert"]["name"] == "opening@000000000000"
    assert meta["counts"] == {
        "videos": 4,
        "videos_done": 3,
        "failures": 1,
        "tracks": 3,
        "tracks_that_speak": 2,
        "tracks_sure": 2,
    }
    assert meta["means"]["valid"]["in_sync"][0] == 0.5
    mean, low, high = meta["means"]["valid"]["lse_c"]
    assert low <= mean <= high
    assert list(run.failures) == [str(videos.parent / "text.mp4")]
    assert "\n" not in (reason := run.failures[str(videos.parent / "text.mp4")])
    assert reason


def test_the_report_says_it_in_words(run: Scores) -> None:
    page = pages.read(run.out / "report.html")
    text = page.text.lower()
    for words in ("the sound leads by 120 ms", "in sync", "too short to say", "inner lips"):
        assert words in text
    assert page.text.count("opening@000000000000") >= 4
    assert len(page.all("div", "plot")) >= 4


def test_it_is_said(run: Scores, capsys: pytest.CaptureFixture[str]) -> None:
    announce(run)
    said = capsys.readouterr().err
    assert "leads by 120 ms" in said
    assert "failed" in said


def test_an_interrupted_run_goes_on(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the second video: the first is kept, and the table is the same at last."""
    out, plain, calls = tmp_path / "run", lipsync_score.score_video, []

    def stop(path: Path, *arguments: object, **options: object) -> object:
        calls.append(Path(path).name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return plain(path, *arguments, **options)

    monkeypatch.setattr(lipsync_score, "score_video", stop)
    with pytest.raises(KeyboardInterrupt):
        score(videos, out=out, expert=OpeningExpert(), limit_seconds=2.5)
    assert len(list((out / "parts").glob("*.json"))) == 1
    again = score(videos, out=out, expert=OpeningExpert(), limit_seconds=2.5, resume=True)
    assert calls == ["early.mkv", "sync.mkv", "sync.mkv", "short.mkv", "text.mp4"]
    assert again.meta["counts"]["videos_done"] == 3
    other = OpeningExpert()
    other.digest = "1" * 12
    with pytest.raises(InputError, match="other settings"):
        score(videos, out=out, expert=other, limit_seconds=2.5, resume=True)
    with pytest.raises(InputError, match="resume"):
        score(videos, out=out, expert=OpeningExpert(), limit_seconds=2.5)


def test_one_csv(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    result = openmarlin.lipsync.score(
        videos.parent / "sync.mkv", out=out, expert=OpeningExpert(), limit_seconds=2.5
    )
    assert [row["variant"] for row in table(out)] == ["valid", "compat"]
    assert [file.name for file in tmp_path.iterdir()] == ["scores.csv"]
    assert result.failures == {}
    for options in ({}, {"resume": True}):
        with pytest.raises(InputError, match=r"scores\.csv"):
            score(videos, out=out, expert=OpeningExpert(), **options)


def test_bad_videos_are_listed(clips: Path, tmp_path: Path, videos: Path) -> None:
    from media import numbered, write_video

    nobody = write_video(tmp_path / "nobody.mp4", numbered(30), audio="first")
    silent = clips / "signer_yes.mkv"
    result = score([nobody, silent], out=tmp_path / "run", expert=OpeningExpert())
    assert "no face" in result.failures[str(nobody)]
    assert "no sound" in result.failures[str(silent)]
    assert table(result.out / "scores.csv") == []
    assert "no face" in pages.read(result.out / "report.html").text


def test_columns_that_are_taken(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(f"video,track\n{videos.parent / 'sync.mkv'},1\n")
    with pytest.raises(InputError, match="'track'"):
        score(tmp_path / "l.csv", out=tmp_path / "run", expert=OpeningExpert())
    assert not (tmp_path / "run").exists()


def test_an_expert_by_name(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_expert(name: str) -> OpeningExpert:
        asked.append(name)
        return OpeningExpert()

    monkeypatch.setattr(scoring, "load_expert", load_expert)
    lipsync_score._expert.cache_clear()
    one = videos.parent / "sync.mkv"
    score(one, out=tmp_path / "a.csv", limit_seconds=0.5, workers=1)
    recipe = tmp_path / "r.yaml"
    recipe.write_text("expert: mine\nlimit_seconds: 0.5\nworkers: 1\n")
    score(one, out=tmp_path / "b.csv", config=recipe)
    lipsync_score._expert.cache_clear()
    assert set(asked) == {"openmarlin_sync", "mine"}


def test_distance_to_real_faces(videos: Path, tmp_path: Path, clips: Path) -> None:
    out, early = tmp_path / "run", videos.parent / "early.mkv"
    options = {"expert": OpeningExpert(), "limit_seconds": 1.5}
    result = score(early, out=out, reference=clips / "single_face.mp4", **options)
    distance = result.meta["distance"]
    assert distance["value"] > 0
    assert (distance["scored"], distance["real"]) == (2, 2)
    assert distance["few"]
    assert "openmarlin_vit_tiny" in distance["net"]
    assert "Distance to real faces" in pages.read(out / "report.html").text
    kept = {file.name: file_sha256(file) for file in (out / "features").iterdir()}
    again = score(early, out=out, reference=clips / "single_face.mp4", resume=True, **options)
    assert again.meta["distance"] == distance
    assert {f.name: file_sha256(f) for f in (out / "features").iterdir()} == kept


def test_distance_by_a_network_of_pictures(tmp_path: Path, videos: Path, clips: Path) -> None:
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    nodes = [helper.make_node("GlobalAveragePool", ["x"], ["y"])]
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 3, *side])
        for name, side in (("x", ("h", "w")), ("y", (1, 1)))
    ]
    graph = helper.make_graph(nodes, "mean", ports[:1], ports[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(tmp_path / "mean.onnx"))
    from openmarlin.lipsync.face_features import OnnxNet

    faces = np.full((6, 224, 224, 3), (0, 127, 255), np.uint8)
    features = OnnxNet(tmp_path / "mean.onnx")(faces)
    assert features.shape == (2, 3)
    np.testing.assert_allclose(features[0], [-1, -0.004, 1], atol=1e-3)
    with pytest.raises(ModelError, match=r"no \.onnx"):
        OnnxNet(tmp_path / "inception.pt")
    (tmp_path / "text.onnx").write_text("no network")
    with pytest.raises(ModelError, match="cannot be used"):
        OnnxNet(tmp_path / "text.onnx")


def test_the_command_line_lists_and_exits(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "openmarlin", "lipsync", "score", "gone.mp4"]
    result = subprocess.run(
        [*command, "--out", str(tmp_path / "run")], capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert "gone.mp4" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_full_disk_stops_with_one_line_and_can_be_resumed(
    videos: Path, run: Scores, tmp_path: Path
) -> None:
    """Parts that do not fit stop it at the first; a page that does not fit loses no part."""
    out = tmp_path / "out"
    with full_disk(3_000), pytest.raises(InputError, match=r"cannot write .*parts") as stopped:
        score(videos, out=out, expert=OpeningExpert())
    assert "\n" not in str(stopped.value)
    assert not list(out.glob("parts/*"))
    page_size = (run.out / "report.html").stat().st_size
    with full_disk(page_size // 2), pytest.raises(InputError, match=r"cannot write .*report\.html"):
        score(videos, out=out, expert=OpeningExpert(), resume=True)
    stamps = {part.name: part.stat().st_mtime_ns for part in out.glob("parts/*.json")}
    assert len(stamps) == 3
    again = score(videos, out=out, expert=OpeningExpert(), resume=True)
    assert {part.name: part.stat().st_mtime_ns for part in out.glob("parts/*.json")} == stamps
    assert table(out / "scores.csv") == table(run.out / "scores.csv")
    assert again.failures == run.failures
    assert not list(out.rglob("*.part"))


def test_a_full_disk_keeps_an_earlier_table(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "scores.csv"
    out.write_text("an earlier one")
    with full_disk(20), pytest.raises(InputError, match="cannot write"):
        score(videos.parent / "sync.mkv", out=out, expert=OpeningExpert(), overwrite=True)
    assert out.read_text() == "an earlier one"
    assert [file.name for file in tmp_path.iterdir()] == ["scores.csv"]


def test_a_full_temporary_folder_is_told(videos: Path, tmp_path: Path) -> None:
    """The networks that find faces pass through a file."""
    words = ["lipsync", "score", videos.parent / "sync.mkv", "--out", tmp_path / "out"]
    code, log = run_limited(20_000, *words, "--workers", "1")
    assert code == 2, log
    assert log.count("cannot write") == log.count("TMPDIR") == 1
    assert "Traceback" not in log
