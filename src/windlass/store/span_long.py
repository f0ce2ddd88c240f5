"""Long texts of spans in DuckDB, which reads 2,048 rows at once: a column with texts of megabytes needs gigabytes then, and a file that
has some can neither be asked nor packed.

So a row has a text of at most `KEPT` bytes, shortened so that it still can be read, and `long` has all of it: in parts, under the
row's place, in the transaction of the row. A part goes on into the next for `OVER` characters, so that what is looked for is found.
"""

from __future__ import annotations

from collections.abc import Mapping
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
# zstd, of texts as long as these, takes a tenth of the time that DuckDB's choice does, and a fifth of the room
TABLE = (
    "long (project VARCHAR, trace_id UUID, span_id UBIGINT, place BIGINT, name VARCHAR, part INTEGER, size BIGINT,"
    " text VARCHAR USING COMPRESSION zstd)"
)


def split(row: SpanRow) -> tuple[SpanRow, dict[str, str]]:
    """A row as it is put into the file, and its long texts. Of names, which are read from the texts, a row has the beginning alone."""
    if not _is_long(row):
        return row, {}
    long = {column: text for column in SHORTENS if (text := getattr(row, column)) is not None and is_long(text)}
    names = {column: as_kept(column, getattr(row, column)) for column in (*NAMES, "tags", "versions")}
    return msgspec.structs.replace(row, **{column: kept(column, text) for column, text in long.items()}, **names), long


def as_kept(column: str, value: Any) -> Any:
    """What a row has of a value of which the whole is not in `long`."""
    if isinstance(value, list):
        return _within(value)
    return beginning(value, NAME) if column in NAMES and value is not None else value


def _is_long(r: SpanRow) -> bool:
    """For each row that comes, so most are known by one sum."""
    texts = (r.attributes, r.input, r.output, r.events, r.status_message, r.name, r.links, r.resource, r.session, r.user, r.tool, r.prompt)
    names = (
        r.kind, r.status, r.service, r.model, r.provider, r.release, r.environment, r.evaluation, r.row, r.input_from, r.output_from,
        r.response,
    )  # fmt: skip
    listed = sum(map(len, r.tags)) + sum(map(len, r.versions)) if r.tags or r.versions else 0
    named = sum([len(name) for name in names if name])
    if named * 4 <= NAME and listed * 4 <= LISTED and sum([len(text) for text in texts if text]) * 4 <= KEPT:
        return False
    return (
        listed * 4 > LISTED or any(is_long(text) for text in texts if text) or any(beginning(name, NAME) != name for name in names if name)
    )  # fmt: skip


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
