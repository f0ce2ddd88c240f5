"""What a watch over production says: looks, evidence, coverage, topics, drift. Data only; the room `monitor` makes it."""

from __future__ import annotations

from typing import Literal

import msgspec

from windlass.core.score import Interval

Call = Literal["covered", "watch", "skewed", "too small to say", "instrument changed", "no traffic"]
Tier = Literal["confirmed", "candidate"]


class Instrument(msgspec.Struct, frozen=True, omit_defaults=True):
    """What rows are measured with: the encoder's digest and the digest of the prompt's template. Rows compare only within one."""

    encoder: str = ""
    template: str = ""


class Evidence(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one score of the rows shows. `e` is the evidence now, `p` holds at every look; alarmed where p ≤ `level`, first at counted row
    `since`. `effect` is how large the difference is: what is beyond `tolerance` is severe."""

    score: str
    e: float
    p: float
    level: float
    effect: float
    tolerance: float
    since: int | None = None

    @property
    def alarmed(self) -> bool:
        return self.since is not None

    @property
    def severe(self) -> bool:
        return self.alarmed and self.effect > self.tolerance


class KernelLook(msgspec.Struct, frozen=True, omit_defaults=True):
    """One scheduled comparison of whole distributions, after `rows` counted rows, `sample` of them compared. `mmd2` is the unbiased
    estimate, `moved` about the share of traffic that is something else. The first rows most unlike the evaluation, and the evaluation
    rows most missed, are the witnesses."""

    rows: int
    sample: int
    p: float
    level: float
    mmd2: float
    moved: float
    production_like: tuple[str, ...] = ()
    evaluation_like: tuple[str, ...] = ()

    @property
    def alarmed(self) -> bool:
        return self.p <= self.level


class Coverage(msgspec.Struct, frozen=True):
    """`rate` of counted rows lies outside the region in which `inside` of evaluation rows lie. `uncovered` is the share of traffic unlike
    anything evaluated; its interval also holds what the evaluation rows leave open about the region."""

    rows: int
    outside: int
    rate: float
    rate_interval: Interval
    inside: float
    uncovered: float
    interval: Interval


class Quality(msgspec.Struct, frozen=True):
    """A mean score as `evaluated`, as it is with production's mix of topics (`reweighted`), and between what it lies in production when
    nothing is known of the uncovered share (`low`, `high`)."""

    evaluated: float
    reweighted: float
    low: float
    high: float


class Topic(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something production asks that was not evaluated. Confirmed when rows it was not found in show it too. `lift` is how many times as
    frequent it is in production, at least and at most; None where there is no bound. Exemplars are row ids, the most typical first, then
    the most different."""

    name: str
    tier: Tier
    rows: int
    share: float
    share_interval: Interval
    evaluated_share: float
    lift: float | None
    lift_least: float
    lift_most: float | None
    p: float
    words: tuple[str, ...] = ()
    exemplars: tuple[str, ...] = ()


class Mix(msgspec.Struct, frozen=True):
    """One topic of the evaluation rows: its share there and in production. All intervals of a table hold together; `moved` when they
    do not touch."""

    topic: int
    words: tuple[str, ...]
    evaluated: float
    evaluated_interval: Interval
    production: float
    production_interval: Interval
    moved: bool


class Look(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the watch says now. `seen` rows came, `counted` are those left after one row a session; `dropped` says of what kind the others
    were. `kernel` is the last scheduled comparison, `kernel_since` the row at which one alarmed first. `shows` is the smallest unseen
    share that these evaluation rows would show four times of five; None when none."""

    call: Call
    sentence: str
    alpha: float
    seen: int = 0
    counted: int = 0
    dropped: dict[str, int] = {}
    evidence: tuple[Evidence, ...] = ()
    kernel: KernelLook | None = None
    kernel_since: int | None = None
    coverage: Coverage | None = None
    quality: Quality | None = None
    mix: tuple[Mix, ...] = ()
    shows: float | None = None
    first_event_ns: int | None = None
    last_event_ns: int | None = None


class DescriptorChange(msgspec.Struct, frozen=True):
    """One descriptor in two windows: p of the difference after correction, and its size."""

    descriptor: str
    earlier: float
    later: float
    p: float
    effect: float


class Drift(msgspec.Struct, frozen=True, omit_defaults=True):
    """Two windows of production, the earlier against the later. `p` of the whole comparison: drifted where p ≤ alpha."""

    sentence: str
    alpha: float
    p: float
    drifted: bool
    earlier: int = 0
    later: int = 0
    kernel: KernelLook | None = None
    topics: tuple[Topic, ...] = ()
    changes: tuple[DescriptorChange, ...] = ()
