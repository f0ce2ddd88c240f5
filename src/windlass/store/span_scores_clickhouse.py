"""Scores among spans, in ClickHouse. `span_scores.py` says the same in DuckDB's SQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from windlass.core import span as names
from windlass.core.operations.traces import ScoreGiven
from windlass.store.span_filters_clickhouse import said, watched
from windlass.store.span_scores import COUNTS, MOST, OF_MONITORS, about_steps, scores_of
from windlass.store.spans import ScoreQuery, ScoreSeen, SpanRow, span_of

Ask = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]
COLUMNS = SpanRow.__struct_fields__


def judged_of(ask: Ask, project: str, trace: str) -> tuple[ScoreGiven, ...]:
    """What judges and people said of a trace, the newest first."""
    quoted = ", ".join(f'"{c}"' for c in COLUMNS)
    rows = ask(
        f"SELECT {quoted} FROM spans WHERE project = ? AND trace_id = ? AND kind = 'evaluator' ORDER BY receipt_ns DESC LIMIT 1 BY span_id",
        [project, trace],
    )
    spans = sorted((span_of(dict(zip(COLUMNS, row, strict=True))) for row in rows), key=lambda s: (-s.start_ns, s.span_id))
    these = "SELECT span_id, parent, name FROM spans WHERE project = ? AND trace_id = ? AND span_id IN ? ORDER BY receipt_ns"
    return about_steps(scores_of(spans[:MOST]), lambda ids: ask(these, [project, trace, ids]))


def seen_of(ask: Ask, query: ScoreQuery) -> list[ScoreSeen]:
    """By time. Of the same judgement given twice the newest counts: a monitor's by its name, somebody's by its span."""
    fits, values = watched(query)
    fits += ["kind = 'evaluator'", "judge IS NOT NULL", *(["judge = ?"] if query.evaluator else []), "start_ns >= ?"]
    values += [*([query.evaluator] if query.evaluator else []), query.since_ns or 0]
    value = f"JSONExtract(attributes, '{names.SCORE}', 'Nullable(Float64)')"
    rows = ask(
        f"SELECT start_ns, trace_id, release, judge, value FROM (SELECT start_ns, trace_id, release, {said(names.SCORED)} AS judge,"
        f" {value} AS value, {said(names.GIVEN)} AS given, {said(names.GIVEN_TO)} AS about, if(given IS NULL, '', span_id) AS own"
        f" FROM spans WHERE {' AND '.join(fits)} ORDER BY receipt_ns DESC LIMIT 1 BY trace_id, judge, own)"
        f" WHERE {OF_MONITORS if query.monitors else COUNTS} ORDER BY start_ns DESC, trace_id, judge LIMIT ?",
        [*values, query.limit],
    )
    return [ScoreSeen(*row) for row in reversed(rows)]
