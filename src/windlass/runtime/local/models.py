"""Models on this machine as any other model: found by `<name>@<digest>`, asked through a process that stays warm for a while.

Before a process answers anybody, the weights' canaries are asked in it: an adapter that is served as its base, a template that was
lost on the way, weights that changed, all answer, and only the answers tell.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

from windlass.core.errors import Invalid, ModelFailed
from windlass.core.message import Delta, FilePart, ImagePart, Message, ModelReply, ModelRequest, ReasoningPart, TextPart, Usage, assistant
from windlass.core.operations.weights import WeightsCheck
from windlass.core.weights import LOCAL, Weights, local_identity, parse_identity
from windlass.runtime.local.files import LocalFiles
from windlass.runtime.local.process import LocalProcess
from windlass.runtime.local.wire import Answered, Generated

AT_ONCE = 2  # processes with weights; the one that was used least lately makes room


class LocalModels:
    """Finds models on this machine, and holds their processes. One per process, used from one event loop.

    Args:
        folder: where files are laid out.
        idle_seconds: after which a process nobody asked anything is ended.
        threads: of one process.
    """

    def __init__(self, folder: Path, files: LocalFiles, idle_seconds: float = 60.0, threads: int = 1) -> None:
        self.files = files
        self._scratch = folder / "run"
        self._idle = idle_seconds
        self._threads = threads
        self._processes: dict[str, LocalProcess] = {}
        self._used: dict[str, float] = {}
        self._lock: asyncio.Lock | None = None

    def find(self, identity: str) -> LocalModel:
        """The model of `<name>@<digest>`. Raises `Invalid` for what is none, `NotFound` where its weights are not here."""
        name, manifest = parse_identity(identity)
        weights = self.files.manifest(manifest)
        if weights.role == "reward":
            raise Invalid(f"{LOCAL}/{identity} gives scores, and answers nobody", remedy="name the model it judges")
        return LocalModel(f"{LOCAL}/{local_identity(name, manifest)}", manifest, self)

    async def process(self, name: str, manifest: str) -> LocalProcess:
        """A process that has these weights and answered its canaries as they did when the weights were made."""
        self._lock = self._lock or asyncio.Lock()
        async with self._lock:
            found = self._processes.get(manifest)
            if found is None or not found.alive:
                await self._make_room()
                found, check = await self.fresh(name, manifest)
                if check.outcome in ("differs", "as the base"):
                    await found.close()
                    raise ModelFailed(check.why, where=name, remedy="do not serve it: windlass weights check says what it answers")
            self._keep(manifest, found)
            return found

    def _keep(self, manifest: str, process: LocalProcess) -> None:
        self._processes[manifest] = process
        self._used[manifest] = time.monotonic()
        asyncio.get_running_loop().call_later(self._idle + 0.1, self._reap)

    async def fresh(self, name: str, manifest: str) -> tuple[LocalProcess, WeightsCheck]:
        """A process of its own, with what its canaries said. The caller closes it."""
        layers = await asyncio.to_thread(self.files.chain, manifest)
        found = LocalProcess(name, layers, self._scratch, self._threads)
        try:
            await found.start()
            weights = layers[-1].weights
            asked = weights.canary.asked if weights.canary else ()
            return found, verdict(name, weights, await found.canaries(asked) if asked else None)
        except BaseException:
            await found.close()
            raise

    async def check(self, name: str, manifest: str) -> WeightsCheck:
        """Load these weights in a fresh process and hold its answers against those they were made with. Raises `ModelFailed`.

        A process that answers as it should stays for whoever asks it next, as a tuned model is compared at once most often.
        """
        self._lock = self._lock or asyncio.Lock()
        async with self._lock:
            await self._make_room()
            process, check = await self.fresh(name, manifest)
            there = self._processes.get(manifest)
            if check.outcome == "same" and self.files.manifest(manifest).role != "reward" and not (there and there.alive):
                self._keep(manifest, process)
            else:
                await process.close()
        return check

    async def _make_room(self) -> None:
        self._processes = {m: p for m, p in self._processes.items() if p.alive}
        idle = sorted((m for m, p in self._processes.items() if not p.waiting), key=lambda m: self._used.get(m, 0.0))
        while len(self._processes) >= AT_ONCE and idle:
            await self._processes.pop(idle.pop(0)).close()

    def _reap(self) -> None:
        now = time.monotonic()
        for manifest, process in list(self._processes.items()):
            if process.waiting:  # it is idle from when this is answered
                self._used[manifest] = now
                asyncio.get_running_loop().call_later(self._idle + 0.1, self._reap)
            elif now - self._used[manifest] >= self._idle:
                del self._processes[manifest]
                task = asyncio.ensure_future(process.close())
                _closing.add(task)
                task.add_done_callback(_closing.discard)

    async def close(self) -> None:
        processes, self._processes = list(self._processes.values()), {}
        await asyncio.gather(*(p.close() for p in processes))


_closing: set[asyncio.Future[None]] = set()  # the loop holds tasks weakly


class LocalModel:
    """`Model` over weights on this machine. Tools are not offered to it; a schema is not forced on it, only checked afterwards."""

    provider = LOCAL

    def __init__(self, model_id: str, manifest: str, models: LocalModels) -> None:
        self.id = model_id
        self._manifest = manifest
        self._models = models

    async def complete(self, request: ModelRequest, *, timeout_s: float | None = None) -> ModelReply:
        """One answer. Raises `ModelFailed`; `Invalid` for what it can never be asked."""
        reply: ModelReply | None = None
        async for delta in self.stream(request, timeout_s=timeout_s):
            reply = delta.reply or reply
        assert reply is not None
        return reply

    async def stream(self, request: ModelRequest, *, timeout_s: float | None = None) -> AsyncIterator[Delta]:
        """Text as it comes, then the whole reply."""
        turns = turns_of(request)
        began, first = time.monotonic_ns(), None
        end = None if timeout_s is None else asyncio.get_running_loop().time() + timeout_s
        try:
            async with asyncio.timeout_at(end):
                process = await self._models.process(self.id, self._manifest)
            async with contextlib.aclosing(process.generate(turns, request.parameters)) as pieces:
                while True:
                    async with asyncio.timeout_at(end):
                        piece = await anext(pieces)
                    if isinstance(piece, Generated):
                        yield Delta(reply=self._reply(piece, began, first))
                        return
                    first = first or time.monotonic_ns() - began
                    yield Delta(piece.text)
        except TimeoutError:
            raise ModelFailed(f"{self.id} did not answer within {timeout_s:g} s", timeout=True) from None

    def _reply(self, found: Generated, began: int, first: int | None) -> ModelReply:
        return ModelReply(
            assistant(found.text), "length" if found.stop == "length" else "stop", Usage(found.input, found.output),
            model=self.id.partition("/")[2], latency_ns=time.monotonic_ns() - began, first_token_ns=first, cost=0.0,
        )  # fmt: skip


def turns_of(request: ModelRequest) -> list[dict[str, str]]:
    """A request as a chat template takes it. Raises `Invalid` for what a template has no place for."""
    if request.tools:
        raise Invalid("a model on this machine is not offered tools", where=request.model, remedy="use it in a component")
    return [{"role": m.role, "content": _text(m)} for m in request.messages]


def _text(message: Message) -> str:
    for part in message.parts:
        if isinstance(part, ImagePart | FilePart):
            raise Invalid("a model on this machine reads text only", remedy="send text")
        if not isinstance(part, TextPart | ReasoningPart):
            raise Invalid("a model on this machine is not offered tools", remedy="use it in a component")
    return message.text


def verdict(name: str, weights: Weights, found: Answered | None) -> WeightsCheck:
    """What came of the canaries, in a sentence."""
    if weights.canary is None or found is None:
        return WeightsCheck(name, "no canary", "it loads; nobody has said what it should answer")
    said = found.answers
    if found.device != weights.canary.device:
        why = (
            f"made on {weights.canary.device}, loaded on {found.device}, which may round otherwise: its answers were not held against those"
        )
        return WeightsCheck(name, "another device", why, said)
    if found.digest == weights.canary.answers:
        return WeightsCheck(name, "same", f"it answers {len(said)} canaries as it did when it was made", said)
    if found.digest == weights.canary.without:
        return WeightsCheck(name, "as the base", "it answers as if the adapter were not there", said)
    return WeightsCheck(name, "differs", "it loads, and does not answer as it did when it was made", said)
