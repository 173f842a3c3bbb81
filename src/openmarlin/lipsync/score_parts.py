"""Scores of finished videos, one part each, and the table that is made of them.

DIR/parts/KEY.json     a `Record` and the tracks (that the file is there means: done)
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from openmarlin.data.manifest import Row, display
from openmarlin.data.parts import PARTS, Record, VideoParts
from openmarlin.errors import InputError
from openmarlin.files import atomic, write_json
from openmarlin.lipsync.expert import Expert
from openmarlin.lipsync.offsets import Offset
from openmarlin.lipsync.track_score import VARIANTS, TrackScore
from openmarlin.lipsync.words import milliseconds

TABLE_FILE = "scores.csv"
COLUMNS = (
    *("video", "track", "start_s", "end_s", "n_frames", "offset_frames", "offset_ms"),
    *("lse_d", "lse_c", "variant", "expert", "framing", "certainty", "speaks", "speech", "seen"),
    *("face_px", "flags"),
)
"""Of scores.csv; those of the table of videos follow."""

_PLACES = 4


class ScoreParts(VideoParts):
    """The parts of a run of `lipsync score`."""

    def part(self, row: Row) -> Path:
        return self.path / PARTS / f"{row.key}.json"

    def record(self, row: Row) -> Record | None:
        content = self._read(row)
        return None if content is None else Record(**content["record"])

    def files(self, row: Row) -> list[Path]:
        return [self.part(row)]

    def commit(self, row: Row, scores: Sequence[TrackScore], record: Record) -> None:
        """Keep the scores of a video."""
        content = {"record": asdict(record), "tracks": [_plain(score) for score in scores]}
        write_json(self.part(row), content)

    def scores(self, row: Row) -> list[TrackScore]:
        """The tracks of a video; none where it is not finished."""
        content = self._read(row)
        return [] if content is None else [_score(track) for track in content["tracks"]]

    def _read(self, row: Row) -> dict[str, Any] | None:
        try:
            content = json.loads(self.part(row).read_text(encoding="utf-8"))
            Record(**content["record"])
            return content if isinstance(content["tracks"], list) else None
        except (OSError, ValueError, TypeError, KeyError):
            return None


def expert_name(expert: Expert) -> str:
    """An expert as tables name it: scores of another name or digest are no scores of the same."""
    return f"{expert.name}@{expert.digest}"


def table_rows(
    row: Row, scores: Iterable[TrackScore], expert: str, framing: str
) -> Iterator[dict[str, Any]]:
    """The rows of a video: one a track and variant; what is not measured is empty."""
    for score in scores:
        common = {
            "video": display(row.video),
            "track": score.track,
            "start_s": round(score.start_s, 3),
            "end_s": round(score.end_s, 3),
            "n_frames": score.n_frames,
            "expert": expert,
            "framing": framing,
            "certainty": "" if math.isnan(score.certainty) else round(score.certainty, 3),
            "speaks": int(score.speaks),
            "speech": round(score.speech, 3),
            "seen": round(score.seen, 3),
            "face_px": round(score.face_px, 1),
            "flags": "; ".join(score.flags),
        }
        for variant in VARIANTS:
            offset = score.scores.get(variant)
            measured = {} if offset is None else {
                "offset_frames": offset.ticks,
                "offset_ms": milliseconds(offset.ticks),
                "lse_d": round(offset.lse_d, _PLACES),
                "lse_c": round(offset.lse_c, _PLACES),
            }  # fmt: skip
            yield {**common, **measured, "variant": variant}


def write_table(path: Path, rows: Iterable[dict[str, Any]], more: Sequence[str]) -> Path:
    """Write scores.csv, whole or not at all.

    Args:
        path: the file.
        rows: of all videos.
        more: further columns.
    """
    with atomic(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*COLUMNS, *more], restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def check_columns(names: Iterable[str]) -> None:
    """Columns of a table of videos must not be called as those of the scores.

    Raises:
        InputError: one is.
    """
    for name in names:
        if name in COLUMNS:
            raise InputError(
                f"the table of scores has a column '{name}' of its own; rename the one in the "
                "table of videos"
            )


def _plain(score: TrackScore) -> dict[str, Any]:
    plain = {name: value for name, value in vars(score).items() if name != "scores"}
    for name in ("times_s", "confidence"):
        plain[name] = np.round(plain[name].astype(np.float64), _PLACES).tolist()
    plain["scores"] = {
        variant: {**vars(offset), "curve": offset.curve.astype(np.float64).tolist()}
        for variant, offset in score.scores.items()
    }
    return plain


def _score(plain: dict[str, Any]) -> TrackScore:
    scores = {
        variant: Offset(**{**offset, "curve": np.array(offset["curve"], np.float32)})
        for variant, offset in plain["scores"].items()
    }
    arrays = {
        "times_s": np.array(plain["times_s"], np.float64),
        "confidence": np.array(plain["confidence"], np.float32),
    }
    return TrackScore(**{**plain, **arrays, "scores": scores, "flags": tuple(plain["flags"])})
