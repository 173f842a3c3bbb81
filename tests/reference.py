"""The reference package as a black box, without what it imports and is not installed."""

from __future__ import annotations

import inspect
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
import torch
from torch import nn

_ABSENT = ("torchvision", "torchvision.io", "torchvision.transforms", "torchvision.ops", "ffmpeg")


class _StandIn(types.ModuleType):
    """A module in which every name exists, as a module again, and does nothing."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__ = []  # a package

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        module = _StandIn(f"{self.__name__}.{name}")
        sys.modules[module.__name__] = module
        setattr(self, name, module)
        return module


@contextmanager
def _stand_ins() -> Iterator[None]:
    """Modules the reference imports, as long as the block lasts.

    They must not stay: other packages look into `sys.modules` to learn what is installed.
    """
    with mock.patch.dict(sys.modules, {name: _StandIn(name) for name in _ABSENT}):
        yield
        loaded = {k: m for k, m in sys.modules.items() if k.split(".")[0] not in _ABSENT}
    sys.modules.update(loaded)


@contextmanager
def reference_reader(frames: torch.Tensor) -> Iterator[None]:
    """What torchvision and ffmpeg would tell the reference of a video of these frames."""
    reads = sys.modules["marlin_pytorch.util"].torchvision.io
    probes = sys.modules["marlin_pytorch.model.marlin"].ffmpeg
    told = mock.Mock(return_value={"streams": [{"nb_frames": str(len(frames))}]})
    read = mock.Mock(return_value=(frames, None, {}))
    with (
        mock.patch.object(reads, "read_video", read, create=True),
        mock.patch.object(probes, "probe", told, create=True),
    ):
        yield


def reference_class() -> Any:
    """`marlin_pytorch.Marlin`; the test is skipped where the package is not installed."""
    with _stand_ins():
        return pytest.importorskip("marlin_pytorch").Marlin


def reference_model(preset: str, *, full: bool, seed: int = 0) -> Any:
    """The reference's own model with random weights, no bias of them zero."""
    cls = reference_class()
    config = sys.modules["marlin_pytorch.config"].resolve_config(f"marlin_vit_{preset}_ytf")
    names = list(inspect.signature(cls.__init__).parameters)[1:-1]
    torch.manual_seed(seed)
    model = cls(**{k: getattr(config, k) for k in names}, as_feature_extractor=not full)
    return randomised(model, seed).eval()


def randomised(model: nn.Module, seed: int = 0) -> Any:
    """Adds a little to every parameter, so that none is zero or one as it was built."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.02 * torch.randn(parameter.shape, generator=generator)
    return model
