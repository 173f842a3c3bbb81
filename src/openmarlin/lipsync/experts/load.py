"""Experts by name or path; nothing heavy is imported before one is loaded."""

from __future__ import annotations

import os
from pathlib import Path

from openmarlin.errors import ModelError
from openmarlin.lipsync.expert import Expert
from openmarlin.lipsync.shipped import DEFAULT_EXPERT
from openmarlin.model.zoo import find_model

_CONFIG = "config.json"
_OWN_KINDS = ("points", "pixels", "mouth")


def load_expert(name_or_path: str | os.PathLike[str] = DEFAULT_EXPERT, threads: int = 1) -> Expert:
    """An expert, ready for use.

    Args:
        name_or_path: `openmarlin_sync`, a folder of `openmarlin lipsync train-expert`, or a
            published file: SyncNet v2, or Wav2Lip's expert of 5 or 16 frames; which of them it is
            is told by its tensors.
        threads: that its networks use.

    Raises:
        ModelError: there is no such expert, or the file is damaged or of another network.
    """
    path = find_model(name_or_path)
    if not path.exists():
        raise ModelError(
            f"there is no expert '{name_or_path}': give {DEFAULT_EXPERT}, a folder of `openmarlin "
            "lipsync train-expert`, or a file with weights of SyncNet or of Wav2Lip's expert"
        )
    if path.is_dir():
        return _load_folder(path)
    return _load_published(path, threads)


def _load_folder(folder: Path) -> Expert:
    from openmarlin.lipsync.experts.own import load_own
    from openmarlin.model.tensor_files import read_json

    kind = read_json(folder / _CONFIG).get("kind")
    if kind not in _OWN_KINDS:
        raise ModelError(
            f"{folder} holds no expert: its {_CONFIG} should say kind {' or '.join(_OWN_KINDS)}"
        )
    return load_own(folder)


def _load_published(path: Path, threads: int) -> Expert:
    from openmarlin.lipsync.checkpoints import describe, identify, read_weights
    from openmarlin.lipsync.experts.syncnet import SyncNetExpert
    from openmarlin.lipsync.experts.wav2lip_expert import Wav2LipExpert

    state = read_weights(path)
    system = identify(state)
    if system == "syncnet":
        return SyncNetExpert.of(state, path, threads)
    if system in ("wav2lip_expert", "wav2lip_expert_16"):
        return Wav2LipExpert.of(state, path, threads)
    raise ModelError(
        f"{path} is no expert: it looks like {describe(state)}; give weights of SyncNet "
        "(syncnet_v2.model) or of Wav2Lip's expert (lipsync_expert.pth)"
    )
