"""Several videos read at once by threads: decoding and face work overlap with the encoder.

PyAV, OpenCV and OpenVINO all release the interpreter lock, so threads are enough, the nets are
loaded once, and a clip is handed over without a copy.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from queue import Empty, Full, Queue
from types import TracebackType
from typing import Self

from openmarlin.data.clips import ClipReader, FaceClip, Sampling
from openmarlin.data.manifest import Row
from openmarlin.errors import OpenMarlinError
from openmarlin.face.landmarker import Landmarker
from openmarlin.native import one_opencv_thread

_WAIT_S = 0.2
_LOOK_S = 0.17
"""Every second sampled frame from 24 frames a second on, at rate 2."""


@dataclass(slots=True)
class VideoEnd:
    """The last word on a video: how much was read, what was damaged, or why it failed.

    `notes` are what was unusual and lost nothing, as HDR or a size that changes; `stamp` tells the
    file that was read from a later one of its name; `windows` are rows of the table, counted by
    whoever keeps them.
    """

    seconds: float = 0.0
    windows: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    error: str | None = None
    stamp: list[int] | None = None


Item = tuple[Row, FaceClip | VideoEnd]


class VideoFeed:
    """Iterate the clips of all videos as they become ready, each video closed by its `VideoEnd`.

        with VideoFeed(rows, sampling, landmarker, size=224, frames=16, workers=2, most=8) as feed:
            for items in feed: ...

    A step gives whatever is ready, `most` items and one at least, so that an encoder neither waits
    for a full batch nor runs single clips where many are there. Clips of one video come in order;
    those of different videos are mixed. A video that fails never stops the others. Readers pause
    when `most` items wait. Whatever happens inside the `with`, no thread outlives it: a reader that
    waits for room, or is between two frames, sees that the feed is closed.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        sampling: Sampling,
        landmarker: Landmarker | None,
        *,
        size: int,
        frames: int,
        workers: int,
        most: int,
    ) -> None:
        self.sampling, self.landmarker = sampling, landmarker
        self.size, self.frames, self.most = size, frames, most
        self._todo, self._n_open = iter(rows), len(rows)
        self._ready: Queue[Item] = Queue(maxsize=most)
        self._closed, self._next = threading.Event(), threading.Lock()
        count = min(workers, len(rows))
        self._threads = [
            # Daemons: were a decoder to hang in native code, the process could still end.
            threading.Thread(target=self._read_videos, name=f"reader-{i}", daemon=True)
            for i in range(count)
        ]

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            # The cores are busy with readers and the encoder; OpenCV's threads spin while they wait
            stack.enter_context(one_opencv_thread())
            for thread in self._threads:
                thread.start()
            self._restore = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closed.set()
        for thread in self._threads:
            thread.join()
        self._restore.close()

    def __iter__(self) -> Iterator[list[Item]]:
        while self._n_open:
            items = [self._ready.get()]
            with suppress(Empty):
                while len(items) < self.most:
                    items.append(self._ready.get_nowait())
            self._n_open -= sum(isinstance(item, VideoEnd) for _, item in items)
            yield items

    def _read_videos(self) -> None:
        """A thread: takes the next video until there is none."""
        while not self._closed.is_set():
            with self._next:
                row = next(self._todo, None)
            if row is None:
                return
            self._read(row)

    def _read(self, row: Row) -> None:
        """Put the clips of a video, then its end."""
        reader = ClipReader(
            row,
            self.sampling,
            self.landmarker,
            self.size,
            self.frames,
            look_s=_LOOK_S,
            stopped=self._closed.is_set,
        )
        end = VideoEnd(stamp=row.stamp)
        try:
            for clip in reader:
                if not self._put((row, clip)):
                    return
        except OpenMarlinError as error:
            end.error = str(error)
        except BaseException as error:  # noqa: BLE001 - without its end the feed would wait forever
            end.error = f"{row.video}: internal error, please report it: {error!r}"
        end.seconds, end.problems, end.notes = reader.seconds, reader.problems, reader.notes
        self._put((row, end))

    def _put(self, item: Item) -> bool:
        """Wait for room; False when the feed is closed."""
        while not self._closed.is_set():
            try:
                self._ready.put(item, timeout=_WAIT_S)
            except Full:
                continue
            return True
        return False
