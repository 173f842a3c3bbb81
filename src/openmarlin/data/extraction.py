"""Many videos through an encoder: read side by side, encoded in mixed batches, kept in parts.

    Extractor(encoder, sampling, landmarker).run(manifest, folder, failures) -> Extracted

Here threads read and one encoder encodes. Elsewhere every worker does both, a video at a time:

    extract_videos(manifest, finished, failures, ends_of(pool, read)) -> Extracted

A video that fails is listed and the rest goes on; what is finished is not done again.
"""

from __future__ import annotations

import os
import platform
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from openmarlin.console import job_progress
from openmarlin.data.boxes import FaceBoxes
from openmarlin.data.clips import FaceClip, Sampling
from openmarlin.data.features import Features, WindowRow
from openmarlin.data.feed import VideoEnd, VideoFeed
from openmarlin.data.formats import embedding_column
from openmarlin.data.manifest import Manifest, Row
from openmarlin.data.parts import FinishedVideos, Record
from openmarlin.data.pool import Pool, reason_of
from openmarlin.data.thumbs import ThumbKeeper, WindowThumb, make_thumb
from openmarlin.errors import ModelError, OpenMarlinError
from openmarlin.face.landmarker import Landmarker
from openmarlin.model.config import ModelConfig
from openmarlin.output import Failures

MAX_WORKERS = 8
"""More readers than this outrun any encoder, and each holds seconds of video."""


