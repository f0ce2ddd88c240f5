"""One model's process as the server sees it: started with a scrubbed environment, asked one thing at a time, ended when it is idle.

Whatever it does (dies, hangs, talks nonsense) is one `ModelFailed` here, and the next request starts another.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import sys
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import msgspec

from windlass.core.errors import Invalid, ModelFailed
from windlass.runtime.local.environment import need_torch, quiet_environment
from windlass.runtime.local.files import Layer
from windlass.runtime.local.wire import FROM_PROCESS, Answered, Canaries, Fault, FromProcess, Generate, Generated, Load, Loaded, Text, line

START_SECONDS = 300.0  # to load what may be many gigabytes
LONGEST_LINE = 2**26


class LocalProcess:
    """A process that answers with one chain of weights."""

    def __init__(self, name: str, layers: Sequence[Layer], scratch: Path, threads: int) -> None:
        self.name = name
        self.device = ""
        self.waiting = 0  # requests that have not been answered yet
        self._layers = tuple(layers)
        self._scratch = scratch / secrets.token_hex(8)
        self._threads = threads
        self._process: asyncio.subprocess.Process | None = None
        self._errors: Path = self._scratch / "errors"
        self._turn = asyncio.Lock()
        self._count = 0
        self._clean = True

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.returncode is None and self._clean

    async def start(self) -> None:
        """Start and load. Raises `Unavailable` without PyTorch, `ModelFailed` where the weights cannot be loaded."""
        need_torch(f"{self.name} cannot be run")
        self._scratch.mkdir(parents=True)
        with self._errors.open("wb") as errors:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-s", "-P", "-m", "windlass.runtime.local.serve", stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE, stderr=errors, cwd=self._scratch, limit=LONGEST_LINE, start_new_session=True,
                env=quiet_environment(self._scratch, self._threads),
            )  # fmt: skip
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._send(Load(self._layers, os.getpid(), self._threads))
                first = await self._next()
        except TimeoutError:
            raise ModelFailed(f"{self.name} was not loaded within {START_SECONDS:g} s") from None
        if not isinstance(first, Loaded):
            raise ModelFailed(first.message if isinstance(first, Fault) else "it spoke out of turn", where=self.name)
        self.device = first.device

    async def generate(self, turns: Sequence[dict[str, str]], parameters: dict[str, object]) -> AsyncGenerator[Text | Generated, None]:
        """One answer, piece by piece, then whole. Raises `ModelFailed`, `Invalid`."""
        self.waiting += 1
        try:
            async with self._turn:
                self._count += 1
                ended = False
                try:
                    await self._send(Generate(self._count, tuple(turns), parameters))
                    while not ended:
                        found = self._checked(await self._next())
                        ended = isinstance(found, Generated)
                        assert isinstance(found, Text | Generated)
                        yield found
                except (Invalid, ModelFailed):
                    ended = True
                    raise
                finally:
                    if not ended:  # nobody waits for the rest, and the process cannot be told to stop
                        await self.close()
        finally:
            self.waiting -= 1

    async def canaries(self, asked: Sequence[str]) -> Answered:
        """What it answers to these. Raises `ModelFailed`."""
        async with self._turn:
            self._count += 1
            await self._send(Canaries(self._count, tuple(asked)))
            found = self._checked(await self._next())
            assert isinstance(found, Answered)
            return found

    def _checked(self, found: FromProcess) -> FromProcess:
        if isinstance(found, Fault):
            raise Invalid(found.message, where=self.name) if found.invalid else ModelFailed(found.message, where=self.name)
        return found

    async def _send(self, value: Load | Generate | Canaries) -> None:
        assert self._process is not None and self._process.stdin is not None
        try:
            self._process.stdin.write(line(value))
            await self._process.stdin.drain()
        except (ConnectionError, BrokenPipeError):
            pass  # how it ended is said when it is read from

    async def _next(self) -> FromProcess:
        assert self._process is not None and self._process.stdout is not None
        try:
            data = await self._process.stdout.readline()
            if data.endswith(b"\n"):
                found: FromProcess = FROM_PROCESS.decode(data)
                return found
        except (msgspec.DecodeError, ValueError):
            await self.close()
            raise ModelFailed("the process of this model talked nonsense and was ended", where=self.name) from None
        code = await self._process.wait()
        self._clean = False
        raise ModelFailed(how_it_ended(code, "the process of this model"), where=self.name, remedy=last_line(self._errors) or None)

    async def close(self) -> None:
        """End it. Idempotent."""
        self._clean = False
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()
        await asyncio.to_thread(shutil.rmtree, self._scratch, ignore_errors=True)


def how_it_ended(code: int, what: str) -> str:
    """How a process ended, in a sentence."""
    if code == -signal.SIGKILL:
        return f"{what} was killed (signal 9), most often by the system for want of memory"
    if code < 0:
        return f"{what} died (signal {-code}, {signal.Signals(-code).name})"
    return f"{what} ended itself (status {code})"


def last_line(path: Path) -> str:
    """The last line of a file of errors, as most say why there."""
    try:
        lines = path.read_bytes()[-4000:].decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1][:300] if lines else ""
