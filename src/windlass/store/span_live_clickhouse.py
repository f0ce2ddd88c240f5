"""What went on in the last hours, in ClickHouse: as `span_live.py` tells it of DuckDB's files."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from windlass.core.operations.traces import LiveFigures, LiveQuery
from windlass.store.span_filters import versions_of
from windlass.store.span_sessions_clickhouse import outer

Ask = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]


def live_of(ask: Ask, query: LiveQuery) -> LiveFigures:
    bucket = max(1, query.hours) * 3_600_000_000_000 // 24
    name = versions_of(query.release, query.project) if query.release else None
    runs = (
        "WITH r AS (SELECT trace_id, any(start_ns) AS began, argMax(end_ns - start_ns, receipt_ns) AS took,"
        " argMax(status, receipt_ns) AS ended FROM spans WHERE project = ? AND parent IS NULL AND evaluation IS NULL AND start_ns > ?"
        + (" AND startsWith(ifNull(release, ''), ?)" if name else "")
        + " GROUP BY trace_id, span_id)"
    )
    values: list[Any] = [query.project, time.time_ns() - query.hours * 3_600_000_000_000, *([name] if name else [])]
    figures = "count(), countIf(ended = 'error'), quantileExactInclusive(0.5)(took) / 1e6, quantileExactInclusive(0.95)(took) / 1e6"
    (total,) = ask(f"{runs} SELECT {figures} FROM r", values)
    if not total[0]:
        return LiveFigures(0, 0)
    series = ask(f"{runs} SELECT intDiv(began, {bucket}) * {bucket} AS b, {figures} FROM r GROUP BY b ORDER BY b", values)
    ((cost, unpriced, tokens),) = ask(
        runs + ", m AS (SELECT trace_id, span_id, any(parent) AS above,"
        " argMax(tuple(cost), receipt_ns).1 AS spent, argMax(tuple(tokens_in), receipt_ns).1 AS tin,"
        " argMax(tuple(tokens_out), receipt_ns).1 AS tout, any(kind) AS sort, any(response) AS answer, any(start_ns) AS began,"
        " argMax(end_ns, receipt_ns) AS ended FROM spans WHERE project = ? AND kind = 'model'"
        " AND trace_id IN (SELECT trace_id FROM r) GROUP BY trace_id, span_id)"
        " SELECT sum(spent), countIf(spent IS NULL), sumOrNull(ifNull(tin, 0) + ifNull(tout, 0)) FROM m"
        f" WHERE (trace_id, span_id) NOT IN ({outer('m', parent='above', response='answer', start='began', end='ended', kind='sort')})",
        [*values, query.project],
    )
    by_time = tuple((b, n, float(p95), e) for b, n, e, _, p95 in series)
    return LiveFigures(total[0], total[1], total[2], total[3], None if unpriced else cost, tokens, by_time)
