"""A small application in a real registry, and an executor over it: real runners, retrieval, draws and baseline model, a
scripted model where a test says what it answers."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from windlass.agentops.broker import Broker
from windlass.core.actor import OWNER
from windlass.core.artifacts import (
    AgentBody,
    ChainBody,
    Code,
    ComponentBody,
    DatasetBody,
    EvaluatorBody,
    IndexBody,
    Link,
    ModelBody,
    PromptBody,
    ReleaseBody,
    TemplateMessage,
    ToolBody,
    Version,
    make_version,
)
from windlass.core.dataset import FORM, make_rows
from windlass.core.digest import canonical
from windlass.core.message import Delta, Message, ModelReply, ModelRequest, TextPart, ToolCallPart, Usage, assistant
from windlass.core.operations.registry import Bundle
from windlass.core.ref import Ref
from windlass.core.span import KIND, Span
from windlass.jobs.durable import DurableJobs
from windlass.registry.datasets import Datasets
from windlass.registry.labels import move_label
from windlass.registry.push import Push
from windlass.registry.rows import Rows
from windlass.registry.versions import Versions
from windlass.runtime.context import RunContext
from windlass.runtime.draws import Draws, TableDraws
from windlass.runtime.execute import Executor
from windlass.runtime.models import Bars
from windlass.runtime.process import RunnerSettings
from windlass.runtime.retrieval import Chunk, Retrieval
from windlass.runtime.runner import Runners
from windlass.store.blobs_folder import FolderBlobs
from windlass.store.home import Home
from windlass.store.meta import open_meta, write
from windlass.store.packs import Packs

ANSWER = {
    "type": "object",
    "properties": {"text": {"type": "string", "x-windlass-text": True}, "symbols": {"type": "array", "items": {"type": "string"}}},
    "required": ["text", "symbols"],
    "additionalProperties": False,
}
QUESTION = {"type": "object", "properties": {"question": {"type": "string"}}, "required": ["question"], "additionalProperties": False}
CHAT = {"type": "object", "properties": {"messages": {"type": "array"}}, "required": ["messages"], "additionalProperties": False}
ANYTHING: dict[str, Any] = {}

CHUNKS = [
    Chunk("timeout", "asyncio.timeout", "Limit the amount of time spent waiting on something in asyncio.", "asyncio.timeout"),
    Chunk("split", "str.split", "Split a string into a list of words by a separator.", "str.split"),
    Chunk("sleep", "time.sleep", "Suspend execution for a number of seconds.", "time.sleep"),
]

APP = """
import asyncio
import os
import msgspec
from collections.abc import Iterator
from windlass.core.host import current_host

class Answer(msgspec.Struct):
    text: str
    symbols: list[str]

def answer(question: str) -> Answer:
    host = current_host("answer")
    passages = host.call("index", "docs", {"query": question, "k": 2})
    return msgspec.convert(host.call("component", "reply", {"question": question, "passages": passages}), Answer)

def twice(question: str) -> list[str]:
    host = current_host("twice")
    return [host.call("component", "say", {"question": question}) for _ in range(2)]

def words(question: str) -> Iterator[str]:
    yield from current_host("words").stream("component", "say", {"question": question})

def chat(messages: list) -> str:
    return f"{len(messages)} turns"

def broken(question: str) -> str:
    raise LookupError("nothing there")

def strays(question: str) -> str:
    return current_host("strays").call("component", "unlisted", {})

def asks_guide(question: str) -> str:
    return current_host("asks_guide").call("agent", "guide", {"question": question})

def environment(question: str) -> dict:
    return dict(os.environ)

def add(a: int, b: int) -> int:
    return a + b

def fails() -> str:
    raise ValueError("the tool is broken")

def right_symbol(output: Answer, row) -> float:
    return float(bool(set(output.symbols) & set(row.symbols)))

def outside(output) -> float:
    return 7.0

def explains(output) -> dict:
    return {"value": 0.5, "explanation": "half of it"}

def says_words(output) -> str:
    return "good"

def crashes(output) -> float:
    return 1 / 0
