"""Representation learning for facial video: face tracks, masked autoencoders, features.

The package imports in milliseconds; what needs torch or OpenVINO loads on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from openmarlin import lipsync
    from openmarlin.jobs.distil import distil
    from openmarlin.jobs.evaluate import evaluate
    from openmarlin.jobs.export import export
    from openmarlin.jobs.extract import extract
    from openmarlin.jobs.faces import faces
    from openmarlin.jobs.finetune import finetune
    from openmarlin.jobs.manifest import manifest
    from openmarlin.jobs.masks import masks
    from openmarlin.jobs.predict import predict
    from openmarlin.jobs.prepare import prepare
    from openmarlin.jobs.pretrain import pretrain
    from openmarlin.jobs.probe import probe
    from openmarlin.jobs.push import push
    from openmarlin.jobs.reconstruct import reconstruct
    from openmarlin.model.encoder import Encoder
    from openmarlin.model.io import load
    from openmarlin.web.serve import serve

__all__ = [
    "Encoder",
    "__version__",
    "distil",
    "evaluate",
    "export",
    "extract",
    "faces",
    "finetune",
    "lipsync",
    "load",
    "manifest",
    "masks",
    "predict",
    "prepare",
    "pretrain",
    "probe",
    "push",
    "reconstruct",
    "serve",
]

_HOMES = {
    "Encoder": "openmarlin.model.encoder",
    "distil": "openmarlin.jobs.distil",
    "evaluate": "openmarlin.jobs.evaluate",
    "export": "openmarlin.jobs.export",
    "extract": "openmarlin.jobs.extract",
    "faces": "openmarlin.jobs.faces",
    "finetune": "openmarlin.jobs.finetune",
    "load": "openmarlin.model.io",
    "manifest": "openmarlin.jobs.manifest",
    "masks": "openmarlin.jobs.masks",
    "predict": "openmarlin.jobs.predict",
    "prepare": "openmarlin.jobs.prepare",
    "pretrain": "openmarlin.jobs.pretrain",
    "probe": "openmarlin.jobs.probe",
    "push": "openmarlin.jobs.push",
    "reconstruct": "openmarlin.jobs.reconstruct",
    "serve": "openmarlin.web.serve",
}


def __getattr__(name: str) -> Any:
    if name == "lipsync":
        return import_module("openmarlin.lipsync")
    if name not in _HOMES:
        raise AttributeError(f"module 'openmarlin' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
