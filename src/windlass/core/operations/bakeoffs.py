"""Bake-offs: one application with several models on one suite, those that lose ended early; and what was measured of models here."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from windlass.core.operations import Limit, Operation, Page
from windlass.core.operations.discover import CatalogQuery
from windlass.core.operations.evaluation import EvaluatorSummary, IdQuery

ArmStatus = Literal["waiting", "running", "done", "eliminated", "stopped", "failed"]


class When(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """For which data and models a rule holds; all of it, or for everything where it says nothing."""

    data_class: tuple[str, ...] = ()
    open_weights: bool | None = None
    provider: tuple[str, ...] = ()


class Rule(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One rule of a policy. A model it holds for must pass all that it says; what is not known of a model does not pass."""

    name: str
    when: When = When()
    licences: tuple[str, ...] = ()  # of the weights, as the catalog writes them
    regions: tuple[str, ...] = ()  # data stays in one of these
    providers: tuple[str, ...] = ()  # only these
    not_providers: tuple[str, ...] = ()
    not_models: tuple[str, ...] = ()  # ids; * stands for anything
    max_input_price: float | None = None  # US dollars per million tokens
    max_output_price: float | None = None


class BakeoffRequest(msgspec.Struct, omit_defaults=True):
    """Put models into the suite's target and see which serves it best.

    `models` by id; else what `among` finds that can be called. `part` is the component or agent whose model changes, where more than
    one model is in the target. `policy` leaves models out, on top of the installation's own; `data_class` is what the rows are.
    `budget` in US dollars bounds what is spent on calls. `rows` bounds how many rows are asked.
    """

    suite: str
    models: tuple[str, ...] = ()
    among: CatalogQuery | None = None
    part: str | None = None
    target: str | None = None
    project: str = "default"
    policy: tuple[Rule, ...] = ()
    data_class: str | None = None
    budget: float = 1.0
    rows: int | None = None


class Excluded(msgspec.Struct, frozen=True, omit_defaults=True):
    """A model that takes no part: by a rule of the policy, or because it cannot."""

    model: str
    why: str
    rule: str = ""


class Arm(msgspec.Struct, omit_defaults=True):
    """One model in the target. Figures are of the rows it answered: means of scores with intervals, US dollars, seconds.

    `cost` is of all its answers, recorded ones at what they cost when they were made; None when a price is not known. `per_success`
    is the cost of one point of the first guard's score: of a right answer, where answers are right or wrong.
    """

    model: str
    target: str  # ref with digest
    evaluation: str
    status: ArmStatus = "waiting"
    reference: bool = False  # the model the target has now
    why: str = ""
    rows: int = 0
    failed: int = 0
    guards: tuple[EvaluatorSummary, ...] = ()
    cost: float | None = None
    per_row: float | None = None
    per_success: float | None = None
    latency: float | None = None  # median
    latency_95: float | None = None
    calls: int = 0
    reused: int = 0
    frontier: bool = False


class Recommendation(msgspec.Struct, frozen=True, omit_defaults=True):
    """What to use, and why. `model` is None when nothing can be recommended."""

    model: str | None
    why: str
    next: str = ""


class Bakeoff(msgspec.Struct, omit_defaults=True):
    """One bake-off. `saved` is how many calls its early ends spared, by what the arms' calls took so far."""

    id: str
    project: str
    suite: str  # ref with digest
    target: str  # ref with digest: what the reference runs
    part: str
    status: Literal["queued", "running", "done", "failed", "cancelled"]
    rows: int
    created_ns: int
    arms: tuple[Arm, ...] = ()
    excluded: tuple[Excluded, ...] = ()
    left_out: int = 0  # rows that the target was shown as examples
    done: int = 0  # rows answered, of all arms together
    spent: float = 0.0
    saved: int = 0
    calls: int = 0
    budget: float = 1.0
    policy: tuple[Rule, ...] = ()
    data_class: str | None = None
    recommendation: Recommendation | None = None
    finished_ns: int | None = None
    error: dict[str, Any] | None = None
    actor: str = ""


class BakeoffQuery(msgspec.Struct, omit_defaults=True):
    project: str = "default"
    suite: str | None = None
    cursor: str | None = None
    limit: Limit = 20


class BakeoffPage(Page):
    items: tuple[Bakeoff, ...]


class MeasuredQuery(msgspec.Struct, omit_defaults=True):
    """What this installation measured of models: of one, by one suite, or all."""

    project: str = "default"
    model: str | None = None
    suite: str | None = None


class Measured(msgspec.Struct, frozen=True, omit_defaults=True):
    """The newest measurement of a model in a suite's target. See `Arm` for the figures."""

    model: str
    suite: str  # ref with digest
    target: str
    evaluation: str
    at_ns: int
    rows: int
    of_rows: int
    guards: tuple[EvaluatorSummary, ...]
    per_row: float | None = None
    per_success: float | None = None
    latency: float | None = None
    latency_95: float | None = None


class MeasuredPage(msgspec.Struct):
    items: tuple[Measured, ...]


DISCOVER = Operation("discover.start", "POST", BakeoffRequest, Bakeoff, "run")
BAKEOFF = Operation("discover.show", "GET", IdQuery, Bakeoff, "read")
BAKEOFFS = Operation("discover.list", "GET", BakeoffQuery, BakeoffPage, "read")
MEASURED = Operation("models.measured", "GET", MeasuredQuery, MeasuredPage, "read")
