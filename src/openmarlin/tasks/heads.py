"""What stands on an encoder and answers: a linear layer, attention over the tokens, or neighbours.

Each head first turns a window into a vector (`pool`), then a vector into an answer (`answer`), so
that the vectors of several windows can be averaged in between.

Legend: B windows, N tokens, D width of the encoder, C outputs.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from openmarlin.errors import ModelError
from openmarlin.model.layers import MLP, Block

Normalisation = Literal["none", "standard", "l2"]
"""Of a feature before the linear layer: as it is, standardised, or of length 1."""

_EPS = 1e-6
_STD = 0.02  # of initial weights, a normal cut at two deviations (V-JEPA's attentive probe)
_MOST_BLOCKS = 64  # published ones have three


class Head(nn.Module):
    """Base of all heads.

    Attributes:
        reads: what of an encoder it takes: its feature (B, D), or its tokens (B, N, D).
        width: E, of the pooled vectors.
    """

    reads: Literal["feature", "tokens"] = "feature"
    width: int

    @property
    @abstractmethod
    def config(self) -> dict[str, Any]:
        """JSON values from which `make_head` builds it."""

    def pool(self, x: Tensor) -> Tensor:
        """What it reads -> (B, E)."""
        return x

    @abstractmethod
    def answer(self, pooled: Tensor) -> Tensor:
        """(B, E) -> logits (B, C), or values of a regression."""

    def forward(self, x: Tensor) -> Tensor:
        """What it reads -> (B, C)."""
        return self.answer(self.pool(x))


class LinearHead(Head):
    """One linear layer on the feature.

    Args:
        width: D.
        n_outputs: C.
        normalisation: of the feature. Mean and deviation of `standard` are buffers, (D,).
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, width: int, n_outputs: int, normalisation: Normalisation = "none") -> None:
        super().__init__()
        self.width, self.normalisation = width, normalisation
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))
        self.linear = nn.Linear(width, n_outputs)

    @property
    def config(self) -> dict[str, Any]:
        return {
            "kind": "linear",
            "width": self.width,
            "n_outputs": self.linear.out_features,
            "normalisation": self.normalisation,
        }

    def answer(self, pooled: Tensor) -> Tensor:
        if self.normalisation == "standard":
            pooled = (pooled - self.mean) / self.deviation
        elif self.normalisation == "l2":
            pooled = functional.normalize(pooled, dim=-1)
        return self.linear(pooled)  # type: ignore[no-any-return]


