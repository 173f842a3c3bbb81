"""Many videos through an encoder: read side by side, encoded in mixed batches, kept in parts.

    Extractor(encoder, sampling, landmarker).run(manifest, folder, failures) -> Extracted

A video that fails is listed and the rest goes on; what is finished is not done again.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
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
from openmarlin.data.thumbs import ThumbKeeper, WindowThumb, make_thumb
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
        throughput = self._read_and_encode(manifest, finished, failures, verb, progress)
        features, row_of, records, thumbs = finished.merge(manifest)
        for row in manifest.rows:  # of earlier sittings, too
            if row.key in records and records[row.key].problems:
                problems = "; ".join(records[row.key].problems)
                failures.add(row.video, f"partly read: {problems}", row.part)
        failures.sort((row.video, row.part) for row in manifest.rows)
        return Extracted(features, row_of, records, thumbs, throughput)

    def _read_and_encode(
        self,
        manifest: Manifest,
        finished: FinishedVideos,
        failures: Failures,
        verb: str,
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
            self.sampling,
            self.landmarker,
            size=self.config.image_size,
            frames=self.config.frames,
            workers=self.workers or min(os.cpu_count() or 1, MAX_WORKERS),
            most=self.batch,
        )
        with job_progress("videos") as bar, feed:
            bar.disable = bar.disable or not progress
            n_rows = len(manifest.rows)
            task = bar.add_task(verb, total=n_rows, completed=n_rows - len(todo), note="")
            for items in feed:
                clips = [
                    (videos[row.key], item) for row, item in items if isinstance(item, FaceClip)
                ]
                self._encode(clips)
                speed.windows += len(clips)
                for row, item in items:
                    if isinstance(item, VideoEnd):
                        video = videos.pop(row.key, OpenVideo())
                        _close(row, item, video, finished, failures)
                        speed.video_s += item.seconds
                        bar.update(task, advance=1, note=speed.text())
        return speed.record()

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


def _close(
    row: Row, end: VideoEnd, video: OpenVideo, finished: FinishedVideos, failures: Failures
) -> None:
    """A video was read to its end, and all its clips are encoded: keep it, or list why not."""
    if end.error is not None:
        finished.discard(row)
        failures.add(row.video, end.error, row.part)
        return
    record = Record(end.seconds, end.problems, end.notes, end.stamp)
    boxes = FaceBoxes.joined(video.boxes) if video.boxes else None
    finished.commit(row, video.windows, video.thumbs.thumbs, video.tokens, record, boxes)


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