"""


class Script:
    """A model that answers what it is told to, in order; `gate` holds every answer back until it is set."""

    provider = "scripted"
    id = "scripted/one"

    def __init__(self) -> None:
        self.replies: list[ModelReply | Exception | Callable[[ModelRequest], ModelReply]] = []
        self.requests: list[ModelRequest] = []
        self.cancelled = 0
        self.asked = asyncio.Event()
        self.gate: asyncio.Event | None = None
        self._count = itertools.count(1)

    def say(self, *texts: str, **fields: Any) -> None:
        self.replies += [ModelReply(assistant(t), "stop", Usage(10, 5), "one-2026", latency_ns=1000, cost=0.25, **fields) for t in texts]

    def use(self, *calls: tuple[str, dict[str, Any]]) -> None:
        parts = tuple(ToolCallPart(f"c{next(self._count)}", name, arguments) for name, arguments in calls)
        self.replies.append(ModelReply(Message("assistant", parts), "tool_calls", Usage(10, 5), "one-2026", cost=0.25))

    async def complete(self, request: ModelRequest, *, timeout_s: float | None = None) -> ModelReply:
        self.requests.append(request)
        self.asked.set()
        try:
            if self.gate is not None:
                await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        reply = self.replies.pop(0)
        if isinstance(reply, Exception):
            raise reply
        return reply if isinstance(reply, ModelReply) else reply(request)

    async def stream(self, request: ModelRequest, *, timeout_s: float | None = None) -> AsyncIterator[Delta]:
        reply = await self.complete(request)
        for part in reply.message.parts:
            if isinstance(part, TextPart):
                for letter in part.text:
                    yield Delta(letter)
        yield Delta(reply=reply)


class TwoModels:
    def __init__(self) -> None:
        self.script = Script()

    def find(self, model_id: str, project: str = "") -> Any:
        return Bars().find("baseline") if model_id.startswith("baseline") else self.script

    async def choose(self, model_id: str, caller: Any) -> Any:
        return self.find(model_id)


class Spans:
    def __init__(self) -> None:
        self.all: list[Span] = []

    def record(self, spans: Sequence[Span]) -> None:
        self.all += spans

    def tree(self) -> list[str]:
        """Names with kinds, indented by depth, in order of start."""
        ordered = sorted(self.all, key=lambda s: s.start_ns)
        depth: dict[str | None, int] = {None: -1}
        lines = []
        for span in ordered:
            depth[span.span_id] = depth.get(span.parent, -1) + 1
            lines.append(f"{'  ' * depth[span.span_id]}{span.attributes[KIND]} {span.name} {span.status}")
        return lines

    def one(self, name: str) -> Span:
        (found,) = [s for s in self.all if s.name == name]
        return found


class Application:
    """The versions, and an executor over them."""

    def __init__(self, home: Path, **changes: Any) -> None:
        home = Home(home).path
        self.blobs = FolderBlobs(home / "blobs")
        self.engine = open_meta(f"sqlite:///{home / 'windlass.db'}")
        self.versions = Versions(self.engine, self.blobs)
        self.rows = Rows(self.engine, self.blobs, Packs(self.blobs, home / "run"))
        self.datasets = Datasets(self.engine, self.versions, self.rows, self.blobs)
        self.snapshot = self.blobs.put(canonical({"app.py": self.blobs.put(APP.encode())}))
        self.models = TwoModels()
        self.script = self.models.script
        self.spans = Spans()
        self.runners = Runners(home, self.blobs, RunnerSettings(processes=2, seconds=20))
        self.executor = Executor(
            versions=self.versions, models=self.models, runners=self.runners, records=self.spans,
            retrieval=Retrieval(home / "indexes", self.blobs), draws=Draws(TableDraws(self.engine)),
            rows=self.datasets.rows, broker=Broker(self.engine), **changes,
        )  # fmt: skip
        self._made: list[Version] = []
        self._declare()
        self.push()

    def context(self, **fields: Any) -> RunContext:
        return RunContext(actor=OWNER, **fields)

    async def run(self, target: str, given: Any, **fields: Any) -> Any:
        kind, _, name = target.partition("/")
        return await self.executor.execute(Ref(kind, name), given, self.context(**fields))

    def put(self, kind: str, name: str, body: msgspec.Struct, *uses: tuple[str, Version]) -> Version:
        links = tuple(Link("uses", v.kind, v.name, v.digest, role) for role, v in uses)
        return self.add(make_version(kind, name, body, links=links))

    def add(self, version: Version) -> Version:
        self._made.append(version)
        return version

    def push(self) -> None:
        """Register what was made since the last push."""
        made, self._made = tuple(self._made), []
        Push(self.engine, self.blobs, self.datasets, DurableJobs()).push(OWNER, Bundle("default", "test", made, self.snapshot))

    def label(self, version: Version, label: str) -> None:
        with write(self.engine) as connection:
            move_label(connection, OWNER, version.ref, label, None, how="test")

    def code(self, function: str, **fields: Any) -> Code:
        import sys

        return Code(f"app:{function}", {f"app:{function}": "x"}, f"{sys.version_info[0]}.{sys.version_info[1]}", **fields)

    def chain(self, name: str, *uses: Version, input: Any = QUESTION, output: Any = None, shape: str = "sync", **code: Any) -> Version:
        body = ChainBody(
            self.code(name, **code), tuple(sorted(v.digest for v in uses)), input, ANYTHING if output is None else output, shape,
            "messages" in input["properties"],
        )  # fmt: skip
        return self.put("chain", name, body, *(("", v) for v in uses))

    def component(self, name: str, prompt: Version, model: Version, **fields: Any) -> Version:
        return self.put("component", name, ComponentBody(prompt.digest, model.digest, **fields), ("prompt", prompt), ("model", model))

    def prompt(self, name: str, text: str, *inputs: str, **fields: Any) -> Version:
        body = PromptBody((TemplateMessage("user", text),), {i: {} for i in inputs}, "jinja2@1", **fields)
        return self.put("prompt", name, body)

    def agent(self, name: str, prompt: Version, model: Version, *tools: Version, **fields: Any) -> Version:
        body = AgentBody(prompt.digest, model.digest, tuple(t.digest for t in tools), fields.pop("limits", {}), **fields)
        return self.put("agent", name, body, ("prompt", prompt), ("model", model), *(("tool", t) for t in tools))

    def tool(self, name: str, description: str, parameters: dict[str, Any], **code: Any) -> Version:
        return self.put("tool", name, ToolBody(self.code(name, **code), name, description, parameters, "none"))

    def dataset(self, kind: str, name: str, *rows: dict[str, Any]) -> Version:
        made = make_rows(rows)
        with write(self.engine) as c:
            self.rows.keep(c, "default", self.rows.change("default", None, made.lines))
        return self.put(kind, name, DatasetBody(made.tree.root, made.tree.count, FORM))

    def release(self, name: str, entry: Version) -> Version:
        return self.put("release", name, ReleaseBody(entry.kind, entry.digest, (entry.digest,)), ("entry", entry))

    def evaluator(self, name: str, *needs: str) -> Version:
        return self.put("evaluator", name, EvaluatorBody(self.code(name), needs))

    def _declare(self) -> None:
        self.baseline = self.put("model", "baseline", ModelBody("baseline", "baseline@1", True))
        self.scripted = self.put("model", "one", ModelBody("scripted", "one", parameters={"temperature": 0.5}))
        chunks = self.blobs.put(b"\n".join(msgspec.json.encode(c) for c in CHUNKS))
        documents = self.dataset("dataset", "documents", *({"key": c.key, "text": c.text} for c in CHUNKS))
        self.docs = self.put("index", "docs", IndexBody(documents.digest, chunks, {"name": "x"}), ("documents", documents))
        reply = self.prompt(
            "reply", "{{ question }}\n{% for p in passages %}\n[{{ p.symbol }}] {{ p.text }}\n{% endfor %}", "question", "passages"
        )
        self.say_prompt = self.prompt("say", "{{ question }}", "question")
        self.reply = self.component("reply", reply, self.baseline, output=ANSWER)
        self.say = self.component("say", self.say_prompt, self.scripted, parameters={"max_tokens": 50})
        self.add_tool = self.tool("add", "Add two numbers.", {
            "type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a", "b"],
        })  # fmt: skip
        self.fails_tool = self.tool("fails", "It fails.", {"type": "object", "properties": {}})
        self.guide = self.agent("guide", self.say_prompt, self.scripted, self.add_tool, self.fails_tool, self.docs, limits={"steps": 3})
        self.answer = self.chain("answer", self.docs, self.reply, output=ANSWER)
        self.chain("twice", self.say)
        self.chain("words", self.say, shape="generator")
        self.chain("chat", input=CHAT)
        self.chain("asks_guide", self.guide)
        for name in ("broken", "strays", "environment"):
            self.chain(name, self.say)
        self.answer_release = self.release("answer", self.answer)
        self.evaluator("right_symbol", "output", "row")
        for name in ("outside", "explains", "says_words", "crashes"):
            self.evaluator(name, "output")


@contextlib.asynccontextmanager
async def application(home: Path, **changes: Any) -> AsyncIterator[Application]:
    made = Application(home, **changes)
    try:
        yield made
    finally:
        await made.runners.close()
        made.engine.dispose()
