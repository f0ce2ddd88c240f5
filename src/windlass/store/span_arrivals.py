"""Runs as they came, in DuckDB, for monitors."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from windlass.core.span import ARM, ROLLOUT, ROLLOUT_STAGE, ROLLOUT_UNIT
from windlass.store import span_long
from windlass.store.span_columns import HEX_SPAN, HEX_TRACE, said
from windlass.store.span_filters import places, watched
from windlass.store.spans import Arrival, ArrivalQuery, Arrivals

ASSIGNED = (ROLLOUT, ROLLOUT_STAGE, ARM, ROLLOUT_UNIT)
ARRIVING = 256_000  # characters of an input or output that monitors are given; of longer ones what a row keeps


def arrivals_of(db: duckdb.DuckDBPyConnection, days: Sequence[tuple[str, str]], query: ArrivalQuery) -> Arrivals:
    """By the place of rows in their day's file: a file only grows, so what comes later has a later place, whatever the clocks say. `days`
    with what their files are attached as."""
    reached, found, more = places(query.cursor), list[Arrival](), False
    fits, given = watched(query)
    fits.append("parent IS NULL" if query.service else "kind = 'request'")
    assigned = " || ' ' || ".join(map(said, ASSIGNED))
    special = {"trace_id": HEX_TRACE, "span_id": HEX_SPAN, "rollout": f"{assigned} AS rollout"}
    columns = ", ".join(special.get(c, f'"{c}"') for c in Arrival.__struct_fields__)
    for day, name in days:
        after, file = reached.get(day, -1), f"{name}.spans"
        (last,) = db.execute(f"SELECT max(rowid) FROM {file}").fetchone() or (None,)
        if last is None or last <= after:
            continue
        room = query.limit - len(found)
        rows = db.execute(
            f"SELECT rowid, {columns} FROM {file} WHERE rowid > ? AND rowid <= ? AND {' AND '.join(fits)} ORDER BY rowid LIMIT ?",
            [after, last, *given, room + 1],
        ).fetchall()
        came = {place: dict(zip(Arrival.__struct_fields__, row, strict=True)) for place, *row in rows[:room]}
        span_long.complete(db, name, came, ARRIVING)
        found += [Arrival(**row) for row in came.values()]
        more = more or len(rows) > room
        reached[day] = (rows[room - 1][0] if room else after) if len(rows) > room else last
    return Arrivals(tuple(found), ",".join(f"{day}:{place}" for day, place in sorted(reached.items())), more)
