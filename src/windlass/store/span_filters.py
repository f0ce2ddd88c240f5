"""What is asked of spans, as conditions in DuckDB's SQL."""

from __future__ import annotations

from typing import Any

import msgspec

from windlass.core.errors import Invalid
from windlass.core.operations.traces import TraceQuery
from windlass.core.ref import Ref
from windlass.store.spans import ArrivalQuery, ScoreQuery

Filters = tuple[str, str, list[Any], list[Any]]  # conditions on spans, conditions on traces, the values of each


def filters_of(q: TraceQuery) -> Filters:
    """Traces that fit. Raises `Invalid` for a cursor of another's making."""
    where, having = ["project = ?"], ["true"]
    w: list[Any] = [q.project]
    h: list[Any] = []

    def any_span(condition: str, *values: Any) -> None:
        having.append(f"bool_or({condition})")
        h.extend(values)

    if q.kind:
        any_span("parent IS NULL AND kind = ?", q.kind)
    if q.evaluation is None:
        where.append("evaluation IS NULL")
    elif q.evaluation != "*":
        where.append("evaluation = ?")
        w.append(q.evaluation)
    if q.search:
        any_span(
            "parent IS NULL AND (contains(lower(name), ?) OR contains(lower(input), ?) OR contains(lower(output), ?))",
            *[q.search.lower()] * 3,
        )
    if q.status:
        having.append(
            "bool_or(status = 'error' AND parent IS NULL)" if q.status == "error" else "NOT bool_or(status = 'error' AND parent IS NULL)"
        )
    if q.uses:
        any_span("len(list_filter(versions, lambda v: starts_with(v, ?))) > 0", version_prefix(q.uses))
    if q.passage:
        any_span("kind = 'retrieval' AND contains(output, ?)", f'"key":{msgspec.json.encode(q.passage).decode()}')
    for column, value in (("model", q.model), ("session", q.session), ('"user"', q.user), ("environment", q.environment)):
        if value:
            any_span(f"{column} = ?", value)
    for condition, at in (("min(start_ns) >= ?", q.since_ns), ("min(start_ns) < ?", q.until_ns)):
        if at is not None:
            having.append(condition)
            h.append(at)
    if q.slower_than_ms is not None:
        having.append("max(end_ns) - min(start_ns) > ?")
        h.append(int(q.slower_than_ms * 1e6))
    if q.cursor:
        began, trace = began_before(q.cursor)
        having.append("(min(start_ns) < ? OR (min(start_ns) = ? AND trace_id > ?::UUID))")
        h += [began, began, trace]
    return " AND ".join(where), " AND ".join(having), w, h


def watched(query: ArrivalQuery | ScoreQuery) -> tuple[list[str], list[Any]]:
    """Conditions for spans of a release or a service, outside evaluations, and their values."""
    fits, given = ["project = ?", "evaluation IS NULL"], [query.project]
    if query.service:
        fits, given = [*fits, "service = ?"], [*given, query.service]
    else:
        fits, given = [*fits, "starts_with(release, ?)"], [*given, versions_of(query.release or "", query.project)]
    if query.environment:
        fits, given = [*fits, "environment = ?"], [*given, query.environment]
    return fits, given


def places(cursor: str | None) -> dict[str, int]:
    """How far each day's file was read. Raises `Invalid`."""
    try:
        return {day: int(place) for day, _, place in (part.partition(":") for part in cursor.split(","))} if cursor else {}
    except ValueError:
        raise Invalid("this cursor is not one of ours", remedy="start from the beginning") from None


def versions_of(release: str, project: str) -> str:
    """How the refs of a release's versions begin."""
    return f"{Ref('release', release, None, None, project)}@"


def began_before(cursor: str) -> tuple[int, str]:
    """When the last trace of a page began, and which it is. Raises `Invalid`."""
    began, _, trace = cursor.partition("-")
    if not began.isdigit():
        raise Invalid("this cursor is not one of ours", remedy="start from the first page")
    return int(began), trace


def latest(q: TraceQuery) -> int:
    """When the traces asked for began at the latest, in nanoseconds."""
    began = [at for at in (q.until_ns, int(q.cursor.partition("-")[0]) if q.cursor else None) if at is not None]
    return min(began, default=(1 << 63) - 1)


def version_prefix(ref: str) -> str:
    """A ref as the beginning of what spans carry."""
    head, at, digest = ref.partition("@")
    return f"{head}@sha256:{digest.removeprefix('sha256:')}" if at else f"{head}@"
