"""Batches: a release, or what else can be run, over every row of a dataset; its answers are rows of another."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from windlass.core.operations import Limit, Operation, Page

BatchStatus = Literal["queued", "running", "done", "stopped", "failed", "cancelled"]
ANSWERED = "answered"  # as what a version of answers is linked to what gave them
Dollars = Annotated[float, msgspec.Meta(gt=0, le=1e9)]


class BatchRequest(msgspec.Struct, omit_defaults=True):
    """Run `target` over the rows of `data`, of one `split` or all, and set its answers as rows of the dataset `into`, key by key.

    A name alone is a release in production; what a label means is settled when the batch begins, and holds to its end. At most
    `concurrency` rows are under way at once, and `per_minute` begun in a minute. Where `budget` (US dollars) is spent no further row
    is begun: those under way are finished, so it can be passed by what `concurrency` rows cost. `rows`: only so many, the first by key.
    """

    target: str
    data: str
    project: str = "default"
    into: str | None = None
    split: str | None = None
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 8
    per_minute: Annotated[float, msgspec.Meta(gt=0, le=1e6)] | None = None
    budget: Dollars | None = None
    rows: Annotated[int, msgspec.Meta(ge=1)] | None = None


class Batch(msgspec.Struct, omit_defaults=True):
    """One batch. `target` and `data` are whole refs; `result` is the version of `into` that it made. `cost` is None once a row had an
    unknown one. `seconds` were spent at work; `p50_s` and `p95_s` are of one row that was answered. `stopped`: `error` says why, and
    `resume` goes on."""

    id: str
    project: str
    request: BatchRequest
    status: BatchStatus
    created_ns: int
    target: str
    data: str
    into: str
    rows: int = 0
    done: int = 0
    failed: int = 0
    cost: float | None = 0.0
    seconds: float = 0.0
    p50_s: float | None = None
    p95_s: float | None = None
    resumed: int = 0
    result: str = ""
    failures: dict[str, int] = {}  # by what they say: how many, of the commonest
    finished_ns: int | None = None
    error: dict[str, Any] | None = None
    actor: str = ""

    @property
    def per_second(self) -> float | None:
        """Rows answered or failed in a second of work."""
        return self.done / self.seconds if self.done and self.seconds else None


class BatchPage(Page):
    items: tuple[Batch, ...]


class BatchQuery(msgspec.Struct, omit_defaults=True):
    """Newest first."""

    project: str = "default"
    cursor: str | None = None
    limit: Limit = 50


class BatchId(msgspec.Struct, omit_defaults=True):
    """By its id, or a part of it."""

    id: str
    project: str = "default"


class BatchResume(msgspec.Struct, omit_defaults=True):
    """Go on with rows that have no answer yet; `again` also with those that failed. `budget` is the new bound, of all in all."""

    id: str
    project: str = "default"
    budget: Dollars | None = None
    again: bool = False


START_BATCH = Operation("batches.start", "POST", BatchRequest, Batch, "run")
BATCHES = Operation("batches.list", "GET", BatchQuery, BatchPage, "read")
BATCH = Operation("batches.show", "GET", BatchId, Batch, "read")
CANCEL_BATCH = Operation("batches.cancel", "POST", BatchId, Batch, "run")
RESUME_BATCH = Operation("batches.resume", "POST", BatchResume, Batch, "run")
