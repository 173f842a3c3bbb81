"""The folder of a verb has one owner, and failures are listed."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import openmarlin
from openmarlin.errors import InputError
from openmarlin.output import Failures, OutputFolder, video_of
from openmarlin.settings import Settings, read_settings, setting


class Cake(Settings):
    layers: int = setting(2, "How many.")
    workers: int = setting(1, "Cooks.", free=True)


def cake(path: Path, *, layers: int = 2, verb: str = "bake", **options: Any) -> OutputFolder:
    settings = Cake(layers=layers, workers=options.pop("workers", 1))
    return OutputFolder(path, verb=verb, settings=settings, files=["cake*.txt", "parts"], **options)


def bake(path: Path, **options: Any) -> bool:
    with cake(path, **options) as folder:
        folder.begin()
        (path / "cake-1.txt").write_text("a cake")
        return folder.resumed


def test_a_new_folder_says_what_it_is(tmp_path: Path) -> None:
    assert bake(tmp_path / "out", identity={"oven": "a1"}) is False
    record = json.loads((tmp_path / "out" / "environment.json").read_text())
    assert (record["verb"], record["identity"]) == ("bake", {"oven": "a1"})
    assert record["sittings"][0]["packages"]["openmarlin"] == openmarlin.__version__
    assert read_settings(Cake, tmp_path / "out" / "config.yaml", {}) == Cake()


def test_an_earlier_run_is_kept_unless_the_caller_says_otherwise(tmp_path: Path) -> None:
    bake(tmp_path)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=r"resume.*overwrite"):
        bake(tmp_path)
    assert sorted(tmp_path.iterdir()) == before
    assert bake(tmp_path, resume=True) is True
    assert len(json.loads((tmp_path / "environment.json").read_text())["sittings"]) == 2


def test_a_run_from_before_a_setting_existed_can_be_gone_on_with(tmp_path: Path) -> None:
    bake(tmp_path)
    (tmp_path / "config.yaml").write_text("workers: 1\n")
    with pytest.raises(InputError, match="layers was 2, is 3"):
        bake(tmp_path, resume=True, layers=3)
    assert bake(tmp_path, resume=True) is True


def test_overwrite_removes_what_the_verb_writes_and_nothing_else(tmp_path: Path) -> None:
    bake(tmp_path)
    (tmp_path / "parts").mkdir()
    (tmp_path / "cake-2.txt").touch()
    (tmp_path / "mine.txt").touch()
    with cake(tmp_path, overwrite=True) as folder:
        assert (tmp_path / "cake-2.txt").exists()  # what can still fail comes before `begin`
        folder.begin()
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"mine.txt", "config.yaml", "environment.json", ".lock"}


@pytest.mark.parametrize("option", ["resume", "overwrite"])
def test_what_another_made_is_refused(tmp_path: Path, option: str) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.doc").touch()
    bake(tmp_path / "other", verb="fry")
    for path in (tmp_path / "foreign", tmp_path / "other"):
        with pytest.raises(InputError, match=path.name):
            bake(path, **{option: True})
    assert (tmp_path / "foreign" / "thesis.doc").exists()


def test_what_a_killed_process_left_half_written_goes(tmp_path: Path) -> None:
    out = tmp_path / "out"
    bake(out)
    for name in (".config.yaml.x.part", "parts/.a.y.part", "parts/.step-2.z.part/model/weights"):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).touch()
    (out / "mine.part").touch()
    with pytest.raises(InputError), cake(out) as folder:
        folder.begin()
    assert (out / "parts" / ".a.y.part").exists()  # a refused call changes nothing
    assert bake(out, resume=True) is True
    assert not list(out.rglob(".*.part"))
    assert (out / "mine.part").exists()


def test_settings_are_compared_both_ways_and_free_ones_not(tmp_path: Path) -> None:
    bake(tmp_path, identity={"oven": "a1"})
    assert bake(tmp_path, resume=True, identity={"oven": "a1"}, workers=3)
    for other in ({"layers": 3, "identity": {"oven": "a1"}}, {"identity": {"oven": "b2"}}, {}):
        with pytest.raises(InputError, match=r"layers was 2, is 3|oven was 'a1', is"):
            bake(tmp_path, resume=True, **other)
    with pytest.raises(InputError, match="lid was None, is 'flat'"):
        bake(tmp_path, resume=True, identity={"oven": "a1", "lid": "flat"})


def test_resume_without_an_earlier_run_starts_one(tmp_path: Path) -> None:
    assert bake(tmp_path / "new", resume=True) is False


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file"):
        bake(tmp_path / "file")


_HOLD = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_output import cake
with cake(Path({path!r})) as folder:
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_processes_do_not_share_a_folder_and_a_killed_one_lets_go(tmp_path: Path) -> None:
    program = _HOLD.format(tests=str(Path(__file__).parent), path=str(tmp_path / "out"))
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdin is not None
    try:
        assert child.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="in use"):
            bake(tmp_path / "out")
    finally:
        child.kill()
        child.wait()
        child.stdin.close()
        child.stdout.close()
    bake(tmp_path / "out")


def test_failures_are_a_table_that_can_be_an_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with cake(tmp_path / "out") as folder:
        folder.begin()
        folder.failures.add("a.mp4", "a.mp4: cut\noff")
        folder.failures.add("c.mp4", "no video")
        assert folder.failures.as_dict() == {"a.mp4": "cut off", "c.mp4": "no video"}
    with (tmp_path / "out" / "failures.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {"video": str(tmp_path / "a.mp4"), "reason": "cut off"},
        {"video": str(tmp_path / "c.mp4"), "reason": "no video"},
    ]
    with cake(tmp_path / "out", resume=True) as folder:
        folder.begin()
    assert (tmp_path / "out" / "failures.csv").read_text().splitlines() == ["video,reason"]


def test_failures_of_parts_have_their_bounds(tmp_path: Path) -> None:
    video = str(tmp_path / "a.mp4")
    failures = Failures(tmp_path / "failures.csv")
    failures.add(video, "cut off", (1.0, 2.5))
    failures.add(video, "no face", (None, 0.1))
    failures.add(video, "dark", (2.5, None))
    failures.add(tmp_path / "b.mp4", "no video")
    failures.add(video, "cut short", (1.0, 2.5))
    order = [(tmp_path / "b.mp4", (None, None)), (video, (None, 0.1)), (video, (1.0, 2.5))]
    failures.sort(order)
    failures.flush()
    names = ["b.mp4", "a.mp4 [start to 0.1 s]", "a.mp4 [1.0 s to 2.5 s]", "a.mp4 [2.5 s to end]"]
    assert list(failures.as_dict()) == [str(tmp_path / name) for name in names]
    assert [video_of(name) for name in names] == ["b.mp4", "a.mp4", "a.mp4", "a.mp4"]
    assert video_of("interview [1 to 2].mp4") == "interview [1 to 2].mp4"
    assert (tmp_path / "failures.csv").read_text().splitlines() == [
        "video,start_s,end_s,reason",
        f"{tmp_path / 'b.mp4'},,,no video",
        f"{video},,0.1,no face",
        f"{video},1.0,2.5,cut short",
        f"{video},2.5,,dark",
    ]


def test_a_refused_call_leaves_the_failures_of_the_earlier_run(tmp_path: Path) -> None:
    with cake(tmp_path) as folder:
        folder.begin()
        folder.failures.add("a.mp4", "cut off")
    with pytest.raises(ValueError, match="wrong model"), cake(tmp_path, overwrite=True):
        raise ValueError("wrong model")
    assert "a.mp4" in (tmp_path / "failures.csv").read_text()


def test_many_failures_are_written_a_few_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from openmarlin import output

    writes = []
    real = output.atomic
    monkeypatch.setattr(output, "atomic", lambda path: writes.append(path) or real(path))
    failures = Failures(tmp_path / "failures.csv")
    for number in range(6000):
        failures.add(f"{number}.mp4", "no video")
    failures.flush()
    assert len(failures) == 6000
    assert len(writes) < 20
