"""What encoder, decoder and critic are made of, and how video becomes values of tokens and back.

Parameter names are those of the reference checkpoints, so a checkpoint's keys are the model's keys.

Legend: B clips, T frames, H W pixels, N tokens, D width, P values a token (3 * tubelet * patch²).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from openmarlin.model.config import ModelConfig


def to_model_input(frames: Tensor) -> Tensor:
    """The one conversion from video at rest to model input.

    Args:
        frames: uint8 RGB (B, T, H, W, 3).

    Returns:
        float32 (B, 3, T, H, W) in [0, 1]: raw values, no mean or deviation taken out.
    """
    return frames.permute(0, 4, 1, 2, 3).to(torch.float32).div_(255)


def patchify(video: Tensor, tubelet: int, patch: int) -> Tensor:
    """(B, 3, T, H, W) -> (B, N, P): tokens in (t, h, w) order, their values in (c, t, h, w)."""
    B, C, T, H, W = video.shape
    x = video.reshape(B, C, T // tubelet, tubelet, H // patch, patch, W // patch, patch)
    x = x.permute(0, 2, 4, 6, 1, 3, 5, 7)
    return x.reshape(B, x.shape[1] * x.shape[2] * x.shape[3], C * tubelet * patch * patch)


def unpatchify(values: Tensor, grid: tuple[int, int, int], tubelet: int, patch: int) -> Tensor:
    """(B, N, P) -> (B, 3, T, H, W), undoing `patchify`; `grid` counts tokens along (t, h, w)."""
    t, h, w = grid
    x = values.reshape(values.shape[0], t, h, w, 3, tubelet, patch, patch)
    x = x.permute(0, 4, 1, 5, 2, 6, 3, 7)
    return x.reshape(values.shape[0], 3, t * tubelet, h * patch, w * patch)


def sinusoid_table(n: int, width: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Fixed positions (1, n, width) float32, 1-D over the flattened token index.

    MARLIN computes it in float32, VideoMAE in float64 and then rounds, which differs by up to
    1.1e-4: hence `dtype`.
    """
    with torch.device("cpu"):
        return _sinusoids(torch.arange(n, dtype=dtype), width)[None]


def axes_table(grid: tuple[int, int, int], width: int) -> Tensor:
    """Fixed positions (1, t * h * w, width) float32: of time, row and column, a third each.

    Rows and columns are counted in fourteenths of the picture, as patches of 16 pixels in 224
    are, so that a place keeps its position in a picture of another size.
    """
    t, h, w = grid
    part = width // 6 * 2
    with torch.device("cpu"):
        time = _sinusoids(torch.arange(t) + 0.5, width - 2 * part)
        row, column = (_sinusoids((torch.arange(n) + 0.5) * 14 / n, part) for n in (h, w))
        places = (time[:, None, None], row[None, :, None], column[None, None])
        return torch.cat([p.expand(t, h, w, -1) for p in places], dim=-1).reshape(1, -1, width)


def position_table(config: ModelConfig, width: int) -> Tensor:
    """(1, N, width), as `positions` of the config says."""
    if config.positions == "axes":
        return axes_table(config.grid, width)
    return sinusoid_table(config.n_tokens, width)


def _sinusoids(places: Tensor, width: int) -> Tensor:
    """angle(p, j) = p / 10000^(2⌊j/2⌋/width), even j sin, odd j cos: (n,) -> (n, width)."""
    j, dtype = torch.arange(width), places.dtype
    wavelengths = torch.pow(torch.tensor(10000, dtype=dtype), 2 * (j // 2).to(dtype) / width)
    # A product with the reciprocal, not a quotient: it gives the released tables bit for bit.
    angles = places[:, None] * (1 / wavelengths)
    return torch.where(j % 2 == 0, angles.sin(), angles.cos()).to(torch.float32)


class PositionTable(nn.Module):
    """The frozen table of positions, kept with the weights: checkpoint families differ in it.

    Args:
        config: tells the grid, and which positions: those of its `positions`.
        width: of the tokens.
    """

    emb: Tensor

    def __init__(self, config: ModelConfig, width: int) -> None:
        super().__init__()
        self.register_buffer("emb", position_table(config, width))


class TokenEmbedding(nn.Module):
    """(B, n, P) values -> (B, n, D) tokens: a 3-D convolution whose kernel is its stride.

    The weight has the convolution's shape (D, 3, tubelet, patch, patch) but is applied as a matrix:
    that is faster, and masked tokens can be left out before any work is done on them.
    """

    def __init__(self, width: int, tubelet: int, patch: int) -> None:
        super().__init__()
        kernel = (tubelet, patch, patch)
        self.projection = nn.Conv3d(3, width, kernel_size=kernel, stride=kernel)

    def forward(self, values: Tensor) -> Tensor:
        return functional.linear(values, self.projection.weight.flatten(1), self.projection.bias)


class FusedLinear(nn.Linear):
    """A matrix without a bias of its own, which is applied with one in the same product."""

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        return functional.linear(x, self.weight, bias)


class Attention(nn.Module):
    """Self-attention with a fused qkv matrix and a learnt bias for q and v only."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_bias = nn.Parameter(torch.zeros(width))
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.qkv = FusedLinear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        B, N, D = x.shape
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        qkv = self.qkv(x, bias)
        q, k, v = qkv.reshape(B, N, 3, self.heads, D // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        x = attention(q, k, v)
        return self.proj(x.transpose(1, 2).reshape(B, N, D))  # type: ignore[no-any-return]


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q kᵀ / √d) v over (B, heads, N, d).

    Written out where a CPU has to go backward: torch's fused kernel takes about twice as long there
    (benchmarks/pretrain.py), and recomputing is worth its time only where memory is short.
    """
    if q.requires_grad and q.device.type == "cpu":
        scale, shape = q.shape[-1] ** -0.5, q.shape
        q, k, v = (x.reshape(-1, *shape[2:]) for x in (q, k, v))  # or matmul would copy kᵀ
        return torch.bmm(torch.bmm(q * scale, k.mT).softmax(dim=-1), v).view(shape)
    return functional.scaled_dot_product_attention(q, k, v)


class Dense(nn.Module):
    """A linear layer and what follows it."""

    def __init__(self, n_in: int, n_out: int, activation: nn.Module) -> None:
        super().__init__()
        self.linear = nn.Linear(n_in, n_out)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.linear(x))  # type: ignore[no-any-return]


class MLP(nn.Module):
    """Two linear layers with an activation between them."""

    def __init__(self, n_in: int, hidden: int, n_out: int, activation: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            Dense(n_in, hidden, activation), Dense(hidden, n_out, nn.Identity())
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)  # type: ignore[no-any-return]


class Block(nn.Module):
    """Pre-norm transformer block: x += attention(LN(x)); x += MLP(LN(x)), with the exact GELU."""

    def __init__(self, width: int, heads: int, mlp_ratio: float, eps: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.attn = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = MLP(width, round(width * mlp_ratio), width, nn.GELU())

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))  # type: ignore[no-any-return]


def init_weights(model: nn.Module, generator: torch.Generator | None = None) -> None:
    """Xavier-uniform matrices and zero biases, in the order of the modules.

    Layer norms keep (1, 0), q and v biases zero, the token embedding a convolution's default:
    uniform in ±1/sqrt(fan in), drawn again here so that `generator` alone decides.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Conv3d):
            bound = module.weight[0].numel() ** -0.5
            nn.init.uniform_(module.weight, -bound, bound, generator=generator)
            if module.bias is not None:
                nn.init.uniform_(module.bias, -bound, bound, generator=generator)
