"""`prepare`: videos -> face tracks -> steady crops and their regions -> a store to train from."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.markup import escape

from openmarlin.console import console
from openmarlin.data.layouts import list_sources
from openmarlin.data.manifest import Manifest
from openmarlin.data.pool import open_pool
from openmarlin.data.preparation import make_store
from openmarlin.data.store import Store
from openmarlin.data.store.index import check_columns
from openmarlin.data.store.writer import STORE_FILES
from openmarlin.data.tracks import TrackRules
from openmarlin.jobs.settings import PrepareSettings
from openmarlin.output import OutputFolder
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
        out: the folder of the store, or its URL.
        store: open, to read from.
        videos: how many there were.
        failures: {video: reason} of those that gave nothing, or could be read only in part. Parts
            of a video are named as "a.mp4 [1.0 s to 2.0 s]".
        throughput: of this sitting: video_s, wall_s, times_real_time.
        read_ms: time to read a random clip of 16 frames and its cells, in one process.
        kept: holds the copy of a store at a URL, from which `store` reads.
    """

    out: Path
    store: Store
    videos: int
    failures: dict[str, str]
    throughput: dict[str, float]
    read_ms: float
    kept: object = field(repr=False)


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
    sources = list_sources(inputs)
    check_columns(list(Manifest([source.row for source in sources]).columns()))
    with (
        open_pool(s.workers, len(sources), ray=s.ray, out=s.out) as pool,
        OutputFolder(
            s.out,
            verb="prepare",
            settings=s,
            files=[*STORE_FILES, SHEET_FILE],
            resume=s.resume,
            overwrite=s.overwrite,
        ) as folder,
    ):
        folder.begin()
        info = {name: value for name, value in s.recipe().items() if name in _IN_STORE}
        store, speed = make_store(
            sources, _rules(s), folder, folder.failures, info, pool, progress=progress
        )
        picture_store(store, folder.path / SHEET_FILE)
        failures = folder.failures.as_dict()
    throughput, per_clip_ms = speed.record(), read_ms(store)
    return Preparation(s.out, store, len(sources), failures, throughput, per_clip_ms, folder)


def _rules(s: PrepareSettings) -> TrackRules:
    return TrackRules(
        s.size,
        s.margin,
        s.min_frames,
        s.max_frames,
        s.min_face_px,
        s.sound,
        s.limit_seconds,
        s.points,
    )


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
        f"{result.throughput['times_real_time']:.1f}x real time -> {escape(str(result.out))}",
        soft_wrap=True,
    )
    console.print(
        f"A random clip of {CLIP_FRAMES} frames with its regions reads in {result.read_ms:.1f} ms: "
        f"{1e3 / result.read_ms:.0f} clips/s a loader worker",
        soft_wrap=True,
    )
    console.print(f"Look at {escape(str(result.out / SHEET_FILE))}", soft_wrap=True)
