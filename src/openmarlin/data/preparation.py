"""Many videos become a store: read side by side, whatever fails is listed, what is done stays done.

    store, speed = make_store(sources, rules, folder, failures, info, pool, progress=True)

The verbs that need a store of crops, `prepare` and `finetune`, both make it here.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

from openmarlin.console import job_progress
from openmarlin.data.layouts.source import Source
from openmarlin.data.manifest import Manifest
from openmarlin.data.pool import Pool, reason_of
from openmarlin.data.store import INDEX_FILE, Store, StoreWriter
from openmarlin.data.tracks import TrackRules, VideoTracks, make_tracks
from openmarlin.errors import InputError
from openmarlin.face.landmarker import Landmarker
from openmarlin.face.parser import MeshParser
from openmarlin.output import Failures, OutputFolder


@dataclass(slots=True)
class Speed:
    """How much a sitting has done since it began; what an earlier one did is not counted."""

    video_s: float = 0.0
    began: float = field(default_factory=time.perf_counter)

    def record(self) -> dict[str, float]:
        wall_s = time.perf_counter() - self.began
        return {
            "video_s": self.video_s,
            "wall_s": wall_s,
            "times_real_time": self.video_s / wall_s,
        }


@dataclass(frozen=True)
class Job:
    """What a process is given: a video, the file for its tracks, and which file it was then."""

    source: Source
    part: Path
    stamp: list[int] | None


def make_store(
    sources: Sequence[Source],
    rules: TrackRules,
    folder: OutputFolder,
    failures: Failures,
    info: Mapping[str, Any],
    pool: Pool,
    *,
    progress: bool,
) -> tuple[Store, Speed]:
    """Make a store, or go on with one.

    Args:
        sources: the videos; their columns (`check_columns` has passed them) go into the store.
        rules: what becomes a track.
        folder: where to; begun.
        failures: gets the videos that fail, or can be read only in part.
        info: what the index tells of how the store was made.
        pool: of workers.
        progress: show a bar.

    Returns:
        The store, open, and the speed of this sitting.

    Raises:
        InputError: no video shows a face to keep.
    """
    with StoreWriter(folder, size=rules.size + 2 * rules.margin, settings=info) as writer:
        speed = _make_tracks(sources, rules, writer, failures, pool, progress=progress)
        failures.sort((source.row.video, source.row.part) for source in sources)
        if not writer.n_tracks:
            (folder.path / INDEX_FILE).unlink(missing_ok=True)  # of tracks that count no more
            raise InputError(
                f"{failures.path.parent}: none of {len(sources)} videos shows a face to keep; see "
                f"{failures.path.name} there"
            )
        columns = _columns(Manifest([source.row for source in sources]))
        writer.close([source.row.key for source in sources], columns)
    return Store(folder.path), speed


def _make_tracks(
    sources: Sequence[Source],
    rules: TrackRules,
    writer: StoreWriter,
    failures: Failures,
    pool: Pool,
    *,
    progress: bool,
) -> Speed:
    """One sitting: makes the tracks of every video that has none yet, and lists what fails."""
    todo = []
    for source in sources:
        if _is_done(source, writer):
            _list(source, writer.note(source.row.key)["reason"], failures)
        else:
            writer.reopen(source.row.key)
            todo.append(Job(source, writer.part(source.row.key), source.row.stamp))
    speed = Speed()
    with job_progress("videos") as bar:
        bar.disable = bar.disable or not progress
        task = bar.add_task(
            "prepare", total=len(sources), completed=len(sources) - len(todo), note=""
        )
        for job, outcome in pool.run_each(partial(_make, rules=rules), todo):
            _take(job, outcome, writer, failures)
            speed.video_s += outcome.seconds if isinstance(outcome, VideoTracks) else 0.0
            note = f"{writer.n_tracks} tracks, {speed.record()['times_real_time']:.1f}x real time"
            bar.update(task, advance=1, note=note)
    return speed


@cache
def _nets() -> tuple[Landmarker, MeshParser]:
    """The face nets of this process."""
    landmarker = Landmarker()
    return landmarker, MeshParser(landmarker.nets)


def _make(job: Job, rules: TrackRules) -> VideoTracks:
    return make_tracks(job.source, rules, *_nets(), job.part)


def _is_done(source: Source, writer: StoreWriter) -> bool:
    """Whether a video is finished: read whole, from the file that is there now (or was there)."""
    row = source.row
    if row.key not in writer:
        return False
    note = writer.note(row.key)
    return row.stamp is None or (row.stamp == note["stamp"] and note["whole"])


def _take(
    job: Job, outcome: VideoTracks | BaseException, writer: StoreWriter, failures: Failures
) -> None:
    """Commit the tracks of a video, or list why there are none."""
    if isinstance(outcome, VideoTracks):
        reason = _reason(outcome)
        note = {"reason": reason, "stamp": job.stamp, "whole": not outcome.problems}
        writer.commit(job.source.row.key, outcome.tracks, note)
    else:
        reason = reason_of(outcome)
    key, failed = job.source.row.key, not isinstance(outcome, VideoTracks)
    if failed and key in writer and writer.note(key)["stamp"] != job.stamp:
        writer.forget(key)  # its tracks are of another file
    _list(job.source, reason, failures)


def _list(source: Source, reason: str, failures: Failures) -> None:
    if reason:
        failures.add(source.row.video, reason, source.row.part)


def _columns(manifest: Manifest) -> dict[str, dict[str, Any]]:
    """What the manifest says beside the group, by name and key of the row."""
    keys = [row.key for row in manifest.rows]
    return {
        name: dict(zip(keys, values.to_pylist(), strict=True))
        for name, values in manifest.columns().items()
        if name != "group"  # a track has one
    }


def _reason(result: VideoTracks) -> str:
    """Why a video gave nothing, or was read in part only; empty when all is well."""
    problems = f"partly read: {'; '.join(result.problems)}" if result.problems else ""
    if result.tracks:
        return problems
    dropped = ", ".join(f"{count} {why}" for why, count in result.dropped.items())
    nothing = f"no face to keep ({dropped})" if dropped else "no face found"
    return f"{nothing}; {problems}" if problems else nothing
