"""Operations on what was received: for every hour and source, what came of it; and the proof that this is so."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from windlass.core.operations import Operation

Signal = Literal["traces", "logs", "metrics"]


class LedgerQuery(msgspec.Struct, omit_defaults=True):
    """Of the last so many `hours`; 0 for all time."""

    project: str = "default"
    hours: Annotated[int, msgspec.Meta(ge=0, le=87_600)] = 168


class LedgerLine(msgspec.Struct, omit_defaults=True):
    """Spans, log records or points of one hour (UTC, of receipt) and source. `received` is what was counted as it came, with what was
    refused, so it equals the sum of the others unless something was lost. `again` came before and is dropped; `kept` is in the journal
    and no row is made of it, as of points; `waiting` is on disk and in no table yet; `expired` was kept for as long as the setting
    `retention_days` says. `turned_away` counts requests of those who may send: what was in them nobody knows, so it is in no sum.
    `source` is the name of a service, or `others` beyond the first 200 of an hour; of requests it is the key."""

    hour_ns: int
    source: str
    signal: str
    received: int = 0
    indexed: int = 0
    again: int = 0
    kept: int = 0
    waiting: int = 0
    unreadable: int = 0
    erased: int = 0
    expired: int = 0
    refused: dict[str, int] = {}
    turned_away: dict[str, int] = {}

    @property
    def missing(self) -> int:
        """By how many items it does not balance; negative where there are more than came."""
        fates = self.indexed + self.again + self.kept + self.waiting + self.unreadable + self.erased + self.expired
        return self.received - fates - sum(self.refused.values())


class LedgerPage(msgspec.Struct, omit_defaults=True):
    """Newest first, at most 20,000 lines; `cut` where there are more. `since_ns`: the hour it begins with, None for all time. What came
    before `began_ns` was counted from the tables when a server of before was brought up."""

    items: tuple[LedgerLine, ...]
    since_ns: int | None = None
    began_ns: int | None = None
    cut: bool = False


class LedgerAudit(msgspec.Struct, omit_defaults=True):
    """Read the journal again, all of it, and hold the ledger and the tables of this project against it."""

    project: str = "default"


class AuditedLine(msgspec.Struct, omit_defaults=True):
    """What the journal says of an hour, source and signal: `items` it holds, `erased` from it, `refused` and what it says of requests.
    `rows` are in the tables (of the hour and source, all signals). `problems` are sentences, none where it balances. `otherwise`: spans
    that today's tables of meaning or prices read differently, which is no problem. Of an hour before the ledger `unmeasured` is true, and
    only the tables could be held against the journal; of one that is kept no longer too, and the ledger alone could be added up."""

    hour_ns: int
    source: str
    signal: str
    items: int = 0
    erased: int = 0
    refused: int = 0
    rows: int = 0
    otherwise: int = 0
    problems: tuple[str, ...] = ()
    unmeasured: bool = False


class LedgerAudited(msgspec.Struct, omit_defaults=True):
    """How far that has come, in bytes of the journal: ask again until it has `finished`. Then there are `items`: lines with problems
    first, at most 20,000; `lines` is how many were looked at, `balanced` how many are as they should be. `damaged` bytes of the journal
    cannot be read."""

    done: int
    total: int
    finished: bool = False
    items: tuple[AuditedLine, ...] = ()
    lines: int = 0
    balanced: int = 0
    damaged: int = 0


LEDGER = Operation("traces.ledger", "GET", LedgerQuery, LedgerPage, "read")
LEDGER_AUDIT = Operation("traces.audit", "POST", LedgerAudit, LedgerAudited, "admin")
