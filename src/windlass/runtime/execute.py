"""The executor: one run of a component, chain, agent, tool, index or release, and one judgement of an evaluator.

It finds the version, checks the input, opens the root span, hands the work to its kind and gathers the result. Knows the
kinds only by their modules here.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import Any

import msgspec

from windlass.agentops.broker import Broker, Refused
from windlass.agentops.secrets import Secrets
from windlass.core import span as names
from windlass.core.actor import Actor
from windlass.core.artifacts import SEARCH_ENTRY, EvaluatorBody, ReleaseBody, Version
from windlass.core.errors import Forbidden, Invalid, ModelFailed, NotFound, RunFailed, WindlassError
from windlass.core.ids import now_ns
from windlass.core.operations.runs import RunPiece, RunRequest, RunResult
from windlass.core.ref import ENVIRONMENTS, Ref, parse_ref
from windlass.core.score import Score
from windlass.core.trajectory import ENTRY, CallMade, measure, metric_of
from windlass.govern.permissions import guard
from windlass.govern.reservations import Reservations
from windlass.govern.standby import Standby
from windlass.runtime.agents import Agents, spec_of
from windlass.runtime.brokering import Brokering, Usable, refusal, running
from windlass.runtime.chains import Chains
from windlass.runtime.components import Asking, Components, Finds, Rows, Send
from windlass.runtime.context import Records, RunContext, step
from windlass.runtime.draws import Draws
from windlass.runtime.embeddings import encoding
from windlass.runtime.inputs import arguments_of
from windlass.runtime.library import Library, Versions, body_of
from windlass.runtime.retrieval import Retrieval
from windlass.runtime.runner import Runners
from windlass.runtime.schema import check_arguments, text_of
from windlass.runtime.shadows import Arms, Shadows, no_rollout

CALLED = ("tool", "index")  # what the broker stands before
RUNNABLE = ("release", "chain", "agent", "component", "tool", "index")
SEARCH: dict[str, Any] = {
    "type": "object",
    "properties": {
        "query": {"type": "string"}, "k": {"type": "integer"}, "where": {"type": ["object", "null"]},
        "how": {"enum": ["words", "meaning", "both", None]}, "encoder": {"type": ["string", "null"]},
        "vector": {"type": ["array", "null"], "items": {"type": "number"}},
    },
    "required": ["query"],
}  # fmt: skip


class Executor:
    """Runs what the registry holds. One per process and event loop.

    Args:
        versions: the registry's versions.
        models: `runtime.models.Models`.
        runners: the pool of processes for user code.
        records: where spans go.
        retrieval: the search engine.
        draws: recorded draws.
        rows: reads a dataset version's rows, for few-shot examples.
        broker: lets the calls of agents through.
        secrets: what tools may ask for.
        environment: variables of one run in its runner: the gateway's address and a token for this run.
        limits: what calls of models are held to.
        standby: where labels of releases point, while the store is away.
        arms: which arm of a rollout answers, where one is under way.
    """

    def __init__(
        self, *, versions: Versions, models: Finds, runners: Runners, records: Records, retrieval: Retrieval, draws: Draws, rows: Rows,
        broker: Broker, secrets: Secrets | None = None, environment: Callable[[RunContext], dict[str, str]] | None = None,
        limits: Reservations | None = None, standby: Standby | None = None, arms: Arms = no_rollout,
    ) -> None:  # fmt: skip
        self._library = Library(versions, standby)
        self._records = records
        self._retrieval = retrieval
        self._running: dict[str, RunContext] = {}
        asking = Asking(models, draws, records, limits)
        self._components = Components(self._library, asking, rows, records)
        self._brokering = Brokering(broker, records)
        self._agents = Agents(self._library, self._components, asking, self._brokering, records)
        self._arms = arms
        self._shadows = Shadows(self.execute)
        self._chains = Chains(self._library, runners, records, environment, secrets)

    async def run(self, actor: Actor, request: RunRequest) -> RunResult:
        """Operation `runs.start`. Raises `Forbidden`, `NotFound`, `Invalid`, `RunFailed`, `ModelFailed`."""
        return await self.execute(*self._asked(actor, request))

    async def stream(self, actor: Actor, request: RunRequest) -> AsyncGenerator[RunPiece, None]:
        """Operation `runs.stream`: text as it comes, then the result or the error. Closing the iterator cancels the run."""
        async with contextlib.aclosing(self.execute_stream(*self._asked(actor, request))) as pieces:
            async for piece in pieces:
                yield piece

    def running(self, run: str) -> RunContext | None:
        """The context of a run under way, for what its token asks of the gateway."""
        return self._running.get(run)

    async def knows(self, target: Ref) -> bool:
        """Whether there is such a version now."""
        try:
            await self._library.find(target)
        except NotFound:
            return False
        return True

    async def execute(self, target: Ref, given: Any, context: RunContext, send: Send | None = None) -> RunResult:
        """Run a target for a caller who was already let in. What it used is in `context.ledger`, also when it fails."""
        version, context, beside = await self._enter(target, context)
        began = now_ns()
        name = f"run {version.kind}/{version.name}"
        try:
            with step(self._records, context, name, "request", versions=[str(version.ref)], input=given) as root:
                agent = f"{version.kind}/{version.name}"
                self._running[context.run] = root.context.inside(agent) if version.kind == "agent" else root.context
                context.ledger.root = root.context.parent
                arguments = arguments_of(given, await self._input(version), version.ref.short)
                check_arguments(await self._input(version), arguments, version.ref.short)
                try:
                    output = await self._entered(version, arguments, root.context, send, let=names.DECISION in context.decided)
                except asyncio.CancelledError:
                    context.ledger.not_compared = "the caller left"
                    raise
                finally:
                    root.set(not_compared=context.ledger.not_compared or None)
                root.output(output)
                root.set(versions=list(context.ledger.versions), cost=context.ledger.total, reused=_all_reused(context))
        finally:
            self._running.pop(context.run, None)
            if beside is not None:
                self._shadows.begin(beside, given, context)
        return RunResult(
            run=context.run, trace=root.span.trace_id, target=context.release or str(version.ref), output=output,
            text=text_of(output, await self._output(version)), versions=tuple(context.ledger.versions), duration_ns=now_ns() - began,
            cost=context.ledger.total, usage=context.ledger.usage, warnings=tuple(dict.fromkeys(context.ledger.warnings)),
        )  # fmt: skip

    async def execute_stream(self, target: Ref, given: Any, context: RunContext) -> AsyncGenerator[RunPiece, None]:
        """`execute` as pieces. A target that does not stream gives its text in one piece."""
        pieces: asyncio.Queue[RunPiece | None] = asyncio.Queue()
        sent = False

        def send(text: str) -> None:
            nonlocal sent
            sent = sent or bool(text)
            if text:
                pieces.put_nowait(RunPiece(text=text))

        run = asyncio.ensure_future(self.execute(target, given, context, send))
        run.add_done_callback(lambda _: pieces.put_nowait(None))
        try:
            while (piece := await pieces.get()) is not None:
                yield piece
            try:
                result = run.result()
            except WindlassError as e:
                yield RunPiece(error=e.as_dict())
                return
            if not sent and result.text:
                yield RunPiece(text=result.text)
            yield RunPiece(result=result)
        finally:
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)

    async def evaluate(self, evaluator: Ref, arguments: dict[str, Any], context: RunContext) -> Score:
        """One judgement. An evaluator that fails, or whose value is no number in its range, leaves the score unmeasured with
        the reason. Of `arguments` it is given those it asks for. With the context of a run its span hangs under that run."""
        version = await self._library.find(evaluator)
        body: EvaluatorBody = body_of(version)
        name = str(version.ref)
        context = context.under(context.ledger.root) if context.ledger.root else context
        if missing := [n for n in body.needs if n not in arguments]:
            return Score(name, unmeasured=f"{missing[0]!r} is not there to be judged")
        wanted = {n: arguments[n] for n in body.needs}
        if body.code.entry.startswith(ENTRY):
            return self._trajectory(version, body.code.entry, wanted, context)
        try:
            value = await self._chains.run(version, wanted, context, partial(self._from_code, version))
        except (RunFailed, ModelFailed, Invalid, NotFound, Forbidden) as e:
            return Score(name, unmeasured=str(e))
        return _score(name, value, body.range)

    def _trajectory(self, version: Version, entry: str, given: dict[str, Any], context: RunContext) -> Score:
        """A judgement of the way a run took. It needs no process: what it does is fixed."""
        with step(self._records, context, f"evaluator/{version.name}", "evaluator", versions=[str(version.ref)], input=given) as span:
            value, why = measure(metric_of(entry), msgspec.convert(given["calls"], list[CallMade]), given.get("row"))
            span.output(value if value is not None else why)
        name = str(version.ref)
        return Score(name, unmeasured=why) if value is None else Score(name, value, explanation=why or None)

    async def _entered(
        self, version: Version, arguments: dict[str, Any], context: RunContext, send: Send | None, *, let: bool
    ) -> Any:  # fmt: skip
        """Run what a run was asked for. A tool that the broker did not let through already is called by hand."""
        if let or version.kind not in CALLED:
            return await self.dispatch(version, arguments, context, send)
        return await self._passed(context.actor.id, version, arguments, context, send)

    async def _from_code(
        self, caller: Version, version: Version, arguments: dict[str, Any], context: RunContext, send: Send | None = None
    ) -> Any:
        """Run what the code of `caller` calls."""
        if version.kind not in CALLED:
            return await self.dispatch(version, arguments, context, send)
        return await self._passed(f"{caller.kind}/{caller.name}", version, arguments, context, send)

    async def _passed(self, caller: str, version: Version, arguments: dict[str, Any], context: RunContext, send: Send | None) -> Any:
        """Call a tool that no model chose. A refused call has a span of its own, as one of an agent has."""
        tool = Usable(spec_of(version), version, *await self._library.effects(version))
        made = CallMade(tool.spec.name, arguments, caller)
        context.ledger.tool_calls.append(made)
        body = running(made, partial(self.dispatch, version, arguments, send=send))
        about = context.deciding({names.TOOL_NAME: tool.spec.name, names.CALLER: caller})
        try:
            return await self._brokering.code(caller, tool, arguments, about, body)
        except Refused as e:
            made.outcome = "refused"
            with step(self._records, about.deciding(refusal(e)), f"told: {tool.spec.name}", "span", input=arguments) as span:
                span.output(str(e))
            raise

    async def dispatch(self, version: Version, arguments: dict[str, Any], context: RunContext, send: Send | None = None) -> Any:
        """Run a version of any kind, inside a run, once it was let through."""
        if version.kind == "component":
            return await self._components.run(version, arguments, context, send)
        if version.kind == "agent":
            return await self._agents.run(version, arguments, context.inside(f"agent/{version.name}"), self.dispatch, send)
        if version.kind == "index":
            return await self._search(version, arguments, context)
        if version.kind == "tool" and (entry := body_of(version).code.entry).startswith(SEARCH_ENTRY):
            index = await self._library.named(version, "index", entry.removeprefix(SEARCH_ENTRY))
            with step(self._records, context, f"tool/{version.name}", "tool", versions=[str(version.ref)], input=arguments) as span:
                return await self._from_code(version, index, arguments, span.context)
        if version.kind in ("chain", "tool"):
            try:
                return await self._chains.run(version, arguments, context, partial(self._from_code, version), send)
            except RunFailed as e:
                if "changed" not in e.details or version.body.get("mcp") is None:
                    raise
                raise await self._brokering.changed(version, e, context) from e
        raise Invalid(f"a {version.kind} cannot be run", where=version.ref.short, remedy="run one of: " + ", ".join(RUNNABLE))

    async def takes(self, target: Ref) -> dict[str, Any]:
        """The JSON Schema of a target's arguments. Raises `NotFound`, `Invalid`."""
        version = await self._library.find(target)
        if version.kind == "release":
            body: ReleaseBody = body_of(version)
            version = await self._library.part(version, body.entry_kind, body.entry)
        return await self._input(version)

    def _asked(self, actor: Actor, request: RunRequest) -> tuple[Ref, Any, RunContext]:
        ref = parse_ref(request.target, project=request.project)
        guard(actor, "run", ref.project)
        environment = ref.label if ref.label in ENVIRONMENTS else None
        context = RunContext(
            actor=actor, project=ref.project, environment=environment, session=request.session, user=request.user, grant=request.grant
        )
        return ref, request.input, context

    async def close(self) -> None:
        """End what runs beside answers."""
        await self._shadows.close()

    async def _enter(self, target: Ref, context: RunContext) -> tuple[Version, RunContext, Ref | None]:
        """The version that runs: a release stands for its entry, and an environment's for the arm of a rollout that its caller is on.
        With what is to run beside it, as a shadow."""
        version, beside = await self._library.find(target), None
        if version.kind == "release" and target.label in ENVIRONMENTS and context.evaluation is None and context.draws == "live":
            chosen = await self._arms(version.ref, target.label, context)
            if chosen is not None:
                context = msgspec.structs.replace(context, assigned=chosen.assigned)
                beside = chosen.candidate if chosen.beside else None
                if chosen.assigned.arm == "candidate":
                    version = await self._library.get(chosen.candidate)
        if version.kind not in RUNNABLE:
            raise Invalid(f"a {version.kind} cannot be run", where=str(target), remedy="run one of: " + ", ".join(RUNNABLE))
        if version.kind == "release":
            body: ReleaseBody = body_of(version)
            context = msgspec.structs.replace(context, release=str(version.ref))
            context.ledger.versions[str(version.ref)] = None
            version = await self._library.part(version, body.entry_kind, body.entry)
        return version, context, beside

    async def _input(self, version: Version) -> dict[str, Any]:
        if version.kind in ("component", "agent"):
            return await self._components.input_schema(version)
        if version.kind == "index":
            return SEARCH
        body = body_of(version)
        schema: dict[str, Any] = body.parameters if version.kind == "tool" else body.input
        return schema

    async def _output(self, version: Version) -> dict[str, Any] | None:
        if version.kind in ("component", "agent"):
            return await self._components.output_schema(version)
        return body_of(version).output if version.kind == "chain" else None

    async def _search(self, version: Version, arguments: dict[str, Any], context: RunContext) -> list[dict[str, Any]]:
        check_arguments(SEARCH, arguments, version.ref.short)
        with step(self._records, context, f"search {version.name}", "retrieval", versions=[str(version.ref)], input=arguments) as span:
            more = {name: arguments[name] for name in ("how", "vector", "encoder") if arguments.get(name) is not None}
            search = partial(self._retrieval.search, version, arguments["query"], arguments.get("k", 5), arguments.get("where"), **more)
            with encoding(self._records, span.context):
                found = await asyncio.to_thread(search)
            context.ledger.passages.extend(found)
            span.output(found)
            return found


def _all_reused(context: RunContext) -> bool | None:
    """Whether every answer of the run was a recorded one."""
    return True if context.ledger.reused and not context.ledger.calls else None


def _score(name: str, value: Any, bounds: tuple[float, float]) -> Score:
    """What an evaluator returned, as a score: a number, a truth value, or an object with `value` and `explanation`."""
    explanation = None
    if isinstance(value, dict):
        explanation = str(value["explanation"]) if value.get("explanation") else None
        if value.get("unmeasured"):
            return Score(name, unmeasured=str(value["unmeasured"]), explanation=explanation)
        value = value.get("value")
    if value is None:
        return Score(name, unmeasured="it gave no judgement", explanation=explanation)
    if not isinstance(value, bool | int | float) or not math.isfinite(value):
        return Score(name, unmeasured=f"it returned {type(value).__name__}, not a number", explanation=explanation)
    if not bounds[0] <= value <= bounds[1]:
        return Score(name, unmeasured=f"it returned {value:g}, outside its range {bounds[0]:g} to {bounds[1]:g}", explanation=explanation)
    return Score(name, float(value), explanation=explanation)
