"""transformers' VideoMAE <-> ours: names, the fused qkv matrix, the config, the preprocessing."""

from __future__ import annotations

from typing import Any

import torch

from openmarlin.errors import ModelError
from openmarlin.model.config import ModelConfig
from openmarlin.model.convert import finish_videomae, has_decoder, permute_head
from openmarlin.model.tensor_files import Tensors, note

# (theirs, ours). Reading goes through it downwards, so that the longer of two names comes first.
_NAMES = (
    ("videomae.embeddings.patch_embeddings.projection.", "encoder.patch_embedding.projection."),
    ("videomae.encoder.layer.", "encoder.blocks."),
    ("videomae.layernorm.", "encoder.norm."),
    ("decoder.decoder_layers.", "decoder.blocks."),
    ("encoder_to_decoder.", "enc_dec_proj."),
    ("mask_token", "decoder.mask_token"),
    (".layernorm_before.", ".norm1."),
    (".layernorm_after.", ".norm2."),
    (".attention.output.dense.", ".attn.proj."),
    (".intermediate.dense.", ".mlp.layers.0.linear."),
    (".output.dense.", ".mlp.layers.1.linear."),
    (".attention.attention.query.bias", ".attn.q_bias"),
    (".attention.attention.value.bias", ".attn.v_bias"),
)
# Names that are read besides: those of transformers 4, and of a fine-tuned classifier, whose
# `fc_norm` does what our final norm does in `Encoder.features`.
_NAMES_READ = (
    *_NAMES,
    (".attention.attention.q_bias", ".attn.q_bias"),
    (".attention.attention.v_bias", ".attn.v_bias"),
    ("fc_norm.", "encoder.norm."),
)
# ImageNet's, as VideoMAE was trained; and what transformers' image processor takes where its
# config leaves them out.
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_PROCESSOR_DEFAULT = (0.5, 0.5, 0.5)

_QKV = tuple(f".attention.attention.{name}.weight" for name in ("query", "key", "value"))

# Our fields: theirs, and the defaults of theirs, which a config.json may leave out.
_FIELDS: dict[str, tuple[str, Any]] = {
    "image_size": ("image_size", 224),
    "frames": ("num_frames", 16),
    "patch": ("patch_size", 16),
    "tubelet": ("tubelet_size", 2),
    "width": ("hidden_size", 768),
    "depth": ("num_hidden_layers", 12),
    "heads": ("num_attention_heads", 12),
    "layer_norm_eps": ("layer_norm_eps", 1e-12),
    "decoder_width": ("decoder_hidden_size", 384),
    "decoder_depth": ("decoder_num_hidden_layers", 4),
    "decoder_heads": ("decoder_num_attention_heads", 6),
    "normalize_targets": ("norm_pix_loss", True),
}


def from_transformers(
    state: Tensors, hf: dict[str, Any], preprocessing: dict[str, Any]
) -> tuple[ModelConfig, Tensors]:
    """The tensors of VideoMAEModel, or of a model around it -> the config, and the tensors as ours.

    Args:
        state: tensors under the names of transformers 4 or 5.
        hf: its config.json.
        preprocessing: its preprocessor_config.json; where it is {}, pixels are taken to be
            normalised as VideoMAE's authors do, which is said. A normalisation is folded into the
            token embedding, so that the model takes [0, 1] as all do.
    """
    if "embeddings.patch_embeddings.projection.weight" in state:
        state = {f"videomae.{name}": tensor for name, tensor in state.items()}
    state = {_our_name(k): t for k, t in state.items() if not k.startswith("classifier.")}
    _join_qkv(state)
    config = _our_config(hf, whole=has_decoder(state))
    if not hf.get("qv_bias", hf.get("qkv_bias", True)):
        _add_zero_biases(state)
    if preprocessing.get("do_normalize", True):
        if not preprocessing:
            note(
                "The transformers folder has no preprocessor_config.json: its pixels are taken to "
                f"be normalised by VideoMAE's mean {_MEAN} and deviation {_STD}."
            )
        default = (_PROCESSOR_DEFAULT, _PROCESSOR_DEFAULT) if preprocessing else (_MEAN, _STD)
        mean = preprocessing.get("image_mean", default[0])
        _fold_normalisation(state, mean, preprocessing.get("image_std", default[1]))
    return config, finish_videomae(state, config)


