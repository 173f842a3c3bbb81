"""The encoder as an OpenVINO graph, built operation by operation from the weights.

Building takes a fraction of a second, where tracing and converting the torch module takes many.
Legend: B clips, T frames, N tokens, D width, P values a token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from openmarlin.model.config import ModelConfig
from openmarlin.model.encoder import Encoder
from openmarlin.model.layers import Attention, Block

if TYPE_CHECKING:
    import openvino as ov
else:
    from openmarlin.native import ov  # silent: see there

op = ov.opset13


def patchify_bytes(clips: NDArray[np.uint8], config: ModelConfig) -> NDArray[np.uint8]:
    """uint8 (B, T, H, W, 3) -> uint8 (B, N, P), the values of a token in (t, h, w, c) order.

    That order moves whole rows of pixels, and bytes instead of floats: about 2 ms a clip.
    """
    (t, h, w), tubelet, patch = config.grid, config.tubelet, config.patch
    x = clips.reshape(len(clips), t, tubelet, h, patch, w, patch, 3)
    x = np.ascontiguousarray(x.transpose(0, 1, 3, 5, 2, 4, 6, 7))
    return x.reshape(len(clips), config.n_tokens, config.token_values)


def build_graph(encoder: Encoder, precision: str) -> Any:
    """The graph of one clip: `values uint8 (1, N, P) -> features (1, D), tokens (1, N, D)`.

    One clip and no free dimension: kernels are chosen for the shapes, and clips share no work
    anyway. Inside, tokens are a matrix (N, D): with three dimensions OpenVINO changes the layout
    back and forth at every addition.

    Args:
        encoder: where the weights are from.
        precision: `fp32` or `bf16`, what it will be compiled for.
    """
    config = encoder.config
    N, P, D = config.n_tokens, config.token_values, config.width
    values = op.parameter([1, N, P], np.uint8)
    x = _embedding(op.convert(_reshape(values, N, P), "f32"), encoder, precision)
    x = op.add(x, _constant(encoder.pos_embedding.emb[0]))
    for block in encoder.blocks:
        x = _block(x, cast(Block, block))
    features = _layer_norm(op.reduce_mean(x, _ints(0), keep_dims=True), encoder.norm)
    tokens = _reshape(_layer_norm(x, encoder.norm), 1, N, D)
    return ov.Model([features, tokens], [values], "encoder")


def _embedding(x: Any, encoder: Encoder, precision: str) -> Any:
    """Bytes -> tokens; the division by 255 is in the weight, and bytes are exact in bf16.

    Bytes are never negative and filters look at differences, so large sums cancel. What rounding
    the weight leaves of them would be most of the error in bf16: what is lost in rounding is
    therefore applied as a second matrix (2 % more work).
    """
    embed = encoder.patch_embedding.projection
    weight = embed.weight.detach().float().permute(0, 2, 3, 4, 1).flatten(1) / 255
    if precision == "fp32":
        return _linear(x, weight, embed.bias)
    coarse = weight.bfloat16().float()
    fine = op.matmul(x, _constant(weight - coarse), transpose_a=False, transpose_b=True)
    return op.add(_linear(x, coarse, embed.bias), fine)


def _block(x: Any, block: Block) -> Any:
    x = op.add(x, _attention(_layer_norm(x, block.norm1), block.attn))
    layers: Any = block.mlp.layers
    wide, narrow = layers[0].linear, layers[1].linear
    y = _linear(_layer_norm(x, block.norm2), wide.weight, wide.bias)
    return op.add(x, _linear(op.gelu(y, "erf"), narrow.weight, narrow.bias))


def _attention(x: Any, attention: Attention) -> Any:
    """Spelt out, with q, k and v apart: OpenVINO makes one kernel of it, transpositions included.

    The scale is in the weight of q; a power of two for heads of 64, so bf16 loses nothing by it.
    """
    D, heads = attention.proj.in_features, attention.heads
    scale = (D // heads) ** -0.5
    wq, wk, wv = attention.qkv.weight.chunk(3)
    q = _heads(_linear(x, wq * scale, attention.q_bias * scale), heads)
    k = _heads(op.matmul(x, _constant(wk), transpose_a=False, transpose_b=True), heads)
    v = _heads(_linear(x, wv, attention.v_bias), heads)
    weights = op.softmax(op.matmul(q, k, transpose_a=False, transpose_b=True), -1)
    mixed = op.matmul(weights, v, transpose_a=False, transpose_b=False)
    joined = _reshape(op.transpose(mixed, _ints(0, 2, 1, 3)), -1, D)
    return _linear(joined, attention.proj.weight, attention.proj.bias)


def _heads(x: Any, heads: int) -> Any:
    """(N, D) -> (1, heads, N, D / heads)."""
    N, D = x.get_output_shape(0)
    return op.transpose(_reshape(x, 1, N, heads, D // heads), _ints(0, 2, 1, 3))


def _linear(x: Any, weight: Tensor, bias: Tensor | None) -> Any:
    product = op.matmul(x, _constant(weight), transpose_a=False, transpose_b=True)
    return op.add(product, _constant(bias))


def _layer_norm(x: Any, norm: nn.LayerNorm) -> Any:
    y = op.mvn(x, _ints(-1), normalize_variance=True, eps=norm.eps, eps_mode="INSIDE_SQRT")
    return op.add(op.multiply(y, _constant(norm.weight)), _constant(norm.bias))


def _constant(tensor: Tensor | None) -> Any:
    assert tensor is not None, "every layer but qkv has a bias"
    return op.constant(tensor.detach().cpu().float().numpy())


def _reshape(x: Any, *shape: int) -> Any:
    return op.reshape(x, _ints(*shape), special_zero=False)


def _ints(*values: int) -> Any:
    return op.constant(np.array(values, np.int64))
