"""One runner as the server sees it: a spawned process, its socket, its captured output, one run at a time.

Whatever the process does (dies, hangs, floods, talks nonsense) ends in one `RunFailed` here and a dead process group.
Knows frames; what a call means is the business of the `Calls` that a run is given.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

import msgspec

from windlass.core.errors import RunFailed, Unavailable, WindlassError, error_from_dict
from windlass.sdk.child import Limits, descendants
from windlass.sdk.frames import (
    FROM_CHILD,
    HEADER,
    LIMIT,
    Answer,
    Ask,
    Cancel,
    Done,
    Drop,
    Failed,
    Fault,
    Frame,
    FromChild,
    Piece,
    Ready,
    Start,
    Yielded,
    pack,
)
from windlass.settings import Settings

THREAD_SETTINGS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "RAYON_NUM_THREADS",
)  # fmt: skip
log = logging.getLogger(__name__)
GRACE = 1.0  # seconds between asking a cancelled run to stop and killing it


class RunnerSettings(msgspec.Struct, frozen=True):
    """Limits of a runner. Bytes and seconds. `processes` may run at once, and as many again per level of nested runs.
    `readable` are folders that runs may read beside their own, where there is a sandbox."""

    processes: int = max(4, os.cpu_count() or 1)
    memory: int = 2 * 1024**3
    file: int = 256 * 1024**2
    files: int = 1024
    seconds: float = 120.0
    start_seconds: float = 30.0
    idle_seconds: float = 30.0
    kept_output: int = 64 * 1024
    output_limit: int = 8 * 1024**2
    sandbox: bool = True
    readable: tuple[str, ...] = ()


def runner_settings(settings: Settings) -> RunnerSettings:
    """The limits that the settings name. 0 processes: as many as cores, at least four, since most runs wait for a model."""
    return RunnerSettings(
        processes=settings.runner_processes or RunnerSettings().processes,
        memory=settings.runner_memory,
        seconds=settings.runner_seconds,
        idle_seconds=settings.runner_idle_seconds,
    )


class Calls(Protocol):
    """Answers what user code asks for. Raises `WindlassError`, which the user's code sees."""

    async def call(self, kind: str, name: str, arguments: dict[str, Any]) -> Any: ...
    async def stream(self, kind: str, name: str, arguments: dict[str, Any], send: Callable[[str], None]) -> Any: ...


class Ran(msgspec.Struct, frozen=True):
    """What a run returned, what it printed (the first `kept_output` bytes) and what it left behind."""

    value: Any
    printed: str = ""
    warnings: tuple[str, ...] = ()


