"""Writing models: as our own folder, as the reference's file, as a transformers folder.

Every target appears whole or not at all.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from openmarlin.errors import InputError
from openmarlin.model.autoencoder import Autoencoder
from openmarlin.model.checkpoints import CONFIG, WEIGHTS
from openmarlin.model.encoder import Encoder
from openmarlin.model.hf_videomae import to_transformers
from openmarlin.model.weights import MODEL_TYPE, tensors, weights_sha256
from openmarlin.output import atomic

Target = str | os.PathLike[str]


def save_folder(model: Encoder | Autoencoder, path: Target, *, overwrite: bool = False) -> None:
    """Our own format, as a hub repository has it: config.json, model.safetensors, README.md.

    Raises:
        InputError: the folder is not empty and `overwrite` is false, or it cannot be written.
    """
    with atomic_folder(Path(path), overwrite=overwrite) as folder:
        _write_json(folder / CONFIG, {"model_type": MODEL_TYPE, **model.config.model_dump()})
        save_file(tensors(model), folder / WEIGHTS, metadata={"format": "pt"})
        (folder / "README.md").write_text(_card(model), encoding="utf-8")


def save_reference(model: Encoder | Autoencoder, path: Target) -> None:
    """The file that `marlin_pytorch.Marlin.from_file` reads: an encoder or a full model.

    Raises:
        InputError: it cannot be written.
    """
    with atomic(path) as part:
        try:
            torch.save(tensors(model), part)
        except RuntimeError as error:  # what torch makes of a full disk
            raise OSError(str(error).split("\n")[0]) from error


def save_transformers(
    model: Encoder | Autoencoder, path: Target, *, overwrite: bool = False
) -> None:
    """The folder that transformers' `VideoMAEModel.from_pretrained` reads.

    Its `last_hidden_state` is what our encoder returns, up to the table of positions: transformers
    computes it in float64, MARLIN in float32 (a difference of 1.1e-4 at most).

    Raises:
        InputError: the folder is not empty and `overwrite` is false, or it cannot be written.
    """
    state, config, preprocessing = to_transformers(tensors(model), model.config)
    with atomic_folder(Path(path), overwrite=overwrite) as folder:
        save_file(state, folder / WEIGHTS, metadata={"format": "pt"})
        _write_json(folder / CONFIG, config)
        _write_json(folder / "preprocessor_config.json", preprocessing)


@contextmanager
def atomic_folder(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yields a new folder beside `path` that takes its place when the block succeeds."""
    if path.is_file() or (path.is_dir() and any(path.iterdir()) and not overwrite):
        raise InputError(f"{path} is there already: choose another place or overwrite it")
    made: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        made.chmod(0o755)
        yield made
        if path.is_dir():
            old = made.with_name(made.name + ".old")
            path.rename(old)
            made.rename(path)
            shutil.rmtree(old)
        else:
            made.rename(path)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot write {path}: {reason}; choose another place") from error
    finally:
        if made is not None:
            shutil.rmtree(made, ignore_errors=True)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _card(model: Encoder | Autoencoder) -> str:
    config = model.config
    part = "encoder" if isinstance(model, Encoder) else "full"
    licence = f"license: {config.licence.lower()}\n" if config.licence else ""
    state = "trained" if config.trained else "untrained: random weights, for tests and as a start"
    values = sum(t.numel() for t in model.state_dict().values())
    return f"""---
library_name: openmarlin
{licence}tags:
- video
- face
- masked-autoencoder
---
# {config.name}

A masked autoencoder for facial video in the format of openmarlin ({part}; {state}).

| | |
|---|---|
| input | {config.frames} frames of {config.image_size}x{config.image_size}, RGB in [0, 1] |
| cubes | {config.tubelet}x{config.patch}x{config.patch}, {config.n_tokens} tokens |
| encoder | width {config.width}, depth {config.depth}, {config.heads} heads |
| parameters | {values:,} |
| source | {config.source or "not recorded"} |
| licence of the weights | {config.licence or "not recorded"} |
| SHA-256 of the tensors | `{weights_sha256(model)}` |

```python
import openmarlin

model = openmarlin.load("path/of/this/folder", part="{part}")
```
"""
