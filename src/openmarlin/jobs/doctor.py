"""`doctor`: a report on machine and installation that can be pasted into an issue."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from openmarlin.errors import OpenMarlinError
from openmarlin.face.landmarker import Landmarker
from openmarlin.face.nets import ASSETS, FaceNets
from openmarlin.machine import package_versions
from openmarlin.model.io import load
from openmarlin.model.runner import EncoderRunner
from openmarlin.native import cpu_features
from openmarlin.video.support import decoders, round_trip


@dataclass(frozen=True)
class Diagnosis:
    """The report, and whether every check passed."""

    text: str
    ok: bool


def doctor() -> Diagnosis:
    """Look at the machine and run a self-test of a few seconds."""
    checks = [_check(name, test) for name, test in _CHECKS.items()]
    lines = [
        *_section("Machine", _machine()),
        *_section("Packages", package_versions()),
        *_section("Video decoders", {name: _yes(has) for name, has in decoders().items()}),
        *_section("Self-test", {name: result for name, result, _ in checks}),
    ]
    return Diagnosis("\n".join(lines), all(passed for _, _, passed in checks))


def _machine() -> dict[str, str]:
    features = cpu_features()
    cuda = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "cores": str(os.cpu_count()),
        "CPU features": " ".join(name for name, has in features.items() if has) or "none of these",
        "CUDA devices": ", ".join(cuda) or "none",
        "torch threads": str(torch.get_num_threads()),
    }


def _nets() -> str:
    nets = FaceNets()
    loaded = (nets.mesh, nets.blendshapes, nets.person, nets.detector(128, 128))
    return f"{len(loaded)} nets from {len(ASSETS)} files with the right sha256"


def _video() -> str:
    if not round_trip():
        raise OpenMarlinError("a video written here does not read back as it was")
    return "written and read back"


def _faces() -> str:
    start = time.perf_counter()
    faces = Landmarker().search(np.full((360, 640, 3), 127, np.uint8))
    if faces:
        raise OpenMarlinError(f"{len(faces)} faces in a grey picture")
    return f"nets run, {time.perf_counter() - start:.1f} s with loading"


def _encoder() -> str:
    """Encode one clip exactly and the way `auto` chooses, and compare."""
    model = load("tiny")
    clip = np.random.default_rng(0).integers(0, 256, (1, 16, 224, 224, 3), np.uint8)
    exact = EncoderRunner(model, "fp32", "torch")(clip)[0]
    runner = EncoderRunner(model)
    runner(clip)  # the first call also sets up
    start = time.perf_counter()
    fast = runner(clip)[0]
    took_ms = 1000 * (time.perf_counter() - start)
    cosine = float(exact @ fast / np.linalg.norm(exact) / np.linalg.norm(fast))
    if cosine < 0.999:
        raise OpenMarlinError(f"{runner.precision} features differ from fp32: cosine {cosine:.5f}")
    how = f"{runner.backend} {runner.precision}"
    return f"{how}, {took_ms:.0f} ms a clip, cosine to fp32 {cosine:.6f} ({runner.reason})"


_CHECKS: dict[str, Callable[[], str]] = {
    "face nets": _nets,
    "video": _video,
    "face pipeline": _faces,
    "encoder (tiny)": _encoder,
}


def _check(name: str, test: Callable[[], str]) -> tuple[str, str, bool]:
    try:
        return name, f"ok: {test()}", True
    except Exception as error:  # noqa: BLE001 - a doctor reports what is broken, whatever it is
        return name, f"FAILED: {type(error).__name__}: {error}", False


def _section(title: str, facts: dict[str, str]) -> list[str]:
    width = max(map(len, facts))
    return [f"## {title}", *(f"{name:<{width}}  {value}" for name, value in facts.items()), ""]


def _yes(value: bool) -> str:
    return "yes" if value else "NO"
