"""The page of `predict`, its words and its charts: what they say, and that no input breaks them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pages import Page, read
from task_models import ACTIONS, AFFECT, FAKE, MOOD, SMILE, WIDTH, task_model

from openmarlin.data.extraction import Extracted
from openmarlin.data.features import Features, WindowRow, rows_to_table
from openmarlin.data.manifest import Row
from openmarlin.data.thumbs import WindowThumb
from openmarlin.report.answers import Wording
from openmarlin.report.figure import face_colours
from openmarlin.report.predict import write_report
from openmarlin.report.predict_overlay import AnswersOverTime
from openmarlin.report.probability import MAX_BLOCKS, make_chart, shown_outputs
from openmarlin.report.timeline import make_axis
from openmarlin.tasks.inference import Answers, answer_windows
from openmarlin.tasks.labels import Target
from openmarlin.tasks.model import TaskModel

EVIL = "<img src=x onerror=alert(1)>&\"'"
META: dict[str, Any] = {
    "model": {"name": "toy", "sha256": "0", "licence": "CC BY 4.0", "caution": ""},
    "settings": {"faces": "all"},
    "precision": "fp32",
    "backend": "torch",
    "throughput": {"video_s": 12.0, "wall_s": 6.0, "times_real_time": 2.0},
    "notes": {},
}


def window(
    video: str, number: int, face: int | None = 0, vector: float = 0.0, step_s: float = 1.0
) -> WindowRow:
    """The first value of the vector is what the model of `page` goes by."""
    embedding = np.zeros(WIDTH, np.float32)
    embedding[0] = vector
    return WindowRow(
        video=video,
        window=number,
        start_s=step_s * number,
        end_s=step_s * number + 1,
        n_frames=16,
        n_real=16,
        face=-1 if face is None else face,
        ok=face is not None,
        embedding=None if face is None else embedding,
    )


def thumb(video: str, number: int, face: int = 0) -> WindowThumb:
    images = np.full((4, 112, 112, 3), 40 * number + 40, np.uint8)
    return WindowThumb(video, face, number, images)


def answered(model: TaskModel, rows: list[WindowRow], videos: list[str], thumbs=()) -> Answers:
    row_of = np.array([videos.index(row.video) for row in rows], np.int64)
    features = Features(rows_to_table(rows, WIDTH))
    return answer_windows(model, Extracted(features, row_of, {}, list(thumbs), {}), len(videos))


def page(
    tmp_path: Path,
    target: Target,
    rows: list[WindowRow],
    videos: list[str] | None = None,
    thumbs: list[WindowThumb] | None = None,
    failures: list[tuple[str, str]] | None = None,
    notes: list[str] | None = None,
    meta: dict[str, Any] = META,
    **config: Any,
) -> Page:
    """The report of a model whose first output follows the vector, the others against it."""
    model = task_model(target, **config)
    weight = model.head.linear.weight.data
    weight.zero_()
    weight[:, 0] = -1
    weight[0, 0] = 1
    videos = videos or list(dict.fromkeys(row.video for row in rows))
    answers = answered(model, rows, videos, thumbs or ())
    notes = notes or [""] * len(videos)
    manifest = [Row(Path(video)) for video in videos]
    path = write_report(
        tmp_path / "report.html", model, manifest, answers, notes, failures or [], meta
    )
    return read(path)


def cells(page: Page) -> list[str]:
    """The names in the table of all videos, in its order."""
    table = page.source.split('<table class="all">')[1].split("</table>")[0]
    return [re.sub("<[^>]*>", "", name) for name in re.findall(r"<tr><td[^>]*>(.*?)</td>", table)]


@pytest.fixture
def binary(tmp_path: Path) -> Page:
    rows = [
        *(window("a.mp4", 0, 0, -1.0), window("a.mp4", 1, 0, -3.0)),
        *(window("b.mp4", 0, 0, 2.0), window("b.mp4", 0, 1, 0.5), window("b.mp4", 1, None)),
        window("c.mp4", 0, None),
    ]
    thumbs = [thumb("a.mp4", 0), thumb("a.mp4", 1), thumb("b.mp4", 0)]
    videos = ["a.mp4", "b.mp4", "c.mp4", "d.mp4"]
    notes = ["", "", "no face seen: not judged", "not read: cut"]
    return page(tmp_path, FAKE, rows, videos, thumbs, [("d.mp4", "cut")], notes, thresholds=(0.3,))


def test_headline_verdict_and_facts(binary: Page) -> None:
    assert "4 videos: 1 real, 1 fake, 2 not judged" in binary.text
    assert "2 windows without a face, 1 failure, 2.0× real time." in binary.text
    assert "1 video could not be read." in binary.text
    assert "Licence of the encoder: CC BY 4.0" in binary.text


def test_videos_are_sorted_by_probability_and_what_was_not_judged_is_last(binary: Page) -> None:
    assert cells(binary) == ["b.mp4", "a.mp4", "c.mp4", "d.mp4"]
    for text in ("fake 75 %", "fake 12 %", "no face seen: not judged", "not read: cut"):
        assert text in binary.text
    table = binary.source.split('<table class="all">')[1].split("</table>")[0]
    assert table.count('class="meter"') == 2  # and no bar of the prior


def test_faces_have_pictures_curves_and_numbers(binary: Page) -> None:
    assert len(binary.all("article", "answer")) == 3
    assert len(binary.all("div", "chart")) == 4  # a face each, and the video without one
    assert len(binary.all("line", "limit")) == 3
    assert {line["y1"] for line in binary.all("line", "limit")} == {"70.0"}
    images = binary.all("img")
    assert [image["alt"] for image in images][:2] == ["face 0 at 0.31 s", "face 0 at 0.62 s"]
    assert all((image["src"] or "").startswith("data:image/jpeg") for image in images)
    hints = [hint["title"] or "" for hint in binary.all("i", "hint")]
    assert hints[0] == "0.00–1.00 s: fake 27 %"
    assert "No face found" in binary.text


def test_stands_alone(binary: Page) -> None:
    assert not binary.all("script")
    assert not binary.all("link")
    for tag, attrs in binary.tags:
        assert not any(name.startswith("on") for name in attrs), tag
        for name in ("src", "href"):
            assert (attrs.get(name) or "#").startswith(("data:image/", "#"))
    targets = {a["href"] for a in binary.all("a")}
    ids = {"#" + (attrs.get("id") or "") for _, attrs in binary.tags}
    assert targets <= ids


def test_classes_are_strips_and_the_one_decided_for_is_marked(tmp_path: Path) -> None:
    rows = [window("a.mp4", i, 0, vector) for i, vector in enumerate((3.0, 3.0, -3.0))]
    shown = page(tmp_path, MOOD, rows)
    assert "1 video: 1 calm" in shown.text
    (heat,) = re.findall(r'<div class="heat".*?\n</div>', shown.source, re.DOTALL)
    strips = re.findall(r"<div style.*?</div>", heat)
    assert [re.findall("<b[^>]*>([^<]*)", strip)[0] for strip in strips] == list(MOOD.classes)
    assert [strip.count('class="won"') for strip in strips] == [2, 1, 0]


def test_of_many_outputs_the_likeliest_are_shown(tmp_path: Path) -> None:
    names = tuple(f"action {i}" for i in range(40))
    shown = page(tmp_path, Target("multilabel", names, names), [window("a.mp4", 0, 0, -2.0)])
    assert "6 likeliest of 40" in shown.text
    assert len(re.findall(r'<g style="--c', shown.source)) == 6
    assert "and 33 more" in shown.text


def test_quantities(tmp_path: Path) -> None:
    rows = [window("a.mp4", 0, 0, 0.5), window("b.mp4", 0, 0, -0.25)]
    shown = page(tmp_path, AFFECT, rows)
    assert "mean 0.125, from -0.25 to 0.5" in shown.text
    assert "valence 0.5, arousal -0.5" in shown.text
    assert "Probability" not in shown.text
    assert cells(shown) == ["a.mp4", "b.mp4"]
    assert "%" not in "".join(hint["title"] or "" for hint in shown.all("i", "hint"))


def test_every_name_is_only_text(tmp_path: Path) -> None:
    target = Target("class", (EVIL,), (EVIL, "b" + EVIL))
    meta = {**META, "model": {**META["model"], "caution": EVIL, "licence": EVIL}}
    rows = [window(EVIL, 0)]
    config = {"trained_on": {EVIL: EVIL}, "chosen_on": {EVIL: [EVIL]}}
    shown = page(
        tmp_path, target, rows, [EVIL], [thumb(EVIL, 0)], [(EVIL, EVIL)], [EVIL], meta, **config
    )
    assert all((image["src"] or "").startswith("data:") for image in shown.all("img"))
    assert not shown.all("script")
    assert shown.text.count("onerror") >= 6


@pytest.mark.parametrize("target", [FAKE, MOOD, ACTIONS, AFFECT])
def test_nothing_was_read_or_nobody_seen(tmp_path: Path, target: Target) -> None:
    failed = page(tmp_path, target, [], ["a.mp4"], failures=[("a.mp4", "cut")], notes=["not read"])
    assert "1 video: 1 not judged" in failed.text
    nobody = page(tmp_path, target, [window("a.mp4", 0, None)])
    assert "no face seen, not judged" in nobody.text
    assert "nan" not in nobody.text.lower()


def test_many_videos_are_sampled_and_the_page_says_so(tmp_path: Path) -> None:
    rows = [window(f"{i}.mp4", 0, 0, i / 300) for i in range(600)]
    shown = page(tmp_path, FAKE, rows)
    assert "Shown: 24 of 600 videos" in shown.text
    assert "100 more videos in predictions.csv" in shown.text
    assert cells(shown)[0] == "599.mp4"
    assert len(shown.source) < 3_000_000


def test_long_videos_share_steps(tmp_path: Path) -> None:
    shown = page(tmp_path, FAKE, [window("a.mp4", i) for i in range(1000)])
    assert "Each step is the mean of 5 windows" in shown.text
    assert len(shown.all("i", "hint")) <= MAX_BLOCKS


@given(
    n=st.integers(1, 450),
    step_s=st.sampled_from([0.25, 0.5, 1.0, 1.03, 2.0]),
    target=st.sampled_from([FAKE, MOOD, ACTIONS]),
)
def test_blocks_keep_the_order_and_never_overlap(n: int, step_s: float, target: Target) -> None:
    wording = Wording(target)
    starts = step_s * np.arange(n)
    spans = np.stack([starts, starts + 1], axis=1)
    answers = np.random.default_rng(n).dirichlet(np.ones(len(target.outputs) + 1), n)[:, 1:]
    axis = make_axis(0.0, float(spans[-1, 1]))
    outputs = shown_outputs(wording, answers)
    chart = make_chart(wording, outputs, spans, answers, axis, face_colours(1)[0])
    assert len(chart.hints) == -(-n // chart.share) <= MAX_BLOCKS
    lefts = np.array([hint.left for hint in chart.hints])
    rights = lefts + [hint.width for hint in chart.hints]
    assert (lefts[1:] >= rights[:-1] - 1e-6).all()
    assert rights[-1] == pytest.approx(100, abs=0.01)
    assert len(chart.strips or chart.curves) == len(outputs)
    for curve in chart.curves:
        heights = [float(y) for y in re.findall(r"[ML]\d+ ([\d.]+)H", curve.path)]
        assert len(heights) == len(chart.hints)
        assert all(0 <= y <= 100 for y in heights)
        assert curve.path.count("M") == (len(chart.hints) if step_s == 2.0 and n <= 200 else 1) or (
            chart.share > 1
        )


def _said(target: Target, *answer: float, thresholds: tuple[float, ...] = ()) -> str:
    return Wording(target, thresholds).decision(np.array(answer))


def test_decisions_in_words() -> None:
    assert _said(FAKE, 0.4) == "real"
    assert _said(FAKE, 0.4, thresholds=(0.3,)) == "fake"
    assert _said(SMILE, 0.6) == "smile"
    assert _said(SMILE, 0.4) == "not smile"
    assert _said(MOOD, 0.2, 0.5, 0.3) == "happy"
    assert _said(ACTIONS, 0.6, 0.1, 0.9) == "blink, talk"
    assert _said(ACTIONS, 0.1, 0.1, 0.1) == "none"
    assert _said(AFFECT, 0.25, -1) == "valence 0.25, arousal -1"
    assert _said(FAKE, np.nan) == "–"
    assert _said(Target("ordinal", ("pain",), ("0", "1", "2")), 0.4, 0.2, 0.4) == "1"


def test_lines_of_a_label_say_what_applies() -> None:
    def lines(target: Target, *answer: float) -> list[str]:
        return Wording(target).lines(np.array(answer), 2)

    assert lines(FAKE, 0.07) == ["fake 7.0 %"]
    assert lines(MOOD, 0.2, 0.5, 0.3) == ["happy 50 %"]
    assert lines(ACTIONS, 0.6, 0.7, 0.9) == ["blink 90 %", "nod 70 %"]
    assert lines(ACTIONS, 0.1, 0.1, 0.1) == []
    assert lines(AFFECT, 0.25, -1) == ["valence 0.25", "arousal -1"]
    assert lines(FAKE, np.nan) == []
    assert lines(FAKE, 0.0001) == ["fake < 0.1 %"]


def _at(over: AnswersOverTime, face: int, time_s: float) -> NDArray[np.float64] | None:
    return over.at(face, time_s)


def test_an_overlay_says_what_the_window_over_the_time_says() -> None:
    rows = [
        *(window("a.mp4", 0, None, step_s=0.5), window("a.mp4", 1, 0, 1.0, 0.5)),
        *(window("a.mp4", 2, 0, -1.0, 0.5), window("b.mp4", 0, 0, 5.0)),
    ]
    answers = answered(task_model(), rows, ["a.mp4", "b.mp4"])
    over = AnswersOverTime.of(answers, 0)
    assert over.first_s == 0.0
    assert _at(over, 0, 0.4) is None
    np.testing.assert_array_equal(_at(over, 0, 0.6), answers.windows[1])
    np.testing.assert_allclose(_at(over, 0, 1.2), answers.windows[1:3].mean(axis=0))
    np.testing.assert_array_equal(_at(over, 0, 2.1), answers.windows[2])  # frames no window samples
    assert _at(over, 0, 2.3) is None
    assert _at(over, 1, 1.2) is None
