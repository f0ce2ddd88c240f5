"""Runs that a rollout put on an arm, and scores of them, as they came, in ClickHouse. `span_trials.py` says the same in DuckDB's SQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from windlass.core import span as names
from windlass.store.span_arrivals_clickhouse import PLACE
from windlass.store.span_filters import places
from windlass.store.span_filters_clickhouse import said
from windlass.store.span_trials import OF_THESE
from windlass.store.spans import Trial, TrialQuery, Trials

Ask = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]


def trials_of(ask: Ask, query: TrialQuery) -> Trials:
    after = places(query.cursor).get(PLACE, 0)
    last = int(ask("SELECT max(place) FROM spans", [])[0][0])
    stage = f"toString(JSONExtract(attributes, '{names.ROLLOUT_STAGE}', 'Nullable(Int64)'))"
    told = ", ".join([said(names.ARM), said(names.ROLLOUT_UNIT), stage, said(names.NOT_COMPARED), said(names.SCORED)])
    value = f"JSONExtract(attributes, '{names.SCORE}', 'Nullable(Float64)')"
    rows = ask(
        f"SELECT place, span_id, start_ns, end_ns, status, cost, {told}, {value}, {said(names.GIVEN)} FROM spans WHERE place > ? AND"
        f" place <= ? AND project = ? AND {OF_THESE.format(said(names.SCORED))} AND {said(names.ROLLOUT)} = ? ORDER BY place LIMIT ?",
        [after, last, query.project, query.rollout, query.limit + 1],
    )
    more = len(rows) > query.limit
    reached = rows[query.limit - 1][0] if more else max(last, after)
    return Trials(tuple(Trial(*row[1:]) for row in rows[: query.limit]), f"{PLACE}:{reached}" if reached else "", more)
