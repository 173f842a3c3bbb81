"""The journal of a store that is being written: what is finished, line by line."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from openmarlin.errors import InputError, option


class Journal:
    """Lines of JSON that are on disk when `append` returns."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("a+b")

    def lines(self) -> list[dict[str, Any]]:
        """All whole lines; what a killed process left of the last one is cut off."""
        self._file.seek(0)
        data = self._file.read()
        whole = data[: data.rfind(b"\n") + 1]
        if len(whole) < len(data):
            self._file.truncate(len(whole))
        try:
            return [json.loads(line) for line in whole.splitlines()]
        except ValueError:
            raise InputError(
                f"{self.path}: not readable; start anew with {option('overwrite', True)}"
            ) from None

    def append(self, line: Mapping[str, Any]) -> None:
        """Write a line.

        Raises:
            InputError: the disk is full.
        """
        try:
            self._file.write(json.dumps(line).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            reason = error.strerror or str(error)
            raise InputError(
                f"cannot write {self.path}: {reason}; make room and run again with "
                f"{option('resume', True)}"
            ) from None

    @property
    def closed(self) -> bool:
        return self._file.closed

    def close(self) -> None:
        """Close the file; does nothing the second time."""
        with suppress(OSError):  # the disk is full: what matters was flushed before
            self._file.close()
