"""masks: the picture of all strategies, and what it is made of."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from media import numbered, write_video

from openmarlin.errors import InputError, VideoError
from openmarlin.jobs.masks import NOTES, masks
from openmarlin.masking import STRATEGIES
from openmarlin.report import masks as report
from openmarlin.report.image_grid import overlay
from openmarlin.report.masks import MaskRow


def test_every_strategy_has_a_row(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list(NOTES) == list(STRATEGIES)
    drawn: list[tuple[np.ndarray, np.ndarray, list[MaskRow]]] = []

    def spy(path: Path, images: np.ndarray, cells: np.ndarray, rows: list[MaskRow], **more: str):
        drawn.append((images, cells, rows))
        report.masks_sheet(path, images, cells, rows, **more)

    monkeypatch.setattr("openmarlin.jobs.masks.masks_sheet", spy)
    out = masks(clips / "single_face.mp4", out=tmp_path / "new" / "m.png", mask_ratio=0.75).out
    picture = cv2.imread(str(out))
    assert picture.shape[0] > 1000
    assert picture.shape[1] > 1200
    ((images, cells, rows),) = drawn
    assert images.shape == (16, 224, 224, 3)
    assert cells.shape == (16, 28, 28)
    assert [row.name for row in rows] == [*STRATEGIES, "random + regions"]
    assert {int(row.mask.sum()) for row in rows} == {1176}


def test_what_cannot_be_drawn(clips: Path, tmp_path: Path) -> None:
    video, out = clips / "single_face.mp4", tmp_path / "m.png"
    with pytest.raises(InputError, match=r"ends in .png"):
        masks(video, out=tmp_path / "m.jpg")
    with pytest.raises(InputError, match="unknown face region 'ear'"):
        masks(video, out=out, regions=["ear"])
    with pytest.raises(InputError, match="ratio"):
        masks(video, out=out, mask_ratio=1.0)
    with pytest.raises(VideoError, match="no such file"):
        masks(tmp_path / "none.mp4", out=out)
    with pytest.raises(VideoError, match="no face found"):
        masks(write_video(tmp_path / "empty.mp4", numbered(8)), out=out)
    assert not out.exists()


def test_overlay_tints_known_cells_only() -> None:
    image = np.full((16, 16, 3), 100, np.uint8)
    cells = np.array([[0, 0b10], [0b11, 0b1000010]], np.uint16)  # unknown, skin; edge, nose on skin
    tinted = overlay(image, cells)
    assert (tinted[:8, :8] == 100).all()
    assert (tinted[0, 8] == tinted[8, 0]).all()  # skin wins over background
    assert (tinted[8, 8] != tinted[0, 8]).any()


def test_shade_leaves_visible_patches_as_they_are() -> None:
    image = np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3)
    shaded = report.shade(image, np.array([[True, False], [True, True]]))
    np.testing.assert_array_equal(shaded[:16, 16:], image[:16, 16:])
    assert shaded[:16, :16].std() < image[:16, :16].std() / 2
