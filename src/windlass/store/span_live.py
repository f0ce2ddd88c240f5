"""What went on in the last hours, in DuckDB: requests, failures, times and costs."""

from __future__ import annotations

from typing import Any

import duckdb

from windlass.core.operations.traces import LiveFigures, LiveQuery
from windlass.store.span_filters import versions_of
from windlass.store.span_sessions import outer


def live_of(db: duckdb.DuckDBPyConnection, query: LiveQuery) -> LiveFigures:
    bucket = max(1, query.hours) * 3_600_000_000_000 // 24
    name = versions_of(query.release, query.project) if query.release else None
    base = (
        "WITH r AS MATERIALIZED (SELECT trace_id, any_value(start_ns) AS start_ns, arg_max(end_ns - start_ns, receipt_ns) AS took,"
        " arg_max(status, receipt_ns) AS status FROM spans WHERE project = ? AND parent IS NULL"
        " AND evaluation IS NULL AND start_ns > epoch_ns(now()::TIMESTAMP) - ?"
        + (" AND starts_with(coalesce(release, ''), ?)" if name else "")
        + " GROUP BY trace_id, span_id)"
    )
    values: list[Any] = [query.project, query.hours * 3_600_000_000_000, *([name] if name else [])]
    total, *series = db.execute(
        base + " SELECT b, count(*), count(*) FILTER (status = 'error'), quantile_cont(took, 0.5) / 1e6, quantile_cont(took, 0.95) / 1e6"
        f" FROM (SELECT *, start_ns // {bucket} * {bucket} AS b FROM r) GROUP BY GROUPING SETS ((), (b)) ORDER BY b NULLS FIRST",
        values,
    ).fetchall()
    if not total[1]:
        return LiveFigures(0, 0)
    spent = db.execute(
        base + ", m AS MATERIALIZED (SELECT trace_id, span_id, any_value(parent) AS parent, any_value(kind) AS kind,"
        " any_value(response) AS response, any_value(start_ns) AS start_ns, arg_max(end_ns, receipt_ns) AS end_ns,"
        " arg_max_null(cost, receipt_ns) AS cost, arg_max_null(tokens_in, receipt_ns) AS tokens_in,"
        " arg_max_null(tokens_out, receipt_ns) AS tokens_out FROM spans WHERE project = ? AND kind = 'model'"
        " AND trace_id IN (SELECT trace_id FROM r) GROUP BY trace_id, span_id)"
        " SELECT sum(cost), count(*) FILTER (cost IS NULL), sum(coalesce(tokens_in, 0) + coalesce(tokens_out, 0)) FROM m"
        f" WHERE (trace_id, span_id) NOT IN ({outer('m')})",
        [*values, query.project],
    ).fetchone()
    assert spent is not None
    cost = None if spent[1] else spent[0]
    return LiveFigures(total[1], total[2], total[3], total[4], cost, spent[2], tuple((b, n, float(p95), e) for b, n, e, _, p95 in series))
