"""Loading models from anywhere, and saving them in three formats.

Nothing is unpickled, and every tensor is accounted for: a model is exactly what its file says, or
there is an error that says in one paragraph what does not fit. What is written appears whole or
not at all.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, overload

import torch
from safetensors.torch import save_file

from openmarlin.errors import ModelError
from openmarlin.files import atomic, atomic_folder
from openmarlin.model.autoencoder import Autoencoder
from openmarlin.model.card import CARD, card_head, licence_fields
from openmarlin.model.config import PRESETS, ModelConfig
from openmarlin.model.convert import from_authors, has_decoder, without_decoder
from openmarlin.model.convert_transformers import from_transformers, to_transformers
from openmarlin.model.encoder import Encoder
from openmarlin.model.layers import position_table
from openmarlin.model.tensor_files import CONFIG, WEIGHTS, Tensors, read, read_json, tensors_sha256
from openmarlin.model.zoo import RELEASED, SHIPPED, fetch

Part = Literal["encoder", "full"]
Source = str | os.PathLike[str]

MODEL_TYPE = "openmarlin"
"""What `model_type` says in the config.json of our own folders."""

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
_ABSURD = 100  # times the values in a file, and no word about single tensors helps
_TAGS = ("video", "face", "masked-autoencoder")
_ENCODER = ("encoder.",)
_FULL = ("encoder.", "decoder.", "enc_dec_proj.")
_KNOWN = (*_FULL, "discriminator.")


@overload
def load(
    source: Source,
    part: Literal["encoder"] = ...,
    *,
    device: str | torch.device = ...,
    precision: str = ...,
    frames: int | None = ...,
    image_size: int | None = ...,
    heads: int | None = ...,
    decoder_heads: int | None = ...,
    offline: bool | None = ...,
) -> Encoder: ...
@overload
def load(
    source: Source,
    part: Literal["full"],
    *,
    device: str | torch.device = ...,
    precision: str = ...,
    frames: int | None = ...,
    image_size: int | None = ...,
    heads: int | None = ...,
    decoder_heads: int | None = ...,
    offline: bool | None = ...,
) -> Autoencoder: ...
def load(
    source: Source,
    part: Part = "encoder",
    *,
    device: str | torch.device = "cpu",
    precision: str = "fp32",
    frames: int | None = None,
    image_size: int | None = None,
    heads: int | None = None,
    decoder_heads: int | None = None,
    offline: bool | None = None,
) -> Encoder | Autoencoder:
    """A model in evaluation mode.

    Args:
        source: what ships ("openmarlin_face_tiny"), a preset ("tiny", "small", "base", "large":
            untrained, the same weights on every call), a released name ("marlin_vit_base_ytf", ...:
            fetched once), a folder (ours, or of transformers' VideoMAE), or a file (MARLIN's .pt or
            .ckpt, VideoMAE's .pth, safetensors).
        part: "encoder", or "full" for the whole autoencoder.
        device: where to.
        precision: of weights and arithmetic, "fp32" or "bf16".
        frames: frames a clip, where other than trained. The table of positions is then computed
            anew over the new flattened index (as for `image_size`).
        image_size: pixels, where other than trained.
        heads: attention heads of the encoder in a file whose width is of no published model.
        decoder_heads: the same of the decoder.
        offline: fetch nothing; HF_HUB_OFFLINE decides where it is None.

    Raises:
        ModelError: there is no such model, or it is not what it should be.
    """
    if part not in ("encoder", "full"):
        raise ModelError(f"part '{part}' does not exist: choose encoder or full")
    if precision not in _DTYPES:
        raise ModelError(f"precision '{precision}' does not exist: choose {' or '.join(_DTYPES)}")
    requests = {"frames": frames, "image_size": image_size}
    sizes = {name: size for name, size in requests.items() if size is not None}
    name = _name_of(source)
    if name in PRESETS:
        model = _untrained(PRESETS[name].changed(**sizes), part)
    else:
        path = _locate(name, part, offline)
        config, state = _open(path, name, heads, decoder_heads, part)
        model = _assemble(config, state, part, sizes, where=str(path))
    _check_heads(model.config, heads, decoder_heads if part == "full" else None)
    try:
        return model.to(device=device, dtype=_DTYPES[precision]).eval()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ModelError(f"device '{device}' cannot be used: {reason}") from error


def load_as_saved(path: Source) -> Encoder | Autoencoder:
    """What a folder or file holds, the encoder alone or the whole, in evaluation mode.

    Raises:
        ModelError: it is not there, or is not what it should be.
    """
    place = _locate(_name_of(path), "encoder", offline=True)
    config, state = _open(place, str(place))
    part: Part = "full" if has_decoder(state) else "encoder"
    return _assemble(config, state, part, {}, where=str(place)).eval()


def tensors(model: Encoder | Autoencoder) -> Tensors:
    """The model's tensors on the CPU, under the names they have in files."""
    prefix = "encoder." if isinstance(model, Encoder) else ""
    return {prefix + name: t.detach().cpu() for name, t in model.state_dict().items()}


def weights_sha256(model: Encoder | Autoencoder) -> str:
    """SHA-256 over names, types, shapes and values: the same for the same weights from any file."""
    return tensors_sha256(tensors(model))


def _untrained(config: ModelConfig, part: Part) -> Encoder | Autoencoder:
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):  # torch's layers draw weights of their own first
        if part == "encoder":
            return Encoder(config.encoder_alone(), generator)
        return Autoencoder(config, generator)


