"""What README, first page and first steps tell a reader to type works as it stands there."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from media import write_tones
from run_page import read_blocks

ROOT = Path(__file__).parents[2]
CLIPS = ROOT / "examples" / "clips"


@pytest.fixture
def reader(tmp_path: Path) -> Path:
    """A folder with what the pages call `talk.mp4`, `labels.csv` and so on, out of the clips."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    shutil.copy(CLIPS / "single_face.mp4", tmp_path / "talk.mp4")
    for folder, clip in (("interviews", "two_people.mp4"), ("new_videos", "signer_thanks.mkv")):
        (tmp_path / folder).mkdir()
        shutil.copy(CLIPS / clip, tmp_path / folder)
    (tmp_path / "list.csv").write_text("video\nexamples/clips/signer_yes.mkv\n", encoding="utf-8")
    write_tones(tmp_path / "voice.wav", [(0.2, 0.8, 300), (1.4, 0.6, 300)])
    with (ROOT / "examples" / "labels.csv").open(encoding="utf-8") as file:
        head, *rows = csv.reader(file)
    with (tmp_path / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow("smile" if name == "signs" else name for name in head)
        table.writerows([f"examples/{video}", *others] for video, *others in rows)
    return tmp_path


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", ["README.md", "docs/index.md", "docs/start.md"])
def test_a_page_runs_from_top_to_bottom(page: str, reader: Path) -> None:
    path = ROOT / page
    command = [sys.executable, str(Path(__file__).with_name("run_page.py")), str(path)]
    ran = subprocess.run(command, cwd=reader, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-2000:] + ran.stderr[-4000:]
    blocks = [block for block in read_blocks(path) if not block.reason]
    assert any(block.language == "python" for block in blocks)
    written = [
        words[words.index("--out") + 1]
        for block in blocks
        for words in block.commands
        if "--out" in words
    ]
    assert written
    assert [name for name in written if not (reader / name).exists()] == []


def test_blocks_are_told_apart(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    lines = [
        "text",
        "```",
        "pip install openmarlin",
        "openmarlin models  # every name",
        "```",
        "<!-- not run: needs LRS2 -->",
        "```",
        "openmarlin prepare LRS2 --out STORE",
        "```",
        "```python",
        "import openmarlin",
        "```",
        "<!-- not run: takes hours -->",
        "```python",
        "train()",
        "```",
    ]
    page.write_text("\n".join(lines) + "\n", encoding="utf-8")
    models, prepare, python, train = read_blocks(page)
    assert (models.line, models.commands, models.reason) == (3, [["models"]], "")
    assert (prepare.reason, train.reason) == ("needs LRS2", "takes hours")
    assert (python.line, python.language, python.commands) == (11, "python", [])


def test_every_mark_belongs_to_a_block() -> None:
    """A mark that is written otherwise would let a block run that cannot."""
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        marks = page.read_text(encoding="utf-8").count("<!-- not run")
        assert marks == sum(bool(block.reason) for block in read_blocks(page)), page
