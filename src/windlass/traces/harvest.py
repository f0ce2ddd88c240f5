"""Rows from traces: what people asked in production becomes rows that the next version is tested on."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
from sqlalchemy import Engine

from windlass.core.actor import Actor
from windlass.core.errors import Invalid, WindlassError
from windlass.core.operations.datasets import Edited, EditRequest, HarvestRequest
from windlass.core.operations.traces import TextShow, Trace, TraceShow
from windlass.core.ref import parse_ref
from windlass.core.span import INPUT, StoredSpan, input_of, kind_of, make_whole, output_of
from windlass.govern.permissions import guard
from windlass.registry import origins
from windlass.registry.edits import Edits
from windlass.registry.leaks import Leaks
from windlass.store.meta import read
from windlass.traces.query import Traces

MOST = 1000  # traces of one harvest
LOOKED = 20  # spans looked at for what was asked: it stands at the top
ASKED = ("chain", "agent", "component")


class Harvest:
    """Service of `datasets.harvest`."""

    def __init__(self, engine: Engine, traces: Traces, edits: Edits, leaks: Leaks) -> None:
        self._engine = engine
        self._traces = traces
        self._edits = edits
        self._leaks = leaks

    async def harvest(self, actor: Actor, request: HarvestRequest) -> Edited:
        """Operation `datasets.harvest`. A trace that asked what a row asks already, or nearly, gives none. Raises `Invalid` when no trace
        gives a row."""
        return await self.make(actor, request, {}, [])

    async def make(self, actor: Actor, request: HarvestRequest, more: Mapping[str, Mapping[str, Any]], problems: list[str]) -> Edited:
        """The same, with more `fields` and `origin` for the rows of some traces, by trace; `problems` are told with what is found here.
        Fields of `more` are no part of what was asked. Raises `Forbidden`, `Invalid`."""
        ref = parse_ref(request.ref, project=request.project, kind="dataset")
        guard(actor, "write", ref.project)
        if not request.traces:
            raise Invalid("no trace is named", where="traces", remedy="windlass traces lists them")
        if len(request.traces) > MOST:
            raise Invalid(f"{len(request.traces):,} traces are more than {MOST:,}", where="traces", remedy="take them in parts")
        added = {field for one in more.values() for field in one["fields"]}
        if wrong := {"key", "origin"} & (request.fields.keys() | added):
            raise Invalid(f"{min(wrong)!r} cannot be set", where="fields", remedy="it is made from the trace")
        rows, problems = [], [*problems]
        for id in dict.fromkeys(request.traces):
            try:
                trace = await self._asked_of(actor, ref.project, id)
                if there := await asyncio.to_thread(self._there, ref.project, ref.name, trace.summary.trace_id):
                    problems.append(f"trace {id}: it is row {there!r} already")
                else:
                    row, one = row_of(trace), more.get(trace.summary.trace_id, {"fields": {}, "origin": {}})
                    rows.append({**row, **one["fields"], **request.fields, "origin": {**row["origin"], **one["origin"]}})
            except WindlassError as e:
                problems.append(f"trace {id}: {e.message}")
        asked = sorted({field for row in rows for field in row} - {"key", "origin"} - request.fields.keys() - added)
        twins = await asyncio.to_thread(self._leaks.twins, ref, rows, asked)
        problems += [f"trace {row['origin']['trace']}: it says what row {twins[row['key']]!r} says" for row in rows if row["key"] in twins]
        rows = [row for row in rows if row["key"] not in twins]
        if not rows:
            raise Invalid(problems[0], where="traces", remedy="nothing was changed", problems=problems)
        message = request.message or f"{len(rows)} row{'s' if len(rows) > 1 else ''} from traces"
        edit = EditRequest(request.ref, tuple(rows), project=ref.project, message=message, drift=True)
        done = await asyncio.to_thread(self._edits.edit, actor, edit)
        done.problems = (*problems, *done.problems)
        return done

    async def _asked_of(self, actor: Actor, project: str, id: str) -> Trace:
        """A trace in which what was asked is whole, however long."""
        trace = await self._traces.show(actor, TraceShow(id, project, limit=LOOKED))
        if (span := _asked(trace)) is not None and "input" in span.cut:
            text = await self._traces.text(actor, TextShow(trace.summary.trace_id, span.span_id, "input", project))
            make_whole(span, {"input": text.text})
        return trace

    def _there(self, project: str, name: str, trace: str) -> str | None:
        with read(self._engine) as c:
            return next((key for of, key in origins.rows_of(c, project, trace) if of == name), None)


def row_of(trace: Trace) -> dict[str, Any]:
    """The row a trace makes: what the chain, agent or component was asked, by name. Raises `Invalid` where that is not whole."""
    summary = trace.summary
    span = _asked(trace)
    text = input_of(span) if span else None
    try:
        given = msgspec.json.decode(text) if text is not None else None
    except (msgspec.DecodeError, RecursionError):
        if span is not None and INPUT in span.attributes:
            raise Invalid("its input was shortened when it was recorded", remedy="write the row by hand") from None
        given = text  # of another library, which writes text as it is
    if given is None:
        raise Invalid("it has no input", remedy="take a trace of a run")
    fields = given if isinstance(given, dict) and "key" not in given else {"input": given}
    origin = {"trace": summary.trace_id, **({"release": summary.release} if summary.release else {})}
    return {"key": f"trace-{summary.trace_id[:16]}", **fields, "origin": origin}


def answer_of(trace: Trace) -> str:
    """What the same answered, as it was recorded; empty where it answered nothing."""
    span = _asked(trace)
    return (output_of(span) if span else None) or ""


def _asked(trace: Trace) -> StoredSpan | None:
    """The step that was asked from outside."""
    asked = [s for s in trace.spans if kind_of(s) in ASKED] or [s for s in trace.spans if s.parent is None]
    return asked[0] if asked else None
