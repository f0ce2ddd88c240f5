"""Evaluations: all, one with its rows, two side by side example by example."""

from __future__ import annotations

from typing import Literal, cast

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from windlass.core.operations.evaluation import (
    COMPARE,
    EVALUATE,
    EVALUATION,
    EVALUATIONS,
    OUTCOMES,
    CompareQuery,
    Comparison,
    EvaluateRequest,
    Evaluation,
    EvaluationPage,
    EvaluationQuery,
    IdQuery,
    Outcome,
    OutcomePage,
    OutcomesQuery,
    Pair,
)
from windlass.core.operations.registry import ARTIFACTS, ArtifactQuery, ArtifactSummary
from windlass.doors.web.render import Asker, Handler, respond


class EvaluationsContext(msgspec.Struct):
    page: EvaluationPage
    suites: tuple[ArtifactSummary, ...]


class EvaluationContext(msgspec.Struct):
    """`others` of the same suite, to compare with."""

    evaluation: Evaluation
    outcomes: OutcomePage
    only: str
    others: tuple[Evaluation, ...]


class Change(msgspec.Struct, frozen=True):
    """One evaluator's score of a row before and after; None where it was not measured."""

    evaluator: str
    before: float | None
    after: float | None


class PairRow(msgspec.Struct, frozen=True):
    """A row of the comparison: the outcome in each arm, and its scores side by side."""

    pair: Pair
    shown: Outcome
    changes: tuple[Change, ...]


class CompareContext(msgspec.Struct):
    comparison: Comparison
    rows: tuple[PairRow, ...]
    only: str


def side_by_side(pair: Pair) -> PairRow:
    """The scores of both arms by evaluator, in the candidate's order."""
    arms = [{s.evaluator: s.value for s in o.scores} if o else {} for o in (pair.a, pair.b)]
    order = dict.fromkeys([*arms[1], *arms[0]])
    shown = pair.b or pair.a
    assert shown is not None
    return PairRow(pair, shown, tuple(Change(e, arms[0].get(e), arms[1].get(e)) for e in order))


async def evaluations(request: Request, ask: Asker) -> Response:
    q = request.query_params
    project = ask.actor.project
    page = await ask(EVALUATIONS, EvaluationQuery(project, q.get("suite") or None, q.get("cursor") or None))
    suites = await ask(ARTIFACTS, ArtifactQuery(project, "suite"))
    return respond(request, "evaluations.html", EvaluationsContext(page, suites.items), nav="evaluations", title="Evaluations")


async def evaluation(request: Request, ask: Asker) -> Response:
    q, project = request.query_params, ask.actor.project
    found = await ask(EVALUATION, IdQuery(request.path_params["id"], project))
    only = q.get("only") if q.get("only") in ("failed", "low") else "all"
    chosen = cast(Literal["all", "failed", "low"], only)
    outcomes = await ask(OUTCOMES, OutcomesQuery(found.id, project, q.get("cursor") or None, only=chosen))
    same = await ask(EVALUATIONS, EvaluationQuery(project, found.suite))
    others = tuple(e for e in same.items if e.id != found.id and e.status == "done")
    context = EvaluationContext(found, outcomes, chosen, others)
    return respond(request, "evaluation.html", context, nav="evaluations", title=f"Evaluation {found.id[-8:]}")


async def compare(request: Request, ask: Asker) -> Response:
    q = request.query_params
    only = q.get("only") if q.get("only") in ("all", "worse", "better") else "changed"
    chosen = cast(Literal["all", "changed", "worse", "better"], only)
    found = await ask(COMPARE, CompareQuery(q.get("a", ""), q.get("b", ""), ask.actor.project, q.get("cursor") or None, only=chosen))
    context = CompareContext(found, tuple(side_by_side(p) for p in found.items), chosen)
    return respond(request, "compare.html", context, nav="evaluations", title="Two evaluations")


async def start(request: Request, ask: Asker) -> Response:
    form = await request.form()
    begun = await ask(EVALUATE, EvaluateRequest(str(form["suite"]), str(form.get("target") or "") or None, ask.actor.project))
    return RedirectResponse(f"/evaluations/{begun.id}", 303)


PAGES: tuple[tuple[str, Handler], ...] = (
    ("/evaluations", evaluations),
    ("/evaluations/{id}", evaluation),
    ("/compare", compare),
)
FORMS: tuple[tuple[str, Handler], ...] = (("/evaluations", start),)
