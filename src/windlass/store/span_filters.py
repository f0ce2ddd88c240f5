"""What is asked of spans, as conditions in DuckDB's SQL."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import msgspec

from windlass.core.errors import Invalid
from windlass.core.operations.traces import TraceQuery
from windlass.core.ref import Ref
from windlass.store.spans import ArrivalQuery, ScoreQuery

TRACE_ID = re.compile("[0-9a-f]{32}")
EARLIEST, LATEST = -(1 << 63), (1 << 63) - 1
IN_PLACES = ("true", "session = ?", '"user" = ?')  # conditions that `traces` answers, as it does those on spans that count at all
# of a trace; who judges it later makes it no slower
TOOK = "coalesce(max(end_ns) FILTER (kind <> 'evaluator'), max(end_ns)) - min(start_ns)"
Condition = tuple[str, list[Any]]  # SQL with a mark for each value, and the values


class Asked(NamedTuple):
    """A question about traces. `spans`: which spans count at all. `steps`: conditions of which each must hold for one span or another of
    a trace, the one that fits fewest first. `whole`: conditions on a trace's spans together. A trace must have begun from `since` to
    `until`, both included, and after `after` in the order of the list, where that is given."""

    spans: Condition
    steps: list[Condition]
    whole: list[Condition]
    since: int
    until: int
    after: tuple[int, str] | None


def asked(q: TraceQuery) -> Asked:
    """Raises `Invalid` for a cursor of another's making."""
    where, given, steps, whole = ["project = ?"], list[Any]([q.project]), list[Condition](), list[Condition]()
    if q.evaluation is None:
        where.append("evaluation IS NULL")
    elif q.evaluation != "*":
        where.append("evaluation = ?")
        given.append(q.evaluation)
    for column, value in (("session", q.session), ('"user"', q.user)):
        if value:
            steps.append((f"{column} = ?", [value]))
    if q.passage:
        steps.append(("kind = 'retrieval' AND contains(output, ?)", [f'"key":{msgspec.json.encode(q.passage).decode()}']))
    if q.uses:
        steps.append(("len(list_filter(versions, lambda v: starts_with(v, ?))) > 0", [version_prefix(q.uses)]))
    if q.search:
        holds = " OR ".join(f"contains(lower({column}), ?)" for column in ("name", "input", "output"))
        steps.append((f"parent IS NULL AND ({holds})", [q.search.lower()] * 3))
    failed = "status = 'error' AND parent IS NULL"
    if q.status == "error":
        steps.append((failed, []))
    elif q.status:
        whole.append((f"NOT bool_or({failed})", []))
    if q.model:
        steps.append(("model = ?", [q.model]))
    if q.kind:
        steps.append(("parent IS NULL AND kind = ?", [q.kind]))
    if q.environment:
        steps.append(("environment = ?", [q.environment]))
    if q.slower_than_ms is not None:
        whole.append((f"{TOOK} > ?", [int(q.slower_than_ms * 1e6)]))
    after = began_before(q.cursor) if q.cursor else None
    until = LATEST if q.until_ns is None else q.until_ns - 1
    return Asked((" AND ".join(where), given), steps, whole, q.since_ns or EARLIEST, min(until, after[0] if after else LATEST), after)


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
    if not began.isdecimal() or int(began) > LATEST or not TRACE_ID.fullmatch(trace):
        raise Invalid("this cursor is not one of ours", remedy="start from the first page")
    return int(began), trace


def version_prefix(ref: str) -> str:
    """A ref as the beginning of what spans carry."""
    head, at, digest = ref.partition("@")
    return f"{head}@sha256:{digest.removeprefix('sha256:')}" if at else f"{head}@"
