"""Rows divided by a column: by its values, or by quarters of a quantity."""

from __future__ import annotations

import numpy as np
import pytest
from judged import rows_of

from openmarlin.errors import InputError
from openmarlin.tasks.subgroups import check_subgroups, divide


def test_columns_that_cannot_divide_are_refused() -> None:
    rows = rows_of(60, name=lambda i: f"person {i}", sex=lambda i: "f")
    with pytest.raises(InputError, match=r"'sexx'.*sex"):
        divide(rows, "sexx")
    with pytest.raises(InputError, match="60 values"):
        divide(rows, "name")


def test_quantities_are_divided_in_quarters() -> None:
    rows = rows_of(80, age=lambda i: "" if i == 0 else 20 + i % 40)
    parts = divide(rows, "age")
    assert list(parts)[-1] == "(empty)"
    assert len(parts) == 5
    assert np.sum(list(parts.values()), axis=0).tolist() == [1] * 80
    sizes = [int(mask.sum()) for mask in parts.values()][:4]
    assert max(sizes) - min(sizes) <= 4
    few = divide(rows_of(9, age=lambda i: 10 * (i % 3)), "age")
    assert list(few) == ["0", "10", "20"]
    assert divide(rows_of(4, 2), "group").keys() == {"g0", "g1"}


def test_every_column_is_looked_at() -> None:
    rows = rows_of(4, sex=lambda i: "f")
    check_subgroups(["sex", "group", "split"], rows)
    with pytest.raises(InputError, match="age"):
        check_subgroups(["sex", "age"], rows)
