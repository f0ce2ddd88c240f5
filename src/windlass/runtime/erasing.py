"""Erasure from recorded draws: answers of models about a person's rows. They are asked for again when they are needed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Engine, delete, func, select

from windlass.core.operations.erasures import Affected, Left, Place
from windlass.govern.erasure import Subject
from windlass.store.meta import read, write
from windlass.store.tables import draws

AT_ONCE = 500


class DrawRoom:
    """`Room` of draws: of the keys of their rows. Another dataset's draws of the same key go too, since a draw does not say whose it is."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def find(self, subject: Subject) -> Sequence[Place]:
        count = await asyncio.to_thread(self._count, subject)
        return [Place("draws", count)] if count else []

    def _where(self, subject: Subject) -> list[list[ColumnElement[bool]]]:
        keys = sorted({key for key, _ in subject.rows.values()})
        parts = [keys[n : n + AT_ONCE] for n in range(0, len(keys), AT_ONCE)]
        return [[draws.c.project == subject.project, draws.c.row.in_(part)] for part in parts]

    def _count(self, subject: Subject) -> int:
        with read(self._engine) as c:
            return sum(c.execute(select(func.count()).select_from(draws).where(*w)).scalar_one() for w in self._where(subject))

    async def erase(self, subject: Subject) -> Sequence[Place]:
        count = await asyncio.to_thread(self._delete, subject)
        return [Place("draws", count)] if count else []

    def _delete(self, subject: Subject) -> int:
        found: list[Any] = []
        for where in self._where(subject):
            with write(self._engine) as c:
                found.append(c.execute(delete(draws).where(*where)).rowcount)
        return sum(found)

    async def left(self, subject: Subject) -> Sequence[Left]:
        count = await asyncio.to_thread(self._naming, subject)
        return [Left("draws", count, "answers of models in which a name stands: of nobody's row that was found")] if count else []

    def _naming(self, subject: Subject) -> int:
        if not subject.spelled:
            return 0
        with read(self._engine) as c:
            found = c.execute(select(draws.c.reply).where(draws.c.project == subject.project)).scalars()
            return sum(subject.names_them(reply.decode("utf-8", "replace")) for reply in found)

    async def affected(self, subject: Subject) -> Sequence[Affected]:
        return ()
