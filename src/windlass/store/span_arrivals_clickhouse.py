"""Runs as they came, in ClickHouse, for monitors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from windlass.core.span import ARM, ROLLOUT, ROLLOUT_STAGE, ROLLOUT_UNIT
from windlass.store.span_filters import places
from windlass.store.span_filters_clickhouse import said, watched
from windlass.store.spans import Arrival, ArrivalQuery, Arrivals

Ask = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]
PLACE = "place"  # the only name in a cursor


def arrivals_of(ask: Ask, query: ArrivalQuery) -> Arrivals:
    """By place: what comes later has a later one, whatever the clocks say. Where another engine stopped says nothing here."""
    after = places(query.cursor).get(PLACE, 0)
    last = int(ask("SELECT max(place) FROM spans", [])[0][0])
    fits, given = watched(query)
    fits.append("parent IS NULL" if query.service else "kind = 'request'")
    stage = f"toString(JSONExtract(attributes, '{ROLLOUT_STAGE}', 'Nullable(Int64)'))"
    assigned = ", ' ', ".join([said(ROLLOUT), stage, said(ARM), said(ROLLOUT_UNIT)])
    columns = ", ".join({"rollout": f"concat({assigned}) AS rollout"}.get(c, f'"{c}"') for c in Arrival.__struct_fields__)
    rows = ask(
        f"SELECT place, {columns} FROM spans WHERE place > ? AND place <= ? AND {' AND '.join(fits)} ORDER BY place LIMIT ?",
        [after, last, *given, query.limit + 1],
    )
    more = len(rows) > query.limit
    reached = rows[query.limit - 1][0] if more else max(last, after)
    return Arrivals(tuple(Arrival(*row[1:]) for row in rows[: query.limit]), f"{PLACE}:{reached}" if reached else "", more)
