"""CSV tables as people save them: with commas, semicolons or tabs, from Excel or by hand."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from openmarlin.errors import InputError
from openmarlin.storage import fetched

_SEPARATORS = ",;\t"


@dataclass(frozen=True)
class Table:
    """A table in memory.

    Attributes:
        path: where it comes from.
        columns: their names, as written.
        rows: number of the line, and the cells by column, stripped.
        separator: what stands between the cells.
    """

    path: Path
    columns: list[str]
    rows: list[tuple[int, dict[str, str]]]
    separator: str

    def number(self, line: int, cells: Mapping[str, str], column: str) -> float | None:
        """A cell as a number; None where it is empty, or there is no such column.

        Raises:
            InputError: it holds something else, or less than 0.
        """
        text = cells.get(column, "")
        if not text:
            return None
        if self.separator == ";":  # the tables of countries with a decimal comma
            text = text.replace(",", ".")
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not 0 <= number < math.inf:
            raise InputError(
                f"{self.path}, line {line}: {column} is '{text}'; write seconds, such as 12.5"
            )
        return number


def read_table(path: Path) -> Table:
    """Read a CSV with a header: any of the usual separators, with or without a byte order mark.

    Raises:
        InputError: it cannot be read, is not UTF-8, or a line has more cells than the header.
    """
    try:
        with fetched(path) as local, local.open(newline="", encoding="utf-8-sig") as file:
            head = file.readline()
            separator = max(_SEPARATORS, key=head.count)
            file.seek(0)
            reader = csv.reader(file, delimiter=separator, skipinitialspace=True)
            columns = [name.strip() for name in next(reader, [])]
            lines = [(reader.line_num, [cell.strip() for cell in line]) for line in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV table ({error}); save it as UTF-8 CSV") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    twice = {name for name in columns if name and columns.count(name) > 1}
    if twice:
        raise InputError(f"{path}: two columns are named '{min(twice)}'; rename one")
    for number, cells in lines:
        if any("\0" in cell for cell in cells):
            raise InputError(f"{path}, line {number}: holds a null byte; save it as UTF-8 CSV")
        if any(cells[len(columns) :]):
            raise InputError(
                f"{path}, line {number}: {len(cells)} cells under {len(columns)} columns; put "
                "quotes around what contains the separator"
            )
    rows = [
        (number, {**dict.fromkeys(columns, ""), **dict(zip(columns, cells, strict=False))})
        for number, cells in lines
        if any(cells)
    ]
    return Table(path, [name for name in columns if name], rows, separator)
