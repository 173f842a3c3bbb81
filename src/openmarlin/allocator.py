"""What glibc does with memory that is freed; elsewhere these do nothing.

By itself it returns large blocks to the kernel until the first of them is freed, and from then on
keeps all of that size (up to 32 MiB) in the heap. What is right depends on the work, so the work
says it, for the whole process.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_... of malloc.h
_LARGE = 1 << 21


def keep_freed_memory() -> None:
    """For work that asks for the same gigabytes again and again, as a training step does.

    Without it every large tensor is new pages from the kernel, a quarter of a step's time
    (benchmarks/pretrain.py).
    """
    _set({_MMAP_THRESHOLD: 1 << 30, _TRIM_THRESHOLD: (1 << 31) - 1})


def return_large_blocks() -> None:
    """For work of any length, as `extract` is: frames would riddle the heap with holes.

    Memory then hardly grows with the length of a video, for a percent or two of the time, which
    the kernel takes (benchmarks/memory.py, docs/speed.md).
    """
    _set({_MMAP_THRESHOLD: _LARGE})


def _set(parameters: dict[int, int]) -> None:
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):  # another libc
        libc = ctypes.CDLL(None)
        for parameter, value in parameters.items():
            libc.mallopt(parameter, value)
