"""`extract`: videos -> face tracks -> windows -> one feature vector a window, with a report."""

from __future__ import annotations

import os
import platform
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.markup import escape

from openmarlin.console import console, job_progress
from openmarlin.data.clips import FaceClip, Sampling
from openmarlin.data.features import (
    META_FILE,
    TABLE_FILE,
    Features,
    WindowRow,
    check_columns,
    row_titles,
)
from openmarlin.data.feed import VideoEnd, VideoFeed
from openmarlin.data.formats import SUFFIXES
from openmarlin.data.manifest import Manifest, Row, read_manifest
from openmarlin.data.parts import PARTS, TOKENS, FinishedVideos, Record
from openmarlin.data.thumbs import ThumbKeeper, WindowThumb, make_thumb
from openmarlin.errors import InputError, option
from openmarlin.face.landmarker import Landmarker
from openmarlin.jobs.settings import ExtractSettings
from openmarlin.model.io import load, weights_sha256
from openmarlin.model.runner import EncoderRunner, choose
from openmarlin.model.zoo import caution
from openmarlin.native import claim_process
from openmarlin.output import Failures, OutputFolder
from openmarlin.report.extract import write_report
from openmarlin.settings import documented, read_settings

MAX_WORKERS = 8
"""More readers than this outrun any encoder, and each holds seconds of video."""

REPORT_FILE = "report.html"
_FILES = (TABLE_FILE, META_FILE, REPORT_FILE, PARTS, TOKENS)


@dataclass(frozen=True, repr=False)
class Extraction(Features):
    """Features with what a report shows besides.

    Attributes:
        thumbs: crops of some windows.
        failures: {video: reason} of what could not be read, or only in part. Parts of a video are
            named as "a.mp4 [1.0 s to 2.0 s]".
        out: the folder or file that was written, if any.
    """

    thumbs: list[WindowThumb] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    out: Path | None = None

    def report(self, path: str | os.PathLike[str]) -> Path:
        """Write the report, one self-contained HTML file."""
        return write_report(Path(path), self, self.thumbs, list(self.failures.items()))


@documented(ExtractSettings)
def extract(
    inputs: str | Path | Sequence[str | Path],
    *,
    config: str | Path | None = None,
    progress: bool = False,
    **settings: Any,
) -> Extraction:
    """Turn videos of faces into features.

    Args:
        inputs: a video, a folder, a CSV with a `video` column, or several of them.
        config: a recipe, a YAML file of settings; arguments count more.
        progress: show a progress bar.
        {settings}

    Returns:
        The features, in the order of the inputs, windows and faces.

    Raises:
        OpenMarlinError: the request cannot be carried out. Videos that fail do not raise: they
            are listed in `.failures`, and the rest goes on.
    """
    s = read_settings(ExtractSettings, config, settings)
    is_folder = _check_out(s)
    manifest = read_manifest(inputs)
    check_columns(manifest.columns())
    engine = Engine(s)
    with ExitStack() as stack:
        if s.out is not None and is_folder:
            folder = stack.enter_context(_output(s.out, s, engine))
            folder.begin()
            path, failures = folder.path, folder.failures
        else:
            path = Path(stack.enter_context(TemporaryDirectory(prefix="openmarlin-")))
            failures = Failures(path / "failures.csv")
        finished = FinishedVideos(path, engine.dim)
        throughput = _read_and_encode(s, manifest, engine, finished, failures, progress=progress)
        features, records, thumbs = finished.merge(manifest)
        for row in manifest.rows:  # of earlier sittings, too
            if row.key in records and records[row.key].problems:
                told = "; ".join(records[row.key].problems)
                failures.add(row.video, f"partly read: {told}", row.part)
        failures.sort((row.video, row.part) for row in manifest.rows)
        meta = _meta(s, engine, manifest, features, records, len(failures), throughput)
        result = Extraction(features.table, meta, thumbs, failures.as_dict(), s.out)
        if s.out is not None:
            result.save(s.out)
        if is_folder:
            result.report(path / REPORT_FILE)
    return result


