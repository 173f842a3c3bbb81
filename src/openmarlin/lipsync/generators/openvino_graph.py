"""Wav2Lip and AttnWav2Lip as an OpenVINO graph, built layer by layer from the weights.

Building takes a fraction of a second, where tracing and converting the torch module takes seconds.
Batch normalisation is folded into the convolution before it, and the order of colours into the
first and the last one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from openmarlin.lipsync.blocks import ConvBlock, UpBlock, swap_colours
from openmarlin.lipsync.generators.attention import FaceAttention
from openmarlin.lipsync.generators.wav2lip import Wav2Lip

if TYPE_CHECKING:
    import openvino as ov
else:
    from openmarlin.native import ov  # silent: see there

op = ov.opset13


def build_graph(generator: Wav2Lip) -> Any:
    """The graph of one frame: sound (1, 1, R, C), faces (1, 6, S, S) -> picture (1, 3, S, S).

    One frame and no free dimension: kernels are chosen for the shapes, and frames share no work.
    Colours are RGB, all values in [0, 1].
    """
    config = generator.config
    sound = op.parameter([1, 1, config.sound.rows, config.sound.columns], np.float32)
    faces = op.parameter([1, 6, config.size, config.size], np.float32)
    seen, x = [], faces
    for i, block in enumerate(generator.face_encoder_blocks):
        x = _first(x, block) if i == 0 else _emit(x, block)
        x = _emit(x, generator.encoder_attention[i])
        seen.append(x)
    x = _emit(sound, generator.audio_encoder)
    for i, block in enumerate(generator.face_decoder_blocks):
        x = _emit(x, block)
        x = op.concat([_emit(x, generator.decoder_attention[i]), seen.pop()], 1)
    block, last = generator.output_block[0], cast(nn.Conv2d, generator.output_block[1])
    assert last.bias is not None
    red_first = swap_colours(last.weight[None])[0], swap_colours(last.bias[None])[0]
    picture = op.sigmoid(_convolution(_emit(x, block), last, *red_first))
    return ov.Model([picture], [sound, faces], "generator")


def _first(x: Any, block: nn.Module) -> Any:
    """The layer that sees colours."""
    layer = cast(ConvBlock, cast(nn.Sequential, block)[0])
    weight, bias = _folded(layer.conv_block)
    return op.relu(
        _convolution(x, cast(nn.Conv2d, layer.conv_block[0]), swap_colours(weight), bias)
    )


def _emit(x: Any, module: nn.Module) -> Any:
    if isinstance(module, nn.Sequential):
        for inner in module:
            x = _emit(x, inner)
        return x
    if isinstance(module, ConvBlock):
        conv = cast(nn.Conv2d, module.conv_block[0])
        y = _convolution(x, conv, *_folded(module.conv_block))
        return op.relu(op.add(y, x) if module.residual else y)
    if isinstance(module, UpBlock):
        up = cast(nn.ConvTranspose2d, module.conv_block[0])
        return op.relu(_transposed(x, up, *_folded(module.conv_block)))
    if isinstance(module, nn.Conv2d):
        return _convolution(x, module, module.weight, module.bias)
    if isinstance(module, nn.ReLU):
        return op.relu(x)
    if isinstance(module, FaceAttention):
        return _attention(x, module)
    assert isinstance(module, nn.Identity), type(module)
    return x


def _attention(x: Any, module: FaceAttention) -> Any:
    mean, most = (pool(x, _ints(2, 3), True) for pool in (op.reduce_mean, op.reduce_max))
    channels = op.sigmoid(op.add(_emit(mean, module.channels), _emit(most, module.channels)))
    chosen = op.multiply(x, channels)
    both = [pool(chosen, _ints(1), True) for pool in (op.reduce_mean, op.reduce_max)]
    places = op.sigmoid(_emit(op.concat(both, 1), module.places))
    return op.add(x, op.multiply(chosen, places))


def _folded(layers: nn.Sequential) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution with its batch normalisation, as in evaluation."""
    conv, norm = cast(nn.Conv2d, layers[0]), cast(nn.BatchNorm2d, layers[1])
    assert conv.bias is not None
    assert norm.running_var is not None
    assert norm.running_mean is not None
    gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    shape = (1, -1, 1, 1) if isinstance(conv, nn.ConvTranspose2d) else (-1, 1, 1, 1)
    return conv.weight * gain.view(shape), (conv.bias - norm.running_mean) * gain + norm.bias


def _convolution(x: Any, conv: nn.Conv2d, weight: Tensor, bias: Tensor | None) -> Any:
    pads = list(cast(tuple[int, int], conv.padding))
    y = op.convolution(x, _constant(weight), list(conv.stride), pads, pads, list(conv.dilation))
    return op.add(y, _per_channel(bias))


def _transposed(x: Any, conv: nn.ConvTranspose2d, weight: Tensor, bias: Tensor) -> Any:
    pads = list(cast(tuple[int, int], conv.padding))
    y = op.convolution_backprop_data(
        x,
        _constant(weight),
        list(conv.stride),
        pads_begin=pads,
        pads_end=pads,
        output_padding=list(conv.output_padding),
    )
    return op.add(y, _per_channel(bias))


def _per_channel(bias: Tensor | None) -> Any:
    assert bias is not None, "every convolution has a bias"
    return _constant(bias.view(1, -1, 1, 1))


def _constant(tensor: Tensor) -> Any:
    return op.constant(tensor.detach().cpu().float().numpy())


def _ints(*values: int) -> Any:
    return op.constant(np.array(values, np.int64))
