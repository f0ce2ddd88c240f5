"""Operations on rollouts: a release that a verdict lets out answers a growing share of callers, held against what stands there, until it
takes its place or is stopped."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from windlass.core.operations import Limit, Operation, Page
from windlass.core.rollout import By, Mode

RolloutStatus = Literal["running", "promoted", "stopped", "superseded", "shown"]
RolloutMoveKind = Literal["start", "step", "back", "stop", "promote", "supersede", "shown"]
GuardState = Literal["open", "not worse", "worse"]
Percent = Annotated[float, msgspec.Meta(gt=0, le=100)]
Why = Annotated[str, msgspec.Meta(max_length=2000)]

STEPS: tuple[float, ...] = (5.0, 25.0, 50.0, 100.0)
FIXED = ("error", "latency_s", "cost")  # what every run tells; any other metric is the name of a score


class RolloutGuard(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the candidate must not be worse in by `margin` or more. `metric`: `error` (the share of calls that failed), `latency_s` (seconds
    of a call that was answered), `cost` (US dollars of one), or the name of a score. The margin is an amount in its unit or, `relative`, a
    share of what the base has: 0.2 is a fifth more. A score lies between `low` and `high`; more of it is better unless `less_is_better`."""

    metric: Annotated[str, msgspec.Meta(min_length=1, max_length=100)]
    margin: Annotated[float, msgspec.Meta(gt=0)]
    relative: bool = False
    low: float = 0.0
    high: float = 1.0
    less_is_better: bool = False


class RolloutStart(msgspec.Struct, omit_defaults=True):
    """Begin one. By the same rules as `releases.promote`: a verdict lets the candidate out against what the environment points to now, and
    has the approvals that are demanded. `steps` are the shares, in percent, that it goes through, or with `share` those from there on;
    past the last it takes the environment. `mode`: `canary` steps by evidence, `ab` stays at its share until somebody steps, `shadow`
    answers nobody: the candidate runs beside a share of calls, and does not take the environment. `by`: who is kept on one arm.
    `error` bounds both the chance that one that is worse by the margin is let through and that one that is no worse is stopped.
    `min_hours` is the least time at each share; `settle_s` are seconds from the first call of a user or session after which it counts,
    with all it did until then. `guards` are `error` by 0.02 and `latency_s` by a quarter where none are given."""

    release: str
    environment: str = "production"
    steps: tuple[Percent, ...] = STEPS
    share: Percent | None = None
    mode: Mode = "canary"
    by: By = "user"
    guards: tuple[RolloutGuard, ...] = ()
    error: Annotated[float, msgspec.Meta(gt=0, lt=0.5)] = 0.05
    min_hours: Annotated[float, msgspec.Meta(ge=0, le=24 * 365)] = 1.0
    settle_s: Annotated[float, msgspec.Meta(ge=0, le=7 * 86_400)] = 60.0
    digest: str | None = None
    verdict: str | None = None
    project: str = "default"


class RolloutEvidence(msgspec.Struct, omit_defaults=True):
    """One guard as it stands. `base` and `candidate` are means over `units` (base, candidate) that counted since the beginning;
    `unmeasured` those that told no value. `difference` is candidate less base, from `low` to `high`: at any time, the chance that it
    lies outside is at most what the rollout's errors allow. `settled`: not worse is said of the share it is at now, worse of the whole.
    `needs`: callers like those seen that would settle it. `points` are what it was at each look, thinned: units, low, difference, high.
    `limit`: the interval holds in the limit of many units, and not at any number."""

    metric: str
    settled: GuardState = "open"
    sentence: str = ""
    base: float | None = None
    candidate: float | None = None
    units: tuple[int, int] = (0, 0)
    unmeasured: tuple[int, int] = (0, 0)
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    margin: float | None = None  # as an amount
    needs: int | None = None
    points: tuple[tuple[int, float, float, float], ...] = ()
    limit: bool = False


class RolloutArm(msgspec.Struct, omit_defaults=True):
    """What one arm did. `units` are users, sessions or single calls, each once at each share. `latency_s` and the quantiles are of calls
    that were answered, in seconds; `cost` in US dollars, of the calls whose cost is known, `priced` of them."""

    name: str
    digest: str
    share: float  # percent
    calls: int = 0
    units: int = 0
    failed: int = 0
    cost: float = 0.0
    priced: int = 0
    latency_s: float | None = None
    latency_p50: float | None = None
    latency_p95: float | None = None


class RolloutMove(msgspec.Struct, omit_defaults=True):
    """One step of it: who, when, to which share in percent, and why."""

    id: str
    kind: RolloutMoveKind
    share: float
    why: str
    actor: str
    at_ns: int


class Rollout(msgspec.Struct, omit_defaults=True):
    """A rollout. `candidate` and `base` are digests of the release; `shares` are those it had, by stage from 1, in hundredths of a percent,
    and `step` is the place in `steps` where it is. Times are UTC nanoseconds."""

    id: str
    project: str
    release: str
    environment: str
    mode: Mode
    by: By
    status: RolloutStatus
    candidate: str
    base: str
    verdict: str
    steps: tuple[float, ...]
    step: int
    shares: tuple[int, ...]
    guards: tuple[RolloutGuard, ...]
    error: float
    min_hours: float
    settle_s: float
    started_by: str
    created_ns: int
    stage_ns: int
    approved_by: tuple[str, ...] = ()
    ended_ns: int | None = None
    looked_ns: int | None = None
    sentence: str = ""
    arms: tuple[RolloutArm, ...] = ()
    evidence: tuple[RolloutEvidence, ...] = ()
    moves: tuple[RolloutMove, ...] = ()

    @property
    def stage(self) -> int:
        return len(self.shares)

    @property
    def share(self) -> float:
        """In percent, while it runs."""
        return self.shares[-1] / 100


class RolloutQuery(msgspec.Struct, omit_defaults=True):
    """Newest first."""

    project: str = "default"
    release: str | None = None
    running: bool = False
    cursor: str | None = None
    limit: Limit = 50


class RolloutPage(Page):
    items: tuple[Rollout, ...]


class RolloutShow(msgspec.Struct, omit_defaults=True):
    id: str
    project: str = "default"


class RolloutChange(msgspec.Struct, omit_defaults=True):
    """What a person does to a rollout, and why."""

    id: str
    why: Why
    project: str = "default"


_AS_PROMOTE = "the approvals that policy.toml demands"
START_ROLLOUT = Operation("rollouts.start", "POST", RolloutStart, Rollout, "deploy", also=_AS_PROMOTE)
ROLLOUTS = Operation("rollouts.list", "GET", RolloutQuery, RolloutPage, "read")
ROLLOUT = Operation("rollouts.show", "GET", RolloutShow, Rollout, "read")
STEP_ROLLOUT = Operation("rollouts.step", "POST", RolloutChange, Rollout, "deploy")
BACK_ROLLOUT = Operation("rollouts.back", "POST", RolloutChange, Rollout, "deploy")
STOP_ROLLOUT = Operation("rollouts.stop", "POST", RolloutChange, Rollout, "deploy")
