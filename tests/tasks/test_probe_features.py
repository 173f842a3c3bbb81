"""Features of rows: means over windows, folders of `extract`, tokens, and the attentive probe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from openmarlin.data.extraction import Extracted
from openmarlin.data.features import Features, WindowRow, rows_to_table
from openmarlin.data.manifest import Row
from openmarlin.data.parts import token_file
from openmarlin.errors import InputError
from openmarlin.output import Failures
from openmarlin.tasks.heads import AttentiveHead
from openmarlin.tasks.labels import Target
from openmarlin.tasks.probe_attentive import fit_attentive, pool_rows, pool_windows
from openmarlin.tasks.probe_features import FeatureFolder, RowFeatures, list_unseen
from openmarlin.tasks.selection import Examples

WIDTH, TOKENS = 8, 5
META: dict[str, Any] = {
    "model": {"name": "toy", "sha256": "abc"},
    "settings": {
        "rate": 1,
        "stride": 4,
        "tail": "pad",
        "faces": "largest",
        "precropped": True,
        "align": False,
        "limit_seconds": None,
    },
}
BINARY = Target("binary", ("forged",), ("real", "fake"))


def make_rows(n: int) -> list[Row]:
    return [Row(Path(f"/videos/{i}.mp4"), labels={"forged": str(i % 2)}) for i in range(n)]


def make_features(rows: list[Row], folder: Path, *, n_windows: int = 3) -> RowFeatures:
    """Tokens of which one tells the label; every fifth row shows no face, every third window."""
    rng = np.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    (folder / "tokens").mkdir(exist_ok=True)
    windows, row_of = [], []
    for i, row in enumerate(rows):
        tokens = {}
        for w in range(n_windows):
            some = rng.normal(size=(TOKENS, WIDTH)).astype(np.float16)
            some[w % TOKENS, :2] += 4 * (2 * (i % 2) - 1)
            has_face = i % 5 != 4 and w != 2
            row_of.append(i)
            windows.append(
                WindowRow(
                    video=str(row.video),
                    window=w,
                    start_s=w,
                    end_s=w + 1,
                    n_frames=4,
                    n_real=4,
                    face=0 if has_face else -1,
                    ok=has_face,
                    embedding=some.mean(axis=0).astype(np.float32) if has_face else None,
                )
            )
            if has_face:
                tokens[f"{w}-0"] = some
        if tokens:
            save_file(tokens, token_file(folder, row))
    features = Features(rows_to_table(windows, WIDTH), META)
    features.save(folder)
    extracted = Extracted(features, np.array(row_of), {}, [], {})
    return RowFeatures.of(extracted, rows, folder)


def test_a_row_is_the_mean_of_its_windows_with_a_face(tmp_path: Path) -> None:
    features = make_features(make_rows(10), tmp_path)
    windows = features.extracted.features.embeddings
    assert features.seen.tolist() == [i % 5 != 4 for i in range(10)]
    np.testing.assert_allclose(features.vectors[3], windows[[9, 10]].mean(axis=0), rtol=1e-6)
    assert np.isnan(features.vectors[4]).all()
    assert [len(some) for some in features.windows_of()] == [2, 2, 2, 2, 0] * 2
    assert features.windows_of()[5].tolist() == [15, 16]


def test_a_folder_is_read_in_the_order_of_the_labels(tmp_path: Path) -> None:
    rows = make_rows(10)
    whole = make_features(rows, tmp_path)
    order = [7, 2, 4, 0]
    some = FeatureFolder.open(tmp_path).read([rows[i] for i in order], tokens=False)
    np.testing.assert_array_equal(some.vectors, whole.vectors[order])
    assert some.extracted.row_of.tolist() == sorted(some.extracted.row_of.tolist())
    np.testing.assert_array_equal(some.tokens([0]), whole.tokens([21]))


def test_missing_videos_are_listed_and_faceless_ones_too(tmp_path: Path) -> None:
    rows = make_rows(10)
    make_features(rows[:6], tmp_path)
    features = FeatureFolder.open(tmp_path).read(rows[3:8], tokens=True)
    failures = Failures(tmp_path / "failures.csv")
    problems = list_unseen(features, failures)
    assert set(problems) == {"/videos/6.mp4", "/videos/7.mp4"}
    assert list(failures.as_dict()) == ["/videos/4.mp4", "/videos/6.mp4", "/videos/7.mp4"]
    assert "3 windows" in failures.as_dict()["/videos/4.mp4"]


def test_folders_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    rows = make_rows(4)
    with pytest.raises(InputError, match=r"no features\.parquet"):
        FeatureFolder.open(tmp_path)
    make_features(rows, tmp_path)
    folder = FeatureFolder.open(tmp_path)
    folder.check_model("abc", "toy")
    with pytest.raises(InputError, match="another model"):
        folder.check_model("def", "other")
    with pytest.raises(InputError, match="none of the 1 videos"):
        folder.read([Row(Path("/elsewhere/0.mp4"))], tokens=False)
    assert folder.sampling.stride == 4
    token_file(tmp_path, rows[1]).unlink()
    folder.read(rows, tokens=False)
    with pytest.raises(InputError, match="no tokens of 1 videos"):
        folder.read(rows, tokens=True)
    Features(folder.features.table, {"model": {"sha256": "abc"}}).save(tmp_path)
    with pytest.raises(InputError, match="which windows"):
        _ = FeatureFolder.open(tmp_path).sampling


def test_damaged_tokens_are_named(tmp_path: Path) -> None:
    rows = make_rows(3)
    features = make_features(rows, tmp_path)
    token_file(tmp_path, rows[1]).write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"1\.mp4, window 1"):
        features.tokens([4])


def test_pooling_all_windows_agrees_with_pooling_rows(tmp_path: Path) -> None:
    features = make_features(make_rows(20), tmp_path)
    head = AttentiveHead(WIDTH, 1, blocks=1, heads=2).eval()
    head.reset(torch.Generator().manual_seed(0))
    windows = pool_windows(head, features)
    assert np.isfinite(windows).all(axis=1).tolist() == (
        features.extracted.features.table.column("ok").to_pylist()
    )
    seen = np.flatnonzero(features.seen)
    of_rows = pool_rows([head], features, [features.windows_of()[i] for i in seen])[0]
    means = RowFeatures.of(features.pooled(windows), features.rows, tmp_path).vectors
    np.testing.assert_allclose(of_rows, means[seen], atol=1e-5)


@pytest.mark.parametrize("blocks", [0, 1])
def test_the_attentive_probe_finds_the_token_that_tells(blocks: int, tmp_path: Path) -> None:
    rows = make_rows(80)
    features = make_features(rows, tmp_path)
    labels = BINARY.encode(rows)
    seen = np.flatnonzero(features.seen)
    train, val = (
        Examples(part, features.vectors[part], labels[part]) for part in (seen[:44], seen[44:])
    )
    state = torch.random.get_rng_state()
    epochs = 6 if blocks == 0 else 4
    fits = [
        fit_attentive(train, val, BINARY, features, 0, blocks=blocks, epochs=epochs)
        for _ in range(2 if blocks == 0 else 1)
    ]
    assert torch.equal(torch.random.get_rng_state(), state)
    fitted = fits[0]
    assert len(fitted.trials) == 20
    assert fitted.score > 0.95
    for name, tensor in fitted.head.state_dict().items():
        assert torch.equal(tensor, fits[-1].head.state_dict()[name]), name
