"""`lipsync score`: videos -> a row a face: how well its lips and the sound go together."""

from __future__ import annotations

import multiprocessing
import os
import platform
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rich.markup import escape

from openmarlin.console import console, job_progress
from openmarlin.data.formats import to_json
from openmarlin.data.manifest import Manifest, Row, read_manifest
from openmarlin.data.parts import PARTS, Record
from openmarlin.data.pool import check_main_guard, reason_of, run_each
from openmarlin.errors import InputError, option
from openmarlin.files import atomic
from openmarlin.lipsync.distance import FaceDistance, measure_distance, open_net
from openmarlin.lipsync.expert import Expert
from openmarlin.lipsync.score_parts import (
    TABLE_FILE,
    ScoreParts,
    check_columns,
    expert_name,
    table_rows,
    write_table,
)
from openmarlin.lipsync.scoring import (
    largest,
    mean_interval,
    open_expert,
    score_video,
    steady_landmarker,
)
from openmarlin.lipsync.settings import ScoreSettings
from openmarlin.lipsync.shipped import DEFAULT_EXPERT
from openmarlin.lipsync.track_score import VARIANTS, TrackScore
from openmarlin.lipsync.words import verdict
from openmarlin.native import claim_process, one_opencv_thread, return_large_blocks
from openmarlin.output import Failures, OutputFolder
from openmarlin.report.lipsync_score import ScoredVideo, write_report
from openmarlin.settings import documented, read_settings

META_FILE, REPORT_FILE = "meta.json", "report.html"
FEATURES = "features"
"""Subfolder with features of faces, where distances to real ones are told."""

_FILES = (TABLE_FILE, META_FILE, REPORT_FILE, PARTS, FEATURES)


@dataclass(frozen=True, repr=False)
class Scores:
    """What `lipsync score` measured.

    Attributes:
        tracks: {video: its faces}, the part of a video named as "a.mp4, 1 to 2 s".
        meta: settings, versions, counts, means and throughput; what meta.json holds.
        failures: {video: reason} of what could not be scored, or only in part.
        out: the folder or file that was written.
    """

    tracks: dict[str, list[TrackScore]]
    meta: dict[str, Any]
    failures: dict[str, str] = field(default_factory=dict)
    out: Path | None = None

    def __repr__(self) -> str:
        counts = self.meta["counts"]
        return f"Scores({counts['videos_done']} videos, {counts['tracks']} faces)"


@documented(ScoreSettings)
def score(
    inputs: str | Path | Sequence[str | Path],
    *,
    expert: str | Path | Expert = DEFAULT_EXPERT,
    config: str | Path | None = None,
    progress: bool = False,
    **settings: Any,
) -> Scores:
    """Measure how well lips and sound of videos go together.

    More than one worker means processes: a script that calls this needs the usual
    `if __name__ == "__main__":`.

    Args:
        inputs: a video, a folder, a CSV with a `video` column, or several of them.
        expert: name, folder or published file of the network that compares lips and sound, or an
            object that is one (`lipsync.expert.Expert`); with an object there is one process.
        config: a recipe, a YAML file of settings; arguments count more.
        progress: show a progress bar.
        {settings}

    Raises:
        OpenMarlinError: the request cannot be carried out. Videos that fail do not raise: they
            are listed in `.failures`, and the rest goes on.
    """
    is_named = isinstance(expert, str | Path)
    if not is_named or expert != DEFAULT_EXPERT:  # else a recipe may name one
        settings["expert"] = str(expert) if is_named else expert.name  # type: ignore[union-attr]
    s = read_settings(ScoreSettings, config, settings)
    is_folder = _check_out(s)
    claim_process()
    manifest = read_manifest(inputs)
    check_columns(manifest.columns())
    reference = read_manifest(s.reference) if s.reference is not None else None
    workers = min(s.workers or os.cpu_count() or 1, len(manifest.rows)) if is_named else 1
    check_main_guard(workers)
    network = open_expert(s.expert if is_named else expert)
    with ExitStack() as stack:
        if is_folder:
            folder = stack.enter_context(_output(s, network))
            net = open_net(s.reference_net) if reference is not None else None
            folder.begin()
            path, failures = folder.path, folder.failures
        else:
            path = Path(stack.enter_context(TemporaryDirectory(prefix="openmarlin-")))
            net = open_net(s.reference_net) if reference is not None else None
            failures = Failures(path / "failures.csv")
        parts = ScoreParts(path)
        source = s.expert if is_named else network
        speed = _score_all(s, manifest, parts, failures, source, workers, progress=progress)
        videos = _collect(s, manifest, parts, failures)
        distance = None
        if net is not None and reference is not None:
            rows, real = manifest.rows, reference.rows
            distance = measure_distance(
                rows, real, net, path / FEATURES, failures, s.limit_seconds, progress=progress
            )
        meta = _meta(s, network, videos, len(manifest.rows), len(failures), speed, distance)
        _write(s, path, is_folder, manifest, videos, meta, network, failures)
    tracks = {video.row.title: video.scores for video in videos}
    return Scores(tracks, meta, failures.as_dict(), s.out)


