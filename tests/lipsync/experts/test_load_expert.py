from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from openmarlin.errors import ModelError
from openmarlin.lipsync.experts.load import load_expert
from openmarlin.lipsync.generators.critics import QualityCritic


def test_no_such_expert() -> None:
    with pytest.raises(ModelError, match="no-such-expert"):
        load_expert("no-such-expert")


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no expert"):
        load_expert(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"kind": "generator"}), encoding="utf-8")
    with pytest.raises(ModelError, match="holds no expert"):
        load_expert(tmp_path)


def test_a_file_of_another_network_is_named(tmp_path: Path) -> None:
    torch.save(QualityCritic(0.1).state_dict(), tmp_path / "disc.pth")
    with pytest.raises(ModelError, match="critic"):
        load_expert(tmp_path / "disc.pth")


def test_the_name_of_the_default_costs_no_torch() -> None:
    code = (
        "import sys; from openmarlin.lipsync.experts.load import DEFAULT_EXPERT; "
        "from openmarlin.lipsync.generators.config import GeneratorConfig; "
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
