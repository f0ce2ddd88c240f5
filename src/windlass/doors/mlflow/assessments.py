"""Assessments of MLflow's SDKs. Feedback is a score of the trace or of a step, what was expected a comment; beside it stays what was told,
whole, so that it is told again as it was.

    …    /api/3.0/mlflow/traces/{id}/assessments[/{assessment}]    POST, GET, PATCH, DELETE
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from starlette.routing import Route

from windlass.core.actor import Actor
from windlass.core.errors import Forbidden, Invalid, NotFound
from windlass.core.ids import now_ns
from windlass.core.operations.traces import GIVE_SCORE, ScoreRequest, TraceShow
from windlass.core.span import ACTOR
from windlass.doors.mlflow.door import V3, Asked, Door
from windlass.sdk.importing import spans as otlp
from windlass.sdk.importing.mlflow_spans import assessed
from windlass.sdk.importing.source import LONGEST_COMMENT, Page
from windlass.traces import mlflow_records as records

CHANGED = frozenset({"assessment_name", "expectation", "feedback", "rationale", "metadata"})  # by an update, at most


class Assessments:
    """A part of the door."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def routes(self) -> list[Route]:
        base, route = f"{V3}/traces/{{trace_id}}/assessments", self._door.route
        return [
            route("POST", base, self._assess, "trace", sends=True),
            route("GET", f"{base}/{{assessment_id}}", self._assessment, "read"),
            route("PATCH", f"{base}/{{assessment_id}}", self._reassess, "read", sends=True),
            route("DELETE", f"{base}/{{assessment_id}}", self._withdraw, "trace", sends=True),
        ]

    async def _assess(self, actor: Actor, asked: Asked) -> Any:
        said, trace, now = asked.get("assessment"), records.trace_hex(asked["trace_id"]), otlp.iso(now_ns())
        if not isinstance(said, dict):
            raise Invalid("there is no assessment", where="assessment", remedy="send what MLflow's SDK does")
        told = {"create_time": now, "last_update_time": now, **said, "valid": True, "trace_id": asked["trace_id"]}
        same = None
        if id := records.assessment_id(said):  # their client sends none; one that is there is its giver's to replace
            with contextlib.suppress(NotFound):
                same = await self._known(actor, trace, id, actor.id)
        told["assessment_id"] = id or f"a-{uuid4().hex}"
        before = await self._known(actor, trace, str(said["overrides"]), actor.id) if said.get("overrides") else None
        await self._score(actor, trace, told)
        if same and _span(same) != _span(told):  # it was about another step
            await self._give_up(actor, trace, same)
        if before:
            await self._give_up(actor, trace, before)
            await self._keep(actor, trace, {**before, "valid": False})
        await self._keep(actor, trace, told)
        return {"assessment": told}

    async def _assessment(self, actor: Actor, asked: Asked) -> Any:
        return {"assessment": await self._known(actor, records.trace_hex(asked["trace_id"]), asked["assessment_id"])}

    async def _reassess(self, actor: Actor, asked: Asked) -> Any:
        """What its mask names is as it is said now."""
        trace, said = records.trace_hex(asked["trace_id"]), asked.get("assessment")
        before, paths = await self._known(actor, trace, asked["assessment_id"], actor.id), asked.get("update_mask")
        if not isinstance(said, dict) or not isinstance(paths, str):
            raise Invalid("an update is an assessment and a mask that names its fields", where="update_mask")
        fields = {re.sub("[A-Z]", lambda capital: f"_{capital[0].lower()}", path.strip()) for path in paths.split(",")}
        if odd := fields - CHANGED:
            raise Invalid(f"{sorted(odd)[0][:40]!r} cannot be changed", where="update_mask")
        told = {**before, **{field: said[field] for field in fields if field in said}, "last_update_time": otlp.iso(now_ns())}
        await self._score(actor, trace, told)  # by its id it is the same, also under another name
        await self._keep(actor, trace, told)
        return {"assessment": told}

    async def _withdraw(self, actor: Actor, asked: Asked) -> Any:
        trace = records.trace_hex(asked["trace_id"])
        before = await self._known(actor, trace, asked["assessment_id"], actor.id)
        await self._give_up(actor, trace, before)
        await self._keep(actor, trace, {"assessment_id": before["assessment_id"]})
        return {}

    async def _known(self, actor: Actor, trace: str, id: str, by: str | None = None) -> dict[str, Any]:
        """An assessment as it was told last. Raises `NotFound`, and `Forbidden` where it was given by another than `by`."""
        try:
            show = TraceShow(trace, actor.project, limit=1, span=records.span_of_assessment(trace, id))
            (span,) = (await self._door.platform.traces.found(show)).spans
        except NotFound:
            span = None
        told = records.decoded(span.attributes.get(records.ASSESSMENT)) if span else {}
        if span is None or len(told) < 2:
            raise NotFound(
                f"there is no assessment {id[:60]!r} of this trace", where="assessment_id", remedy="give the id it was answered with"
            )
        if by is not None and span.attributes.get(ACTOR) != by:
            raise Forbidden("somebody else gave this assessment", where="assessment_id", remedy="use the key that it was given with")
        return told

    async def _score(self, actor: Actor, trace: str, told: dict[str, Any]) -> None:
        """An assessment as a score of ours; what is no value of one is its comment. Raises as `traces.score` does."""
        _check(told)
        page = Page("", {})
        assessed(page, told, trace, told["assessment_id"])
        if page.scores:
            (given,) = page.scores
        else:
            comment = otlp.text(told.get("feedback")) or ""
            given = ScoreRequest(told["assessment_name"].strip(), None, comment[:LONGEST_COMMENT], trace, _span(told))
        given.id, given.project, given.at_ns = _score_id(told), actor.project, None
        await self._door.ask(GIVE_SCORE, actor, given)

    async def _give_up(self, actor: Actor, trace: str, told: Mapping[str, Any]) -> None:
        if told.get("valid") is False:
            return
        name = str(told["assessment_name"]).strip()
        given = ScoreRequest(name, trace=trace, span=_span(told), id=_score_id(told), withdraw=True, project=actor.project)
        await self._door.ask(GIVE_SCORE, actor, given)

    async def _keep(self, actor: Actor, trace: str, told: Mapping[str, Any]) -> None:
        await self._door.keep(actor, [records.assessment(trace, told, await self._door.began(actor, trace), actor.id)])


def _check(told: Mapping[str, Any]) -> None:
    """Raises `Invalid` for what is no assessment."""
    kinds: dict[str, type] = {
        "assessment_name": str, "rationale": str, "span_id": str, "source": dict, "metadata": dict, "feedback": dict, "expectation": dict,
    }  # fmt: skip
    for field, kind in kinds.items():
        if told.get(field) is not None and not isinstance(told[field], kind):
            raise Invalid(f"this must be {'text' if kind is str else 'an object'}", where=f"assessment.{field}")
    if not told.get("assessment_name"):
        raise Invalid("an assessment has a name", where="assessment.assessment_name")
    if told.get("feedback") is None and told.get("expectation") is None:
        remedy = "issues are not kept here; name them in a comment"
        raise Invalid("an assessment is feedback, or what was expected", where="assessment", remedy=remedy)


def _span(told: Mapping[str, Any]) -> str | None:
    """The step that it is about."""
    return otlp.identity(told["span_id"], otlp.SPAN_BYTES).hex() if told.get("span_id") else None


def _score_id(told: Mapping[str, Any]) -> str:
    return f"mlflow {told['assessment_id']}"  # as `windlass import mlflow` has it
