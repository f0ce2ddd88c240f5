"""The service of erasures: finds a person in every room, takes them out, looks whether they are gone, and keeps what came of it.

The record says who asked, when, and how much it was. Once it is done it keeps no name: only a keyed hash, by which somebody who has the
name can tell that it was erased. One that failed keeps what it had found, until another of the same names goes on with it. What came
after an erasure was asked for is another's to ask.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Sequence
from typing import Protocol

import msgspec
from sqlalchemy import Connection, Engine, insert, select, update

from windlass.core.actor import Actor
from windlass.core.errors import Invalid, NotFound, StoreAway, WindlassError
from windlass.core.ids import now_ns, uuid7
from windlass.core.operations.erasures import (
    Affected,
    Erasure,
    ErasureId,
    ErasurePage,
    ErasurePreview,
    ErasureQuery,
    ErasureRequest,
    Left,
    Place,
)
from windlass.govern import audit
from windlass.govern.erasure import Room, Subject
from windlass.govern.permissions import guard
from windlass.store.meta import compact, read, write
from windlass.store.tables import erasures

KIND = "erasure"
ROUNDS = 6  # to find what came of what was found; a trace becomes a row, the row is evaluated, that leaves traces
PASSES = 4  # while somebody still writes


class Jobs(Protocol):
    """Where the work is handed over: `windlass.jobs`, which lies above this room."""

    def hand_over(self, c: Connection, kind: str, project: str, id: str) -> None: ...
    def begin(self, kind: str, project: str, id: str) -> None: ...


class Erasures:
    """Service of erasures; `rooms` in the order in which they are asked: what one finds, the next may know more of."""

    def __init__(self, engine: Engine, jobs: Jobs, key: bytes, rooms: Sequence[Room]) -> None:
        self._engine = engine
        self._jobs = jobs
        self._key = key
        self._rooms = rooms

    async def preview(self, actor: Actor, asked: ErasureRequest) -> ErasurePreview:
        """Operation `erasures.preview`: nothing is changed. Raises `Invalid`."""
        guard(actor, "admin", asked.project)
        names = _names(asked)
        subject = Subject(asked.project, names, asked.mentions)
        places = await self._found(subject)
        affected = await self._of_all(subject)
        before = await asyncio.to_thread(self._before, asked.project, names)
        return ErasurePreview(places, affected, tuple(sorted(subject.datasets)), subject.plain, before)

    def make(self, actor: Actor, asked: ErasureRequest) -> Erasure:
        """Operation `erasures.make`: begun, and gone on with until it is done. One of the same names that failed is gone on with by this
        one. Raises `Invalid`."""
        guard(actor, "admin", asked.project)
        names = _names(asked)
        made = Erasure(uuid7(), asked.project, "queued", now_ns(), actor.id, asked.reason.strip(), asked.mentions)
        hashes, subject = [self._hash(asked.project, n) for n in names], Subject(made.project, names)
        with write(self._engine) as c:
            self._take_over(c, asked.project, set(hashes), subject)
            c.execute(
                insert(erasures).values(
                    id=made.id, project=made.project, hashes=msgspec.json.encode(hashes).decode(), held=subject.held(),
                    body=_text(made), status=made.status, asked_ns=made.asked_ns,
                )
            )  # fmt: skip
            audit.record(c, actor, "erasures.make", asked.project, f"erasure:{made.id}", reason=made.reason, mentions=made.mentions)
            self._jobs.hand_over(c, KIND, asked.project, made.id)
        self._jobs.begin(KIND, asked.project, made.id)
        return made

    def _take_over(self, c: Connection, project: str, hashes: set[str], subject: Subject) -> None:
        """Know what erasures of these names had found when they failed: part of it may be erased already, and led to the rest."""
        e = erasures.c
        for row in c.execute(select(e.id, e.hashes, e.held).where(e.project == project, e.status == "failed", e.held.is_not(None))).all():
            if hashes & set(msgspec.json.decode(row.hashes, type=list[str])):
                subject.take(row.held)
                c.execute(update(erasures).where(e.id == row.id).values(held=None))

    def list(self, actor: Actor, query: ErasureQuery) -> ErasurePage:
        """Operation `erasures.list`."""
        guard(actor, "read", query.project)
        e = erasures.c
        found = select(e.body).where(e.project == query.project)
        if query.cursor:
            found = found.where(e.id < query.cursor)
        with read(self._engine) as c:
            bodies = list(c.execute(found.order_by(e.id.desc()).limit(query.limit + 1)).scalars())
        items = tuple(msgspec.json.decode(b, type=Erasure) for b in bodies[: query.limit])
        return ErasurePage(items=items, next=items[-1].id if len(bodies) > query.limit else None)

    def show(self, actor: Actor, query: ErasureId) -> Erasure:
        """Operation `erasures.show`, by the id or the end of it. Raises `NotFound`."""
        guard(actor, "read", query.project)
        e = erasures.c
        with read(self._engine) as c:
            fits = e.id.endswith(query.id, autoescape=True)
            found = list(c.execute(select(e.body).where(e.project == query.project, fits).limit(2)).scalars())
        if len(found) != 1 or len(query.id) < 4:
            raise NotFound(f"there is no erasure {query.id}", remedy="windlass erasures list")
        return msgspec.json.decode(found[0], type=Erasure)

    async def run(self, project: str, id: str) -> None:
        """Do one; cut off anywhere, it is done again from its beginning, and finds less."""
        with read(self._engine) as c:
            row = c.execute(select(erasures).where(erasures.c.id == id)).one()
        made = msgspec.json.decode(row.body, type=Erasure)
        if made.status in ("done", "failed"):
            return
        try:
            if row.held is not None:
                made = await self._do(made, Subject.restored(project, id, made.mentions, row.held))
            await self._end(made)
        except StoreAway:
            raise  # it is begun again
        except WindlassError as e:
            self._save(msgspec.structs.replace(made, status="failed", error=e.as_dict(), finished_ns=now_ns()))
        except Exception as e:
            defect = WindlassError(f"a defect in Windlass ended it: {type(e).__name__}", remedy="the log of `jobs` says more")
            self._save(msgspec.structs.replace(made, status="failed", error=defect.as_dict(), finished_ns=now_ns()))
            raise

    async def _do(self, made: Erasure, subject: Subject) -> Erasure:
        made = msgspec.structs.replace(made, status="running")
        counted = {p.place: p.count for p in made.erased}
        for number in range(PASSES):
            self._save(made := msgspec.structs.replace(made, step="finding"))
            if not await self._found(subject) and number:
                break
            # whoever is cut off while erasing finds less afterwards: a row is known by its trace, which may be gone then
            self._save(made, held=subject.held())
            made.affected = (*made.affected, *(a for a in await self._of_all(subject) if a not in made.affected))
            for room in self._rooms:
                for place in await room.erase(subject):
                    counted[place.place] = counted.get(place.place, 0) + place.count
                    made.erased = tuple(Place(*p) for p in counted.items())
                    self._save(made := msgspec.structs.replace(made, step=place.place))
        self._save(made := msgspec.structs.replace(made, step="looking for what is left"))
        made = msgspec.structs.replace(made, step="writing the store anew", left=await self._left(subject))
        self._save(made, held=None)
        return made

    async def _end(self, made: Erasure) -> None:
        """The tables hold nothing of them any more; now their files."""
        copies = await asyncio.to_thread(compact, self._engine) if made.erased else []
        older = [Left(name, 1, "an older copy of the store: delete it once you need it no more") for name in copies]
        self._save(msgspec.structs.replace(made, status="done", step="", left=(*made.left, *older), finished_ns=now_ns()))

    async def _found(self, subject: Subject) -> tuple[Place, ...]:
        """What every room has of them, once no room finds more."""
        places: list[Place] = []
        for _ in range(ROUNDS):
            before, places = subject.size, []
            for room in self._rooms:
                places += await room.find(subject)
            if subject.size == before:
                break
        return tuple(places)

    async def _of_all(self, subject: Subject) -> tuple[Affected, ...]:
        return tuple([a for room in self._rooms for a in await room.affected(subject)])

    async def _left(self, subject: Subject) -> tuple[Left, ...]:
        return tuple([found for room in self._rooms for found in await room.left(subject)])

    def _save(self, made: Erasure, **held: str | None) -> None:
        with write(self._engine) as c:
            c.execute(update(erasures).where(erasures.c.id == made.id).values(body=_text(made), status=made.status, **held))

    def _before(self, project: str, names: Sequence[str]) -> tuple[str, ...]:
        mine = {self._hash(project, name) for name in names}
        e = erasures.c
        with read(self._engine) as c:
            rows = c.execute(select(e.id, e.hashes).where(e.project == project).order_by(e.id.desc())).all()
        return tuple(r.id for r in rows if mine & set(msgspec.json.decode(r.hashes, type=list[str])))

    def _hash(self, project: str, name: str) -> str:
        return hmac.digest(self._key, b"erasure\0" + project.encode() + b"\0" + name.encode(), "sha256").hex()


def _names(asked: ErasureRequest) -> list[str]:
    """Raises `Invalid` for a name that is blank."""
    names = list(dict.fromkeys(n.strip() for n in asked.names))
    if not all(names):
        raise Invalid("a name is blank", where="names", remedy="give the user.id that their traces carry")
    return names


def _text(value: msgspec.Struct) -> str:
    return msgspec.json.encode(value).decode()
