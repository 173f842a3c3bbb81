"""Finished videos, one part each, so that a long run can be killed and resumed.

DIR/parts/KEY.parquet    the rows of a video (that the file is there means: done), and a `Record`
DIR/parts/KEY.npz        thumbs of the video for the report
DIR/parts/KEY.boxes      where its faces are, if that is to be drawn
DIR/tokens/NAME-KEY.safetensors

So it is in `extract`; `data.face_parts` keeps another kind of table in the same way.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from safetensors.numpy import save

from openmarlin.data.boxes import FaceBoxes
from openmarlin.data.features import Features, WindowRow, add_columns, rows_to_table
from openmarlin.data.manifest import Manifest, Row, display
from openmarlin.data.thumbs import WindowThumb, load_thumbs, save_thumbs
from openmarlin.errors import InputError
from openmarlin.files import atomic, cut_name

PARTS, TOKENS = "parts", "tokens"
_SHOWN_VIDEOS = 48  # whose thumbs are read for a report, or some more


@dataclass(slots=True)
class Record:
    """How a video was read.

    Attributes:
        seconds: how much of it.
        problems: what was damaged.
        notes: what was unusual and lost nothing.
        stamp: size and modification time of the file (`Row.stamp`).
    """

    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    stamp: list[int] | None = None


class VideoParts(ABC):
    """The parts of finished videos in a folder, whatever they hold.

    Args:
        path: the folder of the run.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def record(self, row: Row) -> Record | None:
        """How a row was read; None where it has no part, or a damaged one."""

    @abstractmethod
    def files(self, row: Row) -> list[Path]:
        """Everything that is written of a row."""

    def part(self, row: Row) -> Path:
        """The table of a row."""
        return self.path / PARTS / f"{row.key}.parquet"

    def is_done(self, row: Row) -> bool:
        """Whether a row is finished: read whole, from the file that is there now.

        What could be read only in part is tried again, and so is a part that is damaged. A file
        that is gone changes nothing.
        """
        record = self.record(row) if self.part(row).is_file() else None
        if record is None:
            return False
        return row.stamp is None or (not record.problems and row.stamp == record.stamp)

    def discard(self, row: Row) -> None:
        """Forget what an earlier file gave that is another now, and cannot be read.

        Raises:
            InputError: its files cannot be removed.
        """
        for path in self.files(row):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise InputError(
                    f"cannot remove {path}: {error.strerror}; remove {path.parent}"
                ) from None


class FinishedVideos(VideoParts):
    """The parts of an extraction.

    Args:
        path: the folder of the run.
        dim: width of the embeddings.
    """

    def __init__(self, path: Path, dim: int) -> None:
        super().__init__(path)
        self.dim = dim

    def record(self, row: Row) -> Record | None:
        try:
            return Record(**Features.load(self.part(row)).meta)
        except InputError:
            return None

    def files(self, row: Row) -> list[Path]:
        part = self.part(row)
        return [part, part.with_suffix(".npz"), self._tokens(row), self._boxes(row)]

    def commit(
        self,
        row: Row,
        windows: Sequence[WindowRow],
        thumbs: Sequence[WindowThumb],
        tokens: Mapping[str, NDArray[np.float16]],
        record: Record,
        boxes: FaceBoxes | None = None,
    ) -> None:
        """Keep a finished video. The part is written last: once it is there, all of it is.

        Args:
            row: which one.
            windows: its rows of the table, embeddings included.
            thumbs: what a report shows of it.
            tokens: float16 (N, D) by "window-face"; empty where nobody wants them.
            record: how it was read.
            boxes: where its faces are; None where it shows none, or nobody asks.
        """
        if boxes is not None:
            boxes.save(self._boxes(row))
        elif self._boxes(row).is_file():
            self._boxes(row).unlink()  # of an earlier file of this name
        if tokens:
            with atomic(self._tokens(row)) as part:
                part.write_bytes(save(dict(tokens), {"video": display(row.video)}))
        save_thumbs(self.part(row).with_suffix(".npz"), thumbs)
        Features(rows_to_table(windows, self.dim), asdict(record)).save(self.part(row))

    def boxes(self, row: Row) -> FaceBoxes:
        """Where the faces of a finished video are; no face where no boxes were kept."""
        path = self._boxes(row)
        return FaceBoxes.load(path) if path.is_file() else FaceBoxes({})

    def thumbs(self, row: Row) -> list[WindowThumb]:
        """The thumbs of a video; none where it is not finished."""
        path = self.part(row).with_suffix(".npz")
        return load_thumbs(path) if path.is_file() and self.part(row).is_file() else []

    def merge(
        self, manifest: Manifest
    ) -> tuple[Features, NDArray[np.int64], dict[str, Record], list[WindowThumb]]:
        """All parts in the order of the rows, with the columns of the manifest.

        Returns:
            The table, for every window the position of its row, how each video was read (by the key
            of its row), and thumbs of some videos, spread over all.
        """
        places = [i for i, row in enumerate(manifest.rows) if self.part(row).is_file()]
        rows = [manifest.rows[i] for i in places]
        parts = [Features.load(self.part(row)) for row in rows]
        tables = [named(part.table, row) for part, row in zip(parts, rows, strict=True)]
        table = pa.concat_tables(tables or [rows_to_table([], self.dim)])
        of_row = np.repeat(np.array(places, np.int64), [len(part) for part in tables])
        columns = {name: values.take(of_row) for name, values in manifest.columns().items()}
        records = [Record(**part.meta) for part in parts]
        thumbs = []
        for row in rows[:: max(1, len(rows) // _SHOWN_VIDEOS)]:
            for thumb in load_thumbs(self.part(row).with_suffix(".npz")):
                thumb.video = row.title
                thumbs.append(thumb)
        by_row = {row.key: record for row, record in zip(rows, records, strict=True)}
        return Features(add_columns(table, columns)), of_row, by_row, thumbs

    def _boxes(self, row: Row) -> Path:
        return self.path / PARTS / f"{row.key}.boxes"

    def _tokens(self, row: Row) -> Path:
        return token_file(self.path, row)


def token_file(path: Path, row: Row) -> Path:
    """Where the folder of a run holds the tokens of a row, by "window-face"."""
    return path / TOKENS / f"{cut_name(row.video.stem, 200)}-{row.key}.safetensors"


def named(table: pa.Table, row: Row) -> pa.Table:
    """The rows of a part (first column: video) under the name that it has in this run."""
    names = pa.repeat(pa.scalar(display(row.video)), len(table))
    return table.set_column(0, table.schema.field("video"), names)
