"""`faces`: videos -> a row a frame and face: box, head pose, expression, perhaps the mesh."""

from __future__ import annotations

import multiprocessing
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache, cached_property, partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from rich.markup import escape

from openmarlin.console import console, job_progress
from openmarlin.data.face_parts import OVERLAY, FaceParts, FaceRecord
from openmarlin.data.face_reader import FaceSampling, measure_video
from openmarlin.data.face_table import (
    SUFFIXES,
    TABLE_FILE,
    check_columns,
    points_of,
    read_faces,
)
from openmarlin.data.formats import to_json
from openmarlin.data.manifest import Manifest, Row, read_manifest
from openmarlin.data.parts import PARTS
from openmarlin.data.pool import Pool, open_pool, reason_of
from openmarlin.data.thumbs import save_thumbs
from openmarlin.errors import InputError, option
from openmarlin.face.landmarker import DETECT_EVERY, Landmarker
from openmarlin.files import atomic
from openmarlin.jobs.settings import FacesSettings
from openmarlin.native import claim_process, one_opencv_thread, return_large_blocks
from openmarlin.output import Failures, OutputFolder
from openmarlin.report.face_overlay import draw_overlay
from openmarlin.report.faces import write_report
from openmarlin.settings import documented, read_settings
from openmarlin.storage import is_url, refuse_url

if TYPE_CHECKING:
    import pandas as pd

META_FILE, REPORT_FILE = "meta.json", "report.html"
_FILES = (TABLE_FILE, META_FILE, REPORT_FILE, PARTS, OVERLAY)


@dataclass(frozen=True, repr=False)
class Faces:
    """What `faces` measured.

    Attributes:
        meta: settings, versions, counts and throughput; what meta.json holds.
        failures: {video: reason} of what could not be read, or only in part. Parts of a video are
            named as "a.mp4 [1.0 s to 2.0 s]".
        out: the folder or file that was written, if any.
        in_memory: the table, where nothing was written.
    """

    meta: dict[str, Any]
    failures: dict[str, str] = field(default_factory=dict)
    out: Path | None = None
    in_memory: pa.Table | None = None

    def __repr__(self) -> str:
        counts = self.meta["counts"]
        return f"Faces({counts['videos_done']} videos, {counts['frames']} frames)"

    @cached_property
    def table(self) -> pa.Table:
        """The arrow table, a row a frame and face; read from `out` when first asked for."""
        if self.in_memory is not None:
            return self.in_memory
        assert self.out is not None
        return read_faces(self.out)

    @property
    def points(self) -> NDArray[np.float32]:
        """Mesh points (rows, 478, 3) in source pixels, NaN where a row is not ok."""
        return points_of(self.table)

    def to_pandas(self) -> pd.DataFrame:
        """The table as a pandas DataFrame."""
        if find_spec("pandas") is None:
            raise InputError("to_pandas() needs pandas: pip install 'openmarlin[pandas]'")
        frame: pd.DataFrame = self.table.to_pandas()
        return frame


@documented(FacesSettings)
def faces(
    inputs: str | Path | Sequence[str | Path],
    *,
    config: str | Path | None = None,
    progress: bool = False,
    **settings: Any,
) -> Faces:
    """Measure the faces of videos: where they are, how heads are turned, what expressions show.

    More than one worker means processes: a script that calls this needs the usual
    `if __name__ == "__main__":`.

    Args:
        inputs: a video, a folder, a CSV with a `video` column, or several of them.
        config: a recipe, a YAML file of settings; arguments count more.
        progress: show a progress bar.
        {settings}

    Raises:
        OpenMarlinError: the request cannot be carried out. Videos that fail do not raise: they
            are listed in `.failures`, and the rest goes on.
    """
    s = read_settings(FacesSettings, config, settings)
    is_folder = _check_out(s)
    claim_process()
    manifest = read_manifest(inputs)
    check_columns(manifest.columns())
    with ExitStack() as stack:
        out = s.out if is_folder else None
        pool = stack.enter_context(open_pool(s.workers, len(manifest.rows), ray=s.ray, out=out))
        if s.out is not None and is_folder:
            folder = stack.enter_context(_output(s.out, s))
            folder.begin()
            path, failures = folder.path, folder.failures
        else:
            path = Path(stack.enter_context(TemporaryDirectory(prefix="openmarlin-")))
            failures = Failures(path / "failures.csv")
        parts = FaceParts(path, points=s.points, overlay=s.overlay)
        speed = _measure_all(s, manifest, parts, failures, pool, progress=progress)
        records = _list_problems(manifest, parts, failures)
        meta = _meta(s, manifest, records, len(failures), speed)
        target = s.out if s.out is not None and not is_folder else path / TABLE_FILE
        parts.merge(manifest, target)
        table = read_faces(target) if s.out is None else None
        if is_folder:
            with atomic(path / META_FILE) as part:
                part.write_text(to_json(meta, indent=2) + "\n", encoding="utf-8")
            write_report(path / REPORT_FILE, manifest, parts, meta, failures.as_dict())
    return Faces(meta, failures.as_dict(), s.out, table)


