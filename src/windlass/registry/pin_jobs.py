"""Readings of sources as work: begun by whoever asks, done by the process that works, so that nobody who is served waits for them."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
from sqlalchemy import Engine, delete, insert, select, update

from windlass.core.actor import Actor
from windlass.core.errors import NotFound, StoreAway, WindlassError
from windlass.core.ids import now_ns, uuid7
from windlass.core.operations.pins import PinAdd, PinCompare, PinDetail, PinDifference, PinJob, PinJobQuery, PinKeep
from windlass.govern.permissions import guard
from windlass.jobs.work import Jobs
from windlass.registry.pins import Pins
from windlass.store.meta import read, write
from windlass.store.tables import pin_jobs

KEPT_NS = 7 * 24 * 3600 * 10**9  # how long what came of a job can be asked for
TOLD_SECONDS = 0.5  # between two words of progress
REQUESTS: dict[str, type[msgspec.Struct]] = {"add": PinAdd, "keep": PinKeep, "compare": PinCompare}
Request = PinAdd | PinKeep | PinCompare


class PinJobs:
    """Service of what reads a source from beginning to end."""

    def __init__(self, engine: Engine, pins: Pins, jobs: Jobs) -> None:
        self._engine = engine
        self._pins = pins
        self._jobs = jobs

    def add(self, actor: Actor, asked: PinAdd) -> PinJob:
        """Operation `pins.add`. Raises at once what needs no look at the source: `Invalid`, `NotFound`, `Conflict`."""
        guard(actor, "admin", asked.project)
        self._pins.check(asked)
        return self._begin(actor, "add", asked)

    def keep(self, actor: Actor, asked: PinKeep) -> PinJob:
        """Operation `pins.keep`. Raises `NotFound`."""
        guard(actor, "write", asked.project)
        self._pins.newest(asked.name, asked.project)
        return self._begin(actor, "keep", asked)

    def compare(self, actor: Actor, asked: PinCompare) -> PinJob:
        """Operation `pins.compare`. Raises `NotFound`."""
        guard(actor, "write", asked.project)
        self._pins.newest(asked.name, asked.project)
        return self._begin(actor, "compare", asked)

    def show(self, actor: Actor, query: PinJobQuery) -> PinJob:
        """Operation `pins.job`. Raises `NotFound`, also a week after it ended."""
        guard(actor, "read", query.project)
        with read(self._engine) as c:
            row = c.execute(select(pin_jobs.c.body).where(pin_jobs.c.id == query.id, pin_jobs.c.project == query.project)).first()
        if row is None:
            raise NotFound("there is no such reading", where=query.id, remedy="windlass pin show NAME lists what was read")
        return msgspec.json.decode(row.body, type=PinJob)

    def _begin(self, actor: Actor, what: Any, asked: Request) -> PinJob:
        job = PinJob(uuid7(), asked.name.removeprefix("pin/"), what, "queued", now_ns())
        values = {"request": _text(asked), "actor": _text(actor), "body": _text(job), "created_ns": job.created_ns}
        with write(self._engine) as c:
            c.execute(delete(pin_jobs).where(pin_jobs.c.created_ns < job.created_ns - KEPT_NS))
            c.execute(insert(pin_jobs).values(id=job.id, project=asked.project, **values))
            self._jobs.hand_over(c, "pin", asked.project, job.id)
        self._jobs.begin("pin", asked.project, job.id)
        return job

    async def run(self, project: str, id: str) -> None:
        """Do a job; one that was cut off is done from its beginning."""
        with read(self._engine) as c:
            row = c.execute(select(pin_jobs).where(pin_jobs.c.id == id)).one()
        job = msgspec.json.decode(row.body, type=PinJob)
        if job.status in ("done", "failed"):
            return
        actor, asked = msgspec.json.decode(row.actor, type=Actor), msgspec.json.decode(row.request, type=REQUESTS[job.what])
        try:
            await asyncio.to_thread(self._do, job, actor, asked)
        except StoreAway:
            raise  # it is begun again
        except WindlassError as e:
            self._save(msgspec.structs.replace(job, status="failed", error=e.as_dict()))
        except Exception as e:
            defect = WindlassError(f"a defect in Windlass ended it: {type(e).__name__}", remedy="the log of `jobs` says more")
            self._save(msgspec.structs.replace(job, status="failed", error=defect.as_dict()))
            raise

    def _do(self, job: PinJob, actor: Actor, asked: Any) -> None:
        told = 0.0

        def progress(rows: int) -> None:
            nonlocal told
            if time.monotonic() - told > TOLD_SECONDS:
                told = time.monotonic()
                self._save(msgspec.structs.replace(job, status="running", rows=rows))

        progress(0)
        found: PinDetail | PinDifference = getattr(self._pins, job.what)(actor, asked, progress)
        done = msgspec.structs.replace(job, status="done", rows=_count(found))
        if isinstance(found, PinDifference):
            self._save(msgspec.structs.replace(done, difference=found))
        else:
            self._save(msgspec.structs.replace(done, detail=found))

    def _save(self, job: PinJob) -> None:
        with write(self._engine) as c:
            c.execute(update(pin_jobs).where(pin_jobs.c.id == job.id).values(body=_text(job)))


def _count(found: PinDetail | PinDifference) -> int:
    return (found.count or 0) if isinstance(found, PinDifference) else found.pin.record.count


def _text(value: msgspec.Struct) -> str:
    return msgspec.json.encode(value).decode()
