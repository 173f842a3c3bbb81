"""Heads: their arithmetic against plain torch, and building them from their configs."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from openmarlin.errors import ModelError
from openmarlin.tasks.heads import AttentiveHead, Head, LinearHead, NeighbourHead, make_head


def heads() -> list[Head]:
    return [
        LinearHead(8, 3, "standard"),
        LinearHead(8, 1, "l2"),
        AttentiveHead(8, 3, blocks=1, heads=2),
        NeighbourHead(8, 2, 5, k=3, is_one_of=True),
        NeighbourHead(8, 2, 5, k=3, is_value=True),
    ]


@pytest.mark.parametrize("head", heads(), ids=lambda head: str(head.config["kind"]))
def test_a_head_is_built_again_from_its_config(head: Head) -> None:
    again = make_head(json.loads(json.dumps(head.config)))
    assert again.config == head.config
    again.load_state_dict(head.state_dict())
    x = torch.randn(4, 6, 8) if head.reads == "tokens" else torch.randn(4, 8)
    torch.testing.assert_close(again.eval()(x), head.eval()(x))
    assert head(x).shape == (4, head.config["n_outputs"])
    assert head.pool(x).shape == (4, head.width)


def test_configs_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ModelError, match="newer"):
        make_head({"kind": "oracle", "width": 8})
    with pytest.raises(ModelError, match="linear"):
        make_head({"kind": "linear", "wdith": 8})
    with pytest.raises(ModelError, match="divide"):
        AttentiveHead(8, 1, heads=3)


def test_linear_normalisations() -> None:
    x = torch.randn(5, 8) * 3 + 1
    plain, standard, unit = (LinearHead(8, 2, name) for name in ("none", "standard", "l2"))
    for head in (standard, unit):
        head.linear.load_state_dict(plain.linear.state_dict())
    standard.mean.copy_(x.mean(0))
    standard.deviation.copy_(x.std(0))
    torch.testing.assert_close(standard(x), plain((x - x.mean(0)) / x.std(0)))
    torch.testing.assert_close(unit(x), plain(x / x.norm(dim=1, keepdim=True)))


def test_attention_is_that_of_torch() -> None:
    head = AttentiveHead(12, 2, blocks=1, heads=3)
    head.reset(torch.Generator().manual_seed(0))
    peer = nn.MultiheadAttention(12, 3, batch_first=True)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
        parts = (head.to_query, head.to_key, head.to_value)
        peer.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        biases = [head.to_query.bias, torch.randn(12), head.to_value.bias]
        peer.in_proj_bias.copy_(torch.cat(biases))
        peer.out_proj.load_state_dict(head.project.state_dict())
        x = torch.randn(4, 7, 12)
        tokens = head.norm1(head.blocks(x))
        query = head.query.expand(4, -1, -1)
        pooled = query + peer(query, tokens, tokens)[0]
        pooled = (pooled + head.mlp(head.norm2(pooled)))[:, 0]
        torch.testing.assert_close(head.pool(x), pooled, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(head(x), head.linear(pooled), atol=1e-5, rtol=1e-4)


def test_initial_weights_come_from_the_generator_alone() -> None:
    one, two = AttentiveHead(8, 2, blocks=1, heads=2), AttentiveHead(8, 2, blocks=1, heads=2)
    one.reset(torch.Generator().manual_seed(3))
    two.reset(torch.Generator().manual_seed(3))
    for (name, a), b in zip(one.state_dict().items(), two.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert one.linear.weight.abs().max() <= 0.04
    assert not one.linear.bias.any()
    assert torch.equal(one.norm1.weight, torch.ones(8))


@pytest.mark.parametrize("is_value", [False, True])
def test_neighbours_vote_by_similarity(is_value: bool) -> None:
    rng = np.random.default_rng(0)
    items, votes = rng.normal(size=(20, 6)), rng.uniform(0, 1, (20, 2))
    x = rng.normal(size=(3, 6))
    head = NeighbourHead(6, 2, 20, k=4, is_value=is_value)
    head.items.copy_(torch.from_numpy(items))
    head.votes.copy_(torch.from_numpy(votes))
    cosine = x @ items.T / np.linalg.norm(x, axis=1)[:, None] / np.linalg.norm(items, axis=1)
    expected = []
    for row in cosine:
        nearest = np.argsort(-row)[:4]
        weights = np.exp(row[nearest] / 0.07)
        expected.append(weights @ votes[nearest] / weights.sum())
    answers = head(torch.from_numpy(x).float())
    answers = answers if is_value else answers.sigmoid()
    np.testing.assert_allclose(answers.numpy(), expected, rtol=1e-3)


def test_neighbours_of_one_class_alone_give_finite_logits() -> None:
    head = NeighbourHead(4, 3, 5, k=5, is_one_of=True)
    head.items.normal_()
    head.votes[:, 1] = 1
    logits = head(torch.randn(2, 4))
    assert logits.isfinite().all()
    assert logits.argmax(dim=1).tolist() == [1, 1]
