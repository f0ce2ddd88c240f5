"""Columns of NumPy, as DuckDB takes rows fastest. Imported when there is something to write: who only asks needs no NumPy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def array_of(kind: str, values: Sequence[Any]) -> Any:
    """Values as a column of DuckDB's type VARCHAR, BOOLEAN, DOUBLE or a whole number; of the last two None is masked."""
    if kind == "VARCHAR":
        return objects(values)
    if kind == "BOOLEAN":
        return np.array(values, dtype=bool)
    given = np.array([v or 0 for v in values], dtype=np.float64 if kind == "DOUBLE" else np.int64)
    return np.ma.masked_array(given, mask=[v is None for v in values])


def objects(values: Sequence[Any]) -> Any:
    made = np.empty(len(values), dtype=object)
    made[:] = values
    return made