def _name_of(source: Source) -> str:
    if not isinstance(source, str | os.PathLike) or not os.fspath(source):
        what = repr(source) if isinstance(source, str) else type(source).__name__
        raise ModelError(
            f"a model is a name or a path, not {what}; one in memory needs no loading: "
            "save it with save_folder and give the folder"
        )
    return os.fspath(source)


def _check_heads(config: ModelConfig, heads: int | None, decoder_heads: int | None) -> None:
    pairs = (("heads", heads, config.heads), ("decoder_heads", decoder_heads, config.decoder_heads))
    for name, request, value in pairs:
        if request is not None and request != value:
            raise ModelError(
                f"{name}={request}, but model '{config.name}' says that it has {value}"
            )


def _locate(name: str, part: Part, offline: bool | None) -> Path:
    if name in SHIPPED:
        return SHIPPED[name].folder
    if name in RELEASED:
        return fetch(RELEASED[name], part, offline=offline)
    path = Path(os.path.expanduser(name))  # noqa: PTH111 - pathlib's fails for unknown users
    if not os.path.exists(path):  # noqa: PTH110 - pathlib's fails for names that are too long
        raise ModelError(
            f"there is no model '{name}': it is neither a file nor a folder, nor one of "
            f"{', '.join((*SHIPPED, *PRESETS, *RELEASED))}"
        )
    if path.name == WEIGHTS and (path.parent / CONFIG).is_file():
        return path.parent
    return path


def _open(
    path: Path,
    name: str,
    heads: int | None = None,
    decoder_heads: int | None = None,
    part: Part = "full",
) -> tuple[ModelConfig, Tensors]:
    """Config and tensors under our names, of whatever kind of model is at `path`."""
    state = read(path)
    settings = read_json(path / CONFIG) if path.is_dir() else {}
    kind = settings.pop("model_type", None)
    settings.pop("task", None)  # of a head beside the encoder, which is not read here
    if kind == MODEL_TYPE:
        return ModelConfig.of(settings, where=f"the model of {path / CONFIG}"), state
    try:
        if kind == "videomae":
            config, state = from_transformers(state, settings, _preprocessing(path))
        else:
            state = state if part == "full" else without_decoder(state)
            config, state = from_authors(state, heads, decoder_heads)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    released = RELEASED.get(name) or RELEASED.get(path.name.split(".")[0])
    if released is not None:
        source = released.page if name in RELEASED else str(path)
        return config.changed(name=released.name, source=source, licence=released.licence), state
    return config.changed(name=path.stem, source=str(path)), state


def _preprocessing(folder: Path) -> dict[str, Any]:
    for name in ("preprocessor_config.json", "video_preprocessor_config.json"):
        if content := read_json(folder / name):
            return content
    return {}


