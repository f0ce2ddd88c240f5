"""A live gateway for these tests: Granian on an ephemeral port, a scripted provider behind it, spans kept in a list."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from granian.constants import Interfaces
from granian.server.embed import Server
from tests.scripted_provider import ScriptedProvider

from windlass.core.actor import Actor
from windlass.core.errors import ModelFailed, NotFound, Unauthenticated
from windlass.core.operations.runs import ModelEntry, RunPiece, RunResult
from windlass.core.ref import Ref
from windlass.core.span import Span
from windlass.discover.providers import load_providers
from windlass.doors.gateway import Gateway
from windlass.govern.permissions import guard
from windlass.govern.prices import Prices
from windlass.govern.reservations import Reservations
from windlass.runtime.context import RunContext
from windlass.runtime.inputs import arguments_of
from windlass.runtime.models import Http, Models, Retries, Timeouts

KEY = "sk-scripted-secret-key"
ACTORS = {
    "wk-caller": Actor("someone", "caller"),
    "wk-viewer": Actor("onlooker", "viewer"),
    "wk-scoped": Actor("narrow", "caller", scopes=("release/answer",)),
    "wk-run": Actor("run:1", "run", run="run-1"),
}


def authenticate(headers: Mapping[str, str]) -> Actor:
    """As govern/actors does: Bearer or x-api-key."""
    key = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
    if key not in ACTORS:
        raise Unauthenticated("this key is not known", remedy="make one with `windlass keys`")
    return ACTORS[key]


class Runs:
    """Stands where the executor stands: `answer` takes one string, `chat` takes messages, `broken` fails."""

    INPUT = {
        "answer": {"properties": {"question": {"type": "string"}}, "required": ["question"]},
        "chat": {"properties": {"messages": {"type": "array"}}, "required": ["messages"]},
        "broken": {"properties": {"question": {"type": "string"}}, "required": ["question"]},
    }

    def __init__(self) -> None:
        self.seen: list[tuple[Ref, Any, RunContext]] = []
        self.user: str | None = None
        self.cancelled = asyncio.Event()

    async def execute(self, target: Ref, given: Any, context: RunContext) -> RunResult:
        if target.name not in self.INPUT:
            raise NotFound(f"there is no {target.kind} {target.name!r}")
        arguments = arguments_of(given, self.INPUT[target.name], target.name)
        self.seen.append((target, arguments, context))
        if target.name == "broken":
            raise ModelFailed("the model failed", provider="openai", status=429, retry_after_s=7.0)
        if arguments.get("question") == "wait":
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                self.cancelled.set()
                raise
        text = f"{target.label}: {arguments.get('question') or len(arguments['messages'])}"
        return RunResult("run-9", context.trace, f"release/{target.name}@sha256:aa", {"text": text}, text)

    async def execute_stream(self, target: Ref, given: Any, context: RunContext) -> AsyncGenerator[RunPiece, None]:
        try:
            result = await self.execute(target, given, context)
        except ModelFailed as e:
            yield RunPiece(error=e.as_dict())
            return
        for word in result.text.split(" "):
            yield RunPiece(text=word + " ")
        yield RunPiece(result=result)

    async def knows(self, target: Ref) -> bool:
        return target.name in (*self.INPUT, "gpt-5-nano")

    def running(self, run: str) -> RunContext | None:
        return RunContext(actor=ACTORS["wk-run"], run=run, trace="ab" * 16, evaluation="ev-1", user=self.user) if run == "run-1" else None


class Live:
    """What a test holds: the address, the spans recorded so far, the provider behind."""

    def __init__(self, url: str, provider: ScriptedProvider, runs: Runs) -> None:
        self.url = url
        self.provider = provider
        self.runs = runs
        self.spans: list[Span] = []

    def record(self, spans: Sequence[Span]) -> None:
        self.spans.extend(spans)

    async def span(self) -> Span:
        """The next span: it is recorded after the answer is out."""
        async with asyncio.timeout(5):
            while not self.spans:
                await asyncio.sleep(0.005)
        return self.spans.pop(0)

    def openai(self, key: str = "wk-caller", **options: Any) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=self.url + "/v1", api_key=key, max_retries=0, **options)

    def anthropic(self, key: str = "wk-caller", **options: Any) -> anthropic.AsyncAnthropic:
        return anthropic.AsyncAnthropic(base_url=self.url, api_key=key, max_retries=0, **options)


async def listed(actor: Actor) -> tuple[list[str], list[ModelEntry]]:
    return ["answer"], [ModelEntry("baseline", "baseline", True), ModelEntry("groq/x", "groq", False, "GROQ_API_KEY is not set")]


@contextlib.contextmanager
def free_port() -> Iterator[int]:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    yield port


@pytest.fixture
def limits() -> Reservations | None:
    """What calls are held to: nothing, unless a module says otherwise."""
    return None


@pytest.fixture
async def live(tmp_path: Path, limits: Reservations | None) -> AsyncIterator[Live]:
    async with ScriptedProvider() as provider, serving(tmp_path, provider.table(), provider, limits=limits) as held:
        yield held


@contextlib.asynccontextmanager
async def serving(
    folder: Path, table: str, provider: ScriptedProvider, total_s: float = 2.0, limits: Reservations | None = None, *,
    patience_s: float = 1.0,
) -> AsyncIterator[Live]:  # fmt: skip
    """A gateway whose providers are those of a table, and may be silent for so long."""
    hosts = table + "\n[mistral]\n" + next(line for line in table.splitlines() if line.startswith("base_url"))
    (folder / "providers.toml").write_text(hosts)
    providers = load_providers(folder / "providers.toml", {"OPENAI_API_KEY": KEY, "ANTHROPIC_API_KEY": KEY, "MISTRAL_API_KEY": KEY})
    waits = Timeouts(connect_s=2, first_token_s=patience_s, between_tokens_s=patience_s, total_s=total_s, after_end_s=0.1)
    http = Http(waits, Retries(attempts=1))
    kept: dict[str, bytes] = {}

    def keep(data: bytes) -> str:
        kept["sha256:kept"] = data
        return "sha256:kept"

    models = Models(providers, Prices().price, http, blobs=kept.__getitem__)
    with free_port() as port:
        held = Live(f"http://127.0.0.1:{port}", provider, Runs())
        gateway = Gateway(
            models=models, runs=held.runs, records=held, authenticate=authenticate, guard=guard,
            listed=listed, keep=keep, body_limit=2**20, limits=limits,
        )  # fmt: skip
        server = Server(gateway, address="127.0.0.1", port=port, interface=Interfaces.ASGINL, log_enabled=False)
        task = asyncio.create_task(server.serve())
        await _reachable(port)
        yield held
        server.stop()
        await task
    await models.close()


async def _reachable(port: int) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.01)
            else:
                writer.close()
                return
