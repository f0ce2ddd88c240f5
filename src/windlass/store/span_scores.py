"""Scores as they lie among spans: of kind `evaluator`, below what they are about; and in DuckDB, those of runs in production."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from windlass.core import span as names
from windlass.core.operations.traces import ScoreGiven
from windlass.core.span import Span
from windlass.store.span_columns import HEX_TRACE, said
from windlass.store.span_filters import watched
from windlass.store.spans import ScoreQuery, ScoreSeen

if TYPE_CHECKING:
    import duckdb

MOST = 1_000  # scores of one trace that are told, the newest
WITHDRAWN = "withdrawn"
# which judgements have a mean: a monitor's, which may be unmeasured, and numbers that somebody gave to a run or a step of it
COUNTS = "(given IS NULL OR (given IN ('number', 'boolean') AND about <> 'session'))"
OF_MONITORS = "given IS NULL"


def scores_of(spans: Iterable[Span]) -> tuple[ScoreGiven, ...]:
    """The scores among these spans, each in its newest revision, in their order."""
    return tuple(_score(s) for s in spans if names.SCORED in s.attributes and s.attributes.get(names.GIVEN) != WITHDRAWN)


def about_steps(
    scores: Sequence[ScoreGiven], steps: Callable[[list[str]], Iterable[tuple[str, str | None, str]]]
) -> tuple[ScoreGiven, ...]:
    """Scores with the names of the steps they are about. `steps` has of these spans id, parent and name."""
    of = sorted({s.span for s in scores if s.span})
    inner = {span: name for span, parent, name in steps(of) if parent} if of else {}
    return tuple(msgspec.structs.replace(s, step=inner.get(s.span or "")) for s in scores)


def _score(span: Span) -> ScoreGiven:
    told = span.attributes
    kind, of = told.get(names.GIVEN), told.get(names.GIVEN_TO, "span")
    return ScoreGiven(
        name=str(told[names.SCORED]), at_ns=span.start_ns, value=_value(kind, told), comment=str(told.get(names.EXPLANATION) or ""),
        by=str(told.get(names.ACTOR) or ""), span=span.parent if of == "span" else None,
        session=str(told.get(names.SESSION) or "") if of == "session" else None, given=kind is not None,
    )  # fmt: skip


def _value(kind: Any, told: Mapping[str, Any]) -> bool | float | str | None:
    number, label = told.get(names.SCORE), told.get(names.LABEL)
    if isinstance(number, bool | int | float):
        return bool(number) if kind == "boolean" else float(number)
    return label if isinstance(label, str) else None


def seen_of(db: duckdb.DuckDBPyConnection, query: ScoreQuery) -> list[ScoreSeen]:
    """By time. Of the same judgement given twice the newest counts: a monitor's by its name, somebody's by its span."""
    fits, given = watched(query)
    by = said(names.SCORED)
    fits += ["kind = 'evaluator'", f"{by} IS NOT NULL", *([f"{by} = ?"] if query.evaluator else []), "start_ns >= ?"]
    given += [*([query.evaluator] if query.evaluator else []), query.since_ns or 0]
    rows = db.execute(
        f"SELECT start_ns, {HEX_TRACE}, release, judge, value FROM (SELECT start_ns, trace_id, release, {by} AS judge,"
        f" CAST({said(names.SCORE)} AS DOUBLE) AS value, {said(names.GIVEN)} AS given,"
        f" {said(names.GIVEN_TO)} AS about FROM spans WHERE {' AND '.join(fits)} QUALIFY row_number() OVER"
        " (PARTITION BY trace_id, judge, CASE WHEN given IS NULL THEN 0 ELSE span_id END ORDER BY receipt_ns DESC) = 1)"
        f" WHERE {OF_MONITORS if query.monitors else COUNTS} ORDER BY start_ns DESC, trace_id, judge LIMIT ?",
        [*given, query.limit],
    ).fetchall()
    return [ScoreSeen(*row) for row in reversed(rows)]
