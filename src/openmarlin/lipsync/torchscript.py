"""Tensors out of a TorchScript archive, without running its code.

Such an archive is a zip file: `NAME/data.pkl` holds the tree of modules, `NAME/data/0`, `1`... the
values, and `NAME/code/` programs, which are not looked at. The tree is read by an unpickler that
knows nothing but tensors, and modules as bags of attributes.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_STORAGES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "BoolStorage": torch.bool,
}
_MOST_DEPTH = 64


def is_torchscript(path: Path) -> bool:
    """Whether a file is a TorchScript archive."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        names = {name.partition("/")[2] for name in archive.namelist()}
    return "constants.pkl" in names and any(name.startswith("code/") for name in names)


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """The tensors by their names in the tree of modules.

    Raises:
        pickle.UnpicklingError: there is something else than modules and tensors in it.
        ValueError, KeyError, zipfile.BadZipFile: it is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        tree = next(n for n in archive.namelist() if n.partition("/")[2] == "data.pkl")
        with archive.open(tree) as file:
            root = _Reader(file, archive, tree.removesuffix(".pkl")).load()
    tensors: dict[str, Tensor] = {}
    _collect(root, "", tensors, 0)
    return tensors


def _collect(value: Any, name: str, tensors: dict[str, Tensor], depth: int) -> None:
    if isinstance(value, Tensor):
        tensors[name] = value
    elif isinstance(value, _Module) and depth < _MOST_DEPTH:
        for key, inner in vars(value).items():
            _collect(inner, f"{name}.{key}" if name else key, tensors, depth + 1)


class _Module:
    """An object of a class that the archive defines: its attributes."""

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, Mapping):
            vars(self).update({str(key): value for key, value in state.items()})


class _Reader(pickle.Unpickler):
    def __init__(self, file: Any, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(file)
        self._archive, self._folder = archive, folder

    def find_class(self, module: str, name: str) -> Any:
        if module.startswith("__torch__"):
            return _Module
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        if module == "torch.jit._pickle":  # build_intlist and its kin: typed lists
            return _same
        raise pickle.UnpicklingError(f"GLOBAL {module}.{name}")

    def persistent_load(self, pid: Any) -> Tensor:
        _, dtype, key, _, count = pid
        if not isinstance(dtype, torch.dtype):
            raise pickle.UnpicklingError("a value of an odd type")
        values = self._archive.read(f"{self._folder}/{key}")
        if len(values) < count * dtype.itemsize:
            raise ValueError(f"values {key} are cut short")
        flat = torch.frombuffer(bytearray(values), dtype=dtype) if values else torch.empty(0)
        return flat.to(dtype)


def _tensor(
    storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> Tensor:
    # as_strided checks that the tensor lies inside its storage.
    return torch.as_strided(storage, size, stride, offset).clone()


def _same(value: Any, *_: Any) -> Any:
    return value
