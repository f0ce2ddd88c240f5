"""A pin: a recorded read of data we do not own. What is recorded, what state that is in now, and what differs between two reads.

Nothing here reads anything. The state is never stored: it is a function of the record, of what was last observed at the source, and
of the time. `tests/core/test_pin.py` walks a pin through its states by the clock alone.

    live           the source can be asked again, and says no end
    expiring       it can be asked again at the recorded snapshot, until a deadline
    materialised   the rows are kept here as a dataset version; this never ends
    lost           the source is gone, has changed or forgot the snapshot, and nothing was kept
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from windlass.core.digest import digest_json

Engine = Literal["postgresql", "bigquery", "url", "folder"]
State = Literal["live", "expiring", "materialised", "lost"]
# what came of a look at the source: `failed` says nothing about the data (a wrong password, a network that is away)
Outcome = Literal["first", "kept", "same", "changed", "gone", "failed"]

HOUR_NS = 3600 * 10**9
SOON_NS = 24 * HOUR_NS  # before a deadline, in which what was not kept is kept by itself


class Column(msgspec.Struct, frozen=True, omit_defaults=True):
    """`type` is the source's own word for it; `nullable` is None where the source does not say."""

    name: str
    type: str
    nullable: bool | None = None


class Spec(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is to be read, without any secret. `endpoint` is the address of the source, `source` its name in `sources.toml` where it was
    named there, `query` the text as it is sent; `key` are the columns that name a row."""

    engine: Engine
    endpoint: str
    key: tuple[str, ...] = ("key",)
    query: str = ""
    table: str = ""
    parameters: dict[str, Any] = {}
    source: str = ""


class Snapshot(msgspec.Struct, frozen=True, omit_defaults=True):
    """The state of the source that was read. `token` is what the source calls it; `repeatable`: it can be read again by the token."""

    at_ns: int
    token: dict[str, str] = {}
    repeatable: bool = False
    deadline_ns: int | None = None  # until when it can be


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one reading was. `digest` is the root of the rows (`core/dataset.py`), so that a pin and a dataset of the same rows say the
    same; `principal` who read them, as the source knows it; `problems` a sentence for each row that was left out."""

    snapshot: Snapshot
    columns: tuple[Column, ...]
    count: int
    digest: str
    fingerprint: str
    tables: tuple[str, ...] = ()
    principal: str = ""
    problems: tuple[str, ...] = ()


class Observed(msgspec.Struct, frozen=True, omit_defaults=True):
    """The newest look at the source since the reading."""

    at_ns: int
    outcome: Outcome
    why: str = ""


class Clock(msgspec.Struct, frozen=True, omit_defaults=True):
    """The state at one moment: since or until when, and why."""

    state: State
    at_ns: int | None = None
    why: str = ""


def clock(now_ns: int, snapshot: Snapshot, *, kept: bool, observed: Observed | None = None) -> Clock:
    """The state of a pin. Rows that are kept outlive everything; a source that could not be asked is not a source that is gone."""
    if kept:
        return Clock("materialised")
    if observed and observed.outcome in ("gone", "changed"):
        return Clock("lost", observed.at_ns, observed.why)
    if snapshot.deadline_ns is None:
        return Clock("live")
    if now_ns >= snapshot.deadline_ns:
        return Clock("lost", snapshot.deadline_ns, "the source no longer knows this snapshot, and nothing was kept")
    return Clock("expiring", snapshot.deadline_ns)


def says(told: Clock, now_ns: int, observed: Observed | None = None) -> str:
    """The clock in words: `expires in 6 days 3 hours`, `kept here; the source has changed`."""
    if told.state == "materialised":
        since = {"changed": "; the source has changed", "gone": "; the source is gone"}
        return "kept here" + (since.get(observed.outcome, "") if observed else "")
    if told.state == "live":
        return "no end known"
    if told.state == "expiring":
        return f"expires in {span((told.at_ns or now_ns) - now_ns)}"
    return f"lost since {span(now_ns - (told.at_ns or now_ns))}: {told.why}"


def span(ns: int) -> str:
    """A length of time in its two largest units: `6 days 3 hours`, `4 minutes`."""
    left = max(0, ns) // 10**9
    parts = []
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        amount, left = divmod(left, size)
        if amount:
            parts.append(f"{amount} {unit}{'' if amount == 1 else 's'}")
        elif parts:
            break
    return " ".join(parts[:2]) or "less than a second"


def due(now_ns: int, snapshot: Snapshot) -> bool:
    """Whether rows that are not kept yet are to be kept now, before the source forgets them."""
    return snapshot.deadline_ns is not None and now_ns < snapshot.deadline_ns <= now_ns + SOON_NS


def fingerprint(columns: Iterable[Column]) -> str:
    """The digest of a schema; the order of columns is none of it, since rows are objects."""
    return digest_json(sorted([c.name, c.type, c.nullable] for c in columns))


def schema_changes(before: Iterable[Column], after: Iterable[Column]) -> tuple[str, ...]:
    """What differs between two schemas, a sentence for each column."""
    old, new = {c.name: c for c in before}, {c.name: c for c in after}
    said = [f"column {name} ({column.type}) was dropped" for name, column in old.items() if name not in new]
    said += [f"column {name} ({column.type}) was added" for name, column in new.items() if name not in old]
    for name in (n for n in old if n in new):
        was, now = old[name], new[name]
        if was.type != now.type:
            said.append(f"column {name} was {was.type} and is {now.type}")
        elif was.nullable is not None and now.nullable is not None and was.nullable != now.nullable:
            said.append(f"column {name} {'may be null now' if now.nullable else 'may no longer be null'}")
    return tuple(said)
