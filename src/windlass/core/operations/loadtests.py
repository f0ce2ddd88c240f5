"""Load tests: a release asked at a rate, for some time, and held against what it must keep to before it is let out."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from windlass.core.operations import Limit, Operation, Page
from windlass.core.operations.batches import Dollars

LoadStatus = Literal["queued", "running", "done", "failed", "cancelled"]
Kept = Literal["shown", "missed", "not shown"]


class Objectives(msgspec.Struct, frozen=True, omit_defaults=True):
    """What must be so: calls begun in a second for so many seconds; of their answers 95 of 100 within `p95_s` seconds of when they were
    to begin; and at most the share `errors` failed."""

    per_second: Annotated[float, msgspec.Meta(gt=0, le=5000)]
    seconds: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 30.0
    p95_s: Annotated[float, msgspec.Meta(gt=0, le=3600)] | None = None
    errors: Annotated[float, msgspec.Meta(ge=0, lt=1)] | None = None


class LoadRequest(msgspec.Struct, omit_defaults=True):
    """Ask `target` (a release; by its name alone the one in staging) the rows of `data` over and over. Where `budget` (US dollars) is
    spent, no further call is begun and nothing is shown."""

    target: str
    data: str
    objectives: Objectives
    project: str = "default"
    split: str | None = None
    budget: Dollars | None = None


class Held(msgspec.Struct, frozen=True, omit_defaults=True):
    """One objective: what was asked, what was measured, and with 95 % confidence between what it lies."""

    name: str
    asked: float
    measured: float | None
    low: float | None
    high: float | None
    kept: Kept
    sentence: str


class LoadTest(msgspec.Struct, omit_defaults=True):
    """One load test. `target` and `data` are whole refs. `way`: through the server's gateway, or in the process that asked where no server
    runs. `late` were not begun when they should have been. `histogram` counts answers by the upper edge of their seconds."""

    id: str
    project: str
    request: LoadRequest
    status: LoadStatus
    created_ns: int
    target: str
    data: str
    way: str = ""
    sent: int = 0
    answered: int = 0
    failed: int = 0
    late: int = 0
    in_flight: int = 0
    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None
    per_second: float | None = None
    cost: float | None = 0.0
    histogram: tuple[tuple[float, int], ...] = ()
    held: tuple[Held, ...] = ()
    failures: dict[str, int] = {}
    finished_ns: int | None = None
    error: dict[str, Any] | None = None
    actor: str = ""

    @property
    def passed(self) -> bool:
        """Whether all that was asked was shown."""
        return self.status == "done" and bool(self.held) and all(h.kept == "shown" for h in self.held)


class LoadTestPage(Page):
    items: tuple[LoadTest, ...]


class LoadTestQuery(msgspec.Struct, omit_defaults=True):
    """Newest first."""

    project: str = "default"
    cursor: str | None = None
    limit: Limit = 50


class LoadTestId(msgspec.Struct, omit_defaults=True):
    """By its id, or a part of it."""

    id: str
    project: str = "default"


class LoadRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `policy.toml` demands before a release moves to `environment`: a load test of exactly it that was passed, not older than
    `hours`, and asked for no less."""

    environment: str
    per_second: Annotated[float, msgspec.Meta(gt=0)]
    seconds: Annotated[float, msgspec.Meta(gt=0)] = 30.0
    p95_s: Annotated[float, msgspec.Meta(gt=0)] | None = None
    errors: Annotated[float, msgspec.Meta(ge=0, lt=1)] | None = None
    hours: Annotated[float, msgspec.Meta(gt=0)] = 168.0
    project: str | None = None

    def is_met_by(self, asked: Objectives) -> bool:
        """Whether a test with these objectives asked for no less."""
        return (
            asked.per_second >= self.per_second
            and asked.seconds >= self.seconds
            and (self.p95_s is None or (asked.p95_s is not None and asked.p95_s <= self.p95_s))
            and (self.errors is None or (asked.errors is not None and asked.errors <= self.errors))
        )


START_LOADTEST = Operation("loadtests.start", "POST", LoadRequest, LoadTest, "run")
LOADTESTS = Operation("loadtests.list", "GET", LoadTestQuery, LoadTestPage, "read")
LOADTEST = Operation("loadtests.show", "GET", LoadTestId, LoadTest, "read")
CANCEL_LOADTEST = Operation("loadtests.cancel", "POST", LoadTestId, LoadTest, "run")
