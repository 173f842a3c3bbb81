"""The card of a task's model: README.md, what a stranger must know before using it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from openmarlin.model.card import card_head, licence_fields
from openmarlin.tasks.evaluation import Evaluation
from openmarlin.tasks.labels import Target
from openmarlin.tasks.metrics import split_name
from openmarlin.tasks.model import TaskConfig
from openmarlin.tasks.splits import PARTS

_KINDS = {
    "binary": "whether it is {yes}, as a probability",
    "class": "which one of {n} classes applies, as a probability each",
    "ordinal": "which one of {n} classes in an order applies, as a probability each",
    "multilabel": "which of {n} labels apply, as a probability each",
    "regression": "{n} quantities",
}
_MAX_CLASSES = 50  # named in the card


def write_card(config: TaskConfig, evaluation: Evaluation | None = None) -> str:
    """README.md of a model folder.

    Args:
        config: of the model. Of `trained_on` the card shows, as far as they are there: `recipe`,
            `encoder` (name, sha256, licence, source), `labels` (a fingerprint), `split` (how it was
            made), `parts` (by train, val, test: rows, groups, of_class), `learnt_from` (rows),
            `windows_a_row`, `compression` (of the videos, as their table says) and `left_out`
            (reasons with counts). Of `chosen_on`: `rows`, `tried`, `metric`, `value`,
            `settings`.
        evaluation: on test.
    """
    target = Target.of(config.target)
    encoder: Mapping[str, Any] = config.trained_on.get("encoder", {})
    licence = str(encoder.get("licence") or "")
    sections = [
        card_head("openmarlin", licence_fields(licence), ("video", "face")).rstrip(),
        f"# {target.name}\n",
        _what(target, config),
        _use(target),
        "\n".join(_data(config)),
        "\n".join(_choice(config)),
        "\n".join(_results(evaluation)) if evaluation is not None else "",
        _limits(target),
        _licence(encoder),
    ]
    return "\n".join(section for section in sections if section)


def _what(target: Target, config: TaskConfig) -> str:
    kind = _KINDS[target.kind].format(yes=target.classes[-1], n=len(target.classes))
    names = ", ".join(target.classes[:_MAX_CLASSES])
    more = ", ..." if len(target.classes) > _MAX_CLASSES else ""
    encoder = config.trained_on.get("encoder", {}).get("name", "the encoder of this folder")
    recipe = config.trained_on.get("recipe", "a head on an encoder")
    return (
        f"Says of a video of a face {kind}.\n\n"
        f"* column: {target.name} ({target.kind}); values: {names}{more}\n"
        f"* made by: {recipe}\n"
        f"* encoder: {encoder}\n"
    )


def _use(target: Target) -> str:
    output = target.outputs[0]
    return f"""## Use

```
openmarlin predict VIDEO... --model THIS_FOLDER --out DIR
openmarlin evaluate THIS_FOLDER LABELS.csv --out DIR
```

```python
import openmarlin

answers = openmarlin.predict("VIDEO", model="THIS_FOLDER", out="DIR")
```

The column `p_{output}` (of a regression `predicted_{output}`) holds the answer. `predict` leaves
that to a video without a face empty; `evaluate` counts it with the mean of the training labels.
"""


def _data(config: TaskConfig) -> Iterator[str]:
    about = config.trained_on
    parts: Mapping[str, Any] = about.get("parts", {})
    yield "## Data\n"
    if parts:
        classes = list(next(iter(parts.values())).get("of_class", {}))[:_MAX_CLASSES]
        yield from _table(
            ["part", "videos", "groups", *classes],
            [
                [part, *(parts[part][key] for key in ("rows", "groups"))]
                + [parts[part]["of_class"].get(name, 0) for name in classes]
                for part in PARTS
                if part in parts
            ],
        )
    for key, text in (
        ("split", "The split was {}."),
        ("learnt_from", "Training videos that show a face, of which it has learnt: {}."),
        ("windows_a_row", f"{_window(config)}; a video had {{}} of them on average."),
        ("compression", "Compression of the videos: {}."),
        ("labels", "Fingerprint of videos, split and labels: `{}`."),
    ):
        if about.get(key):
            yield text.format(about[key]) + "\n"
    for reason, n in about.get("left_out", {}).items():
        yield f"Left out of the table: {n} {reason}.\n"


def _window(config: TaskConfig) -> str:
    frames = config.trained_on.get("encoder", {}).get("frames", "the encoder's")
    return f"A window is {frames} frames at rate {config.sampling.get('rate', 1)}"


def _choice(config: TaskConfig) -> Iterator[str]:
    about = config.chosen_on
    if not about:
        return
    yield "## Chosen on validation\n"
    settings = ", ".join(f"{k} {_number(v)}" for k, v in about.get("settings", {}).items())
    yield (
        f"{settings or 'The head'}: the best of {about.get('tried', 1)} by {about.get('metric')} "
        f"({_number(about.get('value'))}) on {about.get('rows')} validation videos. Temperature "
        f"({_number(config.temperature)}) and thresholds come from the same videos. Test videos "
        "played no part in any choice.\n"
    )


def _results(evaluation: Evaluation) -> Iterator[str]:
    counts = evaluation.counts
    yield "## Results on test\n"
    yield (
        f"{counts.labelled} videos of {counts.groups} groups; {counts.no_face} without a face and "
        f"{counts.unreadable} unreadable, which count. The prior is the answer that is always the "
        "same.\n"
    )
    rows = []
    for name, score in evaluation.scores.items():
        if not split_name(name)[1]:
            interval = f"{_number(score.low)} to {_number(score.high)}"
            prior = evaluation.prior.get(name, math.nan)
            shown = interval if math.isfinite(score.low) else "–"
            rows.append([name, _number(score.value), shown, _number(prior)])
    yield from _table(["metric", "value", "95 % interval", "prior"], rows)
    for note in evaluation.notes:
        yield f"* {note}"
    yield ""


def _limits(target: Target) -> str:
    return f"""## Limits

* The numbers hold for videos like those it learnt from; other cameras, compressions, poses and
  people were not tried. Test it on videos of your own before you rely on it.
* It may do better for some people than for others: compare them by `openmarlin evaluate
  --subgroups` on a table that has such columns.
* What is visible in a face is not what a person feels, thinks or is. {target.name} is what the
  annotators of the training data meant by it.
* It must not be used to identify people, nor for decisions about a person without a human who
  answers for them.
"""


def _licence(encoder: Mapping[str, Any]) -> str:
    licence = encoder.get("licence") or "not recorded"
    source = f" ({encoder['source']})" if encoder.get("source") else ""
    return f"""## Licence

The encoder's weights{source} are under: {licence}. That holds for this folder, too; the terms of
the training videos may add to it.
"""


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    yield "| " + " | ".join(map(_cell, head)) + " |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield "| " + " | ".join(map(_cell, row)) + " |"
    yield ""


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|")


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else "–"
    return str(value)
