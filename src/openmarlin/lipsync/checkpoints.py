"""Published weights of lip-sync networks: read from a file, told apart by their names, checked.

Nothing that a file says is run: pickles are read for their tensors alone, and so are TorchScript
archives.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from openmarlin.errors import ModelError
from openmarlin.lipsync.torchscript import is_torchscript, read_torchscript
from openmarlin.model.tensor_files import Tensors, plain_state, read

_LFS = b"version https://git-lfs.github.com/spec/"
_COUNTER = "num_batches_tracked"
"""Ending of names that files of old versions of torch lack, and that nothing needs."""

SYSTEMS = {
    "syncnet": "SyncNet",
    "wav2lip_expert": "Wav2Lip's expert (5 frames)",
    "wav2lip_expert_16": "Wav2Lip's expert (16 frames)",
    "wav2lip": "Wav2Lip's generator",
    "attn_wav2lip": "AttnWav2Lip's generator",
    "wav2lip_critic": "Wav2Lip's quality critic",
    "video_encoder": "a video encoder such as MARLIN or VideoMAE",
    "s3fd": "the face detector S3FD",
}
"""Networks that are known by the names of their tensors, in words."""


def read_weights(path: str | Path) -> Tensors:
    """The float32 tensors of a published file or of a folder of ours, by name.

    Understood are state dicts as they are, below `state_dict` or with `module.` before each name,
    safetensors, and TorchScript archives. Counters of batches are left out.

    Raises:
        ModelError: it is missing, damaged, a web page, a git-lfs pointer, or holds no tensors.
    """
    path = Path(path).expanduser()
    if path.is_file():
        _check_start(path)
    state = _read_torchscript(path) if path.is_file() and is_torchscript(path) else read(path)
    return {name: t for name, t in state.items() if not name.endswith(_COUNTER)}


def identify(state: Mapping[str, Tensor]) -> str:
    """Which of `SYSTEMS` the names and shapes look like; empty for none of them."""
    names = set(state)

    def has(*prefixes: str) -> bool:
        return all(any(name.startswith(prefix) for name in names) for prefix in prefixes)

    if has("netcnnaud.", "netcnnlip."):
        return "syncnet"
    if has("face_decoder_blocks.", "audio_encoder."):
        return "attn_wav2lip" if has("decoder_attention.") else "wav2lip"
    if has("face_encoder.", "audio_encoder."):
        first = state.get("face_encoder.0.conv_block.0.weight")
        of_16 = first is not None and first.ndim == 4 and first.shape[1] == 48
        return "wav2lip_expert_16" if of_16 else "wav2lip_expert"
    if has("binary_pred.", "face_encoder_blocks."):
        return "wav2lip_critic"
    if has("vgg.", "conv3_3_norm_mbox_conf") or has("conv3_3_norm.", "conv1_1."):
        return "s3fd"
    if has("encoder.blocks.") or has("blocks.0.attn.") or has("videomae.encoder."):
        return "video_encoder"
    return ""


def load_strictly(net: nn.Module, state: Tensors, where: str | Path) -> None:
    """Put weights into a network: every one must be there, and no other.

    Raises:
        ModelError: what is missing, not expected, or of another shape, and what the file looks
            like.
    """
    own = {n: t for n, t in net.state_dict().items() if not n.endswith(_COUNTER)}
    missing = [name for name in own if name not in state]
    unexpected = [name for name in state if name not in own]
    odd = [
        f"{name} is {tuple(state[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name in state and state[name].shape != tensor.shape
    ]
    if not (missing or unexpected or odd):
        net.load_state_dict(state, strict=False)
        return
    faults = [
        f"{len(names)} {what} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for what, names in (
            ("missing", missing),
            ("not expected", unexpected),
            ("of another shape", odd),
        )
        if names
    ]
    raise ModelError(
        f"{where} looks like {describe(state)}, but does not fit: of {len(own)} tensors, "
        f"{'; '.join(faults)}; look for the file that belongs to this network"
    )


def describe(state: Mapping[str, Tensor]) -> str:
    """What the names look like, in words."""
    if system := identify(state):
        return SYSTEMS[system]
    return f"no network that is known here ({', '.join(sorted(state)[:2])}, ...)"


def _check_start(path: Path) -> None:
    """Files that are not what their name says."""
    try:
        with path.open("rb") as file:
            start = file.read(512)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<head", b"<?xml")):
        raise ModelError(
            f"{path} is a web page and not a checkpoint: the link led to a page about the file; "
            "open it in a browser and download the file itself"
        )
    if start.startswith(_LFS):
        raise ModelError(
            f"{path} is a git-lfs pointer and not the checkpoint: run `git lfs pull` where it "
            "comes from, or download the file itself"
        )
    if not start:
        raise ModelError(f"{path} is empty: download it again")
    if start.startswith(b"PK") and not zipfile.is_zipfile(path):
        raise ModelError(f"{path} is cut short: its end is missing; download it again")


def _read_torchscript(path: Path) -> Tensors:
    try:
        content = read_torchscript(path)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{path} is a TorchScript archive with more in it than modules and tensors ({error}), "
            "which is not read here: save its state_dict() alone where it comes from"
        ) from error
    except (zipfile.BadZipFile, ValueError, KeyError, RuntimeError, TypeError, EOFError) as error:
        reason = str(error).strip().split("\n")[0][:120]
        raise ModelError(f"{path} is damaged ({reason}); download it again") from error
    return plain_state(content, path)
