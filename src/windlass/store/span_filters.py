"""What is asked of spans, as conditions in DuckDB's SQL."""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

import msgspec

from windlass.core.errors import Invalid
from windlass.core.operations.traces import TraceQuery
from windlass.core.ref import Ref
from windlass.core.span import GIVEN, GIVEN_TO, LABEL, SCORE, SCORED
from windlass.store.span_columns import said
from windlass.store.spans import ArrivalQuery, ScoreQuery

TRACE_ID = re.compile("[0-9a-f]{32}")
EARLIEST, LATEST = -(1 << 63), (1 << 63) - 1
IN_PLACES = ("true", "session = ?", '"user" = ?')  # conditions that `traces` answers, as it does those on spans that count at all
# of a trace: who judges it later makes it no slower, and what somebody gave, which alone takes no time, is no step of it
TOOK = "coalesce(max(end_ns) FILTER (kind <> 'evaluator'), max(end_ns)) - min(start_ns)"
STEPS = "kind <> 'evaluator' OR end_ns > start_ns"
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
    newest: bool = False  # of a revised span only the newest may make a trace fit


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
    if q.score:
        steps.append(_judged(judgement(q.score)))
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
    until = min(until, after[0] if after else LATEST)
    return Asked((" AND ".join(where), given), steps, whole, q.since_ns or EARLIEST, until, after, newest=bool(q.score))


class Judgement(NamedTuple):
    """A score by its name. `value` is held against it by `op`: a number, or a category, or `true` and `false`; None for any."""

    name: str
    op: str = ""
    value: float | str | None = None


def judgement(text: str) -> Judgement:
    """`helpful`, `helpful=no`, `stars<3`, `tone=plain`. Raises `Invalid`."""
    found = re.fullmatch(r"\s*([^<>=!]*[^<>=!\s])\s*(?:(<=|>=|<|>|=)\s*([^<>=!\s].*?)\s*)?", text)
    if found is None:
        raise Invalid(f"{text[:60]!r} is no condition on a score", where="score", remedy="write helpful, helpful=no, stars<3 or tone=plain")
    name, op, value = found.groups()
    if op is None:
        return Judgement(name)
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if math.isfinite(number):
        return Judgement(name, op, number)
    if op != "=":
        raise Invalid(f"{value[:40]!r} is no number", where="score", remedy=f"write {name}{op}0.5, or {name}={value}")
    return Judgement(name, op, {"yes": "true", "no": "false"}.get(value.lower(), value))


def _judged(j: Judgement) -> Condition:
    fits = f"kind = 'evaluator' AND {said(SCORED)} = ? AND {said(GIVEN)} IS DISTINCT FROM 'withdrawn'"
    fits += f" AND {said(GIVEN_TO)} IS DISTINCT FROM 'session'"
    if j.value is None:
        return fits, [j.name]
    return f"{fits} AND " + (f"{said(LABEL)} = ?" if isinstance(j.value, str) else f"TRY_CAST({said(SCORE)} AS DOUBLE) {j.op} ?"), [
        j.name,
        j.value,
    ]


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
