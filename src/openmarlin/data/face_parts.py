"""One video measured into its part, and the parts of all videos joined to one table.

DIR/parts/KEY.parquet    the rows of a video
DIR/parts/KEY.npz        thumbs of it for the report
DIR/parts/KEY.json       a `FaceRecord`, written last: that it is there means done
DIR/overlay/NAME-KEY.mp4
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from openmarlin.data.face_table import open_table, pieces, schema, with_columns
from openmarlin.data.manifest import Manifest, Row
from openmarlin.data.parts import Record, VideoParts, named
from openmarlin.files import cut_name, write_json

OVERLAY = "overlay"
_ROWS = 4096  # joined to be written together: 24 MB with points


@dataclass(slots=True)
class FaceRecord(Record):
    """How a video was read, and what it shows.

    Attributes:
        frames: that have rows.
        empty: frames in which no face was seen.
        faces: tracks.
    """

    frames: int = 0
    empty: int = 0
    faces: int = 0


class FaceParts(VideoParts):
    """The parts of a run of `faces`.

    Args:
        path: the folder of the run.
        points: the joined table has points.
        overlay: a video is done only once its overlay is, for which the parts hold points, too.
    """

    def __init__(self, path: Path, *, points: bool, overlay: bool) -> None:
        super().__init__(path)
        self.points, self.wants_overlay = points, overlay
        self.keep_points = points or overlay

    def overlay(self, row: Row) -> Path:
        """The drawn video of a row."""
        return self.path / OVERLAY / f"{cut_name(row.video.stem, 200)}-{row.key[:6]}.mp4"

    def thumbs(self, row: Row) -> Path:
        """The thumbs of a row."""
        return self.part(row).with_suffix(".npz")

    def files(self, row: Row) -> list[Path]:
        parts = [self.part(row).with_suffix(suffix) for suffix in (".json", ".parquet", ".npz")]
        return [*parts, self.overlay(row)]

    def record(self, row: Row) -> FaceRecord | None:
        if self.wants_overlay and not self.overlay(row).is_file():
            return None
        try:
            pq.read_schema(self.part(row))
            text = self.part(row).with_suffix(".json").read_text(encoding="utf-8")
            return FaceRecord(**json.loads(text))
        except (OSError, ValueError, TypeError, pa.ArrowException):
            return None

    def commit(self, row: Row, record: FaceRecord) -> None:
        """Say that a video is done; its table, thumbs and overlay are there."""
        write_json(self.part(row).with_suffix(".json"), asdict(record))

    def records(self, manifest: Manifest) -> dict[str, FaceRecord]:
        """Of all rows that have a part, by key."""
        found = ((row.key, self.record(row)) for row in manifest.rows)
        return {key: record for key, record in found if record is not None}

    def merge(self, manifest: Manifest, target: Path) -> None:
        """Write all parts, in the order of the rows and with the manifest's columns, as one table.

        Raises:
            InputError: it cannot be written, or a part cannot be read.
        """
        columns = manifest.columns()
        empty = schema(points=self.points).empty_table()
        fields = {name: pa.scalar(None, values.type) for name, values in columns.items()}
        kind = with_columns(empty, fields).schema
        with open_table(target, kind) as writer:
            for table in _larger(self._tables(manifest)):
                writer.write_table(table.cast(kind))

    def _tables(self, manifest: Manifest) -> Iterator[pa.Table]:
        columns = manifest.columns()
        for number, row in enumerate(manifest.rows):
            if self.record(row) is not None:
                own = {name: values[number] for name, values in columns.items()}
                for table in pieces(self.part(row), schema(points=self.points).names):
                    yield with_columns(named(table, row), own)


def _larger(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Small tables put together: of each that is written a file must tell where it stands."""
    held: list[pa.Table] = []
    for table in tables:
        held.append(table)
        if sum(map(len, held)) >= _ROWS:
            yield pa.concat_tables(held)
            held = []
    if held:
        yield pa.concat_tables(held)
