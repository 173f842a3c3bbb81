"""What glibc keeps of freed memory, seen from outside, in processes of their own."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_CHILD = """
from pathlib import Path
import numpy as np
from openmarlin.allocator import {name}

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
