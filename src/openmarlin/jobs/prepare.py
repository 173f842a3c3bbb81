"""`prepare`: videos -> face tracks -> steady crops and their regions -> a store to train from."""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
from rich.markup import escape
from rich.progress import Progress

from openmarlin.config import CLIP_FRAMES, PrepareSettings
from openmarlin.console import console, job_progress
from openmarlin.data.layouts import Source, list_sources
from openmarlin.data.pool import WorkerDiedError, run_each
from openmarlin.data.store import Store, StoreWriter
from openmarlin.data.tracks import Made, make_tracks, source_key
from openmarlin.errors import InputError, OpenMarlinError
from openmarlin.face.landmarker import Landmarker
from openmarlin.face.parser import MeshParser
from openmarlin.output import atomic
from openmarlin.report.sheets import SheetClip, contact_sheet

FAILURES_FILE, SHEET_FILE = "failures.csv", "contact.png"
_SHEET_CLIPS = 24
_RATE = 2


@dataclass(frozen=True)
class Preparation:
    """What `prepare` made.

    Attributes:
        store: open, to read from.
        videos: how many were asked for.
        failures: {video: reason} of those that gave nothing, or could be read only in part.
        throughput: of this sitting: video_s, wall_s, times_real_time.
        read_ms: time to read a random clip of 16 frames and its cells, in one process.
    """

    store: Store
    videos: int
    failures: dict[str, str]
    throughput: dict[str, float]
    read_ms: float


def prepare(
    inputs: str | Path | Sequence[str | Path],
    *,
    out: str | Path,
    size: int = 224,
    margin: int = 16,
    min_frames: int = 32,
    max_frames: int = 300,
    min_face_px: float = 64,
    limit_seconds: float | None = None,
    workers: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = False,
) -> Preparation:
    """Make a store of face crops and regions out of videos.

    More than one worker means processes: a script that calls this needs the usual
    `if __name__ == "__main__":`.

    Args:
        inputs: videos, folders, CSV tables with a `video` (and perhaps a `group`) column, roots of
            YouTube Faces.
        out: the folder to write.
        size: side of the crops as MARLIN frames a face, pixels.
        margin: pixels of surroundings on every side, for augmentation.
        min_frames: shorter tracks are left out.
        max_frames: longer ones are cut after so many frames, as long as `min_frames` remain.
        min_face_px: tracks whose MARLIN square is smaller in the video are left out.
        limit_seconds: read at most so much of each video.
        workers: processes; None for one a core.
        resume: go on with an interrupted run in `out`, or add videos to a finished one.
        overwrite: replace an earlier store in `out`.
        progress: show a progress bar.

    Raises:
        OpenMarlinError: the request cannot be carried out, or no video shows a face. Videos that
            fail do not raise: they are listed in `.failures` and failures.csv.
    """
    settings = PrepareSettings.of(
        size=size,
        margin=margin,
        min_frames=min_frames,
        max_frames=max_frames,
        min_face_px=min_face_px,
        limit_seconds=limit_seconds,
    )
    sources = list_sources([inputs] if isinstance(inputs, str | Path) else inputs)
    with (
        StoreWriter(
            out,
            size=settings.size + 2 * settings.margin,
            settings=settings.model_dump(mode="json"),
            resume=resume,
            overwrite=overwrite,
        ) as writer,
        job_progress("videos") as bar,
    ):
        bar.disable = bar.disable or not progress
        run = _Run(sources, writer, settings, bar)
        run(workers or os.cpu_count() or 1)
        if not writer.n_tracks:
            raise InputError(
                f"{out}: none of {len(sources)} videos shows a face to keep; see {FAILURES_FILE} "
                "there"
            )
        writer.close(order=[source_key(source) for source in sources])
    store = Store(out)
    picture_store(store, Path(out) / SHEET_FILE)
    return Preparation(store, len(sources), run.failures, run.throughput, read_ms(store))


@dataclass(frozen=True)
class _Job:
    """A video and the file for its tracks: what a process is given."""

    source: Source
    part: Path


@cache
def _nets() -> tuple[Landmarker, MeshParser]:
    """The face nets of this process."""
    landmarker = Landmarker()
    return landmarker, MeshParser(landmarker.nets)


def _make(job: _Job, settings: PrepareSettings) -> Made:
    return make_tracks(job.source, settings, *_nets(), job.part)


class _Run:
    """One sitting: makes the tracks of every video that has none yet, and lists what fails."""

    def __init__(
        self,
        sources: Sequence[Source],
        writer: StoreWriter,
        settings: PrepareSettings,
        bar: Progress,
    ) -> None:
        self.sources, self.writer, self.settings, self.bar = sources, writer, settings, bar
        self.failures: dict[str, str] = {}
        self.video_s, self.start = 0.0, time.perf_counter()

    def __call__(self, workers: int) -> None:
        todo = []
        for source in self.sources:
            key = source_key(source)
            if key in self.writer:
                self.note(source, self.writer.note(key)["reason"])
            else:
                todo.append(_Job(source, self.writer.part(key)))
        done = len(self.sources) - len(todo)
        task = self.bar.add_task("prepare", total=len(self.sources), completed=done, note="")
        for job, outcome in run_each(partial(_make, settings=self.settings), todo, workers):
            self.take(job.source, outcome)
            speed = self.throughput["times_real_time"]
            note = f"{self.writer.n_tracks} tracks, {speed:.1f}x real time"
            self.bar.update(task, advance=1, note=note)
        self.write_failures()

    def take(self, source: Source, outcome: Made | BaseException) -> None:
        """Commit the tracks of a video, or list why there are none."""
        if isinstance(outcome, Made):
            self.video_s += outcome.seconds
            reason = _reason(outcome)
            self.writer.commit(source_key(source), outcome.tracks, {"reason": reason})
            self.note(source, reason)
            return
        if isinstance(outcome, OpenMarlinError):
            reason = str(outcome).removeprefix(f"{source.path}: ")
        elif isinstance(outcome, WorkerDiedError):
            reason = "the process that read it died: out of memory, or a fault in a codec"
        else:
            reason = f"internal error, please report it: {outcome!r}"
        self.note(source, reason)
        self.write_failures()

    def note(self, source: Source, reason: str) -> None:
        if reason:
            self.failures[str(source.path)] = " ".join(reason.split())

    def write_failures(self) -> None:
        """failures.csv, in the order of the inputs."""
        with (
            atomic(self.writer.path / FAILURES_FILE) as part,
            part.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
        ):
            rows = csv.writer(file)
            rows.writerow(["video", "reason"])
            videos = (str(source.path) for source in self.sources)
            rows.writerows((v, self.failures[v]) for v in videos if v in self.failures)

    @property
    def throughput(self) -> dict[str, float]:
        """Of this sitting; a resumed run counts only what it did itself."""
        wall_s = time.perf_counter() - self.start
        return {
            "video_s": self.video_s,
            "wall_s": wall_s,
            "times_real_time": self.video_s / wall_s,
        }


def _reason(made: Made) -> str:
    """Why a video gave nothing, or was read in part only; empty when all is well."""
    problems = f"partly read: {'; '.join(made.problems)}" if made.problems else ""
    if made.tracks:
        return problems
    dropped = ", ".join(f"{count} {why}" for why, count in made.dropped.items())
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