def to_transformers(
    state: Tensors, config: ModelConfig
) -> tuple[Tensors, dict[str, Any], dict[str, Any]]:
    """Ours -> tensors, config.json and preprocessor_config.json of transformers' VideoMAE.

    The biases of q and v are written under their names of transformers 4 and 5 both: some versions
    of 5 know only the new ones, and start the biases from zero when they find the old, without an
    error.

    Raises:
        ModelError: the model's positions are not those of VideoMAE.
    """
    if config.positions != "index":
        raise ModelError(
            f"model '{config.name}' cannot become a transformers folder: its positions are those "
            "of axes, transformers computes those of the flattened index; save it in our format"
        )
    theirs: Tensors = {}
    for name, tensor in state.items():
        if name.endswith(".pos_embedding.emb"):
            continue  # computed there, in float64
        tensor = permute_head(name, tensor, config, to_ours=False)
        name = _their_name(name)
        if name.endswith(".attn.qkv.weight"):
            block = name.removesuffix(".attn.qkv.weight")
            theirs |= {block + part: t for part, t in zip(_QKV, tensor.chunk(3), strict=True)}
            continue
        theirs[name] = tensor
        if name.endswith((".query.bias", ".value.bias")):
            old = name.replace("query.bias", "q_bias").replace("value.bias", "v_bias")
            theirs[old] = tensor
    own = {
        name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in theirs.items()
    }
    return own, _their_config(config), _their_preprocessing(config)


def _our_name(name: str) -> str:
    for theirs, ours in _NAMES_READ:
        name = name.replace(theirs, ours)
    return name


def _their_name(name: str) -> str:
    for theirs, ours in _NAMES:
        name = name.replace(ours, theirs)
    return name


def _join_qkv(state: Tensors) -> None:
    for query in [name for name in state if name.endswith(_QKV[0])]:
        block = query.removesuffix(_QKV[0])
        if all(block + part in state for part in _QKV):
            parts = [state.pop(block + part) for part in _QKV]
            state[f"{block}.attn.qkv.weight"] = torch.cat(parts)


def _add_zero_biases(state: Tensors) -> None:
    for name in [name for name in state if name.endswith(".attn.qkv.weight")]:
        block = name.removesuffix("qkv.weight")
        for bias in ("q_bias", "v_bias"):
            state[block + bias] = torch.zeros(len(state[name]) // 3)


def _fold_normalisation(state: Tensors, mean: Any, std: Any) -> None:
    """W((x - mean) / std) + b as one affine map of x, in float64 on the way."""
    try:
        m, s = (torch.tensor(v, dtype=torch.float64).view(1, 3, 1, 1, 1) for v in (mean, std))
    except (RuntimeError, TypeError, ValueError):
        raise ModelError(
            f"its preprocessing has image_mean {mean} and image_std {std}: not three numbers each"
        ) from None
    key = "encoder.patch_embedding.projection."
    if f"{key}weight" not in state or f"{key}bias" not in state:
        return  # the strict check reports it
    weight, bias = state[f"{key}weight"].double(), state[f"{key}bias"].double()
    state[f"{key}weight"] = (weight / s).float()
    state[f"{key}bias"] = (bias - (weight * m / s).sum(dim=(1, 2, 3, 4))).float()


def _our_config(hf: dict[str, Any], *, whole: bool) -> ModelConfig:
    if hf.get("hidden_act", "gelu") != "gelu":
        raise ModelError(f"its config.json has hidden_act '{hf['hidden_act']}': only gelu is known")
    where = "the VideoMAE of its config.json"
    fields = {our: hf.get(theirs, default) for our, (theirs, default) in _FIELDS.items()}
    if not whole:
        fields |= dict.fromkeys(("decoder_width", "decoder_depth", "decoder_heads"))
        fields["normalize_targets"] = False
    config = ModelConfig.of(fields | {"trained": True}, where=where)
    hidden = hf.get("intermediate_size", 3072)
    ratio = hidden / config.width if isinstance(hidden, int) else hidden
    return ModelConfig.of(config.model_dump() | {"mlp_ratio": ratio}, where=where)


def _their_config(config: ModelConfig) -> dict[str, Any]:
    values = {theirs: getattr(config, our) for our, (theirs, _) in _FIELDS.items()}
    hf = {name: value for name, value in values.items() if value is not None}
    hf["intermediate_size"] = round(config.width * config.mlp_ratio)
    if config.decoder_width is not None:
        hf["decoder_intermediate_size"] = round(config.decoder_width * config.mlp_ratio)
    whole = config.decoder_width is not None
    return hf | {
        "model_type": "videomae",
        "architectures": ["VideoMAEForPreTraining" if whole else "VideoMAEModel"],
        "hidden_act": "gelu",
        "qkv_bias": True,  # its name in transformers 4
        "qv_bias": True,  # its name in transformers 5
        "use_mean_pooling": False,  # True would leave out the final norm
    }


def _their_preprocessing(config: ModelConfig) -> dict[str, Any]:
    size = config.image_size
    return {
        "image_processor_type": "VideoMAEImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": size},
        "do_center_crop": True,
        "crop_size": {"height": size, "width": size},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": False,
    }
