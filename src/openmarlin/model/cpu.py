"""What this machine's processor can do: the one place that looks."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch

_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8")


@cache
def cpu_features() -> dict[str, bool]:
    """Instruction sets that matter to a transformer, by the names Linux gives them.

    Read from /proc/cpuinfo; elsewhere from torch, which, if old, knows AVX2 and AVX-512 only.
    """
    try:
        return parse_cpuinfo(Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    except OSError:
        return _from_torch()


def parse_cpuinfo(text: str) -> dict[str, bool]:
    """Which of the flags the first processor in the text of /proc/cpuinfo has."""
    lines = (line.partition(":") for line in text.splitlines())
    flags = next((value.split() for key, _, value in lines if key.strip() == "flags"), [])
    return {name: name in flags for name in _FLAGS}


def _from_torch() -> dict[str, bool]:
    level = torch.backends.cpu.get_cpu_capability()
    found: dict[str, object] = {}
    if hasattr(torch.cpu, "get_capabilities"):  # newer than the oldest torch this package takes
        found.update(torch.cpu.get_capabilities())
    found |= {"avx2": level in ("AVX2", "AVX512"), "avx512f": level == "AVX512"}
    return {name: bool(found.get(name, False)) for name in _FLAGS}


def has_bf16() -> bool:
    """Whether bfloat16 matrices are multiplied by the hardware and not emulated."""
    features = cpu_features()
    return features["amx_bf16"] or features["avx512_bf16"]
