"""The service of batches: what is asked is settled and kept before it begins; `batching` does the work, and goes on with it."""

from __future__ import annotations

import builtins
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, insert, select, update

from windlass.core.actor import Actor
from windlass.core.artifacts import Version
from windlass.core.errors import Conflict, Invalid
from windlass.core.ids import now_ns, uuid7
from windlass.core.operations.batches import Batch, BatchId, BatchPage, BatchQuery, BatchRequest, BatchResume
from windlass.core.ref import ENVIRONMENTS, Ref, check_name, parse_ref
from windlass.evaluate.outcomes import whole_id
from windlass.govern import audit
from windlass.govern.permissions import guard
from windlass.jobs.work import Jobs
from windlass.registry.versions import Versions
from windlass.store.meta import read, write
from windlass.store.tables import batch_parts, batches

OPEN = ("queued", "running")
RUNNABLE = ("release", "chain", "agent", "component")


class Part(msgspec.Struct, omit_defaults=True):
    """What came of some rows: the pack with those that were answered, and by key what kept the others from it. `cost` is None where one
    was unknown; `took_s` are the seconds of those that were answered, `seconds` those that passed."""

    packs: tuple[tuple[str, int], ...] = ()
    failures: dict[str, str] = {}
    took_s: tuple[float, ...] = ()
    cost: float | None = 0.0
    seconds: float = 0.0


class Batches:
    """Service of batches. Starting one is quick."""

    def __init__(self, engine: Engine, versions: Versions, jobs: Jobs) -> None:
        self._engine = engine
        self._versions = versions
        self._jobs = jobs

    def start(self, actor: Actor, request: BatchRequest) -> Batch:
        """Operation `batches.start`. Raises `NotFound`; `Invalid` for what cannot be run, or rows that would answer themselves."""
        guard(actor, "run", request.project)
        guard(actor, "write", request.project)
        ref, target = self._target(request)
        data = self._version(parse_ref(request.data, project=request.project, kind="dataset"))
        if data.kind != "dataset":
            raise Invalid(f"{data.ref.short} is a {data.kind}", where="data", remedy="a batch runs over the rows of a dataset")
        into = check_name(request.into or f"{data.name}-{target.name}")
        if into == data.name:
            raise Invalid("the answers would take the place of what is asked", where="into", remedy="give them another name")
        batch = Batch(
            id=uuid7(), project=request.project, request=msgspec.structs.replace(request, target=str(ref)), status="queued",
            created_ns=now_ns(), target=str(target.ref), data=str(data.ref), into=f"dataset/{into}", actor=actor.id,
        )  # fmt: skip
        with write(self._engine) as c:
            c.execute(
                insert(batches).values(
                    id=batch.id, project=batch.project, actor=_text(actor), body=_text(batch), status=batch.status,
                    created_ns=batch.created_ns,
                )
            )  # fmt: skip
            audit.record(c, actor, "batches.start", batch.project, batch.target, data=batch.data, into=batch.into)
            self._jobs.hand_over(c, "batch", batch.project, batch.id)
        self._jobs.begin("batch", batch.project, batch.id)
        return batch

    def _target(self, request: BatchRequest) -> tuple[Ref, Version]:
        """What is named, a release in production where only its name is, and the version that is now."""
        ref = parse_ref(request.target, project=request.project, kind="release")
        if ref.kind not in RUNNABLE:
            raise Invalid(f"{ref.short} cannot be run", where="target", remedy=f"name a {', '.join(RUNNABLE[:-1])} or {RUNNABLE[-1]}")
        if ref.kind == "release" and ref.digest is None and ref.label is None:
            ref = Ref("release", ref.name, None, "production", ref.project)
        return ref, self._version(ref)

    def _version(self, ref: Ref) -> Version:
        found = self._versions.resolve(ref)
        return self._versions.get(found.project, found.kind, found.name, found.digest or "")

    def show(self, actor: Actor, query: BatchId) -> Batch:
        """Operation `batches.show`. Raises `NotFound`, `Invalid` when ambiguous."""
        guard(actor, "read", query.project)
        with read(self._engine) as c:
            return self._find(c, query.project, query.id)

    def list(self, actor: Actor, query: BatchQuery) -> BatchPage:
        """Operation `batches.list`: newest first."""
        guard(actor, "read", query.project)
        b = batches.c
        found = select(b.body).where(b.project == query.project)
        found = found.where(b.id < query.cursor) if query.cursor else found
        with read(self._engine) as c:
            bodies = c.execute(found.order_by(b.id.desc()).limit(query.limit + 1)).scalars().all()
        items = tuple(decode(body) for body in bodies[: query.limit])
        return BatchPage(items=items, next=items[-1].id if len(bodies) > query.limit else None)

    def cancel(self, actor: Actor, query: BatchId) -> Batch:
        """Operation `batches.cancel`: no further row is begun; those that were answered stay. Raises `Conflict` for one that has ended."""
        guard(actor, "run", query.project)
        with write(self._engine) as c:
            batch = self._find(c, query.project, query.id)
            if batch.status not in OPEN:
                raise Conflict(f"this batch is {batch.status}; there is nothing to cancel", where=batch.id[-8:])
            batch = msgspec.structs.replace(batch, status="cancelled", finished_ns=now_ns())
            save(c, batch)
            audit.record(c, actor, "batches.cancel", batch.project, batch.target, batch=batch.id)
        return batch

    def resume(self, actor: Actor, params: BatchResume) -> Batch:
        """Operation `batches.resume`. Raises `Conflict` where nothing is left to do, or it is at work."""
        guard(actor, "run", params.project)
        guard(actor, "write", params.project)
        with write(self._engine) as c:
            batch = self._find(c, params.project, params.id)
            if batch.status in OPEN:
                raise Conflict(f"this batch is {batch.status}", where=batch.id[-8:], remedy="cancel it first")
            if batch.status == "done" and not (params.again and batch.failed):
                raise Conflict("every row of this batch has its answer", where=batch.id[-8:], remedy="start a new one")
            request = msgspec.structs.replace(batch.request, budget=params.budget or batch.request.budget)
            number = batch.resumed + 1
            batch = msgspec.structs.replace(batch, request=request, status="queued", resumed=number, error=None, finished_ns=None)
            save(c, batch)
            if params.again:
                _forgive(c, batch.id)
            audit.record(c, actor, "batches.resume", batch.project, batch.target, batch=batch.id)
            self._jobs.hand_over(c, "batch", batch.project, f"{batch.id} {number}")
        self._jobs.begin("batch", batch.project, f"{batch.id} {number}")
        return batch

    def _find(self, c: Connection, project: str, id: str) -> Batch:
        whole = whole_id(c, batches, project, id, "batch")
        return decode(c.execute(select(batches.c.body).where(batches.c.id == whole)).scalar_one())


