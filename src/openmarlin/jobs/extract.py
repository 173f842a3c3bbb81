"""`extract`: videos -> face tracks -> windows -> one feature vector a window, with a report."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.markup import escape

from openmarlin.console import console, say_troubles
from openmarlin.data.clips import Sampling
from openmarlin.data.extraction import (
    Ends,
    Extracted,
    Extractor,
    check_weights,
    ends_of,
    extract_videos,
)
from openmarlin.data.features import META_FILE, TABLE_FILE, Features, check_columns, row_titles
from openmarlin.data.feed import VideoEnd
from openmarlin.data.formats import SUFFIXES
from openmarlin.data.manifest import Manifest, Row, read_manifest
from openmarlin.data.parts import PARTS, TOKENS, FinishedVideos
from openmarlin.data.pool import open_pool
from openmarlin.data.thumbs import WindowThumb
from openmarlin.errors import InputError, option
from openmarlin.face.landmarker import shared_landmarker
from openmarlin.jobs.settings import ExtractSettings
from openmarlin.model.io import load, weights_sha256
from openmarlin.model.runner import EncoderRunner, choose, start_runner
from openmarlin.model.zoo import caution
from openmarlin.native import claim_process
from openmarlin.output import Failures, OutputFolder
from openmarlin.report.extract import write_report
from openmarlin.settings import documented, read_settings
from openmarlin.storage import is_url, refuse_url

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
        ends = _ends(s, engine, len(manifest.rows), is_folder, stack)
        if s.out is not None and is_folder:
            folder = stack.enter_context(_output(s.out, s, engine))
            folder.begin()
            path, failures = folder.path, folder.failures
        else:
            path = Path(stack.enter_context(TemporaryDirectory(prefix="openmarlin-")))
            failures = Failures(path / "failures.csv")
        finished = FinishedVideos(path, engine.config.width)
        extracted = extract_videos(manifest, finished, failures, ends, progress=progress)
        meta = _meta(s, engine, manifest, extracted, len(failures))
        result = Extraction(
            extracted.features.table, meta, extracted.thumbs, failures.as_dict(), s.out
        )
        if s.out is not None:
            result.save(path if is_folder else s.out)
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
    if s.out is not None and not is_folder:
        refuse_url(s.out)
    if s.out is not None and not is_folder and s.out.exists() and not s.overwrite:
        raise InputError(
            f"{s.out}: exists already; add {option('overwrite', True)} or name another file"
        )
    return is_folder


def _ends(
    s: ExtractSettings, engine: Engine, n_videos: int, is_folder: bool, stack: ExitStack
) -> Ends:
    """Who reads and encodes: this process, or the workers of a Ray cluster with the same model."""
    if s.ray is None:
        return engine.extractor().ends
    out = s.out if is_folder else None
    pool = stack.enter_context(open_pool(s.workers, n_videos, ray=s.ray, out=out))
    there = {"workers": 1, "precision": engine.precision, "backend": engine.backend}
    return ends_of(pool, partial(_read, s=s.model_copy(update=there), sha256=engine.sha256))


def _read(row: Row, finished: FinishedVideos, s: ExtractSettings, sha256: str) -> VideoEnd:
    """One video, in a worker."""
    return _engine(s, sha256).extractor().read(row, finished)


@cache
def _engine(s: ExtractSettings, sha256: str) -> Engine:
    """The engine of a worker."""
    engine = Engine(s)
    check_weights(s.model, engine.sha256, sha256)
    return engine


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


class Engine:
    """The model that the settings name, and the face nets beside it.

    Raises:
        OpenMarlinError: there is no such model, or it cannot be run like this. Nothing has been
            read or written by then.
    """

    def __init__(self, s: ExtractSettings) -> None:
        claim_process()
        module = load(s.model, part="encoder")
        self.config, self.sha256 = module.config, weights_sha256(module)
        self._sampling = Sampling(
            s.rate, s.stride, s.tail, s.faces, s.precropped, s.align, s.limit_seconds
        )
        self._sampling.windows(self.config.frames)  # what does not fit is refused here
        device = next(module.parameters()).device
        self.precision, self.backend, self.reason = choose(s.precision, s.backend, device)
        self._settings, self._module = s, module

    def extractor(self) -> Extractor:
        """What reads videos for it.

        It is not kept: two that hold each other live on, with all threads, until garbage is
        collected.
        """
        s = self._settings
        self._started  # noqa: B018 - it is compiled while the first video is being read
        return Extractor(
            self,
            self.config,
            self.config.width,
            self._sampling,
            None if s.precropped else shared_landmarker(),
            s.batch,
            s.workers,
        )

    @cached_property
    def _started(self) -> Future[EncoderRunner]:
        return start_runner(self._module, self.precision, self.backend)

    def __call__(
        self, clips: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """Features, and tokens if they are wanted."""
        run = self._started.result()
        return run(clips, tokens=True) if self._settings.tokens else (run(clips), None)


def _meta(
    s: ExtractSettings,
    engine: Engine,
    manifest: Manifest,
    extracted: Extracted,
    n_failures: int,
) -> dict[str, Any]:
    """What meta.json holds (docs/features.md)."""
    features, records = extracted.features, extracted.records
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
        "precision": engine.precision,
        "backend": engine.backend,
        "reason": engine.reason,
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
        "throughput": extracted.throughput,
        "notes": {video: told for video, told in notes.items() if told},
    }


def announce(result: Extraction) -> None:
    """Say in a few lines what was done and where to look."""
    counts = result.meta["counts"]
    say_troubles(result.meta["model"], result.meta["notes"], result.failures)
    console.print(
        f"{counts['videos_done']} of {counts['videos']} videos, {counts['faces']} faces, "
        f"{counts['windows']} windows ({counts['windows_without_face']} without a face), "
        f"{result.meta['throughput']['times_real_time']:.1f}x real time"
        + (f" -> {escape(str(result.out))}" if result.out else ""),
        soft_wrap=True,
    )
    if result.out is not None and (is_url(result.out) or (result.out / REPORT_FILE).is_file()):
        console.print(f"Look at {escape(str(result.out / REPORT_FILE))}", soft_wrap=True)
