"""Erasure from evaluations: what was measured of a row stays, what it said goes. Reviews of a person's traces go whole."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, delete, select, update

from windlass.core.operations.erasures import Affected, Left, Place
from windlass.core.score import Score
from windlass.govern.erasure import ERASED, Subject, Swept, SweptRoom
from windlass.store.meta import read, write
from windlass.store.tables import bakeoffs, evaluations, gates, judgements, outcomes, review_decisions, reviews, verdicts

GONE = msgspec.json.encode({"erased": ERASED}).decode()
_scores = msgspec.json.Decoder(tuple[Score, ...])


class EvaluationRoom:
    """`Room` of evaluations and reviews."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._swept = SweptRoom(engine, (
            Swept("reviews", reviews, ("id",), ("source", "body"), whole=True, also=_decisions),
            Swept("judgements", judgements, ("project", "key"), ("score",), whole=True),
            Swept("evaluations", evaluations, ("id",), ("error",)),
            Swept("gates", gates, ("id",), ("arms", "error")),
            Swept("bake-offs", bakeoffs, ("id",), ("body",)),
            Swept("verdicts", verdicts, ("id",), ("body",)),
        ))  # fmt: skip

    async def find(self, subject: Subject) -> Sequence[Place]:
        """Outcomes of their rows, and the traces that evaluating them left."""
        theirs = await asyncio.to_thread(self._outcomes, subject)
        subject.traces.update(row.trace for row in theirs if row.trace)
        return [*([Place("outcomes", len(theirs))] if theirs else []), *await self._swept.find(subject)]

    def _outcomes(self, subject: Subject) -> list[Any]:
        """Of their rows, or made of one of their traces: by what was asked, since another dataset may have the same key."""
        asked = {key: msgspec.json.decode(line) for key, line in subject.rows.values()}
        o, e = outcomes.c, evaluations.c
        with read(self._engine) as c:
            found = c.execute(select(outcomes).where(o.evaluation.in_(select(e.id).where(e.project == subject.project)), o.input != GONE))
            return [
                r for r in found if r.trace in subject.traces or (r.row in asked and _is_of(r.input, asked[r.row])) or _quotes(subject, r)
            ]

    async def erase(self, subject: Subject) -> Sequence[Place]:
        erased = await asyncio.to_thread(self._erase, subject)
        return [*([Place("outcomes", erased)] if erased else []), *await self._swept.erase(subject)]

    def _erase(self, subject: Subject) -> int:
        rows = self._outcomes(subject)
        for row in rows:
            scores = [_unsaid(s) for s in _scores.decode(row.scores)]
            same = (outcomes.c.evaluation == row.evaluation, outcomes.c.row == row.row, outcomes.c.repeat == row.repeat)
            values = {"input": GONE, "output": None, "text": ERASED, "scores": msgspec.json.encode(scores).decode(), "trace": None}
            with write(self._engine) as c:
                c.execute(update(outcomes).where(*same).values(**values, error=ERASED if row.error else None))
        return len(rows)

    async def left(self, subject: Subject) -> Sequence[Left]:
        rows = await asyncio.to_thread(self._outcomes, subject)
        return [*([Left("outcomes", len(rows), "evaluated meanwhile: erase again")] if rows else []), *await self._swept.left(subject)]

    async def affected(self, subject: Subject) -> Sequence[Affected]:
        return ()


def _unsaid(score: Score) -> Score:
    """A score without what was said about it: an error may quote what it failed on."""
    return msgspec.structs.replace(score, explanation=None, unmeasured=ERASED if score.unmeasured else None)


def _is_of(given: str, row: dict[str, Any]) -> bool:
    """Whether an outcome's input is a row's: each field of it, as the row has it."""
    try:
        fields = msgspec.json.decode(given)
    except (msgspec.DecodeError, RecursionError):
        return False
    return isinstance(fields, dict) and bool(fields) and all(name in row and row[name] == value for name, value in fields.items())


def _quotes(subject: Subject, row: Any) -> bool:
    return subject.names_them(" ".join(text for text in (row.input, row.output, row.text, row.scores, row.error) if text))


def _decisions(c: Connection, row: Any) -> None:
    c.execute(delete(review_decisions).where(review_decisions.c.review == row["id"]))
