"""Devices, precision and processes; what needs several is in tests/jobs/test_pretrain.py."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import partial
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, get_worker_info

from openmarlin.errors import InputError, TrainingError
from openmarlin.training import engine as engine_module
from openmarlin.training import loader
from openmarlin.training.engine import Engine, is_main_process


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine(accelerator="cpu", precision="fp32") as engine:
        yield engine


def adamw(module: nn.Module, **settings: Any) -> torch.optim.Optimizer:
    return torch.optim.AdamW(module.parameters(), fused=True, **settings)


class Numbers(Dataset[dict[str, Any]]):
    """Sample i is i; one of them does not exist."""

    def __getitem__(self, key: int) -> dict[str, Any]:
        if key < 0:
            raise InputError(f"shard-{key}.bin: damaged (frame 3: gone); copy it again")
        worker = get_worker_info()
        handler = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        return {"x": torch.tensor(key), "id": f"{worker is not None} {handler}"}


@pytest.mark.parametrize(
    ("asked", "bf16", "precision", "reason"),
    [
        ("auto", True, "bf16", "this CPU multiplies bfloat16 in hardware"),
        ("auto", False, "fp32", "this CPU does not multiply bfloat16 in hardware"),
        ("bf16", False, "bf16", "asked for"),
        ("fp32", True, "fp32", "asked for"),
    ],
)
def test_precision_and_why(
    monkeypatch: pytest.MonkeyPatch, asked: str, bf16: bool, precision: str, reason: str
) -> None:
    monkeypatch.setattr(engine_module, "has_bf16", lambda: bf16)
    made = Engine(accelerator="cpu", precision=asked)
    assert (made.precision, made.reason) == (precision, reason)


@pytest.mark.parametrize(("precision", "dtype"), [("bf16", "bfloat16"), ("fp32", "float32")])
def test_what_modules_compute_in(precision: str, dtype: str) -> None:
    linear = nn.Linear(3, 2)
    with Engine(accelerator="cpu", precision=precision) as engine:
        wrapped, _ = engine.setup(linear, partial(adamw, lr=0.1))
        assert str(wrapped(torch.ones(1, 3)).dtype) == f"torch.{dtype}"
        assert linear.weight.dtype == torch.float32
        for choice, expected in (("auto", dtype), ("fp32", "float32"), ("bf16", "bfloat16")):
            with engine.autocast(choice):
                assert str(linear(torch.ones(1, 3)).dtype) == f"torch.{expected}"


def test_devices_that_are_not_there() -> None:
    with pytest.raises(TrainingError, match="'tpu9' cannot be used: ") as caught:
        Engine(accelerator="tpu9")
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu() -> None:
    with pytest.raises(TrainingError, match=r"1 device\(s\) of kind 'cuda' cannot be used"):
        Engine(accelerator="cuda", devices=1)


def test_torchrun_decides_how_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert Engine(accelerator="cpu", devices=3).world == 1


def test_who_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_main_process()
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK"):
        with monkeypatch.context() as patch:
            patch.setenv(name, "1")
            assert not is_main_process()


def test_one_process_is_its_own_mean(engine: Engine) -> None:
    assert engine.world == 1
    assert engine.gather([1, "a"]) == [[1, "a"]]
    assert engine.any(True)
    assert not engine.any(False)
    assert engine.mean(torch.tensor([1.0, 2.0])).tolist() == [1, 2]
    assert 0.05 < engine.peak_memory_gb() < 100
    engine.barrier()


def test_state_goes_out_and_in_again(engine: Engine) -> None:
    """A twin that is given the state takes the same step, bit for bit."""
    make = partial(adamw, lr=0.1, betas=(0.9, 0.95), weight_decay=0.1)

    def step(linear: nn.Module, optimizer: torch.optim.Optimizer, x: float) -> None:
        engine.backward((linear(torch.full((2, 3), x)) ** 2).mean(), linear)
        optimizer.step()
        optimizer.zero_grad()

    first, second = nn.Linear(3, 2), nn.Linear(3, 2)
    wrapped, optimizer = engine.setup(first, make)
    for x in (1.0, 2.0, 3.0):
        step(wrapped, optimizer, x)
    weights, moments = engine.state(first, optimizer)
    assert set(moments) == {
        f"{name}.{what}" for name in weights for what in ("exp_avg", "exp_avg_sq", "step")
    }
    weights, moments = ({k: t.clone() for k, t in part.items()} for part in (weights, moments))

    twin, twin_optimizer = engine.setup(second, make)
    engine.load_weights(second, weights)
    engine.load_optimizer(second, twin_optimizer, moments)
    step(wrapped, optimizer, 4.0)
    step(twin, twin_optimizer, 4.0)
    torch.testing.assert_close(second.state_dict(), first.state_dict(), rtol=0, atol=0)


def test_gradients_are_clipped_as_a_whole(engine: Engine) -> None:
    linear = nn.Linear(3, 2)
    wrapped, optimizer = engine.setup(linear, partial(adamw, lr=0.1))
    engine.backward(wrapped(torch.full((1, 3), 100.0)).sum(), wrapped)
    direction = torch.cat([p.grad.flatten() for p in linear.parameters()])
    engine.clip_gradients(wrapped, optimizer, 0.5)
    clipped = torch.cat([p.grad.flatten() for p in linear.parameters()])
    assert clipped.norm().item() == pytest.approx(0.5, rel=1e-4)
    torch.testing.assert_close(clipped, direction * 0.5 / direction.norm(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_come_in_order_and_errors_in_their_own_words(engine: Engine, workers: int) -> None:
    batches = engine.load(Numbers(), [[1, 2], [3], [-7, 4]], workers)
    first = next(batches)
    assert first["x"].tolist() == [1, 2]
    if workers:  # loaders go on while the process that trains ends in order
        assert first["id"] == ["True True"] * 2
    assert next(batches)["x"].tolist() == [3]
    with pytest.raises(InputError) as caught:
        next(batches)
    assert str(caught.value) == "shard--7.bin: damaged (frame 3: gone); copy it again"


def test_batches_end(engine: Engine) -> None:
    assert [b["x"].tolist() for b in engine.load(Numbers(), [[1], [2]], 0)] == [[1], [2]]


def test_loaders_start_beside_opencv_threads(engine: Engine) -> None:
    """A process that has used OpenCV on several threads, as `extract` does, can train as well."""
    before = cv2.getNumThreads()
    try:
        cv2.setNumThreads(4)
        cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.uint8), (31, 31), 0)  # starts them
        assert len(list(engine.load(Numbers(), [[0], [1]], 1))) == 2
        assert cv2.getNumThreads() == 4
    finally:
        cv2.setNumThreads(before)


def test_a_number_of_workers_that_suits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    assert [loader._count_workers(processes) for processes in (1, 4, 32)] == [8, 4, 1]
