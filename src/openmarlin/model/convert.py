"""What a checkpoint of MARLIN's or VideoMAE's authors holds, under our names.

Our names are MARLIN's: encoder.*, decoder.*, enc_dec_proj.*. VideoMAE's pre-training files differ
in names, in the order of the pixels in a predicted token, and do not hold the positions.
"""

from __future__ import annotations

import math
import re

import torch
from torch import Tensor

from openmarlin.errors import ModelError
from openmarlin.model.config import ModelConfig
from openmarlin.model.layers import axes_table, sinusoid_table
from openmarlin.model.tensor_files import Tensors, note

_EMBEDDING = "encoder.patch_embedding.projection.weight"
_PLAIN_EMBEDDING = "patch_embed.proj.weight"  # of an encoder that VideoMAE's authors fine-tuned

# Attention heads by width, of the published models of MARLIN and VideoMAE, and of ours (192): a
# file does not tell. For other widths the caller must.
_HEADS = {192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16, 1408: 16}
_DECODER_HEADS = {192: 3, 384: 6, 512: 8}

_VIDEOMAE_NAMES = (
    (r"^mask_token$", "decoder.mask_token"),
    (r"^encoder_to_decoder\.", "enc_dec_proj."),
    (r"^encoder\.patch_embed\.proj\.", "encoder.patch_embedding.projection."),
    (r"\.mlp\.fc1\.", ".mlp.layers.0.linear."),
    (r"\.mlp\.fc2\.", ".mlp.layers.1.linear."),
)


def has_decoder(state: Tensors) -> bool:
    """Whether a state under our names is a whole autoencoder."""
    return "decoder.mask_token" in state


def without_decoder(state: Tensors) -> Tensors:
    """What an encoder alone needs, under any of the names that `from_authors` reads."""
    decoder = ("decoder.", "enc_dec_proj.", "encoder_to_decoder.", "mask_token")
    return {name: tensor for name, tensor in state.items() if not name.startswith(decoder)}


def from_authors(
    state: Tensors, heads: int | None = None, decoder_heads: int | None = None
) -> tuple[ModelConfig, Tensors]:
    """A state as MARLIN (.pt, .ckpt, hub) or VideoMAE (.pth) save it -> its config, and it as ours.

    Args:
        state: tensors under their names.
        heads: attention heads of the encoder; None for those of the published model of its width.
        decoder_heads: the same of the decoder.

    Raises:
        ModelError: the tensors are of no known model, or its number of heads is not known.
    """
    if _PLAIN_EMBEDDING in state:
        state = _finetuned(state)
    if f"encoder.{_PLAIN_EMBEDDING}" in state:
        return _from_videomae(state, heads, decoder_heads)
    if any(name.startswith("marlin.") for name in state):  # the hub's wrapper
        state = {name.removeprefix("marlin."): tensor for name, tensor in state.items()}
    if _EMBEDDING.removeprefix("encoder.") in state:  # an encoder saved by itself
        state = {f"encoder.{name}": tensor for name, tensor in state.items()}
    return infer_config(state, heads, decoder_heads), state


def _from_videomae(
    state: Tensors, heads: int | None, decoder_heads: int | None
) -> tuple[ModelConfig, Tensors]:
    ours: Tensors = {}
    for name, tensor in state.items():
        for pattern, replacement in _VIDEOMAE_NAMES:
            name = re.sub(pattern, replacement, name)
        ours[name] = tensor
    whole = has_decoder(ours)
    config = infer_config(ours, heads, decoder_heads).changed(
        layer_norm_eps=1e-6, normalize_targets=whole
    )
    return config, finish_videomae(ours, config)


def _finetuned(state: Tensors) -> Tensors:
    """A classifier that VideoMAE's authors fine-tuned -> the names of an encoder alone.

    Its `fc_norm` follows the mean of the tokens, as our final norm does in `Encoder.features`.
    """
    head = [name for name in state if name.startswith("head.")]
    if head:
        note(f"The classifier's head is left out ({', '.join(head)}).")
    kept = {name: tensor for name, tensor in state.items() if name not in head}
    return {f"encoder.{re.sub('^fc_norm', 'norm', name)}": t for name, t in kept.items()}


