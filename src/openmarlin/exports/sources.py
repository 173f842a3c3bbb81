"""What can be exported: a MODEL as a user names it -> its networks."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from openmarlin.errors import ModelError
from openmarlin.exports.encoders import encoder_network, task_network
from openmarlin.exports.generators import dubber_networks, generator_network
from openmarlin.exports.network import Network
from openmarlin.lipsync.checkpoints import identify, read_weights
from openmarlin.lipsync.generators.make import KIND as GENERATOR
from openmarlin.lipsync.generators.make import load_generator
from openmarlin.lipsync.shipped import find_model
from openmarlin.lipsync.small.model import KIND as DUBBER
from openmarlin.lipsync.small.model import SmallDubber
from openmarlin.model.card import CARD, licence_fields, licence_of, split_card
from openmarlin.model.io import load
from openmarlin.model.tensor_files import CONFIG, read_json
from openmarlin.tasks.model import MODEL, TaskModel

ONE = ""
"""The name of the only network of a model."""


def networks_of(model: str | os.PathLike[str]) -> dict[str, Network]:
    """The networks of a model, by name; `ONE` where there is one.

    Args:
        model: a name, the folder of a model or of the run that made it, or a checkpoint file.

    Raises:
        ModelError: there is no such model, it is damaged, or of a kind that is not exported.
    """
    path = find_model(model)
    if not (path / CONFIG).is_file() and (path / MODEL / CONFIG).is_file():
        path = path / MODEL  # a run was named
    config = read_json(path / CONFIG)
    kind = config.get("kind")
    if kind == DUBBER:
        networks = dubber_networks(SmallDubber.load(path))
    elif kind == GENERATOR or _is_wav2lip(path):
        networks = {ONE: generator_network(load_generator(path), path.stem)}
    elif kind is not None:
        raise ModelError(
            f"{path}: a model of kind '{kind}' is not exported; encoders, models of a task, "
            "generators and models of a mouth are"
        )
    elif "task" in config:
        networks = {ONE: task_network(TaskModel.load(path))}
    else:
        encoder = load(path if path.exists() else model)
        licence = licence_fields(encoder.config.licence)
        networks = {ONE: replace(encoder_network(encoder), licence=licence)}
    return {name: _with_card(network, path, config) for name, network in networks.items()}


def _is_wav2lip(path: Path) -> bool:
    """A published file of a generator, not of an encoder."""
    with suppress(ModelError):
        return path.is_file() and identify(read_weights(path)) == "wav2lip"
    return False


def _with_card(network: Network, path: Path, config: dict[str, Any]) -> Network:
    """With the licence and the text of the card in the model's folder."""
    file = path / CARD
    if not file.is_file():
        return network
    fields, text = split_card(file.read_text(encoding="utf-8", errors="replace"))
    licence = licence_of(fields) or licence_fields(str(config.get("licence") or ""))
    return replace(network, card=text.strip(), licence=licence or network.licence)
