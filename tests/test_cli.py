"""The command line: it starts fast, four spellings mean one thing, errors are one line."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tomllib
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from openmarlin.cli import app
from openmarlin.errors import InputError
from openmarlin.verbs import VERBS, job_of

HEAVY = ("torch", "cv2", "openvino", "av", "matplotlib", "transformers", "pyarrow", "sklearn")
ROOT = Path(__file__).parents[1]


def _run(*arguments: str | Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "openmarlin", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("code", ["import openmarlin", "import openmarlin.cli"])
def test_importing_is_light(code: str) -> None:
    program = f"{code}\nimport sys, json\nprint(json.dumps(list(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert not set(json.loads(result.stdout)) & set(HEAVY)


def test_version_and_help() -> None:
    assert _run("--version").stdout.startswith("openmarlin ")
    shown = _run("--help")
    assert shown.returncode == 0
    for verb in (*VERBS, "models", "doctor"):
        assert verb.split()[0] in shown.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_help_shows_every_setting(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shown = _run(*verb.split(), "--help").stdout
    for name in VERBS[verb].settings.model_fields:
        assert f"--{name.replace('_', '-')} " in shown


def _maker(name: str) -> Any:
    """A program in docs/ that writes a page."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_a_temporary_folder(monkeypatch: pytest.MonkeyPatch, clips: Path) -> None:
    def none() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr("tempfile.gettempdir", none)
    end = CliRunner().invoke(app, ["extract", str(clips)])
    assert isinstance(end.exception, InputError)
    assert "TMPDIR" in str(end.exception)


def test_the_reference_page_is_what_the_settings_say() -> None:
    """Whoever changes a setting writes the page anew, and a line in the changelog."""
    module = _maker("make_reference")
    assert module.PAGE.read_text(encoding="utf-8") == module.reference()


def test_the_page_of_licences_is_what_the_packages_state() -> None:
    """Whoever changes a dependency writes it anew: `make licences`."""
    module = _maker("make_licences")
    pins = module.pinned()
    page = module.PAGE.read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    packages = module.closure(project["dependencies"])
    odd = [n for n, p in packages.items() if n in pins and p.version.partition("+")[0] != pins[n]]
    if odd:
        pytest.skip(f"not the versions of constraints.txt: {odd[0]}")
    assert page == module.page()


@pytest.mark.parametrize("verb", VERBS)
def test_python_takes_the_settings_of_the_command_line(verb: str) -> None:
    words = verb.replace("-", "_").split()
    job = import_module(job_of(verb))
    python = signature(getattr(job, words[-1])).parameters
    fields = VERBS[verb].settings.model_fields
    assert set(fields) <= set(python)
    for name, field in fields.items():
        if not field.is_required():
            assert python[name].default == field.get_default(), name


def test_four_spellings_mean_the_same(clips: Path, tmp_path: Path) -> None:
    import openmarlin

    video, recipe = clips / "single_face.mp4", tmp_path / "recipe.yaml"
    recipe.write_text("mask_ratio: 0.6\nregions: [nose]\nseed: 3\n")
    outs = [tmp_path / f"{number}.png" for number in range(4)]
    options = ["--mask-ratio", "0.6", "--regions", "nose", "--seed", "3"]
    runs = [
        _run("masks", video, "--out", outs[0], *options),
        _run("masks", video, f"out={outs[1]}", "mask_ratio=0.6", "regions=nose", "seed=3"),
        _run("masks", video, "--out", outs[2], "--config", recipe),
    ]
    assert [run.returncode for run in runs] == [0, 0, 0], [run.stderr for run in runs]
    openmarlin.masks(video, out=outs[3], mask_ratio=0.6, regions=("nose",), seed=3)
    assert len({out.read_bytes() for out in outs}) == 1


def test_names_are_separated_by_commas_or_the_option_is_repeated(
    clips: Path, tmp_path: Path
) -> None:
    video, pictures = clips / "single_face.mp4", [tmp_path / "a.png", tmp_path / "b.png"]
    runs = [
        _run("masks", video, "--out", pictures[0], "--regions", "nose,mouth"),
        _run("masks", video, "--out", pictures[1], "--regions", "nose", "--regions", "mouth"),
    ]
    assert [run.returncode for run in runs] == [0, 0], [run.stderr for run in runs]
    assert pictures[0].read_bytes() == pictures[1].read_bytes()


def test_a_file_whose_name_looks_like_a_setting_is_a_file(tmp_path: Path) -> None:
    odd = tmp_path / "rate=2"
    odd.write_text("no video")
    command = [sys.executable, "-m", "openmarlin", "extract", "rate=2", "--out", "o"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "rate=2" in (tmp_path / "o" / "failures.csv").read_text()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("extract", "/no/such.mp4", "--out", "/tmp/x"), "/no/such.mp4"),
        (("extract",), "video"),
        (("masks", "--out", "a.png"), "video"),
        (("fly",), "fly"),
        (("extract", "a.mp4", "--out", "b", "--tail", "cut"), "--tail cut"),
        (("extract", "a.mp4", "--out", "b", "tail=cut"), "--tail cut"),
        (("extract", "a.mp4", "--out", "b", "--rate", "0"), "--rate 0"),
        (("reconstruct", "a.mp4", "--out", "b"), "a.mp4"),
        (("masks", "a.mp4", "b.mp4", "--out", "c.png"), "b.mp4"),
        (("pretrain", "steps", "--out", "b", "--steps", "1"), "steps"),
        (("pretrain", "data=a", "out=b", "stpes=3"), "'steps'"),
        (("pretrain", "data=a", "out=b", "steps=3", "decode_share=1"), "--decode-ratio"),
        (("pretrain", "--config", "/no/such.yaml"), "/no/such.yaml"),
        (("export", "/no/such", "--out", "/tmp/x"), "/no/such"),
        (("export", "tiny", "--out", "/tmp/x", "--to", "paper"), "--to paper"),
        (("push", "/no/such"), "FOLDER REPO"),
        (("push", "/no/such", "me/mine"), "/no/such"),
    ],
)
def test_wrong_requests_exit_with_2_and_no_traceback(arguments: tuple[str, ...], word: str) -> None:
    result = _run(*arguments)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert word in result.stderr


def test_unknown_attribute() -> None:
    import openmarlin

    with pytest.raises(AttributeError, match="nothing"):
        openmarlin.nothing  # noqa: B018
    assert {"extract", "load"} <= set(dir(openmarlin))
