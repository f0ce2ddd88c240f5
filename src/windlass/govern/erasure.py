"""Whom an erasure is about, and what every room does for one. Knows no room: each implements `Room`, and `platform.py` passes them in.

A person is met by name (the `user.id` of a trace, a value in a row), by what came of that (a trace that became a row, a row that was
evaluated), and by their own words where those are quoted, as an alert quotes what was asked. What is derived is counted and kept, what
was said is not: a score stays, its explanation goes.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import msgspec
from sqlalchemy import ColumnElement, Connection, Engine, Table, delete, select, update

from windlass.core.json_text import json_said
from windlass.core.operations.erasures import Affected, Left, Place
from windlass.core.quoting import SHORTEST, beginnings, one_line
from windlass.store.meta import read, write

ERASED = "[erased]"  # stands where something was said
BEGINNING = SHORTEST  # characters by which texts are sorted
BATCH = 500  # rows of a table at once
_WORD = re.compile(r"\w+")
_TRACE = re.compile(r"[0-9a-f]{32}")


class _Held(msgspec.Struct):
    names: list[str]
    traces: list[str]
    rows: dict[str, tuple[str, str]]
    datasets: list[str]
    texts: list[str]
    sessions: list[str] = []  # those of before are held without


class Subject:
    """A person in one project, as far as they were found. Rooms add to it until nobody finds more."""

    def __init__(self, project: str, names: Iterable[str], mentions: bool = False, erasure: str = "") -> None:
        self.project = project
        self.erasure = erasure
        self.names = frozenset(names)
        self.mentions = mentions
        self.traces: set[str] = set()
        self.sessions: set[str] = set()  # in which nobody else is met
        self.rows: dict[str, tuple[str, bytes]] = {}  # SHA-256 of a row's bytes, in hex → its key, and the bytes
        self.datasets: set[str] = set()
        self._texts: dict[str, set[str]] = {}
        self._common: set[str] = set()
        told = [n for n in self.names if is_telling(n)]
        spelled = {s for n in told for s in (n, json.dumps(n)[1:-1], json.dumps(n, ensure_ascii=False)[1:-1])}
        self.spelled = tuple(sorted(spelled))
        each = "|".join(re.escape(s) for s in sorted(spelled, key=len, reverse=True))
        self._named = re.compile(rf"(?<![0-9A-Za-z])(?:{each})(?![0-9A-Za-z])", re.IGNORECASE) if told else None

    def held(self) -> str:
        """What was found so far, to go on from: names, traces, rows, beginnings of texts, sessions. Kept until the erasure is done."""
        rows = {digest: (key, line.decode()) for digest, (key, line) in self.rows.items()}
        names, traces, datasets, texts, sessions = map(sorted, (self.names, self.traces, self.datasets, self.texts, self.sessions))
        return msgspec.json.encode(_Held(names, traces, rows, datasets, texts, sessions)).decode()

    @classmethod
    def restored(cls, project: str, erasure: str, mentions: bool, held: str) -> Subject:
        """A subject as `held` says it."""
        made = cls(project, msgspec.json.decode(held, type=_Held).names, mentions, erasure)
        made.take(held)
        return made

    def take(self, held: str) -> None:
        """Know what another that was held knew, but for its names."""
        found = msgspec.json.decode(held, type=_Held)
        self.traces.update(found.traces)
        self.sessions.update(found.sessions)
        self.rows.update({digest: (key, line.encode()) for digest, (key, line) in found.rows.items()})
        self.datasets.update(found.datasets)
        for text in found.texts:
            self._texts.setdefault(text[:BEGINNING], set()).add(text)

    @property
    def plain(self) -> int:
        """How many names are too much like ordinary words to be looked for in text."""
        return sum(not is_telling(n) for n in self.names)

    @property
    def size(self) -> tuple[int, ...]:
        return len(self.traces), len(self.rows), len(self.texts), len(self.sessions)

    def heard(self, text: str | None) -> None:
        """Remember what they said: it is erased where it is quoted, unless others say it too. JSON is taken apart."""
        for said in beginnings(text):
            if said not in self._common:
                self._texts.setdefault(said[:BEGINNING], set()).add(said)

    @property
    def texts(self) -> list[str]:
        """By what their words are known so far."""
        return [text for some in self._texts.values() for text in some]

    def said_by_others(self, text: str | None) -> None:
        """What others say too is nobody's words, and stays where it is quoted."""
        self.are_common(beginnings(text))

    def are_common(self, texts: Iterable[str]) -> None:
        for said in texts:
            some = self._texts.get(said[:BEGINNING])
            if some and said in some:
                some.discard(said)
                self._common.add(said)

    def names_them(self, text: str) -> bool:
        """Whether a telling name stands in a text."""
        return self._named is not None and self._named.search(text) is not None

    def is_theirs(self, value: Any) -> bool:
        """Whether a value is one of their names, whole, anywhere in it."""
        if isinstance(value, str):
            return value in self.names or (self.mentions and self.names_them(value))
        if isinstance(value, dict):
            return any(map(self.is_theirs, value.values()))
        return any(map(self.is_theirs, value)) if isinstance(value, list) else False

    def touches(self, text: str) -> bool:
        """Whether a text names them, tells of one of their traces, or quotes them."""
        if self.names_them(text) or any(t in self.traces for t in _TRACE.findall(text)):
            return True
        return self._quotes(text)

    def _quotes(self, text: str) -> bool:
        flat = one_line(text) if self._texts else ""
        for word in _WORD.finditer(flat):
            at = word.start()
            known = self._texts.get(flat[at : at + BEGINNING])
            if known and any(flat.startswith(said, at) for said in known):
                return True
        return False

    def scrub(self, text: str) -> str:
        """A text or JSON without what is theirs: an entry of a list that is of one of their traces is left out, a text that quotes or names
        them is replaced whole."""
        value = json_said(text)
        try:
            scrubbed = self._scrubbed(value)
        except RecursionError:  # what can be read may be too deep to be gone through
            value, scrubbed = text, self._scrubbed(text)
        if scrubbed == value:
            return text
        return scrubbed if value is text else msgspec.json.encode(scrubbed).decode()

    def _scrubbed(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {k: self._scrubbed(v) for k, v in value.items()}
        if isinstance(value, list):
            return [self._scrubbed(v) for v in value if not self._of_a_trace(v)]
        if isinstance(value, str) and not _TRACE.fullmatch(value) and (self.names_them(value) or self._quotes(value)):
            return ERASED
        return value

    def _of_a_trace(self, value: Any) -> bool:
        return isinstance(value, dict) and any(isinstance(v := value.get(f), str) and v in self.traces for f in ("trace", "trace_id", "id"))


def is_telling(name: str) -> bool:
    """Whether a name can be looked for in text: `ada@example.com`, `user-4711` and `Ada Lovelace` can, `done` and `17` cannot."""
    return len(name) >= 5 and bool(re.search(r"[^a-z]", name)) and bool(re.search(r"[^\d\s]", name) or len(name) >= 8)


class Room(Protocol):
    """What an erasure asks of a room. All of it can be done again after it was cut off, and does no harm then."""

    async def find(self, subject: Subject) -> Sequence[Place]:
        """Add what of the person is found here to the subject, and say how much it is."""
        ...

    async def erase(self, subject: Subject) -> Sequence[Place]: ...

    async def left(self, subject: Subject) -> Sequence[Left]:
        """Where a telling name still stands."""
        ...

    async def affected(self, subject: Subject) -> Sequence[Affected]:
        """Versions that what is theirs went into."""
        ...


class Swept:
    """A table whose rows may quote somebody. Its `columns` hold text or JSON; a row that quotes them is scrubbed, or with `whole` deleted.

    Args:
        place: what its rows are, for people.
        keys: columns that name a row; the first is what pages are cut by.
        inside: which rows are of a project.
    """

    def __init__(
        self, place: str, table: Table, keys: Sequence[str], columns: Sequence[str], *, whole: bool = False,
        inside: Callable[[str], ColumnElement[bool]] | None = None, also: Callable[[Connection, Any], None] | None = None,
    ) -> None:  # fmt: skip
        self.place = place
        self.table = table
        self.keys = tuple(keys)
        self.columns = tuple(columns)
        self._whole = whole
        self._inside = inside or (lambda project: table.c.project == project)
        self._also = also

    def touched(self, engine: Engine, subject: Subject) -> Iterator[Any]:
        """Rows that are theirs or quote them."""
        with read(engine) as c:
            found = c.execute(select(*(self.table.c[n] for n in (*self.keys, *self.columns))).where(self._inside(subject.project)))
            rows = [row for row in found if any(self._is(subject, text) for n in self.columns if (text := row._mapping[n]))]
        yield from rows

    def _is(self, subject: Subject, text: str) -> bool:
        return subject.touches(text) and (self._whole or subject.scrub(text) != text)

    def sweep(self, engine: Engine, subject: Subject) -> int:
        """Scrub or delete them. Returns how many rows it was."""
        rows = list(self.touched(engine, subject))
        for start in range(0, len(rows), BATCH):
            with write(engine) as c:
                for row in rows[start : start + BATCH]:
                    self._one(c, row._mapping, subject)
        return len(rows)

    def _one(self, c: Connection, row: Any, subject: Subject) -> None:
        same = [self.table.c[k] == row[k] for k in self.keys]
        if self._whole:
            if self._also:
                self._also(c, row)
            c.execute(delete(self.table).where(*same))
            return
        # as it is now, not as it was read: somebody may have written it since
        now = c.execute(select(*(self.table.c[n] for n in self.columns)).where(*same)).first()
        changed = {n: subject.scrub(text) for n in self.columns if now and (text := now._mapping[n]) and self._is(subject, text)}
        if changed:
            c.execute(update(self.table).where(*same).values(**changed))


class SweptRoom:
    """A room that is nothing but tables which may quote somebody."""

    def __init__(self, engine: Engine, tables: Sequence[Swept]) -> None:
        self._engine = engine
        self._tables = tables

    async def find(self, subject: Subject) -> Sequence[Place]:
        return await asyncio.to_thread(self._counted, self._touched, subject)

    async def erase(self, subject: Subject) -> Sequence[Place]:
        return await asyncio.to_thread(self._counted, lambda t, subject: t.sweep(self._engine, subject), subject)

    async def left(self, subject: Subject) -> Sequence[Left]:
        found = await asyncio.to_thread(self._counted, self._touched, subject)
        return [Left(p.place, p.count, "written meanwhile: erase again") for p in found]

    def _touched(self, table: Swept, subject: Subject) -> int:
        return sum(1 for _ in table.touched(self._engine, subject))

    def _counted(self, count: Callable[[Swept, Subject], int], subject: Subject) -> list[Place]:
        """Each table that has any. Whole tables are read, which is not for a loop on which others are served."""
        return [Place(t.place, n) for t in self._tables if (n := count(t, subject))]

    async def affected(self, subject: Subject) -> Sequence[Affected]:
        return ()
