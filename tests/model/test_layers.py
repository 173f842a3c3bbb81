from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from openmarlin.model.layers import (
    Attention,
    TokenEmbedding,
    axes_table,
    init_weights,
    patchify,
    sinusoid_table,
    to_model_input,
    unpatchify,
)


def test_positions_have_the_published_values() -> None:
    table = sinusoid_table(1568, 768)
    assert table.shape == (1, 1568, 768)
    assert table.dtype == torch.float32
    rows = {
        0: (0.0, 1.0, 0.0, 1.0, 0.0, 1.0),
        1: (0.84147096, 0.54030234, 0.82843077, 0.56009150, 0.81525064, 0.57910824),
        1567: (0.60894841, -0.79320985, 0.09318223, -0.99564904, -0.97533327, -0.22073740),
    }
    for row, values in rows.items():
        torch.testing.assert_close(table[0, row, :6], torch.tensor(values), rtol=0, atol=1e-7)


def test_positions_in_float64_are_those_of_videomae_and_differ_a_little() -> None:
    difference = (sinusoid_table(1568, 384, torch.float64) - sinusoid_table(1568, 384)).abs().max()
    assert 5e-5 < difference < 1.5e-4


def test_a_longer_table_begins_with_the_shorter() -> None:
    assert torch.equal(sinusoid_table(1568, 64)[:, :100], sinusoid_table(100, 64))


def test_positions_by_axes_say_time_row_and_column_apart() -> None:
    t, h, w = grid = (2, 3, 5)
    table = axes_table(grid, 192).reshape(t, h, w, 192)
    assert table.dtype == torch.float32
    assert torch.equal(table[..., :64], table[:, :1, :1, :64].expand(t, h, w, 64))
    assert torch.equal(table[..., 64:128], table[:1, :, :1, 64:128].expand(t, h, w, 64))
    assert torch.equal(table[..., 128:], table[:1, :1, :, 128:].expand(t, h, w, 64))
    assert len(torch.unique(table.reshape(-1, 192), dim=0)) == t * h * w
    assert table[1, 0, 0, 0] == torch.tensor(1.5).sin()
    assert table[0, 1, 0, 65] == torch.tensor(1.5 * 14 / 3).cos()


def test_a_place_keeps_its_position_in_a_picture_of_another_size() -> None:
    """The centre of a token of the small picture lies between those of four of the large one."""
    small, large = (axes_table((1, n, n), 96).reshape(n, n, 96) for n in (7, 14))
    angle = [torch.atan2(table[..., 32], table[..., 33]) for table in (small, large)]
    torch.testing.assert_close(angle[0][0, 0], torch.tensor(1.0))
    torch.testing.assert_close(angle[1][:2, 0], torch.tensor([0.5, 1.5]))


@given(st.integers(1, 40), st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 6)))
def test_positions_by_axes_fill_any_width(width: int, grid: tuple[int, int, int]) -> None:
    table = axes_table(grid, width)
    assert table.shape == (1, grid[0] * grid[1] * grid[2], width)
    assert table.abs().max() <= 1


def test_to_model_input_scales_and_moves_the_colours() -> None:
    frames = torch.randint(0, 256, (2, 4, 6, 5, 3), dtype=torch.uint8)
    video = to_model_input(frames)
    assert video.shape == (2, 3, 4, 6, 5)
    assert video.dtype == torch.float32
    assert video[1, 2, 3, 4, 0] == frames[1, 3, 4, 0, 2] / 255
    assert frames.dtype == torch.uint8


@pytest.mark.parametrize(("tubelet", "patch"), [(2, 16), (1, 8), (4, 4)])
def test_unpatchify_undoes_patchify(tubelet: int, patch: int) -> None:
    video = torch.rand(2, 3, 8, 32, 16)
    values = patchify(video, tubelet, patch)
    grid = (8 // tubelet, 32 // patch, 16 // patch)
    assert values.shape == (2, grid[0] * grid[1] * grid[2], 3 * tubelet * patch * patch)
    assert torch.equal(unpatchify(values, grid, tubelet, patch), video)


def test_tokens_go_time_row_column_and_values_colour_time_row_column() -> None:
    video = torch.zeros(1, 3, 4, 32, 32)
    video[0, 2, 3, 17, 5] = 1  # blue, second time step, second row, first column of tokens
    (token, value) = patchify(video, 2, 16)[0].nonzero()[0].tolist()
    assert token == 1 * 4 + 1 * 2 + 0
    assert value == ((2 * 2 + 1) * 16 + 1) * 16 + 5


def test_token_embedding_is_the_convolution() -> None:
    embedding = TokenEmbedding(24, 2, 8)
    video = torch.rand(2, 3, 4, 16, 24)
    wanted = embedding.projection(video).flatten(2).transpose(1, 2)
    torch.testing.assert_close(embedding(patchify(video, 2, 8)), wanted, rtol=0, atol=1e-6)


def test_attention_is_the_textbook_formula() -> None:
    attention = Attention(32, heads=4)
    with torch.no_grad():
        attention.q_bias.normal_()
        attention.v_bias.normal_()
    x = torch.randn(2, 7, 32)
    q, k, v = (x @ w.T for w in attention.qkv.weight.chunk(3))
    q, v = q + attention.q_bias, v + attention.v_bias
    heads = []
    for h in range(4):
        part = slice(8 * h, 8 * h + 8)
        scores = q[..., part] @ k[..., part].transpose(1, 2) * 8**-0.5
        heads.append(scores.softmax(-1) @ v[..., part])
    wanted = attention.proj(torch.cat(heads, -1))
    torch.testing.assert_close(attention(x), wanted, rtol=0, atol=1e-5)


def test_initial_weights() -> None:
    model = nn.Sequential(nn.Linear(300, 100), nn.Conv3d(3, 8, (2, 4, 4)), nn.LayerNorm(4))
    init_weights(model, torch.Generator().manual_seed(0))
    linear, conv, norm = model
    bound = (6 / 400) ** 0.5
    assert bound * 0.98 < linear.weight.abs().max() <= bound
    assert (linear.bias == 0).all()
    assert conv.weight.abs().max() <= (3 * 2 * 4 * 4) ** -0.5
    assert conv.bias.abs().max() > 0
    assert (norm.weight == 1).all()
    again = nn.Sequential(nn.Linear(300, 100), nn.Conv3d(3, 8, (2, 4, 4)), nn.LayerNorm(4))
    init_weights(again, torch.Generator().manual_seed(0))
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True)
    )
