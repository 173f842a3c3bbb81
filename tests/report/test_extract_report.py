"""The page as a whole: what it says, that it stands alone, and that no input breaks it."""

from __future__ import annotations

import base64
import math
import re
from importlib import resources
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest
from pages import Page, read

from openmarlin.data.features import Features, WindowRow, add_columns, rows_to_table
from openmarlin.data.thumbs import WindowThumb
from openmarlin.errors import InputError
from openmarlin.report.extract import write_report

DIM = 6
EVIL = "<script>alert(1)</script>&\"'`{{7*7}}.mp4"
META: dict[str, Any] = {
    "model": {
        "name": "tiny",
        "caution": "The weights are untrained.",
        "licence": "CC BY-NC 4.0",
        "sha256": "ab" * 32,
    },
    "precision": "bf16",
    "backend": "torch",
    "settings": {"rate": 2, "limit_seconds": None, "align": False},
    "throughput": {"video_s": 83.2, "wall_s": 36.0, "times_real_time": 2.311},
}


def row(video: str, window: int, face: int = 0, ok: bool = True, **values: Any) -> WindowRow:
    rng = np.random.default_rng([window, face + 1, len(video)])
    known: dict[str, Any] = {"start_s": float(window), "end_s": window + 1.0, "n_real": 16}
    if ok:
        known |= {"face_score": 0.9, "x1": 10, "y1": 20, "x2": 110, "y2": 140, "face": face}
        known["embedding"] = rng.normal(size=DIM).astype(np.float32)
    return WindowRow(video=video, window=window, n_frames=16, ok=ok, **known | values)


def thumb(video: str, window: int, face: int = 0, k: int = 4) -> WindowThumb:
    rng = np.random.default_rng(window)
    images = np.full((k, 112, 112, 3), rng.integers(0, 255, 3), np.uint8)
    points = rng.uniform(5, 100, (k, 478, 2)).astype(np.float32)
    points[1:2] = np.nan
    return WindowThumb(video, face, window, images, points)


def report(
    path: Path,
    rows: list[WindowRow],
    thumbs: list[WindowThumb] | None = None,
    failures: list[tuple[str, str]] | None = None,
    meta: dict[str, Any] | None = None,
) -> Page:
    features = Features(rows_to_table(rows, DIM), META if meta is None else meta)
    return read(write_report(path / "report.html", features, thumbs or [], failures or []))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """Three videos: two people; one person who leaves; one nobody. Another cannot be read."""
    rows = [row("a/two.mp4", w, f) for w in range(4) for f in range(2)]
    rows += [row("leaves.mp4", 0), row("leaves.mp4", 1, n_interpolated=4, n_real=8)]
    rows += [row("leaves.mp4", 2, ok=False), row("nobody.mp4", 0, ok=False)]
    thumbs = [thumb("a/two.mp4", w, f) for w in range(4) for f in range(2)]
    folder = tmp_path_factory.mktemp("report")
    return report(folder, rows, thumbs, [("broken.mp4", "not a video"), ("leaves.mp4", "cut")])


def test_headline_and_verdict(page: Page) -> None:
    assert "4 videos, 3 faces, 12 windows" in page.text
    assert "2 windows without a face, 1 failure, 1 read only in part, 2.3× real time." in page.text
    assert "1 video could not be read. 1 video could be read only in part." in page.text
    assert "10 of 6 values" in page.text
    assert "1 min 23 s in 36.0 s" in page.text


