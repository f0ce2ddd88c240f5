"""Recorded sessions become evaluation cases: what a run was asked, and the calls that a person marked good as the way to take."""

from __future__ import annotations

from typing import Any

from windlass.core.actor import Actor
from windlass.core.errors import Invalid, WindlassError
from windlass.core.operations.datasets import Edited, HarvestRequest
from windlass.core.operations.sessions import SessionCall, SessionKeep, SessionRun
from windlass.core.ref import parse_ref
from windlass.govern.permissions import guard
from windlass.traces.harvest import MOST, Harvest
from windlass.traces.sessions import Sessions

OF_OTHERS = ("tool/", "evaluator/")  # whose code calls not for the run


class Keeping:
    """Service of `sessions.keep`."""

    def __init__(self, sessions: Sessions, harvest: Harvest) -> None:
        self._sessions = sessions
        self._harvest = harvest

    async def keep(self, actor: Actor, request: SessionKeep) -> Edited:
        """Operation `sessions.keep`. A run that is in the dataset already, or asks what a row of it asks, is named and not doubled.
        Raises `Invalid` when no run gives a row."""
        guard(actor, "write", parse_ref(request.ref, project=request.project, kind="dataset").project)
        if not request.runs:
            raise Invalid("no run is marked good", where="runs", remedy="`windlass sessions show` lists them; name their traces")
        if len(request.runs) > MOST:
            raise Invalid(f"{len(request.runs):,} runs are more than {MOST:,}", where="runs", remedy="take them in parts")
        ways: dict[str, dict[str, Any]] = {}
        problems: list[str] = []
        for trace in dict.fromkeys(request.runs):
            try:
                run = await self._sessions.run(actor, request.project, trace)
                if request.id not in (run.trace.session, run.trace.trace_id):
                    raise Invalid(f"it is not of session {request.id}")
                origin = {"session": request.id} if run.trace.session else {}
                ways[run.trace.trace_id] = {"fields": {request.field: way_of(run, frozenset(request.without))}, "origin": origin}
            except WindlassError as e:
                problems.append(f"trace {trace}: {e.message}")
        if not ways:
            raise Invalid(problems[0], where="runs", remedy="nothing was changed", problems=problems)
        message = request.message or f"{len(ways)} run{'s' if len(ways) > 1 else ''} of session {request.id[:100]}"
        asked = HarvestRequest(request.ref, tuple(ways), request.fields, request.project, message)
        return await self._harvest.make(actor, asked, ways, problems)


def way_of(run: SessionRun, without: frozenset[str] = frozenset()) -> list[Any]:
    """The calls of a run that ran and did not fail, as a reference: those that one step wanted at once stand in a list of their own.
    `without` are spans of calls that were not good. Raises `Invalid` where what was recorded is not whole."""
    if run.shortened:
        raise Invalid("it has more spans than are read", remedy="write the row by hand")
    parts = [(s.start_ns, [c for c in s.calls if _good(c, without)]) for s in run.steps]
    parts += [(c.start_ns, [c]) for c in run.calls if _good(c, without)]
    way: list[Any] = []
    for _, calls in sorted(parts, key=lambda p: p[0]):
        wanted = [_wanted(c) for c in calls]
        way += [wanted] if len(wanted) > 1 else wanted
    return way


def _good(call: SessionCall, without: frozenset[str]) -> bool:
    return call.outcome == "ok" and call.span not in without and not call.caller.startswith(OF_OTHERS)


def _wanted(call: SessionCall) -> dict[str, Any]:
    if not isinstance(call.arguments, dict):
        raise Invalid(f"the arguments of its call of {call.name} were shortened when they were recorded", remedy="write the row by hand")
    return {"name": call.name, "arguments": call.arguments}