def _forgive(c: Connection, id: str) -> None:
    """Let the rows that failed be asked again."""
    for number, part in enumerate(parts_of(c, id)):
        if part.failures:
            body = _text(msgspec.structs.replace(part, failures={}))
            c.execute(update(batch_parts).where(batch_parts.c.batch == id, batch_parts.c.number == number).values(body=body))


def parts_of(c: Connection, id: str) -> builtins.list[Part]:
    """What is done of a batch, in the order in which it was."""
    p = batch_parts.c
    found = c.execute(select(p.body).where(p.batch == id).order_by(p.number)).scalars()
    return [msgspec.json.decode(body, type=Part) for body in found]


def add_part(c: Connection, batch: Batch, number: int, part: Part) -> None:
    c.execute(insert(batch_parts).values(project=batch.project, batch=batch.id, number=number, body=_text(part)))


def taken_up(c: Connection, id: str) -> tuple[Batch, Actor]:
    """A batch and on whose behalf it runs."""
    row = c.execute(select(batches.c.body, batches.c.actor).where(batches.c.id == id)).one()
    return decode(row.body), msgspec.json.decode(row.actor, type=Actor)


def save(c: Connection, batch: Batch) -> None:
    c.execute(update(batches).where(batches.c.id == batch.id).values(body=_text(batch), status=batch.status))


def environment_of(batch: Batch) -> str | None:
    """The environment whose release it runs, where it was named by that."""
    label = parse_ref(batch.request.target, project=batch.project).label
    return label if label in ENVIRONMENTS else None


def decode(body: str) -> Batch:
    return msgspec.json.decode(body, type=Batch)


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
