"""Extraction: rows, vectors, tokens and boxes of what an encoder is shown, kept as it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media import numbered, write_video
from numpy.typing import NDArray

from openmarlin.data.clips import Sampling
from openmarlin.data.extraction import (
    Extracted,
    Extractor,
    check_weights,
    ends_of,
    extract_videos,
)
from openmarlin.data.feed import VideoEnd
from openmarlin.data.manifest import Manifest, Row
from openmarlin.data.parts import FinishedVideos
from openmarlin.data.pool import ProcessPool
from openmarlin.errors import ModelError
from openmarlin.face.landmarker import shared_landmarker
from openmarlin.model.config import ModelConfig
from openmarlin.output import Failures

CONFIG = ModelConfig(image_size=32, frames=16, patch=16, width=8, depth=1, heads=1)


class Means:
    """An encoder that tells clips apart: mean and deviation of each; it notes its batches."""

    def __init__(self, tokens: bool = False) -> None:
        self.tokens = tokens
        self.batches: list[int] = []

    def __call__(
        self, clips: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        assert clips.shape[1:] == (16, 32, 32, 3)
        self.batches.append(len(clips))
        flat = clips.reshape(len(clips), -1).astype(np.float32)
        vectors = np.stack([flat.mean(axis=1), flat.std(axis=1)], axis=1)
        return vectors, np.ones((len(clips), 4, 8), np.float32) if self.tokens else None


def _run(
    manifest: Manifest, out: Path, encoder: Means | None = None, **options: Any
) -> tuple[Extracted, Failures]:
    failures = Failures(out / "failures.csv")
    sampling = options.pop("sampling", Sampling(precropped=True))
    landmarker = None if sampling.precropped else shared_landmarker()
    extractor = Extractor(encoder or Means(), CONFIG, 2, sampling, landmarker, **options)
    return extractor.run(manifest, out, failures), failures


def _videos(folder: Path, lengths: list[int]) -> list[Path]:
    folder.mkdir(exist_ok=True)
    return [
        write_video(folder / f"{i}.mp4", numbered(n, 64, 64, first=100 * i))
        for i, n in enumerate(lengths)
    ]


def test_rows_come_in_the_order_of_the_manifest_whoever_is_first(tmp_path: Path) -> None:
    videos = _videos(tmp_path / "v", [200, 20, 70])
    manifest = Manifest([Row(v, labels={"smile": str(i)}) for i, v in enumerate(videos)])
    encoder = Means()
    extracted, failures = _run(manifest, tmp_path / "out", encoder, batch=3, workers=3)
    assert extracted.row_of.tolist() == [0] * 7 + [1] + [2] * 3
    table = extracted.features.table
    assert table.column("smile").to_pylist() == extracted.row_of.tolist()
    assert table.column("window").to_pylist() == [*range(7), 0, *range(3)]
    assert sum(encoder.batches) == 11
    assert max(encoder.batches) <= 3
    assert not len(failures)
    assert set(extracted.records) == {row.key for row in manifest.rows}
    one, _ = _run(manifest, tmp_path / "one", batch=1, workers=1)
    np.testing.assert_array_equal(one.features.embeddings, extracted.features.embeddings)


def test_what_is_finished_is_not_done_again(tmp_path: Path) -> None:
    videos = _videos(tmp_path / "v", [40, 40])
    first, _ = _run(Manifest([Row(videos[0])]), tmp_path / "out")
    encoder = Means()
    both, _ = _run(Manifest([Row(v) for v in videos]), tmp_path / "out", encoder)
    assert sum(encoder.batches) == 2
    np.testing.assert_array_equal(both.features.embeddings[:2], first.features.embeddings)
    assert both.throughput["video_s"] == pytest.approx(1.56, abs=0.05)  # of this sitting alone


def test_a_video_that_fails_is_listed_and_the_rest_goes_on(tmp_path: Path) -> None:
    videos = _videos(tmp_path / "v", [40, 40, 40])
    videos[1].write_text("no video")
    extracted, failures = _run(Manifest([Row(v) for v in videos]), tmp_path / "out")
    assert extracted.row_of.tolist() == [0, 0, 2, 2]
    assert list(failures.as_dict()) == [str(videos[1])]
    assert Row(videos[1]).key not in extracted.records


def test_damage_of_an_earlier_sitting_is_listed_again(tmp_path: Path) -> None:
    video = write_video(tmp_path / "a.mkv", numbered(80, 64, 64))
    whole = video.read_bytes()
    video.write_bytes(whole[: len(whole) * 2 // 3])
    row, out = Row(video), tmp_path / "out"
    extracted, first = _run(Manifest([row]), out)
    assert "partly read" in first.as_dict()[str(video)]
    assert extracted.records[row.key].problems
    _, again = _run(Manifest([row]), out)
    assert again.as_dict() == first.as_dict()


def test_tokens_are_kept_where_the_encoder_gives_them(tmp_path: Path) -> None:
    video = _videos(tmp_path / "v", [40])[0]
    _run(Manifest([Row(video)]), tmp_path / "out", Means(tokens=True))
    assert len(list((tmp_path / "out" / "tokens").glob("0-*.safetensors"))) == 1


def test_a_window_without_a_face_is_not_encoded(clips: Path, tmp_path: Path) -> None:
    encoder = Means()
    manifest = Manifest([Row(clips / "face_then_none.mp4")])
    extracted, _ = _run(manifest, tmp_path / "out", encoder, sampling=Sampling())
    ok = extracted.features.table.column("ok").to_numpy()
    assert 0 < ok.sum() < len(ok)
    assert sum(encoder.batches) == ok.sum()
    assert np.isnan(extracted.features.embeddings[~ok]).all()


def test_boxes_are_kept_on_request_and_go_with_the_rows(clips: Path, tmp_path: Path) -> None:
    row = Row(clips / "two_people.mp4")
    manifest, sampling = Manifest([row]), Sampling(faces="all", stride=8)
    extracted, _ = _run(manifest, tmp_path / "out", sampling=sampling, keep_boxes=True)
    boxes = FinishedVideos(tmp_path / "out", 2).boxes(row)
    assert set(boxes.tracks) == {0, 1}
    for window in extracted.features.table.to_pylist():
        track = boxes.tracks[window["face"]]
        inside = (track[:, 0] >= window["start_s"] - 1e-6) & (track[:, 0] < window["end_s"])
        assert (np.diff(track[:, 0]) > 0).all()  # windows overlap, samples come once
        mean = track[inside, 1:].mean(axis=0)
        expected = [window[side] for side in ("x1", "y1", "x2", "y2")]
        if window["n_interpolated"] == 0:
            np.testing.assert_allclose(mean, expected, atol=0.5)
    _run(manifest, tmp_path / "without", sampling=sampling)
    assert not FinishedVideos(tmp_path / "without", 2).boxes(row).tracks


def _read(row: Row, finished: FinishedVideos) -> VideoEnd:
    if row.video.stem == "1":
        raise ZeroDivisionError
    if row.video.stem == "2":
        check_weights("some model", "here", "there")
    return Extractor(Means(), CONFIG, 2, Sampling(precropped=True), None, workers=1).read(
        row, finished
    )


def test_workers_of_a_pool_write_what_this_process_writes(tmp_path: Path) -> None:
    manifest = Manifest([Row(v) for v in _videos(tmp_path / "v", [70, 20, 33])])
    whole, _ = _run(Manifest(manifest.rows[:1]), tmp_path / "out")
    failures = Failures(tmp_path / "failures.csv")
    finished = FinishedVideos(tmp_path / "pool", 2)
    ends = ends_of(ProcessPool(1), _read)
    spread = extract_videos(Manifest(manifest.rows[:2]), finished, failures, ends)
    assert spread.features.table.equals(whole.features.table)
    assert "internal error" in failures.as_dict()[str(manifest.rows[1].video)]
    with pytest.raises(ModelError, match="some model"):  # not about a video: it ends the run
        extract_videos(manifest, finished, failures, ends)
