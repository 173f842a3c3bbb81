"""Several videos read at once by threads: decoding and face work overlap with the encoder.

PyAV, OpenCV and OpenVINO all release the interpreter lock, so threads are enough, the nets are
loaded once, and a clip is handed over without a copy.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Full, Queue

from openmarlin.config import ExtractSettings
from openmarlin.data.clips import ClipReader, FaceClip
from openmarlin.errors import OpenMarlinError
from openmarlin.face.landmarker import Landmarker
from openmarlin.native import one_opencv_thread

_WAIT_S = 0.2
_LOOK_S = 0.17
"""Every second sampled frame from 24 frames a second on, at rate 2."""


@dataclass(slots=True)
class VideoEnd:
    """The last word on a video: how much was read, what was damaged, or why it failed.

    `notes` are what was unusual and lost nothing, as HDR or a size that changes.
    """

    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    error: str | None = None


Item = tuple[Path, FaceClip | VideoEnd]


def read_videos(
    videos: Sequence[Path],
    settings: ExtractSettings,
    landmarker: Landmarker | None,
    *,
    size: int,
    frames: int,
    workers: int,
    most: int,
) -> Iterator[list[Item]]:
    """Yield the clips of all videos as they become ready, each video closed by its `VideoEnd`.

    Gives whatever is ready, `most` items and one at least, so that an encoder neither waits for a
    full batch nor runs single clips where many are there. Clips of one video come in order; those
    of different videos are mixed. A video that fails never stops the others. Readers pause when
    `most` items wait.
    """
    readers = _Readers(settings, landmarker, size, frames, room=most)
    # The cores are busy with readers and the encoder, and OpenCV's threads spin while they wait.
    with one_opencv_thread(), ThreadPoolExecutor(workers, thread_name_prefix="reader") as pool:
        try:
            for video in videos:
                pool.submit(readers.read, video)
            open_videos = len(videos)
            while open_videos:
                items = readers.take(most)
                open_videos -= sum(isinstance(item, VideoEnd) for _, item in items)
                yield items
        finally:
            readers.stopped.set()
            pool.shutdown(cancel_futures=True)


class _Readers:
    """What the readers of all videos share: how they read, and the queue of what is ready."""

    def __init__(
        self,
        settings: ExtractSettings,
        landmarker: Landmarker | None,
        size: int,
        frames: int,
        room: int,
    ) -> None:
        self.settings, self.landmarker = settings, landmarker
        self.size, self.frames = size, frames
        self.ready: Queue[Item] = Queue(maxsize=room)
        self.stopped = threading.Event()

    def read(self, video: Path) -> None:
        """Put the clips of a video, then its end."""
        if self.stopped.is_set():
            return
        reader = ClipReader(
            video, self.settings, self.landmarker, self.size, self.frames, look_s=_LOOK_S
        )
        end = VideoEnd()
        try:
            for clip in reader:
                if not self.put((video, clip)):
                    return
        except OpenMarlinError as error:
            end.error = str(error)
        except Exception as error:  # noqa: BLE001 - one odd video must not stop a long job
            end.error = f"{video}: internal error, please report it: {error!r}"
        end.seconds, end.problems, end.notes = reader.seconds, reader.problems, reader.notes
        self.put((video, end))

    def put(self, item: Item) -> bool:
        """Wait for room; False when nobody wants it any more."""
        while not self.stopped.is_set():
            try:
                self.ready.put(item, timeout=_WAIT_S)
            except Full:
                continue
            return True
        return False

    def take(self, most: int) -> list[Item]:
        """What is ready, one at least."""
        items = [self.ready.get()]
        with suppress(Empty):
            while len(items) < most:
                items.append(self.ready.get_nowait())
        return items
