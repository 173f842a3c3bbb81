"""Native libraries and the processor: OpenCV's threads, OpenVINO's core, glibc's memory, CPU flags.

What is here is one for the whole process, so that it needs one place that minds it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2

from openmarlin.errors import InputError

if TYPE_CHECKING:
    import openvino as ov

# OpenCV


@contextmanager
def one_opencv_thread() -> Iterator[None]:
    """Keep OpenCV from splitting pictures among threads, as it would otherwise."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


# OpenVINO

_core: ov.Core | None = None
_core_lock, _import_lock = threading.Lock(), threading.Lock()
_REPORTER = "openvino_telemetry"


def __getattr__(name: str) -> Any:
    """`from openmarlin.native import ov` is OpenVINO, imported so that it stays silent.

    By itself the import of OpenVINO reports its use over the network, from a thread of its own,
    unless the user has once refused. Without the package that does so it leaves that out; so the
    package is hidden from that one import.
    """
    if name != "ov":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with _import_lock:
        if "openvino" not in sys.modules:
            reporter = sys.modules.get(_REPORTER)
            sys.modules[_REPORTER] = None  # type: ignore[assignment]
            try:
                import_module("openvino")
            finally:
                del sys.modules[_REPORTER]
                if reporter is not None:
                    sys.modules[_REPORTER] = reporter
        return import_module("openvino")


_cores: int | None = None


def limit_cores(cores: int) -> None:
    """Let the networks of this process use so many cores; of a worker that shares its machine.

    It holds for the rest of the process, for networks that are compiled later.
    """
    global _cores
    _cores = cores
    openvino_core().set_property("CPU", {"INFERENCE_NUM_THREADS": cores})


def usable_cores() -> int:
    """Cores that the networks of this process may use."""
    return _cores or os.cpu_count() or 1


def openvino_core() -> ov.Core:
    """OpenVINO's core, for every network of this process, and never given up.

    A core lends the thread that starts its CPU plug-in a stack for signals, and takes it away when
    it goes. Of two that overlap, the second to go puts back the stack of the first, which is no
    longer there: the next signal with a handler, Ctrl-C or the end of a child, then kills the
    process.

    Raises:
        InputError: see `claim_process`.
    """
    claim_process()
    global _core
    with _core_lock:
        if _core is None:
            ov = __getattr__("ov")
            # OpenVINO looks numpy's types up when it is first asked for one. Two threads that ask
            # at the same time wait for each other forever (a lock of pybind11 against Python's),
            # so one asks here.
            ov.Type.f32.to_dtype()
            _core = ov.Core()
        return _core


# Threads and forks

_process: int | None = None


def claim_process() -> None:
    """Say that networks run in this process from now on.

    Raises:
        InputError: it was forked from one in which they ran. The threads of OpenVINO and torch are
            not in it, and a network would wait for them forever.
    """
    global _process
    _process = _process or os.getpid()
    if _process != os.getpid():
        raise InputError(
            "this process was forked from one that has used openmarlin already, and would hang: "
            "start processes with 'spawn' (for a DataLoader multiprocessing_context='spawn')"
        )


# Memory that is freed. By itself glibc returns large blocks to the kernel until the first of them
# is freed, and from then on keeps all of that size (up to 32 MiB) in the heap. What is right
# depends on the work. No call sets it back: only the command line does it, whose process is ours.

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_... of malloc.h
_LARGE = 1 << 21


def keep_freed_memory() -> None:
    """For work that asks for the same gigabytes again and again, as a training step does.

    Without it every large tensor is new pages from the kernel, a quarter of a step's time
    (benchmarks/pretrain.py). It holds for the rest of the process; elsewhere than on glibc it does
    nothing.
    """
    _mallopt({_MMAP_THRESHOLD: 1 << 30, _TRIM_THRESHOLD: (1 << 31) - 1})


def return_large_blocks() -> None:
    """For work of any length, as `extract` is: frames would riddle the heap with holes.

    Memory then hardly grows with the length of a video, for a percent or two of the time, which
    the kernel takes (benchmarks/memory.py, docs/lab/speed.md). It holds for the rest of the
    process; elsewhere than on glibc it does nothing.
    """
    _mallopt({_MMAP_THRESHOLD: _LARGE})


def _mallopt(parameters: dict[int, int]) -> None:
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):  # another libc
        libc = ctypes.CDLL(None)
        for parameter, value in parameters.items():
            libc.mallopt(parameter, value)


# The processor

_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8")


@cache
def cpu_features() -> dict[str, bool]:
    """Instruction sets that matter to a transformer, by the names Linux gives them.

    Read from /proc/cpuinfo; elsewhere from torch, which, if old, knows AVX2 and AVX-512 only.
    """
    try:
        return parse_cpuinfo(Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:
        return _features_from_torch()


def parse_cpuinfo(text: str) -> dict[str, bool]:
    """Which of the flags the first processor in the text of /proc/cpuinfo has."""
    lines = (line.partition(":") for line in text.splitlines())
    flags = next((value.split() for key, _, value in lines if key.strip() == "flags"), [])
    return {name: name in flags for name in _FLAGS}


def _features_from_torch() -> dict[str, bool]:
    import torch

    level = torch.backends.cpu.get_cpu_capability()
    features: dict[str, object] = {}
    if hasattr(torch.cpu, "get_capabilities"):  # newer than the oldest torch this package takes
        features.update(torch.cpu.get_capabilities())
    features |= {"avx2": level in ("AVX2", "AVX512"), "avx512f": level == "AVX512"}
    return {name: bool(features.get(name, False)) for name in _FLAGS}


def has_bf16() -> bool:
    """Whether bfloat16 matrices are multiplied by the hardware and not emulated."""
    features = cpu_features()
    return features["amx_bf16"] or features["avx512_bf16"]