def _check_out(s: ScoreSettings) -> bool:
    """Whether `out` is a folder."""
    if s.out.suffix.lower() != ".csv":
        return True
    if s.resume:
        raise InputError(f"{option('resume', True)} needs a folder as {option('out')}, not {s.out}")
    if s.out.exists() and not s.overwrite:
        raise InputError(
            f"{s.out}: exists already; add {option('overwrite', True)} or name another file"
        )
    return False


def _output(s: ScoreSettings, expert: Expert) -> OutputFolder:
    return OutputFolder(
        s.out,
        verb="lipsync score",
        settings=s,
        files=_FILES,
        identity={"expert_digest": expert.digest},
        resume=s.resume,
        overwrite=s.overwrite,
    )


def _score_all(
    s: ScoreSettings,
    manifest: Manifest,
    parts: ScoreParts,
    failures: Failures,
    expert: str | Expert,
    workers: int,
    *,
    progress: bool,
) -> dict[str, float]:
    """One sitting: scores what is not done yet. Returns the speed of this sitting."""
    todo = [row for row in manifest.rows if not parts.is_done(row)]
    began, video_s, n_rows = time.perf_counter(), 0.0, len(manifest.rows)
    with job_progress("videos") as bar:
        bar.disable = bar.disable or not progress
        task = bar.add_task("scores", total=n_rows, completed=n_rows - len(todo), note="")
        measure = partial(_measure, expert=expert, limit_s=s.limit_seconds, parts=parts)
        for row, outcome in run_each(measure, todo, min(workers, len(todo))):
            if isinstance(outcome, Record):
                video_s += outcome.seconds
            else:
                parts.discard(row)
                failures.add(row.video, reason_of(outcome), row.part)
            rate = video_s / (time.perf_counter() - began)
            bar.update(task, advance=1, note=f"{rate:.1f} times real time")
    wall_s = time.perf_counter() - began
    return {"video_s": video_s, "wall_s": wall_s, "times_real_time": video_s / wall_s}


@cache
def _expert(name: str) -> Expert:
    """The expert of this process."""
    return open_expert(name)


def _measure(row: Row, expert: str | Expert, limit_s: float | None, parts: ScoreParts) -> Record:
    """One video into its part, in whichever process this is."""
    if multiprocessing.parent_process() is not None:
        return_large_blocks()  # a process of ours, which the command line has not set up
    network = _expert(expert) if isinstance(expert, str) else expert
    record = Record(stamp=row.stamp)
    with one_opencv_thread():
        scores = score_video(
            row.video, network, steady_landmarker(), limit_s=limit_s, part=row.part, record=record
        )
    parts.commit(row, scores, record)
    return record


def _collect(
    s: ScoreSettings, manifest: Manifest, parts: ScoreParts, failures: Failures
) -> list[ScoredVideo]:
    """The videos that are done; what is amiss with them, now or earlier, is listed."""
    videos = []
    for row in manifest.rows:
        record = parts.record(row)
        if record is None:
            continue
        scores = parts.scores(row)
        if s.faces != "all":
            scores = largest(scores, 1 if s.faces == "largest" else s.faces)
        if record.problems:
            failures.add(row.video, f"partly read: {'; '.join(record.problems)}", row.part)
        elif not scores:
            failures.add(row.video, "no face is seen in it", row.part)
        videos.append(ScoredVideo(row, scores, record.notes))
    failures.sort((row.video, row.part) for row in manifest.rows)
    return videos