def _check_out(s: FacesSettings) -> bool:
    """Whether `out` is a folder; one file can neither be resumed nor hold videos."""
    suffix = "" if s.out is None else s.out.suffix.lower()
    is_folder = s.out is not None and suffix not in SUFFIXES
    for name in ("resume", "overlay"):
        if getattr(s, name) and not is_folder:
            raise InputError(
                f"{option(name, True)} needs a folder as {option('out')}, not {s.out or 'nothing'}"
            )
    if s.points and suffix == ".csv":
        raise InputError(
            f"{option('points', True)} does not fit into a CSV: name a .parquet or a folder as "
            f"{option('out')}"
        )
    if s.out is not None and not is_folder:
        refuse_url(s.out)
    if s.out is not None and not is_folder and s.out.exists() and not s.overwrite:
        raise InputError(
            f"{s.out}: exists already; add {option('overwrite', True)} or name another file"
        )
    return is_folder


def _output(out: Path, s: FacesSettings) -> OutputFolder:
    return OutputFolder(
        out, verb="faces", settings=s, files=_FILES, resume=s.resume, overwrite=s.overwrite
    )


def _measure_all(
    s: FacesSettings,
    manifest: Manifest,
    parts: FaceParts,
    failures: Failures,
    pool: Pool,
    *,
    progress: bool,
) -> dict[str, float]:
    """One sitting: measures what is not done yet.

    Returns:
        Speed of this sitting; what an earlier one did is not counted.
    """
    todo = [row for row in manifest.rows if not parts.is_done(row)]
    sampling = FaceSampling(s.rate, s.faces, s.limit_seconds, parts.keep_points)
    began, video_s, frames, n_rows = time.perf_counter(), 0.0, 0, len(manifest.rows)
    with job_progress("videos") as bar:
        bar.disable = bar.disable or not progress
        task = bar.add_task("faces", total=n_rows, completed=n_rows - len(todo), note="")
        measure = partial(_measure, sampling=sampling, parts=parts)
        for row, outcome in pool.run_each(measure, todo):
            if isinstance(outcome, FaceRecord):
                video_s, frames = video_s + outcome.seconds, frames + outcome.frames
            else:
                parts.discard(row)
                failures.add(row.video, reason_of(outcome), row.part)
            rate = frames / (time.perf_counter() - began)
            bar.update(task, advance=1, note=f"{frames:,} frames, {rate:.0f} a second")
    wall_s = time.perf_counter() - began
    return {
        "frames_per_s": frames / wall_s,
        "video_s": video_s,
        "wall_s": wall_s,
        "times_real_time": video_s / wall_s,
    }


@cache
def _landmarker() -> Landmarker:
    """The face nets of this process."""
    return Landmarker(detect_every=DETECT_EVERY)


def _measure(row: Row, sampling: FaceSampling, parts: FaceParts) -> FaceRecord:
    """One video into its part, in whichever process this is."""
    if multiprocessing.parent_process() is not None:
        return_large_blocks()  # a process of ours, which the command line has not set up
    with one_opencv_thread():
        record, thumbs = measure_video(row, sampling, _landmarker(), parts.part(row))
        save_thumbs(parts.thumbs(row), thumbs)
        if parts.wants_overlay:
            draw_overlay(row, parts.part(row), parts.overlay(row), sampling.limit_s)
    parts.commit(row, record)
    return record


def _list_problems(
    manifest: Manifest, parts: FaceParts, failures: Failures
) -> dict[str, FaceRecord]:
    """List what was read only in part, now or in an earlier sitting; the records of all rows."""
    records = parts.records(manifest)
    for row in manifest.rows:
        if row.key in records and records[row.key].problems:
            told = "; ".join(records[row.key].problems)
            failures.add(row.video, f"partly read: {told}", row.part)
    failures.sort((row.video, row.part) for row in manifest.rows)
    return records


def _meta(
    s: FacesSettings,
    manifest: Manifest,
    records: dict[str, FaceRecord],
    n_failures: int,
    speed: dict[str, float],
) -> dict[str, Any]:
    """What meta.json holds (docs/measure-faces.md)."""
    done = list(records.values())
    notes = {str(row.video): records[row.key].notes for row in manifest.rows if row.key in records}
    return {
        "settings": s.recipe(free=False),
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("openmarlin", "openvino", "av", "numpy")},
        },
        "counts": {
            "videos": len(manifest.rows),
            "videos_done": len(done),
            "failures": n_failures,
            "faces": sum(record.faces for record in done),
            "frames": sum(record.frames for record in done),
            "frames_without_face": sum(record.empty for record in done),
        },
        "throughput": speed,
        "notes": {video: told for video, told in notes.items() if told},
    }


def announce(result: Faces) -> None:
    """Say in a few lines what was done and where to look."""
    console.print("\n".join(_lines(result)), soft_wrap=True)


def _lines(result: Faces) -> Iterator[str]:
    counts = result.meta["counts"]
    for video, notes in result.meta["notes"].items():
        yield f"[yellow]note[/] {escape(f'{video}: ' + '; '.join(notes))}"
    for video, reason in result.failures.items():
        yield f"[red]failed[/] {escape(f'{video}: {reason}')}"
    yield (
        f"{counts['videos_done']} of {counts['videos']} videos, {counts['faces']} faces, "
        f"{counts['frames']:,} frames ({counts['frames_without_face']:,} without a face), "
        f"{result.meta['throughput']['frames_per_s']:.0f} frames a second"
        + (f" -> {escape(str(result.out))}" if result.out else "")
    )
    if result.out is not None and (is_url(result.out) or (result.out / REPORT_FILE).is_file()):
        yield f"Look at {escape(str(result.out / REPORT_FILE))}"
