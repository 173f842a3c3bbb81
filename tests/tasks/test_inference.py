"""Answers to windows, faces and rows: how they are put together, and what they are of a video."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from media import numbered, write_video
from numpy.typing import NDArray
from task_models import ACTIONS, FAKE, MOOD, WIDTH, attentive_head, task_model

from openmarlin.data.clips import Sampling
from openmarlin.data.extraction import Extracted
from openmarlin.data.features import Features, WindowRow, rows_to_table
from openmarlin.data.manifest import Manifest, Row
from openmarlin.errors import InputError, ModelError
from openmarlin.output import Failures
from openmarlin.tasks.inference import (
    Answers,
    PoolingEncoder,
    answer,
    answer_windows,
    extractor_of,
)

Seen = tuple[int, int, int | None]
"""Row of the manifest, window, face (None: no face)."""


def _extracted(seen: list[Seen], seed: int = 0) -> Extracted:
    """Windows with drawn vectors."""
    rng = np.random.default_rng(seed)
    rows = [
        WindowRow(
            video=f"{place}.mp4",
            window=window,
            start_s=float(window),
            end_s=window + 1.0,
            n_frames=16,
            n_real=16,
            face=-1 if face is None else face,
            ok=face is not None,
            embedding=None if face is None else rng.normal(size=WIDTH).astype(np.float32),
        )
        for place, window, face in seen
    ]
    table = rows_to_table(rows, WIDTH)
    return Extracted(Features(table), np.array([s[0] for s in seen], np.int64), {}, [], {})


def _sigmoid(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-logits.astype(np.float64)))


TWO_FACES: list[Seen] = [(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 2, None), (2, 0, None), (3, 0, 4)]


def test_counts_and_what_no_face_is_given() -> None:
    answers = answer_windows(task_model(), _extracted(TWO_FACES), 4)
    assert answers.n_windows.tolist() == [3, 0, 1, 1]  # two faces of one window are one window
    assert answers.n_without_face.tolist() == [1, 0, 1, 0]
    assert answers.seen.tolist() == [True, False, False, True]
    assert answers.rows[1:3, 0].tolist() == [0.123, 0.123]
    assert np.isnan(answers.judged[:, 0]).tolist() == [False, True, True, False]
    assert np.isnan(answers.windows[:, 0]).tolist() == [False, False, False, True, True, False]
    assert set(answers.faces) == {(0, 0), (0, 1), (3, 4)}


def test_mean_of_features_over_time_and_of_answers_over_faces() -> None:
    extracted, model = _extracted(TWO_FACES), task_model(temperature=2.0)
    answers = answer_windows(model, extracted, 4)
    weight = model.head.linear.weight.detach().numpy()
    vectors = extracted.features.embeddings
    first = _sigmoid((vectors[[0, 2]].mean(axis=0) @ weight.T) / 2)
    second = _sigmoid((vectors[1] @ weight.T) / 2)
    np.testing.assert_allclose(answers.faces[0, 0], first, rtol=1e-5)
    np.testing.assert_allclose(answers.faces[0, 1], second, rtol=1e-5)
    np.testing.assert_allclose(answers.rows[0], (2 * first + second) / 3, rtol=1e-5)


def test_mean_of_answers_over_time_counts_every_window_alike() -> None:
    answers = answer_windows(task_model(over_time="answers"), _extracted(TWO_FACES), 4)
    np.testing.assert_allclose(answers.rows[0], answers.windows[:3].mean(axis=0))


def test_the_largest_face_is_taken_in_every_window() -> None:
    model = task_model(over_time="answers", over_faces="max")
    answers = answer_windows(model, _extracted(TWO_FACES), 4)
    windows = answers.windows[:, 0]
    expected = (max(windows[0], windows[1]) + windows[2]) / 2
    np.testing.assert_allclose(answers.rows[0, 0], expected)


def test_the_largest_face_of_a_video_where_features_are_averaged() -> None:
    answers = answer_windows(task_model(over_faces="max"), _extracted(TWO_FACES), 4)
    assert answers.rows[0, 0] == max(answers.faces[0, 0][0], answers.faces[0, 1][0])


def test_the_largest_of_several_outputs_is_taken_one_by_one() -> None:
    answers = answer_windows(task_model(ACTIONS, over_faces="max"), _extracted(TWO_FACES), 4)
    both = np.stack([answers.faces[0, 0], answers.faces[0, 1]])
    np.testing.assert_allclose(answers.rows[0], both.max(axis=0))


@pytest.mark.parametrize("over_time", ["features", "answers"])
@pytest.mark.parametrize("over_faces", ["mean", "max"])
def test_classes_that_exclude_each_other_sum_to_1(over_time: str, over_faces: str) -> None:
    model = task_model(MOOD, over_time=over_time, over_faces=over_faces)
    answers = answer_windows(model, _extracted(TWO_FACES), 4)
    np.testing.assert_allclose(answers.judged[answers.seen].sum(axis=1), 1)


@given(
    seen=st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 2)), max_size=20, unique=True
    ),
    over_time=st.sampled_from(["features", "answers"]),
    over_faces=st.sampled_from(["mean", "max"]),
)
def test_whatever_is_seen(seen: list[Seen], over_time: str, over_faces: str) -> None:
    """A row is seen where a window of it is, its answer lies among those of its windows or faces,
    and the order of faces does not matter."""
    model = task_model(over_time=over_time, over_faces=over_faces)
    seen = sorted(seen)
    extracted = _extracted(seen)
    answers = answer_windows(model, extracted, 4)
    assert answers.seen.tolist() == [any(s[0] == row for s in seen) for row in range(4)]
    windows = {row: {s[1] for s in seen if s[0] == row} for row in range(4)}
    assert answers.n_windows.tolist() == [len(windows[row]) for row in range(4)]
    for row in np.flatnonzero(answers.seen):
        among = [answers.faces[key] for key in answers.faces if key[0] == row]
        if over_time == "answers":
            among = [answers.windows[i] for i, s in enumerate(seen) if s[0] == row]
        assert min(among) - 1e-9 <= answers.rows[row] <= max(among) + 1e-9
    backwards = Extracted(
        Features(extracted.features.table.take(np.arange(len(seen))[::-1])),
        extracted.row_of[::-1].copy(),
        {},
        [],
        {},
    )
    np.testing.assert_allclose(answer_windows(model, backwards, 4).rows, answers.rows, rtol=1e-5)


def _precropped(tmp_path: Path, n: int = 3) -> Manifest:
    videos = [write_video(tmp_path / f"{i}.mp4", numbered(40 + 20 * i, 64, 64)) for i in range(n)]
    return Manifest([Row(video, labels={"face": "x", "label": "fake"}) for video in videos])


def _answer(tmp_path: Path, manifest: Manifest, **options) -> Answers:
    model = task_model(
        FAKE, options.pop("head", None), Sampling(precropped=True, **options.pop("sampling", {}))
    )
    out = tmp_path / "out"
    failures = Failures(out / "failures.csv")
    return answer(model, manifest, out, failures, precision="fp32", backend="torch", **options)


def test_videos_of_a_manifest_whatever_its_labels_are_called(tmp_path: Path) -> None:
    manifest = _precropped(tmp_path)
    answers = _answer(tmp_path, manifest)
    assert answers.seen.all()
    assert answers.n_windows.tolist() == [2, 2, 3]
    alone = _answer(tmp_path / "alone", Manifest(manifest.rows[1:2]), batch=1, workers=1)
    np.testing.assert_allclose(alone.rows[0], answers.rows[1], atol=1e-6)


def test_sampling_is_that_of_the_model(tmp_path: Path) -> None:
    manifest = _precropped(tmp_path, 1)
    assert _answer(tmp_path, manifest, sampling={"rate": 1, "stride": 8}).n_windows[0] == 4


def test_what_cannot_be_read_is_listed_and_not_seen(tmp_path: Path) -> None:
    manifest = _precropped(tmp_path, 2)
    manifest.rows[0].video.write_text("no video")
    answers = _answer(tmp_path, manifest)
    assert answers.seen.tolist() == [False, True]
    assert answers.n_windows.tolist()[0] == 0


def test_a_head_on_tokens_pools_what_the_encoder_gives(tmp_path: Path) -> None:
    head = attentive_head(1)
    model = task_model(FAKE, head)
    clips = np.random.default_rng(0).integers(0, 256, (3, 16, 32, 32, 3), np.uint8)
    pooled, nothing = PoolingEncoder(model, "fp32", "torch")(clips)
    assert nothing is None
    _, tokens = model.encoder.encode(clips, tokens=True)
    with torch.inference_mode():
        expected = head.pool(torch.from_numpy(tokens)).numpy()
    np.testing.assert_allclose(pooled, expected, atol=2e-2)  # `encode` may run in bfloat16
    answers = _answer(tmp_path, _precropped(tmp_path, 1), head=head)
    assert np.isfinite(answers.rows).all()


def test_impossible_requests_show_before_anything_is_read() -> None:
    model = task_model()
    with pytest.raises(ModelError, match="fp16"):
        PoolingEncoder(model, "fp16")
    encoder = PoolingEncoder(model, "fp32", "torch")
    with pytest.raises(InputError, match="stride 40"):
        extractor_of(model, encoder, Sampling(stride=40))
