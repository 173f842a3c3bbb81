"""A network to be written for other programs: inputs and outputs with names, and what it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.export import Dim, ExportedProgram

Arrays = dict[str, NDArray[Any]]

_BLOCKS = 4  # along each axis of an example


@dataclass(frozen=True)
class Port:
    """An input or an output.

    Attributes:
        shape: its sizes; a name where the size is free.
        holds: what it is, in words.
        dtype: of its values.
        low, high: between which the values of an input lie.
    """

    shape: tuple[int | str, ...]
    holds: str
    dtype: Literal["uint8", "float32"] = "float32"
    low: float = 0
    high: float = 1

    def as_dict(self) -> dict[str, Any]:
        """As export.json describes it."""
        return {"shape": list(self.shape), "dtype": self.dtype, "holds": self.holds}


@dataclass(frozen=True)
class Network:
    """What is exported.

    Attributes:
        name: of the model.
        kind: what it is: "encoder", "task", "generator", ...
        module: in evaluation mode; takes the inputs in their order, returns a tuple of the outputs.
        inputs: by name.
        outputs: by name.
        about: more that export.json says: preprocessing, labels, JSON values.
        licence: see `model.card.licence_fields`.
        card: of the model it comes from, without its head; empty where there is none.
        caution: what a user must know before relying on it; empty if nothing.
    """

    name: str
    kind: str
    module: nn.Module
    inputs: Mapping[str, Port]
    outputs: Mapping[str, Port]
    about: Mapping[str, Any] = field(default_factory=dict)
    licence: Mapping[str, str] = field(default_factory=dict)
    card: str = ""
    caution: str = ""

    def as_dict(self) -> dict[str, Any]:
        """What export.json and the file itself say about it."""
        ports = {"inputs": self.inputs, "outputs": self.outputs}
        described = {
            side: {name: port.as_dict() for name, port in group.items()}
            for side, group in ports.items()
        }
        licence = self.licence.get("license_name") or self.licence.get("license", "not recorded")
        about = {"name": self.name, "kind": self.kind, "licence": licence}
        return {**about, **described, **self.about}

    def free_sizes(self) -> list[str]:
        """Names of the sizes that are free, each once."""
        sizes = [size for port in self.inputs.values() for size in port.shape]
        return list(dict.fromkeys(size for size in sizes if isinstance(size, str)))

    def example(self, more: int = 0) -> Arrays:
        """Inputs to try it with: blocks of chance, so that place, time and colour matter.

        Args:
            more: how much larger than 2 and up the free sizes are. Sizes of 1 would be traced as
                if they were always 1.
        """
        rng = np.random.default_rng(0)
        free = {name: 2 + i + more for i, name in enumerate(self.free_sizes())}
        arrays = {}
        for name, port in self.inputs.items():
            shape = [free[size] if isinstance(size, str) else size for size in port.shape]
            blocks = rng.uniform(port.low, port.high, [min(size, _BLOCKS) for size in shape])
            places = [
                np.arange(size) * n // size for size, n in zip(shape, blocks.shape, strict=True)
            ]
            arrays[name] = blocks[np.ix_(*places)].astype(port.dtype)
        return arrays

    @torch.no_grad()
    def run(self, inputs: Arrays) -> Arrays:
        """What torch makes of some inputs: the numbers that every export must have."""
        given = (torch.from_numpy(inputs[name]) for name in self.inputs)
        return dict(zip(self.outputs, (t.numpy() for t in self.module(*given)), strict=True))

    @torch.no_grad()
    def trace(self) -> ExportedProgram:
        """The graph of the network, with its free sizes."""
        sizes = {name: Dim(name, min=1) for name in self.free_sizes()}
        shapes = tuple(
            {i: sizes[size] for i, size in enumerate(port.shape) if isinstance(size, str)}
            for port in self.inputs.values()
        )
        example = tuple(torch.from_numpy(array) for array in self.example().values())
        return torch.export.export(self.module, example, dynamic_shapes=shapes)
