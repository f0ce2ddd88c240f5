"""What is asked of spans, as conditions in DuckDB's SQL."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from windlass.core.errors import Invalid
from windlass.core.filter import Node, fields_in
from windlass.core.filter_reading import conditions_of
from windlass.core.operations.traces import TraceQuery
from windlass.core.ref import Ref
from windlass.core.span import DATASET_RUN
from windlass.store.span_conditions import LONG, TOTALS, Condition, Dialect, rarity, step_of, whole_of
from windlass.store.spans import ArrivalQuery, ScoreQuery

TRACE_ID = re.compile("[0-9a-f]{32}")
EARLIEST, LATEST = -(1 << 63), (1 << 63) - 1
IN_PLACES = ("true", "session = ?", '"user" = ?')  # conditions that `traces` answers, as it does those on spans that count at all
# of a trace: who judges it later makes it no slower, and what somebody gave, which alone takes no time, is no step of it
TOOK = "coalesce(max(end_ns) FILTER (kind <> 'evaluator'), max(end_ns)) - min(start_ns)"
STEPS = "kind <> 'evaluator' OR end_ns > start_ns"


def _pattern(texts: Sequence[str]) -> str:
    """One of these texts, in whatever case, for RE2, which reads a text once where `contains(lower(…))` writes it anew. Each letter is
    written in both cases: `(?i)` has three for k and s, and is six times slower then."""
    return "|".join("".join(map(_in_both_cases, text)) for text in texts)


def cases(letter: str) -> set[str]:
    """A letter, small and large, where each is one letter."""
    found = {letter, letter.lower(), letter.upper()}
    return found if all(len(c) == 1 for c in found) else {letter}


def _in_both_cases(letter: str) -> str:
    if len(found := cases(letter)) > 1:
        return f"[{''.join(sorted(found))}]"
    return r"\x00" if letter == "\0" else re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", letter)


DUCKDB = Dialect(
    holds="regexp_matches({0}, ?)",
    texts=_pattern,
    holds_exactly="contains({0}, ?)",
    begins="starts_with({0}, ?)",
    one_of="list_contains({0}, ?)",
    one_begins="len(list_filter({0}, lambda v: starts_with(v, ?))) > 0",
    listed="len({0}) > 0",
    any="coalesce(bool_or({0}), false)",
    attribute="json_extract_string({0}, ?)",
    pointer=True,
    number="TRY_CAST({0} AS DOUBLE)",
    said="json_extract_string(attributes, '$.\"{0}\"')",
    took=TOOK,
    spans=f"count(*) FILTER ({STEPS})",
    cost="round(fsum(cost) FILTER (kind IN ('model', 'embedding') AND innermost), 12)",
    tokens="sum(coalesce(tokens_in, 0) + coalesce(tokens_out, 0))"
    " FILTER (kind = 'model' AND innermost AND (tokens_in IS NOT NULL OR tokens_out IS NOT NULL))",
)


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
    totals: bool = False  # `whole` reads the column `innermost`: `span_sessions.outer` says of which spans it is not so
    long: bool = False  # the first of `steps` reads long texts
    first: Node | None = None  # what the first of `steps` was made of


def asked(q: TraceQuery) -> Asked:
    """Raises `Invalid` for a filter that is none, and for a cursor of another's making."""
    where, given = ["project = ?"], list[Any]([q.project])
    if q.evaluation is None:
        where.append("evaluation IS NULL")
    elif q.evaluation == DATASET_RUN:  # of all of them
        where.append(f"starts_with(evaluation, '{DATASET_RUN}')")
    elif q.evaluation == "*":
        where.append(f"NOT coalesce(starts_with(evaluation, '{DATASET_RUN}'), false)")
    else:
        where.append("evaluation = ?")
        given.append(q.evaluation)
    conditions = sorted(conditions_of(q), key=rarity)
    made = [(node, step_of(node, q.project, DUCKDB)) for node in conditions]
    steps = [(node, step) for node, step in made if step is not None]
    whole = [whole_of(node, q.project, DUCKDB) for node, step in made if step is None]
    after = began_before(q.cursor) if q.cursor else None
    until = LATEST if q.until_ns is None else q.until_ns - 1
    until = min(until, after[0] if after else LATEST)
    return Asked(
        (" AND ".join(where), given), [step for _, step in steps], whole, q.since_ns or EARLIEST, until, after, newest=bool(made),
        totals=any(fields_in(node) & TOTALS for node in conditions), long=bool(steps and fields_in(steps[0][0]) & LONG),
        first=steps[0][0] if steps else None,
    )  # fmt: skip


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
