"""Where evaluations keep what came of each row: the tables `evaluations`, `outcomes` and `judgements`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, Engine, Row, Table, func, insert, select, update

from windlass.core.actor import Actor
from windlass.core.errors import Invalid, NotFound
from windlass.core.ids import now_ns
from windlass.core.operations.evaluation import Evaluation, EvaluationPage, EvaluationQuery, Outcome, OutcomePage, OutcomesQuery
from windlass.core.score import Score
from windlass.jobs.work import Jobs
from windlass.store.meta import read, write
from windlass.store.tables import evaluations, judgements, outcomes

SHORTEST = 4  # characters of an id that may stand for it
Status = Literal["queued", "running", "done", "failed", "cancelled"]


class Asked(msgspec.Struct, frozen=True, omit_defaults=True):
    """For whom an evaluation runs, and how. `replay` first tries rows by recorded draws alone; `split` and `repeats` are the suite's."""

    actor: Actor
    fresh: bool = False


class Result(msgspec.Struct, frozen=True):
    """An outcome with what is not shown: how many calls it made, which draws it met, which judgements are new."""

    outcome: Outcome
    calls: int
    draws: tuple[str, ...] = ()
    judged: tuple[tuple[str, Score], ...] = ()  # key, score


class Scored(msgspec.Struct, frozen=True):
    """What a comparison needs of an outcome."""

    row: str
    repeat: int
    input: str  # JSON
    scores: tuple[Score, ...]
    draws: tuple[str, ...]


_scores = msgspec.json.Decoder(tuple[Score, ...])
_draws = msgspec.json.Decoder(tuple[str, ...])
_score = msgspec.json.Decoder(Score)


_RAISED = re.compile(r" raised \w+")


def sort_of(error: str) -> str:
    """What errors that are alike share: an exception's type and place, without what it says of its row."""
    found = _RAISED.search(error)
    return error[: found.end()] if found else error


class Outcomes:
    """Reads and writes evaluations and what came of their rows."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def create(self, evaluation: Evaluation, suite_name: str, asked: Asked, jobs: Jobs | None = None) -> None:
        """Keep a new evaluation, and hand it over as work where `jobs` is given."""
        with write(self._engine) as c:
            c.execute(
                insert(evaluations).values(
                    id=evaluation.id, project=evaluation.project, suite=evaluation.suite, suite_name=suite_name, target=evaluation.target,
                    status=evaluation.status, request=_text(asked), summary=_text(evaluation), rows=evaluation.rows,
                    created_ns=evaluation.created_ns, actor=asked.actor.id,
                )
            )  # fmt: skip
            if jobs is not None:
                jobs.hand_over(c, "evaluation", evaluation.project, evaluation.id)

    def find(self, project: str, given: str) -> Evaluation:
        """An evaluation by its id or a part of it. Raises `NotFound`, `Invalid` when ambiguous."""
        with read(self._engine) as c:
            whole = whole_id(c, evaluations, project, given, "evaluation")
            return _evaluation(c.execute(select(evaluations).where(evaluations.c.id == whole)).one())

    def asked(self, id: str) -> Asked:
        with read(self._engine) as c:
            return msgspec.json.decode(c.execute(select(evaluations.c.request).where(evaluations.c.id == id)).scalar_one(), type=Asked)

    def latest(self, project: str, suite: str, target: str) -> Evaluation | None:
        """The newest evaluation of exactly this suite and target that measured every row."""
        e = evaluations.c
        with read(self._engine) as c:
            rows = c.execute(
                select(evaluations)
                .where(e.project == project, e.suite == suite, e.target == target, e.status == "done")
                .order_by(e.id.desc())
                .limit(20)
            ).all()
        return next((found for row in rows if not (found := _evaluation(row)).failed), None)

    def save(self, evaluation: Evaluation) -> None:
        """Keep an evaluation's state and figures."""
        with write(self._engine) as c:
            _save(c, evaluation)

    def add(self, evaluation: Evaluation, results: Sequence[Result]) -> None:
        """Keep outcomes, their new judgements, and the evaluation's figures: all or nothing. What is there already stays."""
        with write(self._engine) as c:
            for result in results:
                known = (outcomes.c.evaluation == evaluation.id, outcomes.c.row == result.outcome.row)
                if not c.execute(select(outcomes.c.row).where(*known, outcomes.c.repeat == result.outcome.repeat)).first():
                    c.execute(insert(outcomes).values(evaluation=evaluation.id, **_columns(result)))
                for key, score in result.judged:
                    _keep_judgement(c, evaluation.project, key, score)
            _save(c, evaluation)

    def results(self, evaluation: str) -> list[Result]:
        """Everything that came of an evaluation's rows so far."""
        with read(self._engine) as c:
            rows = c.execute(select(outcomes).where(outcomes.c.evaluation == evaluation)).all()
        return [Result(_outcome(r), r.calls, _draws.decode(r.requests or "[]")) for r in rows]

    def scored(self, evaluation: str) -> Iterator[Scored]:
        """Rows with scores and draws, by row and repeat."""
        o = outcomes.c
        with read(self._engine) as c:
            found = c.execute(
                select(o.row, o.repeat, o.input, o.scores, o.requests).where(o.evaluation == evaluation).order_by(o.row, o.repeat)
            ).all()
        for r in found:
            yield Scored(r.row, r.repeat, r.input, _scores.decode(r.scores), _draws.decode(r.requests or "[]"))

    def judgement(self, project: str, key: str) -> Score | None:
        """A judgement made before of the same things by the same evaluator."""
        j = judgements.c
        with read(self._engine) as c:
            found = c.execute(select(j.score).where(j.project == project, j.key == key)).scalar()
        return None if found is None else _score.decode(found)

    def list(self, query: EvaluationQuery) -> EvaluationPage:
        """Newest first."""
        limit = query.limit
        e = evaluations.c
        found = select(evaluations).where(e.project == query.project)
        if query.suite:
            name = query.suite.rpartition("/")[2]
            found = found.where(e.suite == query.suite if "@" in name else e.suite_name == name.partition(":")[0])
        if query.cursor:
            found = found.where(e.id < query.cursor)
        with read(self._engine) as c:
            rows = c.execute(found.order_by(e.id.desc()).limit(limit + 1)).all()
        items = tuple(_evaluation(r) for r in rows[:limit])
        return EvaluationPage(items=items, next=items[-1].id if len(rows) > limit else None)

    def page(self, evaluation: str, query: OutcomesQuery) -> OutcomePage:
        """By row and repeat; `low`: worst scores first."""
        limit = query.limit
        o = outcomes.c
        found = select(outcomes).where(o.evaluation == evaluation)
        if query.only == "failed":
            found = found.where(o.error.is_not(None))
        if query.only == "low":
            return self._lowest(found.where(o.low.is_not(None)), query, limit)
        if query.cursor:
            row, _, repeat = query.cursor.rpartition("#")
            if not repeat.isdigit():
                raise Invalid("this cursor is not one of ours", remedy="start from the first page")
            found = found.where((o.row > row) | ((o.row == row) & (o.repeat > int(repeat))))
        with read(self._engine) as c:
            rows = c.execute(found.order_by(o.row, o.repeat).limit(limit + 1)).all()
        items = tuple(_outcome(r) for r in rows[:limit])
        return OutcomePage(items=items, next=f"{items[-1].row}#{items[-1].repeat}" if len(rows) > limit else None)

    def _lowest(self, found: Any, query: OutcomesQuery, limit: int) -> OutcomePage:
        """Worst first. Scores tie a lot, so the cursor is a position: outcomes of a done evaluation never change."""
        if query.cursor and not query.cursor.isdigit():
            raise Invalid("this cursor is not one of ours", remedy="start from the first page")
        start, o = int(query.cursor or 0), outcomes.c
        with read(self._engine) as c:
            rows = c.execute(found.order_by(o.low, o.row, o.repeat).offset(start).limit(limit + 1)).all()
        return OutcomePage(items=tuple(_outcome(r) for r in rows[:limit]), next=str(start + limit) if len(rows) > limit else None)

    def by_rows(self, evaluation: str, rows: Sequence[str]) -> dict[str, Outcome]:
        """The first repeat of each of these rows."""
        o = outcomes.c
        with read(self._engine) as c:
            found = c.execute(select(outcomes).where(o.evaluation == evaluation, o.row.in_(rows), o.repeat == 0)).all()
        return {r.row: _outcome(r) for r in found}