def _assemble(
    config: ModelConfig, state: Tensors, part: Part, sizes: Mapping[str, int], where: str
) -> Encoder | Autoencoder:
    if part == "full" and not has_decoder(state):
        raise ModelError(
            f"{where} holds an encoder alone, without the decoder that predicts pixels: give the "
            "whole model (a .full.pt file, a pre-training run's model folder), or load it with "
            "part='encoder'"
        )
    config = config if part == "full" else config.encoder_alone()
    _check_size(config, state, where)
    kept = _FULL if part == "full" else _ENCODER
    state = {k: t for k, t in state.items() if k.startswith(kept) or not k.startswith(_KNOWN)}
    model = _shell(config, part)
    _check(state, model, where)
    if sizes:
        model = _shell(config.changed(**sizes), part)
        state = {name: _resized(name, tensor, model.config) for name, tensor in state.items()}
    prefix = "encoder." if part == "encoder" else ""
    model.load_state_dict({k.removeprefix(prefix): t for k, t in state.items()}, assign=True)
    return model


def _shell(config: ModelConfig, part: Part) -> Encoder | Autoencoder:
    with torch.device("meta"):
        return Autoencoder(config) if part == "full" else Encoder(config)


def _resized(name: str, tensor: torch.Tensor, config: ModelConfig) -> torch.Tensor:
    if name.endswith("pos_embedding.emb") and (
        tensor.shape[1] != config.n_tokens or config.positions == "axes"
    ):
        return position_table(config, tensor.shape[2])
    return tensor


def _check_size(config: ModelConfig, state: Tensors, where: str) -> None:
    """A config that is damaged may say any size: nothing is built of what cannot be in the file."""
    there = sum(tensor.numel() for tensor in state.values())
    asked = config.encoder_parameters + config.decoder_parameters
    if asked > _ABSURD * max(there, 1_000_000):
        raise ModelError(
            f"{where} holds {there:,} values and its config asks for {asked:,}: weights and config "
            "belong to different models"
        )


def _check(state: Tensors, model: Encoder | Autoencoder, where: str) -> None:
    prefix = "encoder." if isinstance(model, Encoder) else ""
    shapes = {prefix + name: tuple(t.shape) for name, t in model.state_dict().items()}
    in_file = {name: tuple(t.shape) for name, t in state.items()}
    missing = [name for name in shapes if name not in in_file]
    unexpected = [name for name in in_file if name not in shapes]
    odd = [
        f"{name} is {in_file[name]}, not {shape}"
        for name, shape in shapes.items()
        if name in in_file and in_file[name] != shape
    ]
    if not (missing or unexpected or odd):
        return
    faults = [
        f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for what, names in (("missing", missing), ("unexpected", unexpected), ("misshapen", odd))
        if names
    ]
    hint = (
        "weights and config belong to different models"
        if odd
        else "the file is incomplete"
        if missing and not unexpected
        else "the file is of another kind or version of model"
    )
    raise ModelError(
        f"{where} does not fit a model of width {model.config.width} and depth "
        f"{model.config.depth}: of {len(shapes)} tensors, {'; '.join(faults)}; {hint}"
    )


def save_folder(model: Encoder | Autoencoder, path: Source, *, overwrite: bool = False) -> None:
    """Our own format, as a hub repository has it: config.json, model.safetensors, README.md.

    Raises:
        InputError: the folder is not empty and `overwrite` is false, or it cannot be written.
    """
    with atomic_folder(Path(path), overwrite=overwrite) as folder:
        _write_json(folder / CONFIG, {"model_type": MODEL_TYPE, **model.config.model_dump()})
        save_file(tensors(model), folder / WEIGHTS, metadata={"format": "pt"})
        (folder / CARD).write_text(_card(model), encoding="utf-8")


def save_reference(model: Encoder | Autoencoder, path: Source) -> None:
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
    model: Encoder | Autoencoder, path: Source, *, overwrite: bool = False
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


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _card(model: Encoder | Autoencoder) -> str:
    config = model.config
    part = "encoder" if isinstance(model, Encoder) else "full"
    head = card_head("openmarlin", licence_fields(config.licence), _TAGS)
    state = "trained" if config.trained else "untrained: random weights, for tests and as a start"
    values = sum(t.numel() for t in model.state_dict().values())
    return f"""{head}# {config.name}

A masked autoencoder for facial video in the format of openmarlin ({part}; {state}).

| | |
|---|---|
| input | {config.frames} frames of {config.image_size}x{config.image_size}, RGB in [0, 1] |
| tokens | {config.tubelet}x{config.patch}x{config.patch}, {config.n_tokens} a clip |
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