class ClipEncoder(Protocol):
    """What turns clips into vectors: `EncoderRunner`, or one with a head on top."""

    def __call__(
        self, clips: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
        """uint8 RGB (B, T, H, W, 3) -> vectors (B, dim), and tokens (B, N, D) or None."""
        ...


@dataclass(frozen=True)
class Extracted:
    """What came out.

    Attributes:
        features: the table with the columns of the manifest, in the order of its rows.
        row_of: (W,) for every window the position of its row in the manifest.
        records: how each video was read, by the key of its row; those that failed have none.
        thumbs: crops of some windows of some videos.
        throughput: of this sitting: windows_per_s, video_s, wall_s, times_real_time.
    """

    features: Features
    row_of: NDArray[np.int64]
    records: dict[str, Record]
    thumbs: list[WindowThumb]
    throughput: dict[str, float]

    def with_vectors(self, vectors: NDArray[np.float32]) -> Extracted:
        """The same windows with other vectors (W, E)."""
        table = self.features.table
        column = embedding_column(vectors)
        field_of = pa.field("embedding", column.type, nullable=False)
        place = table.schema.get_field_index("embedding")
        features = Features(table.set_column(place, field_of, column), self.features.meta)
        return replace(self, features=features)


Ends = Callable[[Sequence[Row], FinishedVideos], Generator[tuple[Row, VideoEnd]]]
"""Reads and encodes videos, keeps those that are whole, and gives the end of each."""


@dataclass(frozen=True)
class Extractor:
    """How videos become vectors.

    Attributes:
        encoder: it may still be compiled when the first video is being read.
        config: of the model: size and number of the frames of a clip.
        dim: width of the vectors.
        sampling: which frames and faces.
        landmarker: the face nets; None only for videos that are face crops.
        batch: clips encoded at once at most.
        workers: videos read at once; None for one a core.
        keep_boxes: also keep where every face is in every sampled frame (`data.boxes`).
    """

    encoder: ClipEncoder
    config: ModelConfig
    dim: int
    sampling: Sampling
    landmarker: Landmarker | None
    batch: int = 8
    workers: int | None = None
    keep_boxes: bool = False

    def run(
        self,
        manifest: Manifest,
        path: Path,
        failures: Failures,
        *,
        verb: str = "extract",
        progress: bool = False,
    ) -> Extracted:
        """Encode what is not done yet in the folder `path`, and put all of it together.

        Args:
            manifest: videos, and parts of them.
            path: the folder for parts; those that are there count.
            failures: gets what cannot be read, or only in part.
            verb: a word for the progress bar.
            progress: show it.
        """
        finished = FinishedVideos(path, self.dim)
        return extract_videos(manifest, finished, failures, self.ends, verb=verb, progress=progress)

    def read(self, row: Row, finished: FinishedVideos) -> VideoEnd:
        """Read, encode and keep one video; its end says why if that fails."""
        with closing(self.ends([row], finished)) as ends:
            return next(ends)[1]

    def ends(
        self, rows: Sequence[Row], finished: FinishedVideos
    ) -> Generator[tuple[Row, VideoEnd]]:
        """Read in threads, encode in batches that mix videos, keep what is whole."""
        videos: defaultdict[str, OpenVideo] = defaultdict(OpenVideo)
        feed = VideoFeed(
            rows,
            self.sampling,
            self.landmarker,
            size=self.config.image_size,
            frames=self.config.frames,
            workers=self.workers or min(os.cpu_count() or 1, MAX_WORKERS),
            most=self.batch,
        )
        with feed:
            for items in feed:
                self._encode(
                    [(videos[row.key], item) for row, item in items if isinstance(item, FaceClip)]
                )
                for row, item in items:
                    if isinstance(item, VideoEnd):
                        _close(row, item, videos.pop(row.key, OpenVideo()), finished)
                        yield row, item

    def _encode(self, clips: Sequence[tuple[OpenVideo, FaceClip]]) -> None:
        """Every clip becomes a row of its video; those with a face are encoded as one batch."""
        for video, clip in clips:
            video.windows.append(clip.row)
            if self.keep_boxes and clip.pixels is not None:
                video.boxes.setdefault(clip.row.face, []).append(clip.boxes)
        shown = [(video, clip, clip.pixels) for video, clip in clips if clip.pixels is not None]
        if not shown:
            return
        vectors, tokens = self.encoder(np.stack([pixels for _, _, pixels in shown]))
        for i, (video, clip, pixels) in enumerate(shown):
            row = clip.row
            row.embedding, row.ok = vectors[i], True
            if tokens is not None:
                video.tokens[f"{row.window}-{row.face}"] = tokens[i].astype(np.float16)
            if video.thumbs.wants_next():
                video.thumbs.keep(make_thumb(row.video, row.face, row.window, pixels, clip.points))


@dataclass(slots=True)
class OpenVideo:
    """A video that is being read: its rows, thumbs, tokens, and boxes by face so far."""

    windows: list[WindowRow] = field(default_factory=list)
    thumbs: ThumbKeeper = field(default_factory=ThumbKeeper)
    tokens: dict[str, NDArray[np.float16]] = field(default_factory=dict)
    boxes: dict[int, list[NDArray[np.float64]]] = field(default_factory=dict)


def _close(row: Row, end: VideoEnd, video: OpenVideo, finished: FinishedVideos) -> None:
    """A video was read to its end, and all its clips are encoded: keep it unless it failed."""
    end.windows = len(video.windows)
    if end.error is None:
        record = Record(end.seconds, end.problems, end.notes, end.stamp)
        boxes = FaceBoxes.joined(video.boxes) if video.boxes else None
        finished.commit(row, video.windows, video.thumbs.thumbs, video.tokens, record, boxes)


def extract_videos(
    manifest: Manifest,
    finished: FinishedVideos,
    failures: Failures,
    ends: Ends,
    *,
    verb: str = "extract",
    progress: bool = False,
) -> Extracted:
    """One sitting over all videos that are not done yet, and the parts of all put together.

    Args:
        manifest: videos, and parts of them.
        finished: the parts; those that are there count.
        failures: gets what cannot be read, or only in part.
        ends: does the work, here or elsewhere.
        verb: a word for the progress bar.
        progress: show it.
    """
    todo = [row for row in manifest.rows if not finished.is_done(row)]
    speed, n_rows = Speed(), len(manifest.rows)
    with job_progress("videos") as bar, closing(ends(todo, finished)) as ended:
        bar.disable = bar.disable or not progress
        task = bar.add_task(verb, total=n_rows, completed=n_rows - len(todo), note="")
        for row, end in ended:
            if end.error is not None:
                finished.discard(row)
                failures.add(row.video, end.error, row.part)
            speed.windows += end.windows
            speed.video_s += end.seconds
            bar.update(task, advance=1, note=speed.text())
    throughput = speed.record()
    features, row_of, records, thumbs = finished.merge(manifest)
    for row in manifest.rows:  # of earlier sittings, too
        if row.key in records and records[row.key].problems:
            problems = "; ".join(records[row.key].problems)
            failures.add(row.video, f"partly read: {problems}", row.part)
    failures.sort((row.video, row.part) for row in manifest.rows)
    return Extracted(features, row_of, records, thumbs, throughput)


class ReadInWorker(Protocol):
    """Reads, encodes and keeps one video, as `Extractor.read` does; a function of a module.

    An `OpenMarlinError` that it raises is not about the video, and ends the run.
    """

    def __call__(self, row: Row, *, finished: FinishedVideos) -> VideoEnd: ...


def ends_of(pool: Pool, read: ReadInWorker) -> Ends:
    """Let the workers of a pool do it."""

    def ends(rows: Sequence[Row], finished: FinishedVideos) -> Generator[tuple[Row, VideoEnd]]:
        for row, outcome in pool.run_each(partial(read, finished=finished), rows):
            if isinstance(outcome, OpenMarlinError):
                raise outcome
            if isinstance(outcome, BaseException):
                outcome = VideoEnd(error=reason_of(outcome))
            yield row, outcome

    return ends


def check_weights(model: str, here: str, expected: str) -> None:
    """A worker must have the weights of the machine that started the run.

    Args:
        model: its name or folder.
        here: their SHA-256.
        expected: that of the machine that started the run.

    Raises:
        ModelError: it has others.
    """
    if here != expected:
        raise ModelError(
            f"{model}: the weights on {platform.node()} are others than those where the run was "
            "started; put one copy where all machines see it"
        )


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
