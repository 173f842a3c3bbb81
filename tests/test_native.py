"""What is one for the whole process, most of it seen from outside, in processes of their own."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from openmarlin import native

XEON = """processor\t: 0
vendor_id\t: GenuineIntel
flags\t\t: fpu sse2 avx2 avx512f avx512_bf16 amx_bf16 amx_int8
bugs\t\t: none

processor\t: 1
flags\t\t: fpu
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd bf16\n"


@pytest.fixture(autouse=True)
def _look_again() -> None:
    native.cpu_features.cache_clear()


def test_cpuinfo_of_the_first_processor() -> None:
    flags = native.parse_cpuinfo(XEON)
    assert {name for name, has in flags.items() if has} == {
        "avx2",
        "avx512f",
        "avx512_bf16",
        "amx_bf16",
        "amx_int8",
    }


def test_cpuinfo_without_flags() -> None:
    assert not any(native.parse_cpuinfo(ARM).values())
    assert not any(native.parse_cpuinfo("").values())


def test_without_cpuinfo_torch_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*args: object, **kwargs: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(
        torch.cpu, "get_capabilities", lambda: {"amx_bf16": True, "cpu_name": "x"}, raising=False
    )
    features = native.cpu_features()
    assert features["avx2"]
    assert features["avx512f"]
    assert features["amx_bf16"]
    assert not features["amx_int8"]
    native.cpu_features.cache_clear()


@pytest.mark.parametrize("flag", ["amx_bf16", "avx512_bf16"])
def test_bf16_by_tiles_or_by_vectors(flag: str, monkeypatch: pytest.MonkeyPatch) -> None:
    none = dict.fromkeys(("amx_bf16", "avx512_bf16", "avx512f"), False)
    monkeypatch.setattr(native, "cpu_features", lambda: none)
    assert not native.has_bf16()
    monkeypatch.setattr(native, "cpu_features", lambda: none | {flag: True})
    assert native.has_bf16()


_CHILD = """
from pathlib import Path
import numpy as np
from openmarlin.native import {name}

def resident_mib():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20

{name}()
np.ones(24 << 20, np.uint8)  # freed at once: by itself, glibc now takes 24 MiB for a small block
before = resident_mib()
blocks = [np.ones(20 << 20, np.uint8) for _ in range(10)]
on_top = np.ones(200_000, np.uint8)  # so that glibc cannot trim the heap
del blocks
print(resident_mib() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="about glibc")
@pytest.mark.parametrize(
    ("name", "kept"), [("return_large_blocks", False), ("keep_freed_memory", True)]
)
def test_freed_blocks_go_back_or_stay(name: str, kept: bool) -> None:
    command = [sys.executable, "-c", _CHILD.format(name=name)]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert (float(out) > 150) == kept


_RACE = """
import sys, threading
import openmarlin.native
openmarlin.native.openvino_core()
import openvino as ov
sys.setswitchinterval(1e-6)
gate = threading.Barrier(4)
threads = [threading.Thread(target=lambda: (gate.wait(), ov.Type.f32.to_dtype())) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""


def test_threads_may_meet_at_their_first_call() -> None:
    """Without the look-up at import, half of these processes wait forever."""
    children = [subprocess.Popen([sys.executable, "-c", _RACE]) for _ in range(4)]
    try:
        assert [child.wait(timeout=120) for child in children] == [0] * 4
    finally:
        for child in children:
            child.kill()


_SIGNAL = """
import os, signal
from openmarlin.model.runner import EncoderRunner
from openmarlin.model.io import load
encoder = load("tiny", frames=2, image_size=32)
first = EncoderRunner(encoder, backend="openvino")
second = EncoderRunner(encoder, backend="openvino")
del first, second
seen = []
signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))
os.kill(os.getpid(), signal.SIGUSR1)
assert seen
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_signals_arrive_when_encoders_have_come_and_gone() -> None:
    """With a core for each encoder the process dies of the signal."""
    assert subprocess.run([sys.executable, "-c", _SIGNAL], timeout=120, check=False).returncode == 0


_SILENT = """
import sys, threading
from openmarlin.jobs.doctor import doctor
assert doctor().ok
assert "openvino" in sys.modules
print([name for name in sys.modules if name.startswith("openvino_telemetry")])
print([thread.name for thread in threading.enumerate() if thread.name.startswith("ThreadPool")])
"""


def test_openvino_reports_to_nobody() -> None:
    """By itself its import loads a package that sends a report, in a thread of its own."""
    command = [sys.executable, "-c", _SILENT]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert shown.split() == ["[]", "[]"]
