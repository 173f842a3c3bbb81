"""Generators: new ones, and those in folders and published files.

FOLDER/config.json          kind, the config, shape of the encoder, what is said about the weights
FOLDER/model.safetensors    the weights
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from openmarlin.errors import ModelError
from openmarlin.files import atomic_folder
from openmarlin.lipsync.checkpoints import describe, identify, load_strictly, read_weights
from openmarlin.lipsync.generators.config import GeneratorConfig
from openmarlin.lipsync.generators.generator import Generator
from openmarlin.lipsync.generators.lipgan import LipGAN
from openmarlin.lipsync.generators.speech2vid import Speech2Vid
from openmarlin.lipsync.generators.wav2lip import AttnWav2Lip, Wav2Lip
from openmarlin.lipsync.generators.wav2lip_vit import Wav2LipViT, first_encoder
from openmarlin.model.config import ModelConfig
from openmarlin.model.encoder import Encoder
from openmarlin.model.tensor_files import CONFIG, WEIGHTS, read_json
from openmarlin.model.zoo import find_model

KIND = "generator"
"""What `kind` says in the config.json of a generator's folder."""

PUBLISHED = GeneratorConfig(system="wav2lip", sound_centre_s=0.05375)
"""Of published Wav2Lip files: in training their windows of sound began a frame before the frame."""

_SIMPLE = {
    "speech2vid": Speech2Vid,
    "lipgan": LipGAN,
    "wav2lip": Wav2Lip,
    "attn_wav2lip": AttnWav2Lip,
}


def make_generator(config: GeneratorConfig, *, seed: int = 0) -> Generator:
    """A generator with random weights; the encoder of wav2lip_vit has those that `init` names.

    Args:
        config: what it is.
        seed: of the weights: the same on every call.

    Raises:
        ModelError: the encoder cannot be loaded, or does not fit.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = first_encoder(config, seed) if config.system == "wav2lip_vit" else None
        return _build(config, encoder)


def save_generator(
    folder: str | os.PathLike[str],
    generator: Generator,
    about: Mapping[str, Any],
    *,
    overwrite: bool = False,
) -> None:
    """Write a folder that `load_generator` reads.

    Args:
        folder: a new or empty one.
        generator: what to save.
        about: JSON values: what its weights were trained on and for how long.
        overwrite: replace what is in the folder.

    Raises:
        InputError: the folder is not empty and `overwrite` is false, or it cannot be written.
    """
    content: dict[str, Any] = {"kind": KIND, **generator.config.model_dump()}
    if isinstance(generator, Wav2LipViT):
        content["encoder_shape"] = generator.encoder.config.model_dump()
    state = {n: t.detach().cpu().contiguous() for n, t in generator.state_dict().items()}
    with atomic_folder(Path(folder), overwrite=overwrite) as part:
        save_file(state, part / WEIGHTS, metadata={"format": "pt"})
        text = json.dumps({**content, "about": dict(about)}, indent=2) + "\n"
        (part / CONFIG).write_text(text, encoding="utf-8")


def load_generator(name_or_path: str | os.PathLike[str]) -> Generator:
    """A generator with its weights, in evaluation mode.

    Args:
        name_or_path: a shipped name, a folder of `save_generator`, or a published file of Wav2Lip
            (wav2lip.pth, wav2lip_gan.pth, or TorchScript archives of them).

    Raises:
        ModelError: there is no such generator, or the file is damaged or of another network.
    """
    path = find_model(name_or_path)
    if not path.exists():
        raise ModelError(
            f"there is no generator '{name_or_path}': give the folder of a trained one, or a "
            "published file of Wav2Lip such as wav2lip_gan.pth"
        )
    return _load_folder(path) if path.is_dir() else _load_published(path)


def _build(config: GeneratorConfig, encoder: Encoder | None) -> Generator:
    if encoder is not None:
        return Wav2LipViT(config, encoder)
    return _SIMPLE[config.system](config)


def _load_folder(folder: Path) -> Generator:
    content = read_json(folder / CONFIG)
    if content.pop("kind", None) != KIND:
        raise ModelError(f"{folder} holds no generator: its {CONFIG} should say kind {KIND}")
    content.pop("about", None)
    shape = content.pop("encoder_shape", None)
    where = f"{folder / CONFIG}"
    config = GeneratorConfig.of(content, where=where)
    if (config.system == "wav2lip_vit") != isinstance(shape, dict):
        raise ModelError(f"{where}: encoder_shape goes with wav2lip_vit and with nothing else")
    encoder = Encoder(ModelConfig.of(shape, where=where)) if shape else None
    generator = _build(config, encoder)
    load_strictly(generator, read_weights(folder), folder)
    return generator.eval()


def _load_published(path: Path) -> Generator:
    state = read_weights(path)
    if identify(state) != "wav2lip":
        raise ModelError(
            f"{path} is no generator: it looks like {describe(state)}; give a file of Wav2Lip's "
            "generator (wav2lip.pth, wav2lip_gan.pth)"
        )
    generator = Wav2Lip(PUBLISHED)
    load_strictly(generator, state, path)
    return generator.eval()
