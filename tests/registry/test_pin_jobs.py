"""Readings as work: refused at once where no look is needed, told how far they are, done again when they were cut off."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import select, update
from tests.registry.test_pins import Pinned

from windlass.core.actor import OWNER, Actor
from windlass.core.errors import Conflict, Forbidden, Invalid, NotFound
from windlass.core.operations.pins import PinAdd, PinCompare, PinJob, PinJobQuery, PinKeep, PinQuery
from windlass.jobs.durable import DurableJobs
from windlass.registry.pin_jobs import KEPT_NS, PinJobs
from windlass.store.meta import read, write
from windlass.store.tables import handed_over, pin_jobs


class Work:
    """Jobs over a registry, done when the test says so."""

    def __init__(self, path: Path) -> None:
        self.registry = Pinned(path / "home")
        self.jobs = PinJobs(self.registry.engine, self.registry.pins, DurableJobs())
        self.folder = path / "files"
        self.folder.mkdir()
        (self.folder / "a.txt").write_text("one")

    def waiting(self) -> list[tuple[str, str, str]]:
        with read(self.registry.engine) as c:
            return [tuple(row) for row in c.execute(select(handed_over.c.kind, handed_over.c.project, handed_over.c.id))]

    def done(self, job: PinJob) -> PinJob:
        asyncio.run(self.jobs.run("default", job.id))
        return self.jobs.show(OWNER, PinJobQuery(job.id))

    def add(self, name: str = "files", **more: Any) -> PinJob:
        return self.jobs.add(OWNER, PinAdd(name, str(self.folder), **more))


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(tmp_path)


def test_what_is_asked_is_kept_with_the_work_and_done_once(work: Work) -> None:
    job = work.add()
    assert job.status == "queued" and work.waiting() == [("pin", "default", job.id)]
    assert work.registry.pins.list(OWNER, PinQuery()).items == ()
    found = work.done(job)
    assert (found.status, found.rows, found.detail is not None, found.error) == ("done", 1, True, None)
    assert work.done(job) == found and work.registry.outcomes("files") == ["first"]
    assert (work.done(work.jobs.compare(OWNER, PinCompare("files"))).difference or found).outcome == "same"  # type: ignore[union-attr]
    (work.folder / "b.txt").write_text("two")
    assert work.done(work.jobs.keep(OWNER, PinKeep("files", now=True))).rows == 2


def test_one_that_was_cut_off_is_done_from_its_beginning(work: Work) -> None:
    job = work.add()
    with write(work.registry.engine) as c:
        cut = msgspec.structs.replace(job, status="running", rows=5000)
        c.execute(update(pin_jobs).where(pin_jobs.c.id == job.id).values(body=msgspec.json.encode(cut).decode()))
    assert work.done(job).rows == 1


def test_what_went_wrong_is_told(work: Work) -> None:
    job = work.add()
    (work.folder / "a.txt").unlink()
    work.folder.rmdir()
    found = work.done(job)
    assert found.status == "failed" and found.error and "no such folder" in found.error["error"]["message"]
    assert work.registry.pins.list(OWNER, PinQuery()).items == ()


def test_what_needs_no_look_is_refused_at_once(work: Work) -> None:
    work.done(work.add())
    for error, ask in (
        (Invalid, lambda: work.jobs.add(OWNER, PinAdd("x", "ftp://h/x"))),
        (NotFound, lambda: work.jobs.add(OWNER, PinAdd("x", "nobody"))),
        (Conflict, lambda: work.jobs.add(OWNER, PinAdd("files", str(work.folder.parent)))),
        (NotFound, lambda: work.jobs.keep(OWNER, PinKeep("x"))),
        (NotFound, lambda: work.jobs.compare(OWNER, PinCompare("x"))),
        (NotFound, lambda: work.jobs.show(OWNER, PinJobQuery("x"))),
        (Forbidden, lambda: work.jobs.add(Actor("k", "developer"), PinAdd("x", str(work.folder)))),
        (Forbidden, lambda: work.jobs.keep(Actor("k", "viewer"), PinKeep("files"))),
        (Forbidden, lambda: work.jobs.compare(Actor("k", "viewer"), PinCompare("files"))),
        (Forbidden, lambda: work.jobs.show(Actor("k", "caller"), PinJobQuery("x"))),
    ):  # fmt: skip
        with pytest.raises(error):
            ask()
    assert len(work.waiting()) == 1


def test_what_came_of_it_is_kept_for_a_week(work: Work) -> None:
    old = work.add()
    with write(work.registry.engine) as c:
        c.execute(update(pin_jobs).values(created_ns=old.created_ns - KEPT_NS))
    new = work.add("other")
    with pytest.raises(NotFound):
        work.jobs.show(OWNER, PinJobQuery(old.id))
    assert work.jobs.show(OWNER, PinJobQuery(new.id)) == new
