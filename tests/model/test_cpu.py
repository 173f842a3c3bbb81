from __future__ import annotations

from pathlib import Path

import pytest
import torch

from openmarlin.model import cpu

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
    cpu.cpu_features.cache_clear()


def test_cpuinfo_of_the_first_processor() -> None:
    flags = cpu.parse_cpuinfo(XEON)
    assert {name for name, has in flags.items() if has} == {
        "avx2",
        "avx512f",
        "avx512_bf16",
        "amx_bf16",
        "amx_int8",
    }


def test_cpuinfo_without_flags() -> None:
    assert not any(cpu.parse_cpuinfo(ARM).values())
    assert not any(cpu.parse_cpuinfo("").values())


def test_without_cpuinfo_torch_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*args: object, **kwargs: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", missing)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(
        torch.cpu, "get_capabilities", lambda: {"amx_bf16": True, "cpu_name": "x"}, raising=False
    )
    features = cpu.cpu_features()
    assert features["avx2"]
    assert features["avx512f"]
    assert features["amx_bf16"]
    assert not features["amx_int8"]
    cpu.cpu_features.cache_clear()


@pytest.mark.parametrize("flag", ["amx_bf16", "avx512_bf16"])
def test_bf16_by_tiles_or_by_vectors(flag: str, monkeypatch: pytest.MonkeyPatch) -> None:
    none = dict.fromkeys(("amx_bf16", "avx512_bf16", "avx512f"), False)
    monkeypatch.setattr(cpu, "cpu_features", lambda: none)
    assert not cpu.has_bf16()
    monkeypatch.setattr(cpu, "cpu_features", lambda: none | {flag: True})
    assert cpu.has_bf16()
