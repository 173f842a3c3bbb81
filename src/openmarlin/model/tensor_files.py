"""Tensors out of files, without ever running what a file says.

`read` gives names and tensors as they stand in a file; what the names mean is `convert`'s matter.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from openmarlin.console import console
from openmarlin.errors import ModelError

Tensors = dict[str, Tensor]

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
REST = "decoder.safetensors"
"""Beside an encoder's WEIGHTS: what makes it an autoencoder, for those who want it."""

_FOLDER_WEIGHTS = (WEIGHTS, "pytorch_model.bin")
_INDEX = ".index.json"
"""After the name of the weights: which file of several holds which tensor (transformers)."""

_NESTS = ("state_dict", "model", "module")  # Lightning; VideoMAE; DeepSpeed
_AVERAGES = ("state_dict_ema", "model_ema", "teacher")  # timm; VideoMAE; self-distillation
_WRAPPERS = ("module.", "_orig_mod.", "model.")  # DistributedDataParallel; torch.compile; Lightning


def read(path: Path) -> Tensors:
    """The float32 tensors of a model folder or a checkpoint file, by name.

    Raises:
        ModelError: it is missing, damaged, holds pickled code, or is not a checkpoint.
    """
    if path.is_dir():
        rest = path / REST
        return _read_folder(path) | (_read_file(rest) if rest.is_file() else {})
    return _read_file(path)


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        values = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(values.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def note(text: str) -> None:
    """Say in the terminal what a reader of these features should know."""
    console.print(text, markup=False, soft_wrap=True)


def _read_folder(folder: Path) -> Tensors:
    for name in _FOLDER_WEIGHTS:
        if (folder / name).is_file():
            return _read_file(folder / name)
        index = folder / (name + _INDEX)
        if index.is_file():
            return _read_shards(index)
    raise ModelError(
        f"folder {folder} holds no model: none of {', '.join(_FOLDER_WEIGHTS)} is in it"
    )


def _read_shards(index: Path) -> Tensors:
    files = read_json(index).get("weight_map")
    if not isinstance(files, Mapping) or not all(
        isinstance(file, str) and Path(file).name == file for file in files.values()
    ):
        raise ModelError(f"{index} does not say which file beside it holds which tensor")
    state: Tensors = {}
    for file in sorted(set(files.values())):
        state |= _read_file(index.parent / file)
    return state


def _read_file(path: Path) -> Tensors:
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except FileNotFoundError:
        raise ModelError(f"{path} does not exist") from None
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    if start[8:] == b"{":
        content = _read_safetensors(path)
    elif start.startswith((b"PK", b"\x80")):
        content = _read_torch(path)
    else:
        raise ModelError(
            f"{path} is not a checkpoint: it is neither a safetensors nor a torch file; "
            "look at what was downloaded or saved there"
        )
    return plain_state(content, path)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is no such file.

    Raises:
        ModelError: the file is not a JSON object.
    """
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} is not a JSON object")
    return content


def _read_safetensors(path: Path) -> Tensors:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise _damaged(path, error) from error


def _read_torch(path: Path) -> Any:
    try:
        # Original VideoMAE files hold their command line in a Namespace, which runs no code.
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        culprit = re.search(r"GLOBAL ([\w.]+)", str(error))
        if culprit is None:
            raise _damaged(path, error) from error
        raise ModelError(
            f"{path} holds pickled code ({culprit[1]}), which is never run here: open it where it "
            "comes from and save the tensors alone, torch.save(model.state_dict(), path)"
        ) from error
    except Exception as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> ModelError:
    reason = str(error).strip().split("\n")[0][:120]
    return ModelError(f"{path} is damaged or cut short ({reason}); copy or download it again")


def plain_state(content: Any, path: Path) -> Tensors:
    """The float32 tensors in what a file holds, without what is wrapped around them.

    Raises:
        ModelError: it holds something else than named tensors.
    """
    for nest in (*_NESTS, *_AVERAGES):
        if isinstance(content, Mapping) and isinstance(content.get(nest), Mapping):
            content = content[nest]
            if nest in _AVERAGES:
                note(f"{path} holds no other weights than '{nest}': these are read.")
            break
    if not isinstance(content, Mapping) or not content:
        raise ModelError(f"{path} is not a model: it holds no named tensors")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ModelError(f"{path} is not a model: {name!r} in it is not a tensor")
    state = {_unwrapped(name): t.to(torch.float32).contiguous() for name, t in content.items()}
    if len(state) < len(content):
        raise ModelError(
            f"{path} holds several models, whose tensors have the same names but for "
            f"{', '.join(_WRAPPERS)}: save the state of one of them"
        )
    state.pop("n_averaged", None)  # of torch's AveragedModel
    return state


def _unwrapped(name: str) -> str:
    name = name.replace("._orig_mod.", ".")
    while name.startswith(_WRAPPERS):
        name = name.partition(".")[2]
    return name
