"""`predict`: new videos -> face tracks -> windows -> what a task model says of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from rich.markup import escape

from openmarlin.console import console, job_progress, say_troubles
from openmarlin.data.extraction import Ends, Extractor, check_weights, ends_of, extract_videos
from openmarlin.data.feed import VideoEnd
from openmarlin.data.manifest import Manifest, Row, read_manifest
from openmarlin.data.parts import PARTS, FinishedVideos
from openmarlin.data.pool import open_pool
from openmarlin.errors import InputError, VideoError
from openmarlin.files import cut_name
from openmarlin.model.zoo import SHIPPED_TASKS, caution
from openmarlin.output import Failures, OutputFolder, part_name
from openmarlin.report.answers import MOST_OUTPUTS, Wording
from openmarlin.report.predict import write_report
from openmarlin.report.predict_overlay import AnswersOverTime, draw_answers
from openmarlin.settings import documented, read_settings
from openmarlin.tasks import window_table
from openmarlin.tasks.inference import (
    Answers,
    PoolingEncoder,
    answer_windows,
    extractor_of,
    unlabelled,
)
from openmarlin.tasks.labels import Target
from openmarlin.tasks.model import TaskModel
from openmarlin.tasks.predictions import PREDICTIONS_FILE, Predictions
from openmarlin.tasks.settings import PredictSettings

if TYPE_CHECKING:
    import pandas as pd

REPORT_FILE, OVERLAY = "report.html", "overlay"
_FILES = (
    *(window_table.PARQUET_FILE, window_table.CSV_FILE, PREDICTIONS_FILE, REPORT_FILE),
    *(PARTS, OVERLAY),
)

_NOT_READ = "not read"
_SAID = 12  # videos in the terminal


@dataclass(frozen=True, repr=False)
class Prediction:
    """What a task model says of videos.

    Attributes:
        windows: a row a window and face; the columns stand in docs/predict.md.
        videos: a dictionary a video (or part of one), by the columns of predictions.csv; None where
            there is no value.
        failures: {video: reason} of what could not be read, or only in part. Parts of a video are
            named as "a.mp4 [1.0 s to 2.0 s]".
        meta: model, task, settings, counts and throughput, as in meta.json of `extract`.
        out: the folder that was written.
    """

    windows: pa.Table
    videos: list[dict[str, Any]]
    failures: dict[str, str]
    meta: dict[str, Any]
    out: Path

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self.videos)} videos, {len(self.windows)} windows)"

    def to_pandas(self) -> pd.DataFrame:
        """The table of windows as a pandas DataFrame."""
        if find_spec("pandas") is None:
            raise InputError("to_pandas() needs pandas: pip install 'openmarlin[pandas]'")
        frame: pd.DataFrame = self.windows.to_pandas()
        return frame


@documented(PredictSettings)
def predict(
    inputs: str | Path | Sequence[str | Path],
    *,
    config: str | Path | None = None,
    progress: bool = False,
    **settings: Any,
) -> Prediction:
    """Let a trained model of a task judge new videos.

    Args:
        inputs: a video, a folder, a CSV with a `video` column, or several of them.
        config: a recipe, a YAML file of settings; arguments count more.
        progress: show a progress bar.
        {settings}

    Returns:
        The answers, in the order of the inputs, windows and faces.

    Raises:
        OpenMarlinError: the request cannot be carried out. Videos that fail do not raise: they
            are listed in `.failures`, and the rest goes on.
    """
    s = read_settings(PredictSettings, config, settings)
    model = TaskModel.load(s.model)
    manifest = read_manifest(inputs)
    window_table.check_columns(manifest.columns(), model.target)
    encoder = PoolingEncoder(model, s.precision)
    with ExitStack() as stack:
        ends = _ends(s, model, encoder, len(manifest.rows), stack)
        folder = stack.enter_context(_output(s, model))
        folder.begin()
        finished = FinishedVideos(folder.path, model.head.width)
        extracted = extract_videos(
            unlabelled(manifest), finished, folder.failures, ends, verb="predict", progress=progress
        )
        answers = answer_windows(model, extracted, len(manifest.rows))
        meta = _meta(s, model, encoder, manifest, answers, len(folder.failures))
        result = _result(model, manifest, answers, folder, meta)
        if s.overlay:
            _draw_overlays(s, model, manifest, answers, folder, progress=progress)
        failures = list(folder.failures.as_dict().items())
        notes = [video["note"] for video in result.videos]
        report = folder.path / REPORT_FILE
        write_report(report, model, manifest.rows, answers, notes, failures, meta)
    return replace(result, failures=dict(failures), out=s.out)


def _ends(
    s: PredictSettings, model: TaskModel, encoder: PoolingEncoder, n_videos: int, stack: ExitStack
) -> Ends:
    """Who reads and encodes: this process, or the workers of a Ray cluster with the same model."""
    if s.ray is None:
        return _extractor(s, model, encoder).ends
    pool = stack.enter_context(open_pool(s.workers, n_videos, ray=s.ray, out=s.out))
    there = s.model_copy(update={"workers": 1, "precision": encoder.precision})
    return ends_of(pool, partial(_read, s=there, sha256=model.sha256))


def _extractor(s: PredictSettings, model: TaskModel, encoder: PoolingEncoder) -> Extractor:
    sampling = replace(model.sampling, faces=s.faces, limit_s=s.limit_seconds)
    return extractor_of(
        model, encoder, sampling, batch=s.batch, workers=s.workers, keep_boxes=s.overlay
    )


def _read(row: Row, finished: FinishedVideos, s: PredictSettings, sha256: str) -> VideoEnd:
    """One video, in a worker."""
    model, encoder = _model(s.model, s.precision, sha256)
    return _extractor(s, model, encoder).read(row, finished)


@cache
def _model(name: str, precision: str, sha256: str) -> tuple[TaskModel, PoolingEncoder]:
    """The model of a worker."""
    model = TaskModel.load(name)
    check_weights(name, model.sha256, sha256)
    return model, PoolingEncoder(model, precision)


def _output(s: PredictSettings, model: TaskModel) -> OutputFolder:
    return OutputFolder(
        s.out,
        verb="predict",
        settings=s,
        files=_FILES,
        identity={"model_sha256": model.sha256},
        resume=s.resume,
        overwrite=s.overwrite,
    )


def _result(
    model: TaskModel,
    manifest: Manifest,
    answers: Answers,
    folder: OutputFolder,
    meta: dict[str, Any],
) -> Prediction:
    """Both tables, as files and as the result."""
    windows = window_table.window_table(model, manifest, answers)
    window_table.save(folder.path, windows, meta)
    rows, failures = manifest.rows, folder.failures
    no_labels = np.full((len(rows), len(model.target.values)), np.nan)
    # Without a face there is nothing to judge by: the prior counts in `evaluate`, and only there.
    predictions = Predictions(
        model.target, rows, no_labels, answers.judged, answers.seen, model.config.thresholds
    )
    more = {
        "n_windows": answers.n_windows.tolist(),
        "n_without_face": answers.n_without_face.tolist(),
        "note": _notes(manifest, answers, failures),
    }
    predictions.write(folder.path / PREDICTIONS_FILE, more)
    columns = {**predictions.columns(), **more}
    videos = [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]
    return Prediction(windows, videos, failures.as_dict(), meta, folder.path)


def _notes(manifest: Manifest, answers: Answers, failures: Failures) -> list[str]:
    """What is to be known of every row; nothing where all is as it should be."""
    reasons, notes = failures.as_dict(), []
    for i, row in enumerate(manifest.rows):
        reason = reasons.get(part_name(str(row.video), row.part), "")
        if row.key not in answers.extracted.records:
            notes.append(f"{_NOT_READ}: {reason}")
        elif not answers.n_windows[i]:
            notes.append("too short for a window: not judged")
        elif not answers.seen[i]:
            notes.append("; ".join(filter(None, ["no face seen: not judged", reason])))
        else:
            notes.append(reason)
    return notes


def _draw_overlays(
    s: PredictSettings,
    model: TaskModel,
    manifest: Manifest,
    answers: Answers,
    folder: OutputFolder,
    *,
    progress: bool,
) -> None:
    """One video after the other; an overlay that is newer than the part of its video stays."""
    wording = Wording(model.target, model.config.thresholds)
    finished = FinishedVideos(folder.path, model.head.width)
    with job_progress("overlays") as bar:
        bar.disable = bar.disable or not progress
        task = bar.add_task("overlay", total=len(manifest.rows), note="")
        for place, row in enumerate(manifest.rows):
            target = folder.path / OVERLAY / f"{cut_name(row.video.stem, 200)}-{row.key[:6]}.mp4"
            part = finished.part(row)
            if part.is_file() and not _is_newer(target, part):
                said = AnswersOverTime.of(answers, place)
                try:
                    draw_answers(row, target, finished.boxes(row), said, wording, s.limit_seconds)
                except VideoError as error:
                    folder.failures.add(row.video, f"no overlay: {error}", row.part)
            bar.update(task, advance=1)


def _is_newer(path: Path, than: Path) -> bool:
    return path.is_file() and path.stat().st_mtime_ns >= than.stat().st_mtime_ns


def _meta(
    s: PredictSettings,
    model: TaskModel,
    encoder: PoolingEncoder,
    manifest: Manifest,
    answers: Answers,
    n_failures: int,
) -> dict[str, Any]:
    """How it was done, for the report and whoever reads the table of windows."""
    config, extracted = model.encoder.config, answers.extracted
    records = extracted.records
    notes = {str(row.video): records[row.key].notes for row in manifest.rows if row.key in records}
    return {
        "model": {
            "name": config.name,
            "sha256": model.sha256,
            "licence": config.licence,
            "caution": SHIPPED_TASKS.get(s.model) or caution(config),
        },
        "task": {"target": model.config.target, "thresholds": model.config.thresholds},
        "settings": s.recipe(free=False),
        "precision": encoder.precision,
        "backend": encoder.backend,
        "reason": encoder.reason,
        "counts": {
            "videos": len(answers.rows),
            "videos_done": len(records),
            "videos_without_face": int((~answers.seen & (answers.n_windows > 0)).sum()),
            "failures": n_failures,
            "faces": len(answers.faces),
            "windows": int(answers.n_windows.sum()),
            "windows_without_face": int(answers.n_without_face.sum()),
        },
        "throughput": extracted.throughput,
        "notes": {video: told for video, told in notes.items() if told},
    }


def announce(result: Prediction) -> None:
    """Say in a few lines what was seen and done, and where to look."""
    counts = result.meta["counts"]
    say_troubles(result.meta["model"], result.meta["notes"], result.failures)
    for line in _said(result):
        console.print(escape(line), soft_wrap=True)
    console.print(
        f"{counts['videos_done']} of {counts['videos']} videos, {counts['faces']} faces, "
        f"{counts['windows']} windows ({counts['windows_without_face']} without a face), "
        f"{result.meta['throughput']['times_real_time']:.1f}x real time "
        f"-> {escape(str(result.out))}",
        soft_wrap=True,
    )
    console.print(f"Look at {escape(str(result.out / REPORT_FILE))}", soft_wrap=True)


def _said(result: Prediction) -> Iterator[str]:
    """What was said of the first videos that could be read."""
    task = result.meta["task"]
    wording = Wording(Target.of(task["target"]), task["thresholds"])
    prefix = "predicted_" if wording.target.kind == "regression" else "p_"
    names = [prefix + name for name in wording.target.outputs]
    videos = [video for video in result.videos if not video["note"].startswith(_NOT_READ)]
    for video in videos[:_SAID]:
        answer = np.array([video[name] for name in names], np.float64)
        decision, lines = wording.decision(answer), wording.lines(answer, MOST_OUTPUTS)
        said = f"{decision} ({', '.join(lines)})" if lines and lines != [decision] else decision
        yield f"{Path(video['video']).name}: {said if video['face_seen'] else video['note']}"
    if len(videos) > _SAID:
        yield f"... and {len(videos) - _SAID} more in {PREDICTIONS_FILE}"
