"""The frozen features that a probe learns from: extracted here, or by `extract` before.

A row of the manifest has one vector, the mean over its windows with a face. The tokens of a window
stay on disk; a batch of them is in memory at a time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from openmarlin.data.clips import Sampling
from openmarlin.data.extraction import Extracted, Extractor
from openmarlin.data.features import META_FILE, TABLE_FILE, Features
from openmarlin.data.manifest import Manifest, Row
from openmarlin.data.parts import token_file
from openmarlin.errors import InputError, option
from openmarlin.face.landmarker import shared_landmarker
from openmarlin.model.encoder import Encoder
from openmarlin.model.io import weights_sha256
from openmarlin.model.runner import start_runner
from openmarlin.output import Failures, part_name
from openmarlin.tasks.inference import unlabelled

Floats = NDArray[np.float32]

_SAMPLING = {"limit_s": "limit_seconds"}  # fields of Sampling that settings call otherwise


@dataclass(frozen=True)
class RowFeatures:
    """What an encoder makes of the rows of a manifest.

    Attributes:
        extracted: the windows.
        rows: N of them, which `extracted.row_of` counts.
        vectors: (N, D) the mean over the windows with a face; NaN where there is none.
        folder: holds the tokens of each window.
    """

    extracted: Extracted
    rows: Sequence[Row]
    vectors: Floats
    folder: Path

    @classmethod
    def of(cls, extracted: Extracted, rows: Sequence[Row], folder: Path) -> RowFeatures:
        """The means over windows."""
        windows = extracted.features.embeddings
        shown = np.isfinite(windows).all(axis=1)
        sums = np.zeros((len(rows), windows.shape[1]))
        counts = np.zeros(len(rows))
        np.add.at(sums, extracted.row_of[shown], windows[shown])
        np.add.at(counts, extracted.row_of[shown], 1)
        with np.errstate(invalid="ignore"):
            vectors = (sums / counts[:, None]).astype(np.float32)
        return cls(extracted, rows, vectors, folder)

    @property
    def seen(self) -> NDArray[np.bool_]:
        """(N,) whether a face was seen."""
        return np.asarray(np.isfinite(self.vectors).all(axis=1))

    @property
    def windows_a_row(self) -> float:
        """Windows with a face, on average over the rows that show one."""
        n_windows = np.isfinite(self.extracted.features.embeddings).all(axis=1).sum()
        return round(float(n_windows / max(self.seen.sum(), 1)), 2)

    def windows_of(self) -> list[NDArray[np.int64]]:
        """For every row the windows with a face, positions in the table."""
        shown = np.flatnonzero(np.isfinite(self.extracted.features.embeddings).all(axis=1))
        order = np.argsort(self.extracted.row_of[shown], kind="stable")
        edges = np.searchsorted(self.extracted.row_of[shown][order], np.arange(1, len(self.rows)))
        return [part.astype(np.int64) for part in np.split(shown[order], edges)]

    def tokens(self, windows: Sequence[int] | NDArray[np.int64]) -> Floats:
        """Tokens (n, N, D) of some windows, by their positions in the table.

        Raises:
            InputError: their file is missing or damaged.
        """
        table = self.extracted.features.table
        names = [table.column(name).to_numpy() for name in ("window", "face")]
        tokens = []
        for i in windows:
            row = self.rows[int(self.extracted.row_of[i])]
            path, name = token_file(self.folder, row), f"{names[0][i]}-{names[1][i]}"
            try:
                with safe_open(path, framework="numpy") as file:
                    tokens.append(file.get_tensor(name))
            except (OSError, SafetensorError) as error:
                raise InputError(
                    f"{path}: no tokens of {row.title}, window {names[0][i]} ({error}); extract "
                    f"with {option('tokens', True)}"
                ) from None
        return np.stack(tokens).astype(np.float32)

    def pooled(self, vectors: Floats) -> Extracted:
        """The windows with other vectors (W, E) in place of the features."""
        return self.extracted.with_vectors(vectors)


class _Tokens:
    """An encoder that also gives the tokens where they are wanted."""

    def __init__(self, encoder: Encoder, precision: str, tokens: bool) -> None:
        self._runner, self._tokens = start_runner(encoder, precision, "auto"), tokens

    def __call__(self, clips: NDArray[np.uint8]) -> tuple[Floats, Floats | None]:
        runner = self._runner.result()
        return runner(clips, tokens=True) if self._tokens else (runner(clips), None)


def extract_features(
    encoder: Encoder,
    rows: Sequence[Row],
    sampling: Sampling,
    folder: Path,
    failures: Failures,
    *,
    tokens: bool,
    precision: str = "auto",
    batch: int = 8,
    workers: int | None = None,
    progress: bool = False,
) -> RowFeatures:
    """Read the videos of some rows; what `folder` holds already is not read again.

    The folder becomes one that `extract` could have written: another probe may name it.
    """
    plain = unlabelled(Manifest(list(rows)))
    extractor = Extractor(
        _Tokens(encoder, precision, tokens),
        encoder.config,
        encoder.config.width,
        sampling,
        None if sampling.precropped else shared_landmarker(),
        batch,
        workers,
    )
    extracted = extractor.run(plain, folder, failures, verb="features", progress=progress)
    meta = {
        "model": {"name": encoder.config.name, "sha256": weights_sha256(encoder)},
        "settings": {**settings_of(sampling), "tokens": tokens},
    }
    Features(extracted.features.table, meta).save(folder)
    return RowFeatures.of(extracted, rows, folder)


def settings_of(sampling: Sampling) -> dict[str, Any]:
    """A sampling under the names of settings."""
    return {key: getattr(sampling, name) for name, key in _sampling_keys().items()}


@dataclass(frozen=True)
class FeatureFolder:
    """A folder of `extract`.

    Attributes:
        path: of it.
        features: its table and meta.json.
    """

    path: Path
    features: Features

    @classmethod
    def open(cls, path: Path) -> FeatureFolder:
        """Read it.

        Raises:
            InputError: there is no such folder, or it has no table or meta.json.
        """
        for name in (TABLE_FILE, META_FILE):
            if not (path / name).is_file():
                raise InputError(
                    f"{option('features', path)}: no {name} there; name a folder that `openmarlin "
                    "extract` wrote, or `features` in one of `openmarlin probe`"
                )
        return cls(path, Features.load(path))

    @property
    def sampling(self) -> Sampling:
        """Which windows it holds."""
        return Sampling(**{name: self.settings[key] for name, key in _sampling_keys().items()})

    @property
    def settings(self) -> dict[str, Any]:
        """Those of the windows, by their names.

        Raises:
            InputError: meta.json does not say.
        """
        settings = self.features.meta.get("settings")
        keys = _sampling_keys().values()
        if not isinstance(settings, dict) or not set(keys) <= set(settings):
            raise InputError(
                f"{self.path / META_FILE}: does not say which windows were taken; extract again"
            )
        return {key: settings[key] for key in keys}

    def check_model(self, sha256: str, name: str) -> None:
        """The features are those of a model.

        Raises:
            InputError: they are of another.
        """
        model = self.features.meta.get("model") or {}
        if model.get("sha256") != sha256:
            raise InputError(
                f"{option('features', self.path)}: features of another model "
                f"({model.get('name', 'unknown')}), not of {name}; name theirs with "
                f"{option('model')}"
            )

    def read(self, rows: Sequence[Row], *, tokens: bool) -> RowFeatures:
        """The windows of some rows; those that are not there have none.

        Raises:
            InputError: all videos are missing, or the tokens of some.
        """
        table = self.features.table
        places: dict[str, int] = {row.key: i for i, row in enumerate(rows)}
        keys = [Row(Path(video), *part).key for video, part in zip(*_parts(table), strict=True)]
        row_of = np.array([places.get(key, -1) for key in keys], np.int64)
        if not (row_of >= 0).any():
            raise InputError(
                f"{option('features', self.path)}: none of the {len(rows)} videos is in its table "
                f"({rows[0].title}, ...); videos are told by their paths: extract these"
            )
        shown = np.unique(row_of[table.column("ok").to_numpy() & (row_of >= 0)]).tolist()
        without = [rows[i] for i in shown if not token_file(self.path, rows[i]).is_file()]
        if tokens and without:
            raise InputError(
                f"{option('features', self.path)}: no tokens of {len(without)} videos "
                f"({without[0].title}, ...); extract with {option('tokens', True)}"
            )
        kept = np.flatnonzero(row_of >= 0)
        kept = kept[np.argsort(row_of[kept], kind="stable")]
        features = Features(table.take(kept).combine_chunks(), self.features.meta)
        return RowFeatures.of(Extracted(features, row_of[kept], {}, [], {}), rows, self.path)


def list_unseen(features: RowFeatures, failures: Failures) -> dict[str, str]:
    """Put the rows without a face, and those without any window, on the list of failures.

    Returns:
        What could not be read at all or only in part: {video: reason}.
    """
    n_windows = np.bincount(features.extracted.row_of, minlength=len(features.rows)).tolist()
    listed = failures.as_dict()
    for i, row in enumerate(features.rows):
        if not n_windows[i] and part_name(str(row.video), row.part) not in listed:
            failures.add(row.video, f"not among the features in {features.folder}", row.part)
    problems = failures.as_dict()
    for i in np.flatnonzero(~features.seen).tolist():
        row = features.rows[i]
        if n_windows[i] and part_name(str(row.video), row.part) not in listed:
            windows = f"{n_windows[i]} window" + "s" * (n_windows[i] != 1)
            failures.add(row.video, f"no face in {windows}", row.part)
    failures.sort((row.video, row.part) for row in features.rows)
    return problems


def _sampling_keys() -> dict[str, str]:
    """Fields of Sampling -> names of settings."""
    return {name: _SAMPLING.get(name, name) for name in Sampling.__dataclass_fields__}


def _parts(table: pa.Table) -> tuple[list[str], list[tuple[float | None, float | None]]]:
    """Videos of the windows, and which part of each."""
    bounds: list[list[float | None]] = []
    for name in ("part_start_s", "part_end_s"):
        values: list[Any] = [math.nan] * len(table)
        if name in table.column_names:
            values = table.column(name).to_pylist()
        bounds.append([None if math.isnan(value) else float(value) for value in values])
    videos = [str(video) for video in table.column("video").to_pylist()]
    return videos, list(zip(*bounds, strict=True))
