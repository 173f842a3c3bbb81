"""ONNX: one file, opset and all, written by torch's exporter."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from openmarlin.exports.network import Network

FILE = "model.onnx"


def write(network: Network, folder: Path) -> None:
    """Write a network; beyond 1.5 GB its weights stand in a file beside it."""
    with _quiet():
        program = torch.onnx.export(
            network.trace(),
            dynamo=True,
            input_names=list(network.inputs),
            output_names=list(network.outputs),
            verbose=False,
        )
    assert program is not None, "of an exported program it returns one"
    program.model.metadata_props["openmarlin"] = json.dumps(network.as_dict())
    program.save(folder / FILE)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on packages that are not there, and on its own code."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        logger.setLevel(level)
