"""What is one for the whole process, most of it seen from outside, in processes of their own."""

from __future__ import annotations

import os
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


_REPORTER = """
import threading
print("imported")
class Telemetry:
    def __init__(self, **_): pass
    def send_event(self, *_): threading.Thread(target=print, args=["sent"]).start()
"""

_SILENT = """
import sys, threading
sys.addaudithook(lambda event, _: print(event) if event.startswith("socket.connect") else None)
import openmarlin
assert len(openmarlin.extract(sys.argv[1], limit_seconds=0.3, backend="openvino"))
assert "openvino" in sys.modules
assert not [name for name in sys.modules if name.startswith("openvino_telemetry")]
assert threading.enumerate() == [threading.main_thread()]
print("silent")
import openvino_telemetry
"""

_USER_FIRST = """
import sys
from types import ModuleType
if sys.argv[1] == "openvino":
    sys.modules["openvino_telemetry"] = None
    import openvino
reporter = sys.modules["openvino_telemetry"] = ModuleType("openvino_telemetry")
from openmarlin.native import openvino_core, ov
assert openvino_core().available_devices
assert ov is sys.modules["openvino"]
assert sys.argv[1] == "reporter" or ov is openvino
assert sys.modules["openvino_telemetry"] is reporter
"""


def _run_beside_a_reporter(script: str, folder: Path, *arguments: str) -> list[str]:
    """What a script prints where the package that reports is one that only says so."""
    (folder / "openvino_telemetry" / "backend").mkdir(parents=True)
    (folder / "openvino_telemetry" / "__init__.py").write_text(_REPORTER)
    for name in ("__init__.py", "backend_ga4.py"):
        (folder / "openvino_telemetry" / "backend" / name).touch()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return done.stdout.split()


def test_openvino_reports_to_nobody(clips: Path, tmp_path: Path) -> None:
    """Its import does by itself; afterwards the user can import the reporter as ever."""
    video = str(clips / "signer_yes.mkv")
    assert _run_beside_a_reporter(_SILENT, tmp_path, video) == ["silent", "imported"]


@pytest.mark.parametrize("first", ["openvino", "reporter"])
def test_what_the_user_has_imported_is_left_alone(tmp_path: Path, first: str) -> None:
    assert _run_beside_a_reporter(_USER_FIRST, tmp_path, first) == []
