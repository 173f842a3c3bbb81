"""The folder of a run: one run at a time, and what is there stays until it may go."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml

from openmarlin.errors import InputError
from openmarlin.training.run import (
    CONFIG_FILE,
    ENVIRONMENT_FILE,
    FREE,
    RunFolder,
    stop_signals,
)
from openmarlin.training.settings import PretrainSettings, read_settings


def settings(out: Path, **values: Any) -> PretrainSettings:
    return PretrainSettings.of(**{"data": "faces", "out": out, "steps": 5, **values})


def run_in(out: Path, **values: Any) -> None:
    with RunFolder(settings(out, **values)) as folder:
        folder.begin()


def content(path: Path) -> dict[str, bytes]:
    return {str(f.relative_to(path)): f.read_bytes() for f in path.rglob("*") if f.is_file()}


def refusal(out: Path, *, resume: bool = False, overwrite: bool = False, **values: Any) -> str:
    with pytest.raises(InputError) as caught:
        RunFolder(settings(out, **values), resume=resume, overwrite=overwrite)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_was_asked_for_is_written_down(tmp_path: Path) -> None:
    asked = settings(
        tmp_path / "a" / "run", base_lr=1e-5, regions=["nose"], shape={"layer_norm_eps": 1e-6}
    )
    with RunFolder(asked) as folder:
        folder.begin()
    assert read_settings(asked.out / CONFIG_FILE, {}) == asked
    (record,) = json.loads((asked.out / ENVIRONMENT_FILE).read_text())
    assert {"torch", "openmarlin", "lightning-fabric"} <= set(record["packages"])
    assert record["command"] == sys.argv


def test_nothing_is_touched_before_it_begins(tmp_path: Path) -> None:
    run_in(tmp_path)
    before = content(tmp_path)
    RunFolder(settings(tmp_path, batch=3), overwrite=True).close()
    RunFolder(settings(tmp_path), resume=True).close()
    assert content(tmp_path) == before


def test_a_run_is_not_overwritten_by_chance(tmp_path: Path) -> None:
    run_in(tmp_path)
    before = content(tmp_path)
    assert "add --resume to go on with it, --overwrite" in refusal(tmp_path)
    assert content(tmp_path) == before


def test_overwrite_removes_what_runs_write_and_nothing_else(tmp_path: Path) -> None:
    run_in(tmp_path)
    for name in ("checkpoints/step-1/state.json", "model/config.json", "pictures/a.png", "my.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("old")
    (tmp_path / "metrics.jsonl").write_text("old")
    with RunFolder(settings(tmp_path, batch=3), overwrite=True) as folder:
        folder.begin()
    assert sorted(content(tmp_path)) == [".lock", CONFIG_FILE, ENVIRONMENT_FILE, "my.txt"]
    assert yaml.safe_load((tmp_path / CONFIG_FILE).read_text())["batch"] == 3


def test_what_a_run_starts_from_is_not_overwritten_by_it(tmp_path: Path) -> None:
    run_in(tmp_path / "run")
    model = tmp_path / "run" / "model"
    model.mkdir()
    line = refusal(tmp_path / "run", overwrite=True, init=str(model))
    assert line.startswith(f"init={model} lies in {tmp_path / 'run'}, which --overwrite empties")
    RunFolder(settings(tmp_path / "run", init="tiny"), overwrite=True).close()


def test_other_folders_and_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("...")
    for how in ({}, {"overwrite": True}):
        assert "not empty and not a run; name another folder" in refusal(tmp_path, **how)
    assert "is a file; name a folder" in refusal(tmp_path / "thesis.tex")
    assert sorted(content(tmp_path)) == ["thesis.tex"]


def test_there_must_be_a_run_to_resume(tmp_path: Path) -> None:
    assert "no run to resume" in refusal(tmp_path, resume=True)
    assert "no run to resume" in refusal(tmp_path / "nowhere", resume=True)
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be written: Not a directory" in refusal(tmp_path / "file" / "run")


def test_other_settings_at_resume_are_named(tmp_path: Path) -> None:
    run_in(tmp_path, base_lr=1e-3)
    line = refusal(tmp_path, resume=True, batch=3)
    assert "(batch was 16, is 3, base_lr was 0.001, is 0.00015)" in line


def test_settings_of_no_consequence_may_differ(tmp_path: Path) -> None:
    run_in(tmp_path)
    other = {"data": "elsewhere", "save_every": 7, "workers": 3, "keep": 9, "accelerator": "cpu"}
    assert set(other) <= FREE
    with RunFolder(settings(tmp_path, **other), resume=True) as folder:
        folder.begin()
    assert yaml.safe_load((tmp_path / CONFIG_FILE).read_text())["data"] == "elsewhere"
    assert len(json.loads((tmp_path / ENVIRONMENT_FILE).read_text())) == 2


def test_every_free_setting_exists() -> None:
    assert set(PretrainSettings.model_fields) >= FREE


def test_a_folder_that_another_process_uses(tmp_path: Path) -> None:
    run_in(tmp_path)
    script = (
        "import fcntl, sys; f = open(sys.argv[1], 'a+'); fcntl.lockf(f, fcntl.LOCK_EX);"
        "print('locked', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(tmp_path / ".lock")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "locked\n"
        for how in ({"resume": True}, {"overwrite": True}):
            assert "another run is using this folder" in refusal(tmp_path, **how)
        other.stdin.close()
        other.wait()
    RunFolder(settings(tmp_path), resume=True).close()


def test_a_model_is_published_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tmp_path / "checkpoint" / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_text("new")
    with RunFolder(settings(tmp_path / "run")) as folder:
        folder.begin()
        assert folder.publish(model) == tmp_path / "run" / "model"
        (model / "config.json").write_text("newer")
        folder.publish(model)
        assert (tmp_path / "run" / "model" / "config.json").read_text() == "newer"

        def fail(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("shutil.copytree", fail)
        with pytest.raises(InputError, match=f"No space left on device; the model is in {model}"):
            folder.publish(model)
    assert (tmp_path / "run" / "model" / "config.json").read_text() == "newer"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_noted_and_handlers_come_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with stop_signals() as stop:
        assert not stop.is_set()
        os.kill(os.getpid(), number)
        assert stop.wait(5)
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_interrupts() -> None:
    def press_twice() -> None:
        with stop_signals() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert stop.wait(5)
            os.kill(os.getpid(), signal.SIGINT)
            threading.Event().wait(5)

    with pytest.raises(KeyboardInterrupt):
        press_twice()


def test_in_a_thread_signals_are_left_to_the_main_one() -> None:
    seen: list[Any] = []

    def body() -> None:
        with stop_signals() as stop:
            seen.append((stop.is_set(), signal.getsignal(signal.SIGTERM)))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert seen == [(False, before)]
