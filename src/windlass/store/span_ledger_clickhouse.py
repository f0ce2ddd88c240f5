"""The ledger in ClickHouse, where a row of `positions` has what is entered with that write: one insert, so never the one without the other.

A write that was cut off between its rows and its position is done again, and finds rows that are there already. They are new all the
same, and not sent a second time: no row of `positions` has their places.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from windlass.core.digest import digest_json
from windlass.core.span import LOG
from windlass.store.segments import Position
from windlass.store.span_ledger import BEGAN, GONE, HOUR_NS, LONGEST, OTHERS, Entry
from windlass.store.spans import Forget

Ask = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]
Enter = Callable[[str, int, int, tuple[int, int], Sequence[Entry]], None]
NOBODY = ""  # writes these, and no journal is theirs
_WHEN = f"SELECT project, intDiv(receipt_ns, {HOUR_NS}) AS hour, leftUTF8(service, {LONGEST}) AS source"
_BY_HOUR = (
    f"{_WHEN}, if(severity IS NOT NULL OR kind = '{LOG}', 'logs', 'traces') AS signal, count(), max(place) FROM spans WHERE NOT joined"
)
_POINTS = f"{_WHEN}, 'metrics' AS signal, count(), max(place) FROM points WHERE true"
_GROUPS = "GROUP BY project, hour, source, signal"


def begin(ask: Ask, enter: Enter) -> None:
    """Give tables of before their ledger: what their rows tell, and until when no more is known."""
    ((last, latest),) = ask("SELECT max(place), max(receipt_ns) FROM spans", [])
    if not last or ask('SELECT 1 FROM positions WHERE "last" > 0 LIMIT 1', []):
        return
    if ask("SELECT 1 FROM intents LIMIT 1", []):  # they are of a first write that was cut off, which is done again
        return
    rows = ask(f"{_BY_HOUR} {_GROUPS}", [])
    entries = [
        Entry(project, hour, source, signal, what, n) for project, hour, source, signal, n, _ in rows for what in ("received", "indexed")
    ]
    enter(NOBODY, 0, 0, (1, int(last)), [*entries, Entry("", int(latest) // HOUR_NS, "", "", BEGAN, 1)])


def unaccounted(ask: Ask, places: Sequence[int], writer: str, position: Position) -> set[int]:
    """Those of these places that no write has entered, but the one of a writer to a position: done again, it stands for itself."""
    if not places:
        return set()
    ranges = ask(
        'SELECT DISTINCT "first", "last" FROM positions WHERE "last" >= ? AND "first" <= ? AND "last" > 0'
        ' AND NOT (writer = ? AND segment = ? AND "read" = ?)',
        [min(places), max(places), writer, position.segment, position.offset],
    )
    return {p for p in places if not any(first <= p <= last for first, last in ranges)}


def erasing(ask: Ask, enter: Enter, asked: Forget) -> None:
    """Enter that these traces are about to be erased; asked again after it was cut off, it is entered once."""
    where, values = "project = ? AND trace_id IN ?", [asked.project, list(asked.traces)]
    entries = moved(ask, where, values, "erased")
    if not entries:
        return
    ((last,),) = ask(f"SELECT max(place) FROM spans WHERE {where}", values)
    name = digest_json([asked.project, sorted(asked.traces), int(last)]).partition(":")[2]
    enter(NOBODY, 1, int(name[:15], 16), (0, 0), entries)


def moved(ask: Ask, where: str, values: Sequence[Any], fate: str, *, points: bool = False) -> list[Entry]:
    """What enters that rows, or points, are no longer there, but erased or expired."""
    rows = ask(f"{_POINTS if points else _BY_HOUR} AND {where} {_GROUPS}", values)
    known = {(p, e.hour, e.source) for p in {r[0] for r in rows} for e in read(ask, p, min(r[1] for r in rows))}
    entries = []
    for project, hour, service, signal, n, _ in rows:
        source = service if (project, hour, service) in known else OTHERS
        entries += [Entry(project, hour, source, signal, "indexed", -n), Entry(project, hour, source, signal, fate, n)]
    return entries


def read(ask: Ask, project: str, since: int) -> list[Entry]:
    rows = ask(
        "SELECT e.1 AS project, e.2 AS hour, e.3 AS source, e.4 AS signal, e.5 AS what, sum(e.6) FROM"
        f" (SELECT arrayJoin(ledger) AS e FROM positions FINAL) WHERE (e.1 = ? AND e.2 >= ?) OR e.5 IN ('{BEGAN}', '{GONE}')"
        " GROUP BY project, hour, source, signal, what",
        [project, since],
    )
    return [Entry(*row) for row in rows]


def rows_by_hour(ask: Ask, project: str) -> list[tuple[int, str, int]]:
    of = (ask(f"{by_hour} AND project = ? {_GROUPS}", [project]) for by_hour in (_BY_HOUR, _POINTS))
    return [(hour, source, n) for rows in of for _, hour, source, _, n, _ in rows]
