"""What counts as equal, and an export that does not run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from task_models import encoder

from openmarlin.errors import ModelError
from openmarlin.exports.comparison import Agreement, compare
from openmarlin.exports.encoders import encoder_network


def test_equal_and_nearly_equal() -> None:
    x = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    same = Agreement.of(x, x.copy())
    assert same.cosine == pytest.approx(1)
    assert same.difference == 0
    assert same.is_close
    assert Agreement.of(x, x + np.float32(1e-5)).is_close
    zeros = np.zeros((2, 3))
    assert Agreement.of(zeros, zeros).is_close


def test_what_a_cosine_does_not_see_and_what_it_does() -> None:
    x = np.random.default_rng(0).normal(size=(3, 200))
    assert Agreement.of(x, 2 * x).cosine == pytest.approx(1)
    assert not Agreement.of(x, 2 * x).is_close
    assert not Agreement.of(x, x[:, ::-1]).is_close
    probabilities = np.array([[0.2], [0.9]])
    assert not Agreement.of(probabilities, np.array([[0.2], [0.8]])).is_close
    one_wrong = x.copy()
    one_wrong[1] = -x[1]
    assert Agreement.of(x, one_wrong).cosine == pytest.approx(-1)


def test_numbers_that_are_none_are_never_equal() -> None:
    x = np.ones((2, 3))
    broken = x.copy()
    broken[0, 0] = np.nan
    assert not Agreement.of(x, broken).is_close
    assert not Agreement.of(broken, broken).is_close


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("raise SystemError('boom')", "boom"),
        ("import sys; sys.exit(3)", "exit code 3"),
        ("", "does not run"),
        ("import sys, numpy; numpy.savez(sys.argv[-1], tokens=numpy.ones(2))", "nothing"),
        ("import sys, numpy; numpy.savez(sys.argv[-1], features=numpy.ones(2))", r"\(2,\)"),
    ],
)
def test_an_export_that_fails_is_one_line(program: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "run.py").write_text(program)
    with pytest.raises(ModelError, match=words) as caught:
        compare(encoder_network(encoder()), tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_named_from_here_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program runs in another folder."""
    monkeypatch.chdir(tmp_path)
    Path("export").mkdir()
    Path("export", "run.py").write_text("raise SystemError('boom')")
    with pytest.raises(ModelError, match="boom"):
        compare(encoder_network(encoder()), Path("export"))
