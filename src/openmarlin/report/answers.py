"""What a task model answers, in words: on the page of `predict` and on its overlays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from openmarlin.report.plots import percent
from openmarlin.tasks.labels import Target, Values
from openmarlin.tasks.model import decide

MOST_OUTPUTS = 6
"""Of many, so many are shown of one answer: the likeliest."""

_LEAST = 0.001
NO_ANSWER = "–"
_BARE = frozenset({"0", "1", "-1", "yes", "no", "y", "n", "true", "false"})


@dataclass(frozen=True)
class Wording:
    """How a target's answers are said.

    Attributes:
        target: what is predicted.
        thresholds: from which probability on a yes is a yes, one an output; empty for 0.5.
    """

    target: Target
    thresholds: tuple[float, ...] = ()

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs: "smile" of a column of 0 and 1, "fake" of one of real and fake."""
        target = self.target
        is_bare = target.kind == "binary" and target.classes[1].lower() in _BARE
        return target.columns if is_bare else target.outputs

    def limit(self, output: int) -> float:
        """From which probability on an output applies; NaN where that is not how it is decided."""
        if self.target.kind not in ("binary", "multilabel"):
            return math.nan
        return self.thresholds[output] if self.thresholds else 0.5

    def decision(self, answer: Values) -> str:
        """What an answer (C,) comes down to: "fake", "not smile", "smile, talk", "0.31"."""
        if not np.isfinite(answer).all():
            return NO_ANSWER
        target = self.target
        if target.kind == "regression":
            numbers = [f"{value:.3g}" for value in answer]
            if len(numbers) == 1:
                return numbers[0]
            return ", ".join(f"{n} {x}" for n, x in zip(self.outputs, numbers, strict=True))
        label = decide(answer[None], target, self.thresholds)[0]
        if target.kind == "multilabel":
            names = [self.outputs[i] for i in np.argsort(-answer) if label[i]]
            more = len(names) - MOST_OUTPUTS
            shown = ", ".join(names[:MOST_OUTPUTS]) + (f" and {more} more" if more > 0 else "")
            return shown or "none"
        if self.outputs == target.columns:
            return self.outputs[0] if label[0] else f"not {self.outputs[0]}"
        return target.classes[int(label[0])]

    def decided(self, answer: Values) -> int:
        """The output that a one-of-several answer comes down to; of others the largest."""
        if self.target.is_one_of:
            return int(decide(answer[None], self.target)[0, 0])
        return int(answer.argmax())

    def number(self, value: float) -> str:
        """A probability as a percentage, a quantity as it is."""
        if math.isnan(value):
            return NO_ANSWER
        if self.target.kind == "regression":
            return f"{value:.3g}"
        return percent(value) if value >= _LEAST else "0 %" if value == 0 else "< 0.1 %"

    def lines(self, answer: Values, most: int) -> list[str]:
        """An answer for a label in a picture: "fake 93 %", "happy 81 %", or what applies.

        Nothing that does not apply is said, but for a single output: its probability always is.
        """
        if not np.isfinite(answer).all():
            return []
        chosen = list(range(len(answer)))
        if self.target.is_one_of:
            chosen = [self.decided(answer)]
        elif self.target.kind == "multilabel":
            yes = decide(answer[None], self.target, self.thresholds)[0]
            chosen = [int(i) for i in np.argsort(-answer) if yes[i]]
        return [f"{self.outputs[i]} {self.number(float(answer[i]))}" for i in chosen[:most]]

    def main(self, answer: Values) -> float:
        """By which videos are sorted: the probability of the yes, or of what is decided."""
        if not np.isfinite(answer).all():
            return -math.inf
        return float(answer[self.decided(answer) if len(answer) > 1 else 0])


def counts(wording: Wording, decisions: Sequence[str], answers: Values) -> list[tuple[str, int]]:
    """How many rows every output, or class, applies to, the most frequent first.

    Args:
        wording: of the answers.
        decisions: of the rows that were answered.
        answers: (n, C) of these.
    """
    if wording.target.kind == "multilabel":
        yes = decide(answers, wording.target, wording.thresholds).sum(axis=0)
        pairs = [(name, int(n)) for name, n in zip(wording.outputs, yes, strict=True)]
    else:
        pairs = [(word, decisions.count(word)) for word in dict.fromkeys(decisions)]
    return sorted(pairs, key=lambda pair: -pair[1])
