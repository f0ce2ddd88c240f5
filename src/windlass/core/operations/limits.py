"""Limits on what calls of models may use, and what was spent."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from windlass.core.operations import Operation

Measured = Literal["requests", "tokens", "dollars", "concurrency"]
Window = Literal["minute", "hour", "day", "month", "ever"]
SpendBy = Literal["key", "project", "user", "model", "version", "release"]
MOST = 9_000_000_000  # of what is counted; in dollars as nanodollars it still fits 64 bits


class LimitRequest(msgspec.Struct, omit_defaults=True):
    """At most `amount` of what is `measured` in each `window`, which is of the calendar in UTC; `ever` is in all, and the only one of
    `concurrency`, calls under way at once. `subject` is `project` for all calls of it, `key:ID`, `user:NAME` as the header
    `windlass-user` says, or `key:*` and `user:*` for each by itself. `target` is empty for every model, or `model/…` for one, or
    `release/…` for what that release asks. Under a limit of dollars a call that has no price is refused, unless `unpriced` says `allow`."""

    subject: str
    measured: Measured
    amount: Annotated[float, msgspec.Meta(ge=0, le=MOST)]
    window: Window = "ever"
    target: str = ""
    unpriced: Literal["refuse", "allow"] = "refuse"
    project: str = "default"


class LimitUse(msgspec.Struct, omit_defaults=True):
    """Of one window and one `who`, in the limit's own unit. `reserved` is what calls under way have set aside. `forecast` is what the
    window comes to if the rest of it goes as what is over of it; None before a twentieth of it is over, and where there is no end.
    `who` is whose it is where each has one of its own."""

    began_ns: int
    ends_ns: int | None = None
    who: str = ""
    used: float = 0.0
    reserved: float = 0.0
    forecast: float | None = None


class LimitState(msgspec.Struct, omit_defaults=True):
    """A limit as it stands. `id` is over what it is of, so that the same is set again, not twice. `name` is the key's. `uses` are of
    windows that are open, those with the most used first."""

    id: str
    subject: str
    measured: Measured
    amount: float
    window: Window
    target: str = ""
    unpriced: Literal["refuse", "allow"] = "refuse"
    project: str = "default"
    actor: str = ""
    set_ns: int = 0
    name: str = ""
    uses: tuple[LimitUse, ...] = ()
    removed: bool = False


PERIODS = {"minute": "a minute", "hour": "an hour", "day": "a day (UTC)", "month": "a month (UTC)", "ever": "in all"}


def amount_said(limit: LimitState, number: float) -> str:
    """A number in the unit of a limit: `$1.20`, `1,200`."""
    if limit.measured != "dollars":
        return f"{number:,.0f}"
    return f"${number:,.2f}" if round(number, 2) == number or number >= 1 else f"${number:.6f}".rstrip("0")


def said(limit: LimitState) -> str:
    """A limit in words: `1,000 tokens a minute on model/openai/gpt-5`."""
    if limit.measured == "concurrency":
        words = f"{limit.amount:,.0f} calls at once"
    else:
        unit = "" if limit.measured == "dollars" else f" {limit.measured}"
        words = f"{amount_said(limit, limit.amount)}{unit} {PERIODS[limit.window]}"
    return words + (f" on {limit.target}" if limit.target else "")


class LimitQuery(msgspec.Struct, omit_defaults=True):
    """Those of a project, or of one `subject` there."""

    project: str = "default"
    subject: str | None = None


class LimitList(msgspec.Struct, omit_defaults=True):
    items: tuple[LimitState, ...]


class LimitId(msgspec.Struct, omit_defaults=True):
    """`id`, or the beginning of it where only one begins so."""

    id: str
    project: str = "default"


class SpendQuery(msgspec.Struct, omit_defaults=True):
    """From `since_ns` to `until_ns`, the latter excluded; without them this month of the calendar so far, in UTC."""

    by: SpendBy = "model"
    since_ns: int | None = None
    until_ns: int | None = None
    project: str = "default"


class SpendBucket(msgspec.Struct, omit_defaults=True):
    start_ns: int
    cost: float = 0.0
    calls: int = 0


class SpendRow(msgspec.Struct, omit_defaults=True):
    """What calls came to; `value` is None for those that have none, and for all `others` together. `cost` in US dollars, without the
    `unpriced` calls. Tokens are None where nobody told."""

    value: str | None
    cost: float = 0.0
    calls: int = 0
    tokens_in: int | None = None
    tokens_out: int | None = None
    tokens_cached: int | None = None
    unpriced: int = 0
    name: str = ""
    others: bool = False
    buckets: tuple[SpendBucket, ...] = ()


class Spend(msgspec.Struct, omit_defaults=True):
    """Of the same spans that traces show, by when each trace began. `forecast` is what this month comes to if the rest goes as what is over
    of it; None for another span of time, or before a twentieth is over."""

    by: SpendBy
    since_ns: int
    until_ns: int
    bucket_ns: int
    whole: SpendRow
    rows: tuple[SpendRow, ...] = ()
    forecast: float | None = None


SET_LIMIT = Operation("limits.set", "POST", LimitRequest, LimitState, "admin")
REMOVE_LIMIT = Operation("limits.remove", "POST", LimitId, LimitState, "admin")
LIMITS = Operation("limits.list", "GET", LimitQuery, LimitList, "read")
SPEND = Operation("limits.spend", "GET", SpendQuery, Spend, "read")
