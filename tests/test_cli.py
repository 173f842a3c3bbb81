"""The command line: its surface, its speed to start, and one line for what goes wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from inspect import signature

import pytest
import typer

from openmarlin import cli

HEAVY = ("torch", "cv2", "openvino", "av", "matplotlib", "transformers", "pyarrow")

OPTIONS = {
    "extract": {
        *("--out", "--model", "--faces", "--precropped", "--align", "--rate", "--stride"),
        *("--tail", "--tokens", "--precision", "--backend", "--batch", "--workers", "--resume"),
        *("--overwrite", "--limit-seconds", "--help"),
    },
    "prepare": {
        *("--out", "--size", "--margin", "--min-frames", "--max-frames", "--min-face-px"),
        *("--limit-seconds", "--workers", "--resume", "--overwrite", "--help"),
    },
    "pretrain": {"--config", "--resume", "--overwrite", "--help"},
    "masks": {"--out", "--ratio", "--regions", "--seed", "--help"},
    "reconstruct": {
        *("--out", "--model", "--masking", "--mask-ratio", "--regions", "--windows"),
        *("--precropped", "--seed", "--overwrite", "--help"),
    },
    "models": {"--help"},
    "doctor": {"--help"},
}


def _run(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "openmarlin", *arguments]
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
    for verb in OPTIONS:
        assert verb in shown.stdout


def test_surface_is_frozen() -> None:
    """Whoever changes an option changes this list too, and the changelog."""
    commands = typer.main.get_command(cli.app).commands
    found = {
        name: {option for param in command.params for option in param.opts if option[:2] == "--"}
        | {"--help"}
        for name, command in commands.items()
    }
    assert found == OPTIONS


@pytest.mark.parametrize("verb", ["extract", "prepare", "masks", "reconstruct"])
def test_python_and_command_line_have_the_same_arguments(verb: str) -> None:
    python = signature(getattr(import_module(f"openmarlin.jobs.{verb}"), verb)).parameters
    command = signature(getattr(cli, verb)).parameters
    assert set(python) - {"progress"} == set(command)
    spelt_otherwise = {"out", "regions"}  # a command line cannot say None, nor a list in one word
    for name in set(command) - spelt_otherwise:
        assert command[name].default == python[name].default, name


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("extract", "/no/such.mp4", "--out", "/tmp/x"), 2),
        (("extract",), 2),
        (("fly",), 2),
        (("extract", "a.mp4", "--out", "b", "--tail", "cut"), 2),
        (("reconstruct", "a.mp4", "--out", "b"), 2),
        (("pretrain", "steps"), 2),
        (("pretrain", "data=a", "out=b", "stpes=3"), 2),
        (("pretrain", "--config", "/no/such.yaml"), 2),
    ],
)
def test_wrong_requests_exit_with_2_and_no_traceback(arguments: tuple[str, ...], code: int) -> None:
    result = _run(*arguments)
    assert result.returncode == code
    assert "Traceback" not in result.stderr
    assert result.stderr.strip()


def test_unknown_attribute() -> None:
    import openmarlin

    with pytest.raises(AttributeError, match="nothing"):
        openmarlin.nothing  # noqa: B018
    assert {"extract", "load"} <= set(dir(openmarlin))
