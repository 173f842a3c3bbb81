"""Answers under corruption: conditions, what depends on what, and the table of an evaluation."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media import write_video
from task_models import task_model

import openmarlin
from openmarlin.data.clips import Sampling
from openmarlin.errors import InputError
from openmarlin.tasks.corruptions import CORRUPTIONS
from openmarlin.tasks.robustness import Condition, CorruptingEncoder, conditions_of


def test_conditions_of_names() -> None:
    assert conditions_of(()) == []
    assert conditions_of(("c40", "blur")) == [
        Condition("c40", 0),
        *(Condition("blur", level) for level in range(1, 6)),
    ]
    assert len(conditions_of(("all",))) == 5 * len(CORRUPTIONS) + 2
    with pytest.raises(InputError, match="blurr"):
        conditions_of(("blurr",))


class _Mean:
    """A clip as its mean colour."""

    def __call__(self, clips: np.ndarray) -> tuple[np.ndarray, None]:
        return clips.reshape(len(clips), -1, 3).mean(axis=1).astype(np.float32), None


def test_chance_depends_on_the_clip_and_not_on_its_batch() -> None:
    clips = np.random.default_rng(0).integers(0, 256, (5, 4, 32, 32, 3), np.uint8)
    conditions = [Condition("block", 5), Condition("noise", 5)]
    encoder = CorruptingEncoder(_Mean(), conditions, 0)
    together = encoder(clips)[0]
    assert together.shape == (5, 6)
    alone = np.concatenate([encoder(clips[i : i + 1])[0] for i in range(5)])
    assert np.array_equal(together, alone)
    assert not np.array_equal(together, CorruptingEncoder(_Mean(), conditions, 1)(clips)[0])


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A model, and twelve videos with labels, one of which cannot be read."""
    task_model(sampling=Sampling(precropped=True)).save(tmp_path / "model", "")
    rng = np.random.default_rng(0)
    lines = ["video,label,group"]
    for i in range(12):
        picture = rng.integers(0, 256, (4, 4, 3), np.uint8).repeat(16, axis=0).repeat(16, axis=1)
        write_video(tmp_path / f"{i}.mp4", [picture] * 20)
        lines.append(f"{i}.mp4,{('real', 'fake')[i % 2]},{i // 2}")
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    (tmp_path / "labels.csv").write_text("\n".join([*lines, "broken.mp4,fake,broken"]) + "\n")
    return tmp_path


def judge(place: Path, name: str, **settings: Any) -> tuple[Any, list[dict[str, str]]]:
    result = openmarlin.evaluate(
        place / "model", place / "labels.csv", out=place / name, resamples=100, **settings
    )
    with (place / name / "robustness.csv").open() as file:
        return result, list(csv.DictReader(file))


def test_the_same_rows_are_judged_again(place: Path) -> None:
    result, rows = judge(place, "out", robustness=("pixelation", "noise", "c40"))
    clean = result.evaluation.scores["auc"].value
    assert [(row["corruption"], row["level"]) for row in rows] == [
        *(("pixelation", str(level)) for level in range(1, 6)),
        *(("noise", str(level)) for level in range(1, 6)),
        ("c40", "0"),
    ]
    for row in rows:
        assert row["metric"] == "auc"
        assert float(row["value"]) - float(row["difference"]) == pytest.approx(clean, abs=1e-5)
    # Pictures of large squares are what they were after coarse pixels, not after noise.
    assert any(float(row["difference"]) for row in rows if row["corruption"] == "noise")
    report = (place / "out" / "report.html").read_text()
    assert all(name in report for name in ("Corrupted videos", "pixelation", "c40"))
    again = judge(place, "again", robustness=("noise",))[1]
    assert again == [row for row in rows if row["corruption"] == "noise"]


def test_predictions_alone_cannot_be_corrupted(place: Path) -> None:
    judge(place, "out", robustness=("c23",))
    with pytest.raises(InputError, match="needs a model"):
        openmarlin.evaluate(
            place / "out" / "predictions.csv",
            place / "labels.csv",
            out=place / "other",
            robustness=("c23",),
        )