def means(videos: Sequence[ScoredVideo]) -> dict[str, dict[str, list[float]]]:
    """Mean, low and high of what is told, by variant, over videos.

    The value of a video is the mean of its faces that speak, and are of use in the variant.
    """
    result: dict[str, dict[str, list[float]]] = {}
    for variant in VARIANTS:
        table = []
        for video in videos:
            offsets = [t.scores[variant] for t in video.scores if t.speaks and variant in t.scores]
            if offsets:
                values = [(o.lse_d, o.lse_c, abs(o.ticks) <= 1) for o in offsets]
                table.append((np.mean(values, axis=0), video.row.group or video.row.key))
        groups = [group for _, group in table]
        columns = zip(*(values for values, _ in table), strict=True) if table else ([], [], [])
        names = ("lse_d", "lse_c", "in_sync")
        result[variant] = {
            name: list(mean_interval(column, groups))
            for name, column in zip(names, columns, strict=True)
        }
        result[variant]["videos"] = [float(len(table))]
    return result


def _meta(
    s: ScoreSettings,
    expert: Expert,
    videos: Sequence[ScoredVideo],
    n_videos: int,
    n_failures: int,
    speed: Mapping[str, float],
    distance: FaceDistance | None,
) -> dict[str, Any]:
    """What meta.json holds (docs/lipsync.md)."""
    tracks = [track for video in videos for track in video.scores]
    return {
        "settings": s.recipe(free=False),
        "expert": {"name": expert_name(expert), "sees": expert.framing, "window": expert.window},
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("openmarlin", "openvino", "av", "numpy")},
        },
        "counts": {
            "videos": n_videos,
            "videos_done": len(videos),
            "failures": n_failures,
            "tracks": len(tracks),
            "tracks_that_speak": sum(track.speaks for track in tracks),
            "tracks_sure": sum(track.is_sure for track in tracks),
        },
        "means": means(videos),
        **({"distance": distance.as_dict()} if distance is not None else {}),
        "throughput": dict(speed),
        "notes": {video.row.title: video.notes for video in videos if video.notes},
    }


def _write(
    s: ScoreSettings,
    path: Path,
    is_folder: bool,
    manifest: Manifest,
    videos: Sequence[ScoredVideo],
    meta: Mapping[str, Any],
    expert: Expert,
    failures: Failures,
) -> None:
    columns = manifest.columns()
    place = {row.key: number for number, row in enumerate(manifest.rows)}
    rows = [
        {**cells, **{name: values[place[video.row.key]] for name, values in columns.items()}}
        for video in videos
        for cells in table_rows(video.row, video.scores, expert_name(expert), expert.framing)
    ]
    write_table(path / TABLE_FILE if is_folder else s.out, rows, list(columns))
    if is_folder:
        with atomic(path / META_FILE) as part:
            part.write_text(to_json(meta, indent=2) + "\n", encoding="utf-8")
        write_report(path / REPORT_FILE, videos, meta, failures.as_dict())


def announce(result: Scores) -> None:
    """Say in a few lines what was done and where to look."""
    console.print("\n".join(_lines(result)), soft_wrap=True)


_SAID = 20  # faces


def _lines(result: Scores) -> Iterator[str]:
    for video, notes in result.meta["notes"].items():
        yield f"[yellow]note[/] {escape(f'{video}: ' + '; '.join(notes))}"
    for video, reason in result.failures.items():
        yield f"[red]failed[/] {escape(f'{video}: {reason}')}"
    told = [(video, track) for video, tracks in result.tracks.items() for track in tracks]
    for video, track in told[:_SAID]:
        who = f", face {track.track}" if len(result.tracks[video]) > 1 else ""
        speaks = " (speaks)" if who and track.speaks else ""
        yield escape(f"{video}{who}{speaks}: {verdict(track)}")
    if len(told) > _SAID:
        yield f"... and {len(told) - _SAID} more faces in the table"
    counts, expert = result.meta["counts"], result.meta["expert"]
    yield escape(
        f"{counts['videos_done']} of {counts['videos']} videos, {counts['tracks']} faces, by "
        f"{expert['name']} ({expert['sees']}), "
        f"{result.meta['throughput']['times_real_time']:.1f} times real time -> {result.out}"
    )
    if result.out is not None and (result.out / REPORT_FILE).is_file():
        yield f"Look at {escape(str(result.out / REPORT_FILE))}"