class AttentiveHead(Head):
    """Self-attention over the tokens, one query that attends to them, a linear layer.

    The probe of V-JEPA 2 (arXiv 2506.09985) has three blocks before the query; with none it is that
    of V-JEPA for expressions (arXiv 2601.09524).

    Args:
        width: D.
        n_outputs: C.
        blocks: of self-attention.
        heads: of all attention.
    """

    reads = "tokens"

    def __init__(self, width: int, n_outputs: int, blocks: int = 3, heads: int = 16) -> None:
        super().__init__()
        if width % heads:
            raise ModelError(f"{heads} heads do not divide a width of {width}")
        if blocks > _MOST_BLOCKS:
            raise ModelError(f"{blocks} blocks are more than {_MOST_BLOCKS}")
        self.width, self.heads = width, heads
        self.blocks = nn.Sequential(*(Block(width, heads, 4.0, _EPS) for _ in range(blocks)))
        self.norm1 = nn.LayerNorm(width, eps=_EPS)
        self.query = nn.Parameter(torch.zeros(1, 1, width))
        self.to_query = nn.Linear(width, width)
        self.to_key = nn.Linear(width, width, bias=False)  # a softmax takes no notice of it
        self.to_value = nn.Linear(width, width)
        self.project = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, eps=_EPS)
        self.mlp = MLP(width, 4 * width, width, nn.GELU())
        self.linear = nn.Linear(width, n_outputs)

    @property
    def config(self) -> dict[str, Any]:
        return {
            "kind": "attentive",
            "width": self.width,
            "n_outputs": self.linear.out_features,
            "blocks": len(self.blocks),
            "heads": self.heads,
        }

    def pool(self, x: Tensor) -> Tensor:
        return self.attend(self.standardise(x))

    def standardise(self, x: Tensor) -> Tensor:
        """Tokens (B, N, D) through the blocks, with mean 0 and variance 1 each."""
        return functional.layer_norm(self.blocks(x), (self.width,), eps=_EPS)

    def attend(self, tokens: Tensor) -> Tensor:
        """What the query makes of standardised tokens, (B, D).

        There is one query, so keys and values need not be computed for every token: the query goes
        through the matrix of the keys, and the mean of the tokens through that of the values.
        """
        return self.mix(look(self.keys(), tokens))

    def keys(self) -> Tensor:
        """(heads, D) of which the product with a standardised token is its score."""
        split = (self.heads, self.width // self.heads)
        query = self.to_query(self.query).view(*split) * split[1] ** -0.5
        by_head = torch.einsum("hk,hkd->hd", query, self.to_key.weight.view(*split, -1))
        return by_head * self.norm1.weight  # its bias adds the same to all scores

    def mix(self, seen: Tensor) -> Tensor:
        """Means of standardised tokens by attention (B, heads, D) -> (B, D)."""
        seen = seen * self.norm1.weight + self.norm1.bias
        weight = self.to_value.weight.view(self.heads, self.width // self.heads, -1)
        values = torch.einsum("bhd,hkd->bhk", seen, weight).flatten(1) + self.to_value.bias
        pooled = self.query[:, 0] + self.project(values)
        return pooled + self.mlp(self.norm2(pooled))  # type: ignore[no-any-return]

    def answer(self, pooled: Tensor) -> Tensor:
        return self.linear(pooled)  # type: ignore[no-any-return]

    def reset(self, generator: torch.Generator) -> None:
        """Draw the weights anew: a normal of deviation .02 cut at two, zero biases."""
        for name, parameter in self.named_parameters():
            if parameter.ndim > 1:  # the gains of norms stay 1
                bound = 2 * _STD
                nn.init.trunc_normal_(parameter, 0, _STD, -bound, bound, generator=generator)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)


def look(keys: Tensor, tokens: Tensor) -> Tensor:
    """Means (B, heads, D) of tokens (B, N, D), weighted by the softmax of their scores."""
    return (tokens @ keys.T).softmax(dim=1).transpose(1, 2) @ tokens


class NeighbourHead(Head):
    """The k nearest training features by cosine vote, with weights exp(similarity / 0.07).

    Args:
        width: D.
        n_outputs: C.
        n_items: M training features.
        k: of them that vote.
        is_one_of: votes are shares of all classes: logits are their logarithms.
        is_value: answers are values of a regression, means of those of the neighbours.
    """

    items: Tensor
    votes: Tensor

    temperature = 0.07

    def __init__(
        self,
        width: int,
        n_outputs: int,
        n_items: int,
        k: int,
        *,
        is_one_of: bool = False,
        is_value: bool = False,
    ) -> None:
        super().__init__()
        self.width, self.k = width, k
        self.is_one_of, self.is_value = is_one_of, is_value
        self.register_buffer("items", torch.zeros(n_items, width))
        self.register_buffer("votes", torch.zeros(n_items, n_outputs))

    @property
    def config(self) -> dict[str, Any]:
        return {
            "kind": "neighbours",
            "width": self.width,
            "n_outputs": self.votes.shape[1],
            "n_items": len(self.items),
            "k": self.k,
            "is_one_of": self.is_one_of,
            "is_value": self.is_value,
        }

    def answer(self, pooled: Tensor) -> Tensor:
        similarity = (
            functional.normalize(pooled, dim=-1) @ functional.normalize(self.items, dim=-1).T
        )
        nearest = similarity.topk(min(self.k, len(self.items)), dim=-1)
        weights = (nearest.values / self.temperature).softmax(dim=-1)
        votes = (weights[..., None] * self.votes[nearest.indices]).sum(dim=-2)
        if self.is_value:
            return votes
        votes = votes.clamp(_EPS, 1 - _EPS)
        return votes.log() if self.is_one_of else votes.logit()


_KINDS: dict[str, Callable[..., Head]] = {
    "linear": LinearHead,
    "attentive": AttentiveHead,
    "neighbours": NeighbourHead,
}


def make_head(config: Mapping[str, Any]) -> Head:
    """The head that `Head.config` describes, with weights to be loaded.

    Raises:
        ModelError: there is no such kind of head, or its values do not fit.
    """
    values = dict(config)
    kind = values.pop("kind", None)
    if kind not in _KINDS:
        raise ModelError(f"there is no head '{kind}': this model needs a newer openmarlin")
    try:
        with torch.random.fork_rng(devices=[]):  # torch's layers draw weights of their own first
            return _KINDS[kind](**values)
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"a head '{kind}' cannot be built of {values}: {reason}") from None
