"""Rows in a file of a workspace: JSONL, an object a line; or CSV, all of it text but for columns named `field:json`, which hold JSON,
and nothing where a row lacks the field. What is written is what is read again."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import msgspec

from windlass.core.errors import Invalid

Row = dict[str, Any]
Numbered = Iterator[tuple[int, Row]]  # by line
Tell = Callable[[str], None]  # what is wrong with a row, in a sentence
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
    reader = _reader(path)
    found = Rows([], [])
    tell = found.problems.append
    lines = io.StringIO(text.removeprefix(BOM), newline=reader.newline)
    found.rows.extend(_named(reader.read(lines, path, tell), path, {}, tell, keyed=keyed))
    return found


class RowFile:
    """A file of rows, read as they are asked for, so that it may be larger than memory. A row that cannot be read, or has no key of its
    own, is left out and told. `done` of `size` bytes were read; `lines` says on which line a key stands. Raises as `read_rows` does."""

    def __init__(self, path: Path, tell: Tell) -> None:
        self.path = path
        self.lines: dict[str, int] = {}
        self.done = self.size = 0
        self._tell = tell

    def __iter__(self) -> Iterator[Row]:
        name = str(self.path)
        try:
            with self.path.open("rb") as file:
                reader = _reader(name)
                self.size = os.fstat(file.fileno()).st_size
                lines = self._decoded(file)
                numbered = reader.read(lines if reader.newline else _split(lines), name, self._tell)
                yield from _named(numbered, name, self.lines, self._tell, keyed=False)
        except FileNotFoundError:
            raise Invalid("there is no such file", where=name) from None
        except OSError as e:
            raise Invalid(e.strerror or str(e), where=name) from e

    def _decoded(self, file: Iterable[bytes]) -> Iterator[str]:
        for line in file:
            try:
                text = line.decode()
            except UnicodeDecodeError as e:
                said = f"byte 0x{line[e.start]:02x} at offset {self.done + e.start} is not UTF-8"
                raise Invalid(said, where=str(self.path), remedy="save it as UTF-8") from e
            yield text if self.done else text.removeprefix(BOM)
            self.done += len(line)


def _split(lines: Iterable[str]) -> Iterator[str]:
    """Lines that end in a carriage return alone are lines too, to CSV."""
    for line in lines:
        if "\r" in line.removesuffix("\n")[:-1]:
            yield from io.StringIO(line, newline="")
        else:
            yield line


def _named(numbered: Numbered, path: str, seen: dict[str, int], tell: Tell, *, keyed: bool) -> Iterator[Row]:
    """Rows that have a key of their own. `seen` learns the line of each."""
    for number, row in numbered:
        key = row.get("key")
        if isinstance(key, str) and key and key not in seen:
            seen[key] = number
            yield row
            continue
        if not isinstance(key, str) or not key:
            said, remedy = f"line {number} has no key", 'give every row a unique text field "key"'
        else:
            said, remedy = f"lines {seen[key]} and {number} have the same key {key!r}", "keys name rows for ever; make them unique"
        if keyed:
            raise Invalid(said, where=path, remedy=remedy)
        tell(f"{path}: {said}")


def _jsonl(lines: Iterable[str], path: str, tell: Tell) -> Numbered:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = msgspec.json.decode(line)
        except msgspec.DecodeError as e:
            tell(f"{path}:{number}: not JSON: {e}")
            continue
        if isinstance(row, dict):
            yield number, row
        else:
            tell(f"{path}:{number}: a row must be an object, not {type(row).__name__}")


def _csv(lines: Iterable[str], path: str, tell: Tell) -> Numbered:
    table = csv.reader(lines, strict=True)
    try:
        head = next(table, [])
        _check_head(head, path)
        line = table.line_num + 1
        for cells in table:
            number, line = line, table.line_num + 1
            if not cells:
                continue
            if len(cells) != len(head):
                tell(f"{path}:{number}: {len(cells)} cells, and the first line has {len(head)}")
                continue
            try:
                yield number, dict(_cells(head, cells))
            except msgspec.DecodeError as e:
                tell(f"{path}:{number}: {e}")
    except csv.Error as e:
        raise Invalid(
            f"not CSV: {e}", where=f"{path}:{table.line_num}", remedy="a cell that holds quotes is quoted, and its quotes doubled"
        ) from e


def _check_head(head: list[str], path: str) -> None:
    names = [name.removesuffix(JSON) for name in head]
    if head and "key" not in head:
        remedy = "name a column key, and separate columns with commas" if len(head) == 1 else "give every row a unique name there"
        raise Invalid(f"there is no column key among {', '.join(map(repr, head))}"[:500], where=f"{path}:1", remedy=remedy)
    if len(set(names)) < len(names):
        raise Invalid("two columns have the same name", where=f"{path}:1", remedy="give each a name of its own")


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


class _Reader(NamedTuple):
    read: Callable[[Iterable[str], str, Tell], Numbered]
    newline: str  # what ends a line; "" for any end that there is


_READERS = {".jsonl": _Reader(_jsonl, "\n"), ".csv": _Reader(_csv, "")}


def _reader(path: str) -> _Reader:
    reader = _READERS.get(PurePath(path).suffix.lower())
    if reader is None:
        raise Invalid("it is neither .jsonl nor .csv", where=path, remedy="save it as one of these, or read it with `windlass pin add`")
    return reader
