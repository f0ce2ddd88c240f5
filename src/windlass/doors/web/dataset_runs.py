"""Runs of datasets that Langfuse's and Opik's SDKs made: how many items each answered, how well, how fast and how dear; side by side."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from windlass.core import foreign_runs
from windlass.core.errors import NotFound
from windlass.core.filter import Term, printed
from windlass.core.ids import now_ns
from windlass.core.operations.figures import ATTRIBUTE, FIGURES, Figure, FigureGroup, Figures, FiguresQuery
from windlass.core.operations.traces import TRACE, ScoreGiven, Trace, TraceShow
from windlass.doors.web.render import Asker, Handler, query, respond

DAY_S = 86_400
DAYS = 365  # runs that began in them are told
RUNS = 20  # of one dataset, those with most items


class ForeignRun(msgspec.Struct):
    """`day_ns` is the UTC day on which its first item began. `said` are the scores of the run as a whole."""

    name: str
    figure: Figure
    day_ns: int
    said: tuple[ScoreGiven, ...]
    url: str


class RunsOf(msgspec.Struct):
    """`dataset` is empty for runs over rows that lay in no dataset here; `more` runs are not told."""

    dataset: str
    runs: tuple[ForeignRun, ...]
    scores: tuple[str, ...]
    more: int


class DatasetRunsContext(msgspec.Struct):
    of: str
    sets: tuple[RunsOf, ...]
    more: int


async def runs(request: Request, ask: Asker) -> Response:
    of = request.query_params.get("of", "")
    wanted = _term(foreign_runs.DATASET, foreign_runs.dataset_id(of)) if of else f"has:attr.{foreign_runs.RUN_ID}"
    found = await _by(ask, foreign_runs.DATASET, wanted)
    sets = [await _runs_of(ask, group) for group in found.groups if not group.others]
    context = DatasetRunsContext(of, tuple(s for s in sets if s.runs), found.more)
    return respond(request, "dataset_runs.html", context, nav="datasets", title=f"Runs of {of}" if of else "Runs of datasets")


async def _runs_of(ask: Asker, of: FigureGroup) -> RunsOf:
    """The runs of one dataset; those of none where the group has no value."""
    prefix = foreign_runs.dataset_id("")
    within = _term(foreign_runs.DATASET, of.value) if of.value else f"has:attr.{foreign_runs.RUN_ID} -has:attr.{foreign_runs.DATASET}"
    found = await _by(ask, foreign_runs.RUN_ID, within)
    made = [await _run(ask, of.value, within, group.value, group) for group in found.groups if group.value is not None]
    made.sort(key=lambda run: -run.day_ns)
    names = dict.fromkeys(score.name for run in made for score in run.figure.scores)
    return RunsOf((of.value or "").removeprefix(prefix), tuple(made), tuple(names), found.more)


async def _run(ask: Asker, dataset: str | None, within: str, id: str, group: FigureGroup) -> ForeignRun:
    """By its id: Opik's may be called alike, and a trace may be in several."""
    meant = f"{within} {_term(foreign_runs.RUN_ID, id)}"
    names = [g.value for g in (await _by(ask, foreign_runs.RUN_NAME, meant)).groups if g.value is not None]
    whole = await _whole(ask, id)
    known = [n for n in names if dataset and foreign_runs.run_id(ask.actor.project, dataset, n) == id]
    told = [str(s.attributes[foreign_runs.RUN_NAME]) for s in (whole.spans if whole else ()) if foreign_runs.RUN_NAME in s.attributes]
    begun = min((bucket.start_ns for bucket in group.buckets), default=0)
    name = next(iter([*known, *told, *names]), id)
    return ForeignRun(name, group.whole, begun, whole.scores if whole else (), query("/traces", filter=meant))


async def _whole(ask: Asker, run: str) -> Trace | None:
    """What is of a run as a whole: its record, where the SDK made one, and its scores."""
    project = ask.actor.project
    try:
        found: Trace = await ask(TRACE, TraceShow(foreign_runs.run_trace(project, run), project, limit=1))
    except NotFound:
        return None
    return found


async def _by(ask: Asker, attribute: str, filter: str) -> Figures:
    since = now_ns() - DAYS * DAY_S * 10**9
    found: Figures = await ask(
        FIGURES,
        FiguresQuery(
            ask.actor.project,
            filter,
            since_ns=since,
            by=ATTRIBUTE + attribute,
            bucket_s=DAY_S,
            limit=RUNS,
            measures=("traces", "calls", "scores"),
        ),
    )
    return found


def _term(attribute: str, value: str) -> str:
    return printed(Term(f"attr.{attribute}", value))


PAGES: tuple[tuple[str, Handler], ...] = (("/datasets/runs", runs),)
