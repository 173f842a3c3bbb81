"""transformers: the folder that `VideoMAEModel.from_pretrained` reads."""

from __future__ import annotations

from pathlib import Path

from openmarlin.errors import ModelError, option
from openmarlin.exports.encoders import EncoderNetwork
from openmarlin.exports.network import Network
from openmarlin.model.io import save_transformers


def write(network: Network, folder: Path) -> None:
    """Write an encoder.

    Raises:
        ModelError: it is none, or its positions are not those of VideoMAE.
    """
    if not isinstance(network.module, EncoderNetwork):
        raise ModelError(
            f"'{network.name}' is no encoder, and transformers has no place for its "
            f"{network.kind}: use {option('to', 'onnx')}, or name its encoder"
        )
    save_transformers(network.module.encoder, folder, overwrite=True)