def finish_videomae(state: Tensors, config: ModelConfig) -> Tensors:
    """What VideoMAE's tensors lack under our names: the positions, and our order of pixels."""
    state = {name: permute_head(name, t, config, to_ours=True) for name, t in state.items()}
    widths = {"encoder": config.width, "decoder": config.decoder_width}
    for part, width in widths.items():
        if width is not None:
            table = sinusoid_table(config.n_tokens, width, torch.float64)
            state[f"{part}.pos_embedding.emb"] = table
    return state


def permute_head(name: str, tensor: Tensor, config: ModelConfig, *, to_ours: bool) -> Tensor:
    """Reorders what the decoder's head predicts; other tensors pass.

    VideoMAE orders the values of a token as (t, h, w, c), we as (c, t, h, w).
    """
    if not name.startswith("decoder.head.") or tensor.shape[0] != config.token_values:
        return tensor
    token = (config.tubelet, config.patch, config.patch)
    x = tensor.reshape(*token, 3, -1) if to_ours else tensor.reshape(3, *token, -1)
    x = x.movedim(3, 0) if to_ours else x.movedim(0, 3)
    return x.reshape(tensor.shape)


def infer_config(
    state: Tensors, heads: int | None = None, decoder_heads: int | None = None
) -> ModelConfig:
    """The config of a state under our names, from the shapes in it; `heads` as in `from_authors`.

    The positions tell how many tokens a clip has;
    frames of 224 px are assumed, or clips of 16 frames where that is impossible.

    Raises:
        ModelError: the tensors are of no known model.
    """
    embedding = state.get(_EMBEDDING)
    if embedding is None or embedding.ndim != 5:
        names = ", ".join(list(state)[:3])
        if {"teacher", "student"} & {name.split(".")[0] for name in state}:
            names += ", ...; a teacher and its student: save the state of one of them"
        raise ModelError(
            "it is not a MARLIN or VideoMAE checkpoint: there is no "
            f"{_EMBEDDING} among its {len(state)} tensors ({names}, ...); of a transformers model "
            "give the folder"
        )
    width, _, tubelet, patch, _ = embedding.shape
    fields = _infer_part(state, "encoder", width, heads)
    fields["mlp_ratio"] = _infer_mlp_ratio(state, width)
    if has_decoder(state):
        decoder_width = state["decoder.mask_token"].shape[-1]
        decoder = _infer_part(state, "decoder", decoder_width, decoder_heads)
        fields |= {f"decoder_{name}": value for name, value in decoder.items()}
    fields |= _infer_sizes(state, tubelet, patch)
    config = ModelConfig.of(fields | {"trained": True}, where="the model these tensors are of")
    table = state.get("encoder.pos_embedding.emb")
    if table is not None and torch.allclose(table, axes_table(config.grid, width), atol=1e-3):
        return config.changed(positions="axes")
    return config


def _infer_part(state: Tensors, part: str, width: int, heads: int | None) -> dict[str, float]:
    if heads is None:
        heads = (_HEADS if part == "encoder" else _DECODER_HEADS).get(width)
    if heads is None:
        argument = "heads" if part == "encoder" else "decoder_heads"
        raise ModelError(
            f"no published {part} is {width} wide, and the file does not tell its number of "
            f"attention heads: say it with load(..., {argument}=...)"
        )
    blocks = {name.split(".")[2] for name in state if name.startswith(f"{part}.blocks.")}
    return {"width": width, "depth": len(blocks), "heads": heads}


def _infer_mlp_ratio(state: Tensors, width: int) -> float:
    first = state.get("encoder.blocks.0.mlp.layers.0.linear.bias")
    return 4.0 if first is None else len(first) / width


def _infer_sizes(state: Tensors, tubelet: int, patch: int) -> dict[str, int]:
    sizes = {"tubelet": tubelet, "patch": patch, "frames": 16, "image_size": 224}
    table = state.get("encoder.pos_embedding.emb")
    if table is None:
        return sizes
    tokens = table.shape[1]
    steps, rest = divmod(tokens, (224 // patch) ** 2)
    if 224 % patch == 0 and steps and not rest:
        return sizes | {"frames": steps * tubelet}
    side = math.isqrt(tokens // max(1, 16 // tubelet))
    if (16 // tubelet) * side * side == tokens:
        return sizes | {"image_size": side * patch}
    raise ModelError(
        f"it has an unknown layout: {tokens} positions are neither frames of 224 px nor clips of 16"
    )
