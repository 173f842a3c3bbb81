"""What a run starts from: random weights, or those of an earlier model."""

from __future__ import annotations

import torch

from openmarlin.errors import ModelError, option
from openmarlin.model.autoencoder import Autoencoder
from openmarlin.model.config import ModelConfig
from openmarlin.model.encoder import Encoder
from openmarlin.model.io import load
from openmarlin.pretraining.settings import PretrainSettings


def initial_model(
    settings: PretrainSettings, config: ModelConfig, *, weights: bool = True
) -> Autoencoder:
    """A model of that config, its weights a function of `seed`, or those of `init`.

    Args:
        settings: of the run.
        config: of the model.
        weights: those of `init` are needed: no checkpoint replaces them.

    Raises:
        ModelError: `init` cannot be loaded, or has another shape.
    """
    model = Autoencoder(config, torch.Generator().manual_seed(settings.seed))
    if settings.init is None or not weights:
        return model
    part, choice = settings.init_part, option("init", settings.init)
    try:
        start = load(settings.init, part, frames=config.frames, image_size=config.image_size)
    except ModelError as error:
        raise ModelError(f"{choice}, {option('init_part', part)}: {error}") from None
    misfit = _copy_weights(start, model if part == "full" else model.encoder)
    if misfit:
        raise ModelError(
            f"{choice} has another shape than the model ({misfit}); choose {option('model')} and "
            f"{option('shape')} to fit it"
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
