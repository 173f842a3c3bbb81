"""`prepare`: videos -> face tracks -> steady crops and their regions -> a store to train from."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.markup import escape

from openmarlin.console import console, job_progress
from openmarlin.data.layouts import Source, list_sources
from openmarlin.data.manifest import Manifest
from openmarlin.data.pool import WorkerDiedError, check_main_guard, run_each
from openmarlin.data.store import INDEX_FILE, Store, StoreWriter
from openmarlin.data.store.index import check_columns
from openmarlin.data.store.writer import STORE_FILES
from openmarlin.data.tracks import TrackRules, VideoTracks, make_tracks
from openmarlin.errors import InputError, OpenMarlinError
from openmarlin.face.landmarker import Landmarker
from openmarlin.face.parser import MeshParser
from openmarlin.jobs.settings import PrepareSettings
from openmarlin.output import FAILURES_FILE, Failures, OutputFolder
from openmarlin.report.prepare import SheetClip, contact_sheet
from openmarlin.settings import documented, read_settings
from openmarlin.video.windows import CLIP_FRAMES

SHEET_FILE = "contact.png"
_SHEET_CLIPS = 24
_RATE = 2
_IN_STORE = ("size", "margin", "min_frames", "max_frames", "min_face_px", "limit_seconds")


@dataclass(frozen=True)
class Preparation:
    """What `prepare` made.

    Attributes:
        store: open, to read from.
        videos: how many there were.
        failures: {video: reason} of those that gave nothing, or could be read only in part. Parts
            of a video are named as "a.mp4 [1.0 s to 2.0 s]".
        throughput: of this sitting: video_s, wall_s, times_real_time.
        read_ms: time to read a random clip of 16 frames and its cells, in one process.
    """

    store: Store
    videos: int
    failures: dict[str, str]
    throughput: dict[str, float]
    read_ms: float


@documented(PrepareSettings)
def prepare(
    inputs: str | Path | Sequence[str | Path],
    *,
    config: str | Path | None = None,
    progress: bool = False,
    **settings: Any,
) -> Preparation:
    """Make a store of face crops and regions out of videos.

    More than one worker means processes: a script that calls this needs the usual
    `if __name__ == "__main__":`.

    Args:
        inputs: videos, folders, CSV tables with a `video` (and perhaps a `group`) column, roots of
            YouTube Faces.
        config: a recipe, a YAML file of settings; arguments count more.
        progress: show a progress bar.
        {settings}

    Raises:
        OpenMarlinError: the request cannot be carried out, or no video shows a face. Videos that
            fail do not raise: they are listed in `.failures` and failures.csv.
    """
    s = read_settings(PrepareSettings, config, settings)
    workers = s.workers or os.cpu_count() or 1
    check_main_guard(workers)
    sources = list_sources(inputs)
    manifest = Manifest([source.row for source in sources])
    check_columns(list(manifest.columns()))
    with OutputFolder(
        s.out,
        verb="prepare",
        settings=s,
        files=[*STORE_FILES, SHEET_FILE],
        resume=s.resume,
        overwrite=s.overwrite,
    ) as folder:
        folder.begin()
        info = {name: value for name, value in s.recipe().items() if name in _IN_STORE}
        with StoreWriter(folder, size=s.size + 2 * s.margin, settings=info) as writer:
            speed = _make_tracks(s, sources, writer, folder.failures, workers, progress=progress)
            folder.failures.sort((source.row.video, source.row.part) for source in sources)
            if not writer.n_tracks:
                (s.out / INDEX_FILE).unlink(missing_ok=True)  # of tracks that do not count any more
                raise InputError(
                    f"{s.out}: none of {len(sources)} videos shows a face to keep; see "
                    f"{FAILURES_FILE} there"
                )
            writer.close([source.row.key for source in sources], _columns(manifest))
        store = Store(s.out)
        picture_store(store, s.out / SHEET_FILE)
        failures = folder.failures.as_dict()
    return Preparation(store, len(sources), failures, speed.record(), read_ms(store))


def _make_tracks(
    s: PrepareSettings,
    sources: Sequence[Source],
    writer: StoreWriter,
    failures: Failures,
    workers: int,
    *,
    progress: bool,
) -> Speed:
    """One sitting: makes the tracks of every video that has none yet, and lists what fails."""
    rules = TrackRules(
        s.size,
        s.margin,
        s.min_frames,
        s.max_frames,
        s.min_face_px,
        s.sound,
        s.limit_seconds,
        s.points,
    )
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
        for job, outcome in run_each(partial(_make, rules=rules), todo, workers):
            _take(job, outcome, writer, failures)
            speed.video_s += outcome.seconds if isinstance(outcome, VideoTracks) else 0.0
            note = f"{writer.n_tracks} tracks, {speed.record()['times_real_time']:.1f}x real time"
            bar.update(task, advance=1, note=note)
    return speed


@dataclass(frozen=True)
class Job:
    """What a process is given: a video, the file for its tracks, and which file it was then."""

    source: Source
    part: Path
    stamp: list[int] | None


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
    elif isinstance(outcome, OpenMarlinError):
        reason = str(outcome)
    elif isinstance(outcome, WorkerDiedError):
        reason = "the process that read it died: out of memory, or a fault in a codec"
    else:
        reason = f"internal error, please report it: {outcome!r}"
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


def _reason(result: VideoTracks) -> str:
    """Why a video gave nothing, or was read in part only; empty when all is well."""
    problems = f"partly read: {'; '.join(result.problems)}" if result.problems else ""
    if result.tracks:
        return problems
    dropped = ", ".join(f"{count} {why}" for why, count in result.dropped.items())
    nothing = f"no face to keep ({dropped})" if dropped else "no face found"
    return f"{nothing}; {problems}" if problems else nothing


def read_ms(store: Store, seconds: float = 1.0) -> float:
    """Milliseconds a random clip takes to read: 16 frames at rate 2 with their cells."""
    rng, clips, start = np.random.default_rng(0), 0, time.perf_counter()
    while time.perf_counter() < start + seconds:
        number = int(rng.integers(len(store)))
        n_frames = store.tracks[number].n_frames
        first = int(rng.integers(max(1, n_frames - (CLIP_FRAMES - 1) * _RATE)))
        frames = first + _RATE * np.arange(CLIP_FRAMES)
        store.read(number, np.minimum(frames, n_frames - 1).tolist())
        clips += 1
    return 1e3 * (time.perf_counter() - start) / clips


def picture_store(store: Store, path: Path) -> None:
    """Draw the contact sheet: a frame of 24 random tracks with its regions."""
    rng = np.random.default_rng(0)
    chosen = rng.permutation(len(store))[:_SHEET_CLIPS]
    clips = []
    for number in sorted(chosen.tolist()):
        track = store.tracks[number]
        frame = int(rng.integers(track.n_frames))
        images, cells = store.read(number, [frame])
        clips.append(SheetClip(images[0], cells[0], f"{track.name}, frame {frame}"))
    frames = sum(track.n_frames for track in store.tracks)
    title = f"{len(store):,} tracks, {frames:,} frames of {store.size} px"
    contact_sheet(path, clips, title=title, margin=store.info["settings"]["margin"])


def announce(result: Preparation) -> None:
    """Say in a few lines what was made and where to look."""
    store = result.store
    for video, reason in result.failures.items():
        console.print(f"[red]failed[/] {escape(f'{video}: {reason}')}", soft_wrap=True)
    seconds = sum(track.n_frames / track.fps for track in store.tracks)
    console.print(
        f"{result.videos - len(result.failures)} of {result.videos} videos, {len(store)} tracks, "
        f"{seconds / 60:.1f} minutes of faces, "
        f"{result.throughput['times_real_time']:.1f}x real time -> {store.path}",
        soft_wrap=True,
    )
    console.print(
        f"A random clip of {CLIP_FRAMES} frames with its regions reads in {result.read_ms:.1f} ms: "
        f"{1e3 / result.read_ms:.0f} clips/s a loader worker",
        soft_wrap=True,
    )
    console.print(f"Look at {store.path / SHEET_FILE}", soft_wrap=True)
