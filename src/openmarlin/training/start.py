"""What a run starts from: weights drawn by chance, or those of an earlier model."""

from __future__ import annotations

import torch

from openmarlin.errors import ModelError
from openmarlin.model.autoencoder import Autoencoder
from openmarlin.model.config import ModelConfig
from openmarlin.model.encoder import Encoder
from openmarlin.model.io import load
from openmarlin.training.settings import PretrainSettings


def initial_model(settings: PretrainSettings, config: ModelConfig) -> Autoencoder:
    """A model of that config, its weights a function of `seed`, or those of `init`.

    Raises:
        ModelError: `init` cannot be loaded, or has another shape.
    """
    model = Autoencoder(config, torch.Generator().manual_seed(settings.seed))
    if settings.init is None:
        return model
    part, asked = settings.init_part, f"init={settings.init}"
    try:
        start = load(settings.init, part, frames=config.frames, image_size=config.image_size)
    except ModelError as error:
        raise ModelError(f"{asked}, init_part={part}: {error}") from None
    misfit = _copy_weights(start, model if part == "full" else model.encoder)
    if misfit:
        raise ModelError(
            f"{asked} has another shape than the model ({misfit}); choose model= and shape= to fit "
            "it"
        )
    return model


def _copy_weights(start: Encoder | Autoencoder, model: Encoder | Autoencoder) -> str:
    """Copy all weights; what does not fit, if anything."""
    whole = isinstance(model, Autoencoder)
    fields = ("positions", "heads", "decoder_heads")  # no tensor's shape tells
    for field in fields if whole else fields[:-1]:
        theirs, ours = getattr(start.config, field), getattr(model.config, field)
        if theirs != ours:
            return f"{field} {theirs}, not {ours}"
    try:
        model.load_state_dict(start.state_dict())
    except RuntimeError as error:
        return " ".join(str(error).splitlines()[1].split())
    return ""
