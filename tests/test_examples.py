"""The programs in examples/ run as they are, and what they say is what comes out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow.csv
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
PRINTED = {
    "similar_faces": "two_people, face 1: like two_people, face 0",
    "faces_to_csv": "112 rows in faces.csv",
    "own_labels": "auc on test: ",
    "fill_in_a_face": "nine tenths hidden: ",
    "lip_sync": "single_face.mp4, face 0, 0.0 to 2.4 s: ",
}
"""Of each program, a part of what it prints."""


def test_every_example_is_run_and_short() -> None:
    programs = {path.stem: path for path in EXAMPLES.glob("*.py")}
    assert set(programs) == set(PRINTED)
    assert all(len(p.read_text("utf-8").splitlines()) < 40 for p in programs.values())


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", PRINTED)
def test_an_example_runs(name: str, tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / f"{name}.py")]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-4000:]
    assert PRINTED[name] in ran.stdout
    if name == "faces_to_csv":
        table = pyarrow.csv.read_csv(tmp_path / "faces.csv")
        assert {"yaw", "jawOpen", "x0", "z477"} <= set(table.column_names)