class Runner:
    """A process that runs code of one snapshot. `clean` says whether it may serve another run."""

    def __init__(self, key: str, folder: Path, scratch: Path, settings: RunnerSettings) -> None:
        self.key = key
        self.clean = True
        self.idle_since = 0.0
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._scratch = scratch / secrets.token_hex(8)
        self._scratch.mkdir(parents=True)
        self._printed = bytearray()
        self._count = 0
        self._flooded = asyncio.Event()
        self._outputs: list[int] = []
        self._answers: dict[int, asyncio.Task[None]] = {}
        self._reader = asyncio.StreamReader()
        self._writer: asyncio.StreamWriter | None = None
        self._process, self._socket = self._spawn(folder)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def _spawn(self, folder: Path) -> tuple[subprocess.Popen[bytes], socket.socket]:
        """Spawned, in a session of its own. On the loop's thread, because Linux ties the death signal to the thread."""
        ours, theirs = socket.socketpair()
        wanted = self._settings
        limits = Limits(wanted.memory, wanted.file, wanted.files, os.getpid(), wanted.sandbox, wanted.readable)
        command = [sys.executable, "-s", "-P", "-m", "windlass.sdk.child", str(theirs.fileno()), msgspec.json.encode(limits).decode()]
        out_read, out_write = os.pipe()
        try:
            process = subprocess.Popen(
                command, cwd=folder, env=self._environment(), stdin=subprocess.DEVNULL, stdout=out_write, stderr=out_write,
                pass_fds=(theirs.fileno(),), start_new_session=True,
            )  # fmt: skip
        except OSError as e:
            ours.close()
            os.close(out_read)
            raise Unavailable(f"a runner cannot be started: {e.strerror}") from e
        finally:
            theirs.close()
            os.close(out_write)
        os.set_blocking(out_read, False)
        self._outputs.append(out_read)
        self._loop.add_reader(out_read, self._take_output, out_read)
        return process, ours

    def _environment(self) -> dict[str, str]:
        """All that user code finds: no key, no token, nothing of the server's own."""
        home = str(self._scratch)
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "TZ": "UTC", "HOME": home, "TMPDIR": home,
            "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1",
            **dict.fromkeys(THREAD_SETTINGS, "1"),
        }  # fmt: skip

    async def ready(self) -> None:
        """Wait until the process serves. Raises `Unavailable` when it does not come up."""
        try:
            async with asyncio.timeout(self._settings.start_seconds):
                self._reader, self._writer = await asyncio.open_unix_connection(sock=self._socket)
                first = await self._next()
        except (TimeoutError, EOFError, OSError, msgspec.DecodeError) as e:
            raise Unavailable("a runner did not come up", remedy=self._said() or "see the server's log") from e
        if not isinstance(first, Ready):
            raise Unavailable("a runner did not come up: its first word was not `ready`")

    async def run(self, start: Start, calls: Calls, yielded: Callable[[Any], Awaitable[None]] | None = None, seconds: float = 0) -> Ran:
        """Run once. Raises what the user's code raised as a `WindlassError`; `RunFailed` when the process failed.

        After a failure of the process, or a cancellation, `clean` is False.
        """
        self._printed.clear()
        self._count = 0
        limit = seconds or self._settings.seconds
        finished = False
        try:
            async with asyncio.timeout(limit):
                ran = await self._race(start, calls, yielded)
            finished = True
            return ran
        except TimeoutError as e:
            raise RunFailed(f"{start.entry} ran longer than {limit:g} s and was ended", remedy="raise `runner_seconds`, or do less") from e
        except asyncio.CancelledError:
            await self._drop_answers()  # first: what costs money stops at once
            await asyncio.shield(self._ask_to_stop())
            raise
        except WindlassError as e:
            finished = bool(e.details.pop("_ended", False))
            raise
        finally:
            if not finished:
                self.clean = False
            await self._drop_answers()

    async def _race(self, start: Start, calls: Calls, yielded: Callable[[Any], Awaitable[None]] | None) -> Ran:
        """The conversation, unless the output floods first."""
        talk = asyncio.ensure_future(self._converse(start, calls, yielded))
        flood = asyncio.ensure_future(self._flooded.wait())
        try:
            await asyncio.wait({talk, flood}, return_when=asyncio.FIRST_COMPLETED)
            if self._flooded.is_set():
                raise RunFailed(
                    f"{start.entry} printed more than {self._settings.output_limit / 1e6:.0f} MB and was ended", remedy="print less"
                )
            return talk.result()
        finally:
            for task in (talk, flood):
                task.cancel()
            await asyncio.gather(talk, flood, return_exceptions=True)

    async def _converse(self, start: Start, calls: Calls, yielded: Callable[[Any], Awaitable[None]] | None) -> Ran:
        try:
            await self._send(start)
            while True:
                frame = await self._next()
                if isinstance(frame, Ask):
                    self._answers[frame.call] = asyncio.ensure_future(self._answer(frame, calls))
                elif isinstance(frame, Drop):
                    if task := self._answers.pop(frame.call, None):
                        task.cancel()
                elif isinstance(frame, Yielded):
                    if yielded is not None:
                        await yielded(frame.value)
                elif isinstance(frame, Done | Failed):
                    return self._ended(frame)
                else:
                    raise RunFailed(f"the runner of {start.entry} spoke out of turn and was ended")
        except (EOFError, OSError) as e:
            raise RunFailed(await self._death(start.entry), remedy=self._said() or None) from e
        except msgspec.DecodeError as e:
            raise RunFailed(f"the runner of {start.entry} talked nonsense and was ended") from e

    def _ended(self, frame: Done | Failed) -> Ran:
        self.clean = not frame.retire
        if isinstance(frame, Failed):
            error = error_from_dict({"error": frame.error})
            error.details["_ended"] = True
            if printed := self._said():
                error.details.setdefault("printed", printed[-2000:])
            raise error
        return Ran(frame.value, self._said(), frame.warnings)

    async def _answer(self, ask: Ask, calls: Calls) -> None:
        """Answer one call of the user's code; a cancelled one is not answered."""
        try:
            if ask.stream:
                value = await calls.stream(ask.kind, ask.name, ask.arguments, lambda text: self._piece(ask.call, text))
            else:
                value = await calls.call(ask.kind, ask.name, ask.arguments)
            await self._send(Answer(ask.call, value))
        except WindlassError as e:
            await self._refuse(ask, e)
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as e:
            log.exception("a defect while answering %s/%s for a run", ask.kind, ask.name)
            await self._refuse(ask, WindlassError(f"a defect in Windlass: {type(e).__name__} in {ask.kind}/{ask.name}"))
        finally:
            self._answers.pop(ask.call, None)

    def _piece(self, call: int, text: str) -> None:
        self._write(Piece(call, text))

    async def _refuse(self, ask: Ask, error: WindlassError) -> None:
        with contextlib.suppress(ConnectionError):  # the process is gone: its run fails for that reason
            await self._send(Fault(ask.call, error.as_dict()["error"]))

    async def _drop_answers(self) -> None:
        tasks = list(self._answers.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _next(self) -> FromChild:
        (length,) = HEADER.unpack(await self._reader.readexactly(HEADER.size))
        if length > LIMIT:
            raise msgspec.DecodeError("a frame over the limit")
        return FROM_CHILD.decode(await self._reader.readexactly(length))

    def _write(self, frame: Frame) -> asyncio.StreamWriter:
        if self._writer is None:
            raise BrokenPipeError("this runner has not come up")
        self._writer.write(pack(frame))
        return self._writer

    async def _send(self, frame: Frame) -> None:
        await self._write(frame).drain()

    async def _ask_to_stop(self) -> None:
        """A cancelled run may tidy up for `GRACE` seconds; then its process ends itself, and the socket with it."""
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(GRACE):
                await self._send(Cancel())
                while await self._reader.read(1 << 16):
                    pass

    async def _death(self, entry: str) -> str:
        """How the process ended, told in a sentence. Kills it when it only closed its socket."""
        try:
            code = await asyncio.to_thread(self._process.wait, 1.0)
        except subprocess.TimeoutExpired:
            return f"the runner of {entry} closed its socket and was ended"
        if code < 0:
            return f"the runner died (signal {-code}, {signal.Signals(-code).name}) while it ran {entry}"
        return f"the runner ended itself (status {code}) while it ran {entry}"

    def _take_output(self, fd: int) -> None:
        """Read what was printed: keep the first part, count the rest."""
        try:
            data = os.read(fd, 1 << 16)
        except BlockingIOError:
            return
        if not data:
            self._loop.remove_reader(fd)
            return
        self._count += len(data)
        self._printed += data[: max(0, self._settings.kept_output - len(self._printed))]
        if self._count > self._settings.output_limit:
            self._flooded.set()

    def _said(self) -> str:
        """What has been printed so far; drains the pipe, so nothing printed before a result is missed."""
        before = -1
        while before != self._count and not self._flooded.is_set():
            before = self._count
            for fd in self._outputs:
                self._take_output(fd)
        text = bytes(self._printed).decode("utf-8", "replace")
        return text if self._count <= len(self._printed) else f"{text}\n… {self._count - len(self._printed)} more bytes were not kept"

    async def close(self) -> None:
        """Kill the process and all it started, and remove its scratch folder. Idempotent."""
        self.clean = False
        try:
            # first: a process that ends itself leaves its children to nobody
            await asyncio.shield(asyncio.to_thread(self._kill))
        finally:
            for fd in self._outputs:
                self._loop.remove_reader(fd)
                os.close(fd)
            self._outputs.clear()
            if self._writer is not None:
                self._writer.close()
            self._socket.close()

    def _kill(self) -> None:
        started = descendants(self._process.pid)  # one in a session of its own is not in the group
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        for pid in started:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._scratch, ignore_errors=True)