def whole_id(c: Connection, table: Table, project: str, given: str, what: str) -> str:
    """The id that `given` is, or is an unambiguous prefix or suffix of. Raises `NotFound`, `Invalid`."""
    id, owner = table.c.id, table.c.project
    if len(given) < SHORTEST:
        raise Invalid(f"{given!r} is too short to be {_a(what)}", remedy=f"give at least {SHORTEST} characters of its id")
    fits = (id == given) | id.startswith(given, autoescape=True) | id.endswith(given, autoescape=True)
    found = list(c.execute(select(id).where(owner == project, fits).limit(3)).scalars())
    if given in found:
        return given
    if not found:
        raise NotFound(f"there is no {what} {given!r} in project {project}")
    if len(found) > 1:
        raise Invalid(f"{given!r} fits several {what}s", remedy="give more of its id")
    return str(found[0])


def _a(what: str) -> str:
    return f"an {what}" if what[0] in "aeiou" else f"a {what}"


def _save(c: Connection, evaluation: Evaluation) -> None:
    """What is done stays done: a worker that slept while another took its work over may still write that it is under way."""
    e = evaluations.c
    c.execute(
        update(evaluations)
        .where(e.id == evaluation.id, (e.status != "done") | (evaluation.status == "done"))
        .values(status=evaluation.status, summary=_text(evaluation), finished_ns=evaluation.finished_ns, error=evaluation.error)
    )


def _keep_judgement(c: Connection, project: str, key: str, score: Score) -> None:
    known = (judgements.c.project == project, judgements.c.key == key)
    if c.execute(select(func.count()).select_from(judgements).where(*known)).scalar():
        return
    c.execute(insert(judgements).values(project=project, key=key, evaluator=score.evaluator, score=_text(score), created_ns=now_ns()))


def _evaluation(row: Row[Any]) -> Evaluation:
    return msgspec.json.decode(row.summary, type=Evaluation)


def _columns(result: Result) -> dict[str, Any]:
    o = result.outcome
    values = [s.value for s in o.scores if s.value is not None]
    return {
        "row": o.row, "repeat": o.repeat, "input": _text(o.input), "output": None if o.error else _text(o.output), "text": o.text,
        "scores": _text(o.scores), "trace": o.trace, "error": o.error, "reused": int(o.reused), "calls": result.calls,
        "latency_ns": o.latency_ns, "cost": o.cost, "requests": _text(result.draws), "low": min(values) if values else None,
    }  # fmt: skip


def _outcome(r: Row[Any]) -> Outcome:
    return Outcome(
        row=r.row, repeat=r.repeat, input=msgspec.json.decode(r.input), output=msgspec.json.decode(r.output) if r.output else None,
        text=r.text, scores=_scores.decode(r.scores), trace=r.trace, error=r.error, reused=bool(r.reused), latency_ns=r.latency_ns,
        cost=r.cost,
    )  # fmt: skip


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
