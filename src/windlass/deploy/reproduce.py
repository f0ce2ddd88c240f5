"""Doing again what was done: a run from its trace, a version from its bytes. Says of each step whether it came to the same.

A run is asked again of the same release with the same input: a model that draws may answer otherwise, and that is said, not hidden. A
version is derived again from what it is made of: its digest from its body, its code from the snapshot, its rows from their packs, an
index's chunks from its documents.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

import msgspec

from windlass.core import span as names
from windlass.core.actor import Actor
from windlass.core.artifacts import IndexBody, Version
from windlass.core.digest import digest_bytes
from windlass.core.errors import Invalid, WindlassError
from windlass.core.json_text import json_said
from windlass.core.operations.graph import Reproduced, ReproduceRequest, Step
from windlass.core.operations.runs import RunRequest, RunResult
from windlass.core.operations.traces import TraceShow
from windlass.core.ref import Ref, parse_ref
from windlass.govern.masking import is_masked
from windlass.govern.permissions import guard
from windlass.registry.datasets import Datasets
from windlass.registry.verify import Verify
from windlass.registry.versions import Versions
from windlass.sdk.index import chunk_lines, chunker_of
from windlass.traces.query import Traces

SHOWN = 120


class Runs(Protocol):
    async def run(self, actor: Actor, request: RunRequest) -> RunResult: ...


class Reproductions:
    """Service of `versions.reproduce`."""

    def __init__(self, versions: Versions, datasets: Datasets, verify: Verify, traces: Traces, runs: Runs) -> None:
        self._versions = versions
        self._datasets = datasets
        self._verify = verify
        self._traces = traces
        self._runs = runs

    async def reproduce(self, actor: Actor, request: ReproduceRequest) -> Reproduced:
        """Operation `versions.reproduce`. Raises `NotFound`; `Invalid` for a trace that is no run of ours."""
        guard(actor, "run", request.project)
        if "/" in request.what:
            return await asyncio.to_thread(self._version, request)
        return await self._run(actor, request)

    async def _run(self, actor: Actor, request: ReproduceRequest) -> Reproduced:
        trace = await self._traces.show(actor, TraceShow(request.what, request.project))
        root = next((s for s in trace.spans if s.parent is None), None)
        refs = [parse_ref(r, project=request.project) for r in (root.attributes.get(names.VERSIONS) or [] if root else [])]
        if root is None or not refs:
            raise Invalid("nothing of ours ran in this trace", where=request.what, remedy="take the trace of a run")
        target, given = refs[0], _decoded(root.attributes.get(names.INPUT))
        steps = []
        for text in trace.versions:
            steps += await asyncio.to_thread(self._rederived, parse_ref(text, project=request.project))
        if is_masked(root.attributes.get(names.INPUT)):
            steps.append(Step(f"run {target.short}", "what it was asked is masked, so that it cannot be asked again", None))
            return Reproduced(trace.summary.trace_id, all(s.same is not False for s in steps), tuple(steps))
        try:
            result = await self._runs.run(actor, RunRequest(str(target), given, request.project))
        except WindlassError as e:
            steps.append(Step(f"run {target.short}", f"it failed now: {e.message}", False))
            return Reproduced(trace.summary.trace_id, False, tuple(steps))
        before = _decoded(root.attributes.get(names.OUTPUT))
        if is_masked(root.attributes.get(names.OUTPUT)):
            steps.append(Step(f"run {target.short}", "what it answered is masked, so that the answers cannot be compared", None))
            return Reproduced(trace.summary.trace_id, all(s.same is not False for s in steps), tuple(steps), result.trace)
        same = _plain(result.output) == _plain(before) or result.text == before
        said = "the same answer" if same else f"another answer: {result.text[:SHOWN]}"
        steps.append(Step(f"run {target.short}", said, same))
        return Reproduced(trace.summary.trace_id, all(s.same is not False for s in steps), tuple(steps), result.trace)

    def _version(self, request: ReproduceRequest) -> Reproduced:
        ref = self._versions.resolve(parse_ref(request.what, project=request.project))
        steps = [step for part in self._versions.closure(ref) for step in self._rederived(part.ref)]
        return Reproduced(str(ref), all(s.same is not False for s in steps), tuple(steps))

    def _rederived(self, ref: Ref) -> list[Step]:
        """A version from what it is made of."""
        version = self._versions.get(ref.project, ref.kind, ref.name, ref.digest or "")
        problems = self._verify.of(version)
        steps = [Step(ref.short, problems[0] if problems else "derived again from its bytes", not problems)]
        return [*steps, self._chunks(version)] if ref.kind == "index" and not problems else steps

    def _chunks(self, version: Version) -> Step:
        """An index's chunks, cut anew from its documents."""
        body = msgspec.convert(version.body, IndexBody)
        name = f"chunks of {version.ref.short}"
        chunker = chunker_of(body.chunker)
        if chunker is None:
            return Step(name, f"cut by {body.chunker.get('name')}, which is not here", None)
        link = next(k for k in version.links if k.digest == body.documents)
        documents = self._datasets.rows(self._versions.get(version.project, link.kind, link.name, link.digest))
        lines = b"".join(line + b"\n" for row in documents for line in chunk_lines(row, chunker))
        same = digest_bytes(lines) == body.chunks
        return Step(name, "cut anew from its documents" if same else "its documents give other chunks now", same)


def _decoded(value: Any) -> Any:
    return json_said(value) if isinstance(value, str) else value


def _plain(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))
