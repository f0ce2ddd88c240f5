"""Days that are kept no longer, in ClickHouse: as `span_expiring.py`. A partition goes whole."""

from __future__ import annotations

import time
from collections.abc import Callable

from windlass.core.digest import digest_json
from windlass.store.clickhouse_tables import Lies
from windlass.store.span_ledger import DAY_HOURS, GONE, Entry, hour_of
from windlass.store.span_ledger_clickhouse import NOBODY, Ask, Enter, moved


def expire(ask: Ask, enter: Enter, alter: Callable[[str, str], None], day: str) -> int:
    """Enter that a day's rows are expired, and remove them. Cut off in between it is done again, and entered once. Returns how many rows
    go. `day` is one that `days` told."""
    first = hour_of(day)
    ((count, last),) = ask("SELECT countIf(NOT joined), max(place) FROM spans WHERE day = toDate(?)", [day])
    name = digest_json(["expired", day, int(last)]).partition(":")[2]
    gone = Entry("", first, name[:16], "", GONE, int(count))
    if last:
        enter(NOBODY, 3, int(name[:15], 16), (0, 0), [*moved(ask, "day = toDate(?)", [day], "expired"), gone])
    ((measured, last),) = ask("SELECT count(), max(place) FROM points WHERE day = toDate(?)", [day])
    if measured:
        name = digest_json(["expired", "points", day, int(last)]).partition(":")[2]
        entries = moved(ask, "day = toDate(?)", [day], "expired", points=True)
        enter(NOBODY, 6, int(name[:15], 16), (0, 0), [*entries, Entry("", first, name[:16], "", GONE, int(measured))])
    if kept := _kept(ask, first):  # they have no rows, so they are told by what is entered of them
        enter(NOBODY, 4, time.time_ns(), (0, 0), kept)
    for table in ("spans", "points"):
        alter(table, f"DROP PARTITION '{day}'")
    return int(count) + int(measured)


def _kept(ask: Ask, first: int) -> list[Entry]:
    rows = ask(
        "SELECT e.1 AS project, e.2 AS hour, e.3 AS source, e.4 AS signal, sum(e.6) AS items FROM"
        " (SELECT arrayJoin(ledger) AS e FROM positions FINAL) WHERE e.5 = 'kept' AND e.2 >= ? AND e.2 < ?"
        " GROUP BY project, hour, source, signal HAVING items > 0",
        [first, first + DAY_HOURS],
    )
    fates = (("kept", -1), ("expired", 1))
    return [Entry(project, hour, source, signal, what, sign * n) for project, hour, source, signal, n in rows for what, sign in fates]


def days(ask: Ask, lies: Lies) -> list[str]:
    of = f"{lies.parts} AND table IN ('{lies.holds('spans')}', '{lies.holds('points')}')"
    return [str(day) for (day,) in ask(f"SELECT DISTINCT partition {of} ORDER BY partition", [])]
