"""The output folder of a long job: one part a video, so that it can be killed and resumed.

DIR/settings.json       what the run was asked for; a resumed run must ask for the same
DIR/parts/ID.parquet    the rows of one finished video (its presence means: done)
DIR/parts/ID.npz        thumbs of that video for the report
DIR/tokens/NAME-ID.safetensors
DIR/failures.csv        video, reason; written anew at every failure
DIR/features.parquet    all parts together, with DIR/meta.json, written at the end
"""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from safetensors.numpy import save

from openmarlin.data.features import META_FILE, TABLE_FILE, Features, WindowRow, rows_to_table
from openmarlin.data.thumbs import WindowThumb, load_thumbs, save_thumbs
from openmarlin.errors import InputError
from openmarlin.output import atomic

SETTINGS_FILE, FAILURES_FILE, REPORT_FILE = "settings.json", "failures.csv", "report.html"
PARTS, TOKENS = "parts", "tokens"
_SHOWN_VIDEOS = 48  # whose thumbs are read for a report, or some more
_OURS = (SETTINGS_FILE, FAILURES_FILE, REPORT_FILE, TABLE_FILE, META_FILE, PARTS, TOKENS)


class RunFolder:
    """Opens (or makes) the folder of one run.

    Args:
        path: the folder.
        settings: what decides the numbers in the table, JSON values.
        dim: width of the embeddings.
        resume: go on where an earlier run with the same settings stopped.
        overwrite: remove the results of an earlier run first (only files this class writes).

    Raises:
        InputError: not empty without `resume` or `overwrite`, made with other settings, not ours.
    """

    def __init__(
        self,
        path: Path,
        settings: Mapping[str, Any],
        dim: int,
        *,
        resume: bool = False,
        overwrite: bool = False,
    ) -> None:
        self.path, self.dim = path, dim
        self.failures: dict[str, str] = {}
        if path.exists() and not path.is_dir():
            raise InputError(f"{path}: is a file; name a folder, or a new .parquet, .npz or .csv")
        if path.is_dir() and any(path.iterdir()):
            self._reopen(settings, resume, overwrite)
        with atomic(path / SETTINGS_FILE) as part:
            part.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")

    def _reopen(self, settings: Mapping[str, Any], resume: bool, overwrite: bool) -> None:
        known = self.path / SETTINGS_FILE
        if overwrite:
            if not known.is_file():
                raise InputError(
                    f"{self.path}: not empty and not made by openmarlin, so it is not overwritten; "
                    "name another folder"
                )
            for name in _OURS:
                old = self.path / name
                shutil.rmtree(old) if old.is_dir() else old.unlink(missing_ok=True)
            return
        if not resume:
            raise InputError(
                f"{self.path}: not empty; add --resume to go on there, --overwrite to start anew, "
                "or name another folder"
            )
        if not known.is_file():
            raise InputError(f"{self.path}: no earlier run to resume (no {SETTINGS_FILE} there)")
        try:
            old_settings = json.loads(known.read_text(encoding="utf-8"))
        except ValueError:
            raise InputError(f"{known}: not readable; start anew with --overwrite") from None
        changed = [key for key in settings if old_settings.get(key) != settings[key]]
        if changed:
            differences = ", ".join(
                f"{key} was {old_settings.get(key)!r}, is {settings[key]!r}" for key in changed
            )
            raise InputError(
                f"{self.path}: made with other settings ({differences}); use the same, "
                "--overwrite, or another folder"
            )
        for stale in (self.path / PARTS).glob(".*.part"):
            stale.unlink()

    def is_done(self, video: Path) -> bool:
        return self._part(video).is_file()

    def commit(
        self,
        video: Path,
        rows: Sequence[WindowRow],
        thumbs: Sequence[WindowThumb],
        tokens: Mapping[str, NDArray[np.float16]] | None,
        *,
        seconds: float,
        problems: Sequence[str],
    ) -> None:
        """Keep a finished video. The part is written last: once it is there, all of it is.

        Args:
            video: which one.
            rows: its rows, embeddings included.
            thumbs: what a report shows of it.
            tokens: float16 (N, D) by "window-face", or None.
            seconds: how much of it was read.
            problems: what was damaged in it.
        """
        if tokens:
            with atomic(self.path / TOKENS / f"{video.stem}-{_id(video)}.safetensors") as part:
                part.write_bytes(save(dict(tokens), {"video": str(video)}))
        save_thumbs(self._part(video).with_suffix(".npz"), thumbs)
        record = {"seconds": seconds, "problems": list(problems)}
        Features(rows_to_table(rows, self.dim), record).save(self._part(video))

    def fail(self, video: Path, reason: str) -> None:
        """List a video that failed."""
        self.failures[str(video)] = " ".join(reason.split()).removeprefix(f"{video}: ")
        self._write_failures()

    def merge(self, videos: Sequence[Path]) -> tuple[Features, list[WindowThumb]]:
        """All parts in the order of `videos`; `meta` holds the records {video: record}.

        Thumbs are those of some videos, spread over all, where there are many.

        Videos of which only a part could be read join the list of failures.
        """
        done = [video for video in videos if self.is_done(video)]
        parts = [Features.load(self._part(video)) for video in done]
        tables = [part.table for part in parts] or [rows_to_table([], self.dim)]
        records = {str(video): part.meta for video, part in zip(done, parts, strict=True)}
        for video, record in records.items():
            if record["problems"]:
                self.failures[video] = f"partly read: {'; '.join(record['problems'])}"
        step = max(1, len(done) // _SHOWN_VIDEOS)
        thumbs = [
            thumb
            for video in done[::step]
            for thumb in load_thumbs(self._part(video).with_suffix(".npz"))
        ]
        self._write_failures()
        return Features(pa.concat_tables(tables), records), thumbs

    def _write_failures(self) -> None:
        with (
            atomic(self.path / FAILURES_FILE) as part,
            part.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(["video", "reason"])
            writer.writerows(self.failures.items())

    def _part(self, video: Path) -> Path:
        return self.path / PARTS / f"{_id(video)}.parquet"


def _id(video: Path) -> str:
    """A short name for a video that is the same whatever folder the command runs in."""
    return hashlib.sha256(str(video.resolve()).encode("utf-8", "surrogateescape")).hexdigest()[:16]
