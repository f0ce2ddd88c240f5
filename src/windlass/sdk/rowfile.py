"""Rows in a file of a workspace: JSONL, an object a line; or CSV, all of it text but for columns named `field:json`, which hold JSON,
and nothing where a row lacks the field. What is written is what is read again."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import Any

import msgspec

from windlass.core.errors import Invalid

Row = dict[str, Any]
Numbered = Iterator[tuple[int, Row]]  # by line
JSON = ":json"
BOM = "\ufeff"  # that spreadsheets put first
MOST_CELL = 64 << 20  # characters

csv.field_size_limit(MOST_CELL)


class Rows(msgspec.Struct):
    """Rows of a file, and what was wrong with the others."""

    rows: list[Row]
    problems: list[str]


def read_rows(text: str, path: str, *, keyed: bool = True) -> Rows:
    """Rows of a file, by its ending. One that cannot be read is named by its line and left out; the rest is kept. So is one without a
    key of its own, but where `keyed`: then it raises `Invalid`, since a row's name is its key."""
    reader = _READERS.get(PurePath(path).suffix.lower())
    if reader is None:
        raise Invalid("it is neither .jsonl nor .csv", where=path, remedy="save it as one of these, or read it with `windlass pin add`")
    found = Rows([], [])
    seen: dict[str, int] = {}
    for number, row in reader(text.removeprefix(BOM), path, found.problems):
        key = row.get("key")
        if isinstance(key, str) and key and key not in seen:
            seen[key] = number
            found.rows.append(row)
        elif not isinstance(key, str) or not key:
            _unnamed(f"line {number} has no key", 'give every row a unique text field "key"', path, found, keyed)
        else:
            said = f"lines {seen[key]} and {number} have the same key {key!r}"
            _unnamed(said, "keys name rows for ever; make them unique", path, found, keyed)
    return found


def _unnamed(said: str, remedy: str, path: str, found: Rows, keyed: bool) -> None:
    if keyed:
        raise Invalid(said, where=path, remedy=remedy)
    found.problems.append(f"{path}: {said}")


def _jsonl(text: str, path: str, problems: list[str]) -> Numbered:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = msgspec.json.decode(line)
        except msgspec.DecodeError as e:
            problems.append(f"{path}:{number}: not JSON: {e}")
            continue
        if isinstance(row, dict):
            yield number, row
        else:
            problems.append(f"{path}:{number}: a row must be an object, not {type(row).__name__}")


def _csv(text: str, path: str, problems: list[str]) -> Numbered:
    table = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        head = next(table, [])
        names = [name.removesuffix(JSON) for name in head]
        if head and "key" not in head:
            remedy = "name a column key, and separate columns with commas" if len(head) == 1 else "give every row a unique name there"
            raise Invalid(f"there is no column key among {', '.join(map(repr, head))}"[:500], where=f"{path}:1", remedy=remedy)
        if len(set(names)) < len(names):
            raise Invalid("two columns have the same name", where=f"{path}:1", remedy="give each a name of its own")
        line = table.line_num + 1
        for cells in table:
            number, line = line, table.line_num + 1
            if not cells:
                continue
            if len(cells) != len(head):
                problems.append(f"{path}:{number}: {len(cells)} cells, and the first line has {len(head)}")
                continue
            try:
                yield number, dict(_cells(head, cells))
            except msgspec.DecodeError as e:
                problems.append(f"{path}:{number}: {e}")
    except csv.Error as e:
        raise Invalid(
            f"not CSV: {e}", where=f"{path}:{table.line_num}", remedy="a cell that holds quotes is quoted, and its quotes doubled"
        ) from e


def _cells(head: list[str], cells: list[str]) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(head, cells, strict=True):
        if not name.endswith(JSON):
            yield name, cell
        elif cell.strip():
            try:
                yield name.removesuffix(JSON), msgspec.json.decode(cell)
            except msgspec.DecodeError as e:
                raise msgspec.DecodeError(f"{name} is not JSON: {e}") from e


def write_csv(rows: list[Row]) -> str:
    """Rows as CSV: a column is text where every row has text there."""
    fields = list(dict.fromkeys(field for row in rows for field in row))
    plain = {f for f in fields if not f.endswith(JSON) and all(isinstance(row.get(f), str) for row in rows)}
    lines: list[str] = []
    writer = csv.writer(_Lines(lines))
    writer.writerow(f if f in plain else f + JSON for f in fields)
    for row in rows:
        writer.writerow(row[f] if f in plain else msgspec.json.encode(row[f]).decode() if f in row else "" for f in fields)
    return "".join(lines)


class _Lines:
    """Lines of CSV that end in a newline alone; asked to end them so, Python's writer leaves a carriage return in a cell unquoted."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    def write(self, line: str) -> None:
        self._lines.append(line.removesuffix("\r\n") + "\n")


_READERS: dict[str, Callable[[str, str, list[str]], Numbered]] = {".jsonl": _jsonl, ".csv": _csv}
