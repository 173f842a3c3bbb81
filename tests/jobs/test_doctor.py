"""Doctor: a report in which every part of the installation was really tried."""

from __future__ import annotations

import re
from importlib.metadata import requires, version

import pytest

from openmarlin.errors import OpenMarlinError
from openmarlin.jobs import doctor as job
from openmarlin.jobs.doctor import Diagnosis, doctor


@pytest.fixture(scope="module")
def diagnosis() -> Diagnosis:
    return doctor()


def section(diagnosis: Diagnosis, title: str) -> dict[str, str]:
    """The facts under a heading, by name."""
    lines = diagnosis.text.split(f"## {title}\n")[1].split("\n\n")[0].splitlines()
    return dict(re.split(r"\s{2,}", line, maxsplit=1) for line in lines)  # type: ignore[misc]


def test_every_check_passes_on_this_machine(diagnosis: Diagnosis) -> None:
    assert diagnosis.ok, diagnosis.text
    assert all(result.startswith("ok: ") for result in section(diagnosis, "Self-test").values())


def test_it_names_the_version_of_everything_the_package_requires(diagnosis: Diagnosis) -> None:
    packages = section(diagnosis, "Packages")
    required = [r for r in requires("openmarlin") or () if "extra" not in r]
    names = [match[0] for r in required if (match := re.match(r"[\w.-]+", r))]
    assert set(packages) == {"openmarlin", *names}
    assert packages["torch"] == version("torch")


def test_it_says_what_the_machine_can_do(diagnosis: Diagnosis) -> None:
    machine = section(diagnosis, "Machine")
    assert int(machine["cores"]) > 0
    assert section(diagnosis, "Video decoders")["h264"] == "yes"


def test_the_encoder_check_compares_with_float32(diagnosis: Diagnosis) -> None:
    result = section(diagnosis, "Self-test")["encoder (tiny)"]
    cosine = re.search(r"cosine to fp32 ([\d.]+)", result)
    assert cosine is not None
    assert 0.999 < float(cosine[1]) <= 1.0001


@pytest.mark.parametrize("fault", [OpenMarlinError("net.tflite: wrong"), RuntimeError("no core")])
def test_what_is_broken_is_named_and_the_rest_still_tried(
    fault: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> str:
        raise fault

    monkeypatch.setattr(job, "FaceNets", broken)
    diagnosis = doctor()
    assert not diagnosis.ok
    results = section(diagnosis, "Self-test")
    assert results["face nets"].startswith("FAILED")
    assert str(fault) in results["face nets"]
    assert results["video"].startswith("ok: ")
