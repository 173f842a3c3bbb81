"""The tables of docs/lab/tasks.md, for `python -m benchmarks.table`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

NAMES = {
    "pixels": "raw pixels, PCA",
    "random": "random weights, 224 px",
    "shipped": "{shipped}, as it ships",
}
TITLES = {
    "actions": "Actions of a face, five labels",
    "real_or_fake": "Real or lip-synchronised by a machine",
    "emotion": "Emotion of clips, eight classes",
    "expressions": "Expression of stills, seven classes",
}
METRICS = {
    "multilabel": ("auc_macro", "map", "accuracy_macro"),
    "binary": ("auc", "balanced_accuracy", "accuracy"),
    "class": ("uar", "auc_macro", "accuracy"),
}
WORDS = {
    "auc_macro": "AUC, macro",
    "map": "mean AP",
    "accuracy_macro": "accuracy, macro",
    "auc": "AUC",
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "uar": "UAR",
}


def tasks_lines(results: Mapping[str, Any]) -> Iterator[str]:
    """Of what `benchmarks.tasks` measured."""
    names = {key: name.format(shipped=results["shipped"]) for key, name in NAMES.items()}
    for name, runs in results["tasks"].items():
        shipped = runs["shipped"]
        kind, counts = shipped["target"]["kind"], shipped["counts"]
        yield f"### {TITLES[name]}\n"
        classes = ", ".join(f"{key} {n}" for key, n in counts["of_class"].items())
        yield f"{counts['labelled']} rows of {counts['groups']} groups judged: {classes}.\n"
        yield from _contenders(runs, names, METRICS[kind])
        if "probe" in shipped:
            yield from _shares(runs, names, METRICS[kind][0])


def _contenders(
    runs: Mapping[str, Any], names: Mapping[str, str], metrics: tuple[str, ...]
) -> Iterator[str]:
    main = WORDS[metrics[0]]
    yield _row(
        "frozen features", *(WORDS[metric] for metric in metrics), f"shipped is ahead, {main}"
    )
    yield f"|{'---|' * (len(metrics) + 2)}"
    priors = [runs["shipped"]["metrics"][metric].get("prior") for metric in metrics]
    yield _row("none (the prior)", *("–" if p is None else f"{p:.2f}" for p in priors), "")
    for name, title in names.items():
        scores = [_interval(runs[name]["metrics"][metric]) for metric in metrics]
        yield _row(title, *scores, _difference(runs[name].get("ahead", {}).get(metrics[0], {})))
    yield ""


def _shares(runs: Mapping[str, Any], names: Mapping[str, str], metric: str) -> Iterator[str]:
    shares = runs["shipped"]["probe"]["shares"]
    yield (
        f"{WORDS[metric]} by share of the training labels (rows), mean and deviation of five "
        "draws:\n"
    )
    yield _row("frozen features", *(f"{100 * s['share']:g} % ({s['rows']})" for s in shares))
    yield f"|{'---|' * (len(shares) + 1)}"
    for name, title in names.items():
        yield _row(title, *map(_share, runs[name]["probe"]["shares"]))
    yield ""


def _share(share: Mapping[str, Any]) -> str:
    if share["mean"] is None:
        return "–"
    deviation = share["deviation"]
    return f"{share['mean']:.2f}" + ("" if deviation is None else f" ± {deviation:.2f}")


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _interval(score: Mapping[str, Any]) -> str:
    if score["value"] is None:
        return "–"
    return f"{score['value']:.2f} [{score['low']:.2f}, {score['high']:.2f}]"


def _difference(score: Mapping[str, Any]) -> str:
    if score.get("difference") is None:
        return ""
    low, high = score["difference_low"], score["difference_high"]
    text = f"{score['difference']:+.2f} [{low:+.2f}, {high:+.2f}]"
    return f"**{text}**" if low > 0 or high < 0 else text