def _check_out(s: ExtractSettings) -> bool:
    """Whether `out` is a folder; one file cannot be resumed."""
    is_folder = s.out is not None and s.out.suffix.lower() not in SUFFIXES
    for name in ("resume", "tokens"):
        if getattr(s, name) and not is_folder:
            raise InputError(
                f"{option(name, True)} needs a folder as {option('out')}, not {s.out or 'nothing'}"
            )
    if s.out is not None and not is_folder and s.out.exists() and not s.overwrite:
        raise InputError(
            f"{s.out}: exists already; add {option('overwrite', True)} or name another file"
        )
    return is_folder


def _output(out: Path, s: ExtractSettings, engine: Engine) -> OutputFolder:
    identity = {"model_sha256": engine.sha256}
    return OutputFolder(
        out,
        verb="extract",
        settings=s,
        files=_FILES,
        identity=identity,
        resume=s.resume,
        overwrite=s.overwrite,
    )


@cache
def _landmarker() -> Landmarker:
    """The face nets, loaded once a process (it takes a second or two)."""
    return Landmarker(precise=False)


class Engine:
    """The model that the settings name, and the face nets beside it.

    Raises:
        OpenMarlinError: there is no such model, or it cannot be run like this. Nothing has been
            read or written by then.
    """

    def __init__(self, s: ExtractSettings) -> None:
        claim_process()
        module = load(s.model, part="encoder")
        self.config, self.dim = module.config, module.config.width
        self.sha256 = weights_sha256(module)
        self.tokens = s.tokens
        self.sampling = Sampling(
            s.rate, s.stride, s.tail, s.faces, s.precropped, s.align, s.limit_seconds
        )
        self.sampling.windows(self.config.frames)  # what does not fit is refused here
        choose(s.precision, s.backend, next(module.parameters()).device)
        self.landmarker = None if s.precropped else _landmarker()
        starter = ThreadPoolExecutor(1, thread_name_prefix="encoder")
        self._runner = starter.submit(EncoderRunner, module, s.precision, s.backend, shared=True)
        starter.shutdown(wait=False)

    @property
    def runner(self) -> EncoderRunner:
        """Compiling it takes a second, in which the first video is being read already."""
        return self._runner.result()


@dataclass(slots=True)
class OpenVideo:
    """A video that is being read: its rows, thumbs and tokens so far."""

    windows: list[WindowRow] = field(default_factory=list)
    thumbs: ThumbKeeper = field(default_factory=ThumbKeeper)
    tokens: dict[str, NDArray[np.float16]] = field(default_factory=dict)


def _read_and_encode(
    s: ExtractSettings,
    manifest: Manifest,
    engine: Engine,
    finished: FinishedVideos,
    failures: Failures,
    *,
    progress: bool,
) -> dict[str, float]:
    """One sitting: reads what is not done yet, encodes in batches that mix videos, commits.

    Returns:
        Speed of this sitting; what an earlier one did is not counted.
    """
    todo = [row for row in manifest.rows if not finished.is_done(row)]
    videos: defaultdict[str, OpenVideo] = defaultdict(OpenVideo)
    speed = Speed()
    feed = VideoFeed(
        todo,
        engine.sampling,
        engine.landmarker,
        size=engine.config.image_size,
        frames=engine.config.frames,
        workers=s.workers or min(os.cpu_count() or 1, MAX_WORKERS),
        most=s.batch,
    )
    with job_progress("videos") as bar, feed:
        bar.disable = bar.disable or not progress
        n_rows = len(manifest.rows)
        task = bar.add_task("extract", total=n_rows, completed=n_rows - len(todo), note="")
        for items in feed:
            clips = [(videos[row.key], item) for row, item in items if isinstance(item, FaceClip)]
            _encode(clips, engine)
            speed.windows += len(clips)
            for row, item in items:
                if isinstance(item, VideoEnd):
                    _close(row, item, videos.pop(row.key, OpenVideo()), finished, failures)
                    speed.video_s += item.seconds
                    bar.update(task, advance=1, note=speed.text())
    return speed.record()