def test_stands_alone(page: Page) -> None:
    assert not page.all("script")
    assert not page.all("link")
    for tag, attrs in page.tags:
        assert not any(name.startswith("on") for name in attrs), tag
        for name in ("src", "href", "xlink:href"):
            address = attrs.get(name) or "#"
            assert address.startswith(("data:image/", "#")), address
    assert "@import" not in page.source
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)", page.source))
    policy = next(a for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert (policy["content"] or "").startswith("default-src 'none'")


def test_crops_decode_and_are_described(page: Page) -> None:
    images = page.all("img")
    assert len(images) == 8
    for image in images:
        data = base64.b64decode((image["src"] or "").split(",")[1])
        shape = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape
        assert shape == (int(image["height"] or 0), int(image["width"] or 0), 3) == (112, 448, 3)
    assert images[0]["alt"] == "4 crops of two.mp4, face 0, window 0, 0.00–1.00 s"
    assert len(page.all("svg", "mesh")) == 8
    assert page.all("input")[0]["id"] == "mesh"


def test_timelines(page: Page) -> None:
    assert len(page.all("div", "rail")) == 4
    boxes = [a for a in page.all("i", "win") if "title" in a]
    assert len(boxes) == 10
    assert boxes[-1]["title"] == "window 1: 1.00 to 2.00 s, 4 of 8 frames interpolated, " + (
        "8 frames of padding"
    )
    assert len([a for a in page.all("i", "pad") if "title" in a]) == 1
    assert len([a for a in page.all("i", "none") if "title" in a]) == 2
    assert "No face found" in page.text


def test_plots_and_labels(page: Page) -> None:
    assert len(page.all("div", "plot")) == 2
    labels = [a["aria-label"] for a in page.all("div", "plot")]
    assert labels[0] == "Scatter plot of 10 windows on two principal components"
    assert labels[1] == "Matrix of cosine similarities between 3 faces"
    assert "two.mp4, face 1" in page.text
    assert "With so few faces" in page.text


def test_what_to_know_of_the_weights_is_said_plainly(page: Page, tmp_path: Path) -> None:
    assert "Do not rely on these features. The weights are untrained." in page.text
    assert [a for a in page.all("p", "banner") if a.get("role") == "alert"]
    trained = META | {"model": META["model"] | {"caution": ""}}
    assert "rely" not in report(tmp_path, [row("a.mp4", 0)], meta=trained).text


def test_settings_and_licence(page: Page) -> None:
    for name, value in [("rate", "2"), ("limit seconds", "–"), ("align", "no"), ("wall (s)", "36")]:
        assert f"{name} {value}" in page.text
    assert "Licence of the model: CC BY-NC 4.0" in page.text


def test_every_name_is_only_text(tmp_path: Path) -> None:
    meta = {"model": {"name": EVIL, "caution": EVIL, "licence": EVIL}, EVIL: {EVIL: EVIL}}
    rows = [row(EVIL, w, f) for w in range(3) for f in range(2)]
    page = report(tmp_path, rows, [thumb(EVIL, 0)], [("x" + EVIL, EVIL)], meta)
    assert not page.all("script")
    assert page.text.count(EVIL) >= 4
    assert any((a.get("title") or "") == EVIL for a in page.all("h3"))
    assert "49.mp4" not in page.source


def test_parts_that_failed_are_parts_of_their_video(tmp_path: Path) -> None:
    failures = [("a.mp4 [9.0 s to end]", "no frame"), ("a.mp4 [start to 1.5 s]", "no frame")]
    page = report(tmp_path, [row("a.mp4", 0)], failures=failures)
    assert "1 video, 1 face" in page.text
    assert "1 video could be read only in part." in page.text
    assert "a.mp4 [9.0 s to end] no frame" in page.text


def test_no_windows(tmp_path: Path) -> None:
    page = report(tmp_path, [])
    assert "0 videos, 0 faces, 0 windows" in page.text
    assert "Nothing was extracted, no failures." in page.text
    assert not page.all("img")


def test_all_failed(tmp_path: Path) -> None:
    page = report(tmp_path, [], failures=[("a.mp4", "empty"), ("b.mp4", "text")])
    assert "All 2 videos failed" in page.text
    assert "b.mp4 text" in page.text
    assert "The video failed" in report(tmp_path, [], failures=[("a.mp4", "empty")]).text


def test_one_window(tmp_path: Path) -> None:
    page = report(tmp_path, [row("a.mp4", 0)], [thumb("a.mp4", 0)])
    assert "1 video, 1 face, 1 window" in page.text
    assert "A face in every window, no failures" in page.text
    assert "A map needs three windows" in page.text
    assert "A comparison needs two faces" in page.text


def test_single_face_has_a_map_and_no_matrix(tmp_path: Path) -> None:
    page = report(tmp_path, [row("a.mp4", w) for w in range(5)])
    assert len(page.all("div", "plot")) == 1
    assert not page.all("svg", "mesh")
    assert not page.all("input")


def test_no_face_anywhere(tmp_path: Path) -> None:
    page = report(tmp_path, [row("a.mp4", w, ok=False) for w in range(5)])
    assert "1 video, 0 faces, 5 windows" in page.text
    assert "5 windows without a face" in page.text
    assert not page.all("div", "plot")


def test_numbers_that_are_not_finite(tmp_path: Path) -> None:
    rows = [row("a.mp4", w, face_score=math.nan, x1=math.nan) for w in range(5)]
    assert rows[0].embedding is not None
    rows[0].embedding[2] = math.inf
    rows[1].embedding = np.full(DIM, np.nan, np.float32)
    meta = {"throughput": {"times_real_time": math.nan, "wall_s": math.inf}, "model": None}
    page = report(tmp_path, rows, meta=meta)
    assert not re.search(r"\b(nan|inf)\b", page.text, re.IGNORECASE)
    assert len(page.all("div", "plot")) == 1


def test_times_of_no_length(tmp_path: Path) -> None:
    rows = [row("a.mp4", 0, start_s=0.0, end_s=0.0, n_real=1)]
    assert "1 window" in report(tmp_path, rows, [thumb("a.mp4", 0, k=1)]).text


@pytest.mark.parametrize("meta", [{}, {"model": "x"}, {"model": {}}, {"throughput": 3}])
def test_record_may_be_missing(tmp_path: Path, meta: dict[str, Any]) -> None:
    assert "1 window" in report(tmp_path, [row("a.mp4", 0)], meta=meta).text


def test_thumbs_of_unknown_windows_are_left_out(tmp_path: Path) -> None:
    page = report(tmp_path, [row("a.mp4", 0)], [thumb("a.mp4", 7), thumb("b.mp4", 0)])
    assert not page.all("img")


def test_same_file_name_in_two_folders(tmp_path: Path) -> None:
    page = report(tmp_path, [row("x/a.mp4", 0), row("y/a.mp4", 0), row("b.mp4", 0)])
    titles = [a["title"] for a in page.all("h3") if "title" in a]
    assert titles == ["x/a.mp4", "y/a.mp4", "b.mp4"]
    assert "x/a.mp4" in page.text
    assert "y/a.mp4" in page.text


def test_thousand_videos_are_sampled_and_the_page_says_so(tmp_path: Path) -> None:
    names = [f"{i:04}.mp4" for i in range(1000)]
    rows = [row(name, w) for name in names for w in range(10)]
    noise = np.random.default_rng(0).integers(0, 255, (4, 112, 112, 3)).astype(np.uint8)
    points = np.random.default_rng(1).uniform(0, 112, (4, 478, 2)).astype(np.float32)
    thumbs = [WindowThumb(n, 0, w, noise, points) for n in names[::20] for w in range(10)]
    failures = [(f"bad{i}.mp4", "unreadable") for i in range(450)]
    page = report(tmp_path, rows, thumbs, failures)
    assert "1,450 videos, 1,000 faces, 10,000 windows" in page.text
    assert "Shown: 24 of 1,000 videos, evenly spread" in page.text
    assert "Shown: 24 of 1,000 faces, evenly spread" in page.text
    assert "250 more videos in failures.csv" in page.text
    assert "Pictures of 6 of 10 windows" in page.text
    titles = [a["title"] for a in page.all("h3") if "title" in a]
    assert len(titles) == 24
    assert (titles[0], titles[-1]) == ("0000.mp4", "0980.mp4")
    assert len(page.source) < 10_000_000


def test_twenty_faces_in_one_video(tmp_path: Path) -> None:
    page = report(tmp_path, [row("crowd.mp4", w, f) for w in range(2) for f in range(20)])
    assert len(page.all("div", "rail")) == 8
    assert "12 more faces in the table" in page.text


def test_long_video_shares_boxes(tmp_path: Path) -> None:
    page = report(tmp_path, [row("long.mp4", w) for w in range(1000)])
    assert "Each box stands for 9 windows" in page.text
    assert len([a for a in page.all("i", "win") if "title" in a]) == 112


def test_failure_while_rendering_leaves_the_old_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")

    def break_down(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", break_down)
    features = Features(rows_to_table([row("a.mp4", 0)], DIM), META)
    with pytest.raises(InputError, match="No space left"):
        write_report(path, features)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_report_is_the_same_every_time(tmp_path: Path) -> None:
    rows = [row("a.mp4", w, f) for w in range(3) for f in range(2)]
    first = report(tmp_path, rows, [thumb("a.mp4", 0)]).source
    assert report(tmp_path, rows, [thumb("a.mp4", 0)]).source == first


def test_templates_are_in_the_package() -> None:
    folder = resources.files("openmarlin.report") / "templates"
    assert (folder / "extract.html").is_file()


def test_parts_of_one_video_are_shown_as_videos(tmp_path: Path) -> None:
    """Each counts its faces and windows from 0."""
    rows = [row("a.mp4", window) for window in (0, 1, 0, 0)]
    bounds = {"part_start_s": [0.5, 0.5, 20, math.nan], "part_end_s": [2.5, 2.5, math.nan, 0.25]}
    columns = {name: pa.array(values, pa.float64()) for name, values in bounds.items()}
    features = Features(add_columns(rows_to_table(rows, DIM), columns), META)
    thumbs = [thumb("a.mp4, from 20 s", 0), thumb("a.mp4, 0.5 to 2.5 s", 1)]
    page = read(write_report(tmp_path / "report.html", features, thumbs, [("a.mp4", "cut")]))
    assert "3 videos, 3 faces, 4 windows" in page.text
    html = (tmp_path / "report.html").read_text()
    videos = html.split('<article class="video">')[1:]
    assert [re.findall("<h3[^>]*>([^<]*)", video)[0] for video in videos] == [
        *("a.mp4, 0.5 to 2.5 s", "a.mp4, from 20 s", "a.mp4, to 0.25 s")
    ]
    assert [video.count('<div class="strip">') for video in videos] == [1, 1, 0]


def test_labels_that_are_called_as_bounds(tmp_path: Path) -> None:
    columns = {"part_start_s": pa.array(["early"])}
    features = Features(add_columns(rows_to_table([row("a.mp4", 0)], DIM), columns), META)
    assert "1 video, 1 face" in read(write_report(tmp_path / "report.html", features)).text
