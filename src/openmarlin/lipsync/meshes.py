"""The mesh points of a table of faces by track and frame, read piece by piece."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from openmarlin.data.face_table import pieces, points_of
from openmarlin.face.mesh import N_POINTS

_HELD = 4  # pieces of some hundred rows


class Meshes:
    """Random access to the points of a table that `lipsync.follow` wrote.

    Args:
        table: the .parquet.
    """

    def __init__(self, table: Path) -> None:
        self._spans = np.array(
            [
                (int(frames[0].as_py()), int(frames[-1].as_py()))
                for frames in (piece.column("frame") for piece in pieces(table, ["frame"]))
            ]
        )
        self._file = pq.ParquetFile(str(table))
        self._held: OrderedDict[int, pa.Table] = OrderedDict()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def points(self, track: int, first: int, stop: int) -> NDArray[np.float32]:
        """The points of a track in frames `first` to `stop` - 1.

        Returns:
            (stop - first, 478, 3) source pixels, NaN where the face was not seen.
        """
        result = np.full((stop - first, N_POINTS, 3), np.nan, np.float32)
        begins, ends = self._spans.T
        for number in np.flatnonzero((begins < stop) & (ends >= first)).tolist():
            piece = self._piece(number)
            frames, tracks = (piece.column(name).to_numpy() for name in ("frame", "face"))
            mine = np.flatnonzero((tracks == track) & (frames >= first) & (frames < stop))
            if len(mine):
                result[frames[mine] - first] = points_of(piece.take(mine))
        return result

    def _piece(self, number: int) -> pa.Table:
        if number not in self._held:
            columns = ["frame", "face", "points"]
            self._held[number] = self._file.read_row_group(number, columns, use_threads=False)
        self._held.move_to_end(number)
        while len(self._held) > _HELD:
            self._held.popitem(last=False)
        return self._held[number]
