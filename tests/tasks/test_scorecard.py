"""An evaluation as JSON and as a table: the same numbers."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from judged import BINARY, TARGETS
from judged import toy_predictions as toy

from openmarlin.tasks.evaluation import Evaluation, evaluate_predictions
from openmarlin.tasks.scorecard import as_json, entries, write_metrics


@pytest.fixture(params=TARGETS, ids=lambda t: t.kind)
def evaluation(request: pytest.FixtureRequest) -> Evaluation:
    p = toy(request.param, 60, sex=lambda i: "fm"[i % 2])
    other = replace(
        p, scores=np.clip(p.scores * 0.9, 0, 1) if p.target.kind != "regression" else p.scores * 0.9
    )
    if p.target.is_one_of:
        other = replace(p, scores=(p.scores + 1 / p.scores.shape[1]) / 2)
    return evaluate_predictions(p, resamples=100, against=other, subgroups=["sex"], windows=p)


def test_json_and_csv_say_the_same(evaluation: Evaluation, tmp_path: Path) -> None:
    write_metrics(tmp_path, evaluation)
    content = json.loads((tmp_path / "metrics.json").read_text())
    with (tmp_path / "metrics.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == len(list(entries(evaluation)))
    n_values = 0
    for line in table:
        place = content
        if line["level"] == "subgroup":
            place = content["subgroups"][line["column"]][line["group"]]
            assert place["n"] == int(line["n"])
        elif line["level"] != "video":
            place = content["levels"][line["level"]]
            assert place["n"] == int(line["n"])
        place = place["outputs"][line["output"]] if line["output"] else place["metrics"]
        values = place[line["metric"]]
        for key in ("value", "low", "high", "prior", "other", "difference", "difference_low"):
            written = float(line[key]) if line[key] else None
            assert written == values.get(key), (line, key)
            n_values += written is not None
        assert line["note"] == values.get("note", "")
    assert n_values > 40


def test_json_has_the_facts(evaluation: Evaluation) -> None:
    content = as_json(evaluation)
    json.dumps(content, allow_nan=False)
    assert content["main"] in content["metrics"]
    assert content["counts"]["labelled"] == 60
    assert content["prior_source"] == "the labels judged"
    assert content["target"]["kind"] == evaluation.target.kind


def test_undefined_is_null_with_a_word() -> None:
    p = toy(BINARY, 12)
    content = as_json(evaluate_predictions(replace(p, labels=np.ones((12, 1))), resamples=100))
    auc = content["metrics"]["auc"]
    assert auc["value"] is None
    assert "real" in auc["note"]
