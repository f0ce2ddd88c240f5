"""Long texts of spans in DuckDB, which reads 2,048 rows at once: a column with texts of megabytes needs gigabytes then, and a file that
has some can neither be asked nor packed.

So a row has a text of at most `KEPT` bytes, shortened so that it still can be read, and `long` has all of it: in parts, under the
row's place, in the transaction of the row. A part goes on into the next for `OVER` characters, so that what is looked for is found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from windlass.core.shortening import KEPT, SHORTENS, beginning, is_long, kept
from windlass.store.spans import SpanRow

if TYPE_CHECKING:
    import duckdb

PART, OVER = 8_192, 256
TOGETHER = 16_000_000  # characters, of up to four bytes
NAME = 1_024  # bytes of a name that a row has, whose whole is in attributes or resource
LISTED = 4_096  # bytes of a list of names
NAMES = (
    "kind",
    "status",
    "service",
    "model",
    "provider",
    "release",
    "environment",
    "evaluation",
    "row",
    "input_from",
    "output_from",
    "response",
)
LISTS = ("tags", "versions")
_MOST = {**dict.fromkeys(SHORTENS, KEPT), **dict.fromkeys(NAMES, NAME), **dict.fromkeys(LISTS, LISTED)}
# zstd, of texts as long as these, takes a tenth of the time that DuckDB's choice does, and a fifth of the room
TABLE = (
    "long (project VARCHAR, trace_id UUID, span_id UBIGINT, place BIGINT, name VARCHAR, part INTEGER, size BIGINT,"
    " text VARCHAR USING COMPRESSION zstd)"
)


def longer(columns: Mapping[str, Sequence[Any]]) -> list[int]:
    """Which rows are to be split, of all by column. Nearly none is: of most columns the longest value says so."""
    found = set[int]()
    for name, most in _MOST.items():
        values, size = columns[name], _listed if name in LISTS else len
        if max(map(size, filter(None, values)), default=0) * 4 > most:
            found.update(place for place, value in enumerate(values) if value and _exceeds(name, value, most))
    return sorted(found)


def _exceeds(name: str, value: Any, most: int) -> bool:
    if name in LISTS:
        return _listed(value) * 4 > most
    return is_long(value) if name in SHORTENS else beginning(value, most) != value


def _listed(values: Sequence[str]) -> int:
    return sum(map(len, values))


def split(row: SpanRow) -> tuple[SpanRow, dict[str, str]]:
    """A row as it is put into the file, and its long texts. Of names, which are read from the texts, a row has the beginning alone."""
    long = {column: text for column in SHORTENS if (text := getattr(row, column)) is not None and is_long(text)}
    names = {column: as_kept(column, getattr(row, column)) for column in (*NAMES, *LISTS)}
    return msgspec.structs.replace(row, **{column: kept(column, text) for column, text in long.items()}, **names), long


def as_kept(column: str, value: Any) -> Any:
    """What a row has of a value of which the whole is not in `long`."""
    if isinstance(value, list):
        return _within(value)
    return beginning(value, NAME) if column in NAMES and value is not None else value


def _within(values: list[str]) -> list[str]:
    """The first of some names, as many as a row has room for."""
    found, room = list[str](), LISTED
    for value in values:
        name = beginning(value, NAME)
        if (room := room - len(name.encode()) - 1) < 0:
            break
        found.append(name)
    return found


def parts_of(text: str) -> list[str]:
    return [text[start : start + PART + OVER] for start in range(0, len(text), PART)]


def complete(
    db: duckdb.DuckDBPyConnection, name: str, rows: Mapping[int, dict[str, Any]], most: int | None = None
) -> dict[int, dict[str, int]]:  # fmt: skip
    """Give rows, by place, their long texts; where `most` is given only texts of at most so many characters, and of all together eight
    times as many. Returns by place what stays short, and how long it is."""
    if not rows:
        return {}
    there = db.execute(
        f"SELECT place, name, any_value(size) FROM {name}.long WHERE place BETWEEN ? AND ? GROUP BY place, name ORDER BY place, name",
        [min(rows), max(rows)],
    ).fetchall()
    room = None if most is None else most * 8
    wanted = set[tuple[int, str]]()
    short: dict[int, dict[str, int]] = {}
    for place, column, size in there:
        if place not in rows or column not in rows[place]:
            continue
        if room is None or size <= min(most or 0, room):
            wanted.add((place, column))
            room = None if room is None else room - size
        else:
            short.setdefault(place, {})[column] = size
    for (place, column), parts in _parts(db, name, wanted).items():
        rows[place][column] = "".join(parts)
    return short


def whole(db: duckdb.DuckDBPyConnection, name: str, place: int, column: str) -> str | None:
    """A long text; None where there is none."""
    found = _parts(db, name, {(place, column)})
    return "".join(found[place, column]) if found else None


def _parts(db: duckdb.DuckDBPyConnection, name: str, wanted: set[tuple[int, str]]) -> dict[tuple[int, str], list[str]]:
    """Texts in their parts, by place and column."""
    if not wanted:
        return {}
    places = sorted({place for place, _ in wanted})
    rows = db.execute(
        f"SELECT place, name, left(text, {PART}) FROM {name}.long WHERE place BETWEEN {places[0]} AND {places[-1]}"
        f" AND place IN ({', '.join(map(str, places))}) ORDER BY place, name, part"
    ).fetchall()
    found: dict[tuple[int, str], list[str]] = {}
    for place, column, text in rows:
        if (place, column) in wanted:
            found.setdefault((place, column), []).append(text)
    return found


def fewer(db: duckdb.DuckDBPyConnection, name: str, first: int, most: int) -> int:
    """How many rows from one on can be taken at once, at most so many: their long texts together are no more than `TOGETHER` characters,
    or they are one row."""
    sizes = db.execute(
        f"SELECT place, sum(size) FILTER (part = 0) FROM {name}.long WHERE place BETWEEN ? AND ? GROUP BY place ORDER BY place",
        [first, first + most - 1],
    ).fetchall()
    total = 0
    for place, size in sizes:
        total += size
        if total > TOGETHER:
            return max(1, int(place) - first)
    return most