def _encode(clips: Sequence[tuple[OpenVideo, FaceClip]], engine: Engine) -> None:
    """Every clip becomes a row of its video; those with a face are encoded as one batch."""
    for video, clip in clips:
        video.windows.append(clip.row)
    shown = [(video, clip, clip.pixels) for video, clip in clips if clip.pixels is not None]
    if not shown:
        return
    batch = np.stack([pixels for _, _, pixels in shown])
    tokens: NDArray[np.float32] | None = None
    if engine.tokens:
        embeddings, tokens = engine.runner(batch, tokens=True)
    else:
        embeddings = engine.runner(batch)
    for i, (video, clip, pixels) in enumerate(shown):
        row = clip.row
        row.embedding, row.ok = embeddings[i], True
        if tokens is not None:
            video.tokens[f"{row.window}-{row.face}"] = tokens[i].astype(np.float16)
        if video.thumbs.wants_next():
            video.thumbs.keep(make_thumb(row.video, row.face, row.window, pixels, clip.points))


def _close(
    row: Row, end: VideoEnd, video: OpenVideo, finished: FinishedVideos, failures: Failures
) -> None:
    """A video was read to its end, and all its clips are encoded: keep it, or list why not."""
    if end.error is not None:
        finished.discard(row)
        failures.add(row.video, end.error, row.part)
        return
    record = Record(end.seconds, end.problems, end.notes, end.stamp)
    finished.commit(row, video.windows, video.thumbs.thumbs, video.tokens, record)


@dataclass(slots=True)
class Speed:
    """How much a sitting has done since it began."""

    windows: int = 0
    video_s: float = 0.0
    began: float = field(default_factory=time.perf_counter)

    def record(self) -> dict[str, float]:
        wall_s = time.perf_counter() - self.began
        return {
            "windows_per_s": self.windows / wall_s,
            "video_s": self.video_s,
            "wall_s": wall_s,
            "times_real_time": self.video_s / wall_s,
        }

    def text(self) -> str:
        return f"{self.windows} windows, {self.record()['times_real_time']:.1f}x real time"


def _meta(
    s: ExtractSettings,
    engine: Engine,
    manifest: Manifest,
    features: Features,
    records: Mapping[str, Record],
    n_failures: int,
    throughput: dict[str, float],
) -> dict[str, Any]:
    """What meta.json holds (docs/features.md)."""
    ok = np.asarray(features.table.column("ok").to_numpy())
    face_column = features.table.column("face").to_numpy().tolist()
    faces = set(zip(row_titles(features.table), face_column, strict=True))
    config = engine.config
    notes = {str(row.video): records[row.key].notes for row in manifest.rows if row.key in records}
    return {
        "model": {
            "name": config.name,
            "sha256": engine.sha256,
            "trained": config.trained,
            "source": config.source,
            "licence": config.licence,
            "caution": caution(config),
        },
        "settings": s.recipe(free=False),
        "precision": engine.runner.precision,
        "backend": engine.runner.backend,
        "reason": engine.runner.reason,
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("openmarlin", "torch", "openvino", "av", "numpy")},
        },
        "counts": {
            "videos": len(manifest.rows),
            "videos_done": len(records),
            "failures": n_failures,
            "faces": len({face for face in faces if face[1] >= 0}),
            "windows": len(features),
            "windows_without_face": int((~ok).sum()),
        },
        "throughput": throughput,
        "notes": {video: told for video, told in notes.items() if told},
    }


def announce(result: Extraction) -> None:
    """Say in a few lines what was done and where to look."""
    counts, model = result.meta["counts"], result.meta["model"]
    if model["licence"]:
        console.print(f"Weights: {model['name']}, {model['licence']}.")
    if model["caution"]:
        console.print(f"[yellow]{escape(model['caution'])}[/]", soft_wrap=True)
    for video, notes in result.meta["notes"].items():
        console.print(f"[yellow]note[/] {escape(f'{video}: ' + '; '.join(notes))}", soft_wrap=True)
    for video, reason in result.failures.items():
        console.print(f"[red]failed[/] {escape(f'{video}: {reason}')}", soft_wrap=True)
    console.print(
        f"{counts['videos_done']} of {counts['videos']} videos, {counts['faces']} faces, "
        f"{counts['windows']} windows ({counts['windows_without_face']} without a face), "
        f"{result.meta['throughput']['times_real_time']:.1f}x real time"
        + (f" -> {escape(str(result.out))}" if result.out else ""),
        soft_wrap=True,
    )
    if result.out is not None and (result.out / REPORT_FILE).is_file():
        console.print(f"Look at {escape(str(result.out / REPORT_FILE))}", soft_wrap=True)
