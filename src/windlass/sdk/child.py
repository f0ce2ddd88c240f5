"""The inside of a runner: `python -m windlass.sdk.child SOCKET LIMITS`, one process that runs a user's code from its snapshot.

It sets its own limits before it imports anything of the user's, then serves one run after another from the socket it
inherited. It holds no key: every model, index, tool and agent is asked of the server through `RemoteHost`. Standard
output and error belong to the user and never carry frames.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import inspect
import os
import resource
import shutil
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from windlass.core.errors import RunFailed, WindlassError
from windlass.core.host import bind
from windlass.sdk.calls import Call, find_entry, told
from windlass.sdk.frames import Done, Failed, Ready, Start, Yielded
from windlass.sdk.remote import Link, RemoteHost, plain
from windlass.sdk.sandbox import restrict

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36


class Limits(msgspec.Struct, frozen=True):
    """What a runner may use: bytes of address space, bytes of one file, open files. `parent` is the server's pid.
    With `sandbox` it may read only its snapshot, Python, the system and `readable`, where the system can see to that."""

    memory: int
    file: int
    files: int
    parent: int
    sandbox: bool = True
    readable: tuple[str, ...] = ()


def apply(limits: Limits) -> None:
    """Set hard limits, which the user's code cannot raise, and die with the server (Linux; elsewhere by the closed socket)."""
    for which, value in (
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, limits.file),
        (resource.RLIMIT_NOFILE, limits.files),
    ):
        hard = resource.getrlimit(which)[1]
        bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(which, (bound, bound))
        except (ValueError, OSError) as e:  # macOS has no RLIMIT_AS to set
            if sys.platform == "linux":
                raise SystemExit(f"this runner cannot limit itself: {e}") from e
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        if os.getppid() != limits.parent:  # it died before we asked
            os._exit(0)


class _State:
    """What a process looks like before a run."""

    def __init__(self) -> None:
        self._environment = dict(os.environ)
        self._threads = set(threading.enumerate())

    def restore(self, root: Path) -> None:
        """The environment, the folder, and an empty scratch folder."""
        os.chdir(root)
        if os.environ != self._environment:
            os.environ.clear()
            os.environ.update(self._environment)
        for left in Path(self._environment["HOME"]).iterdir():
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()

    def leaked_threads(self) -> list[str]:
        """Names of threads that outlive the run and are no daemons, after a moment's grace."""
        leaked = [t for t in threading.enumerate() if t not in self._threads and not t.daemon]
        for thread in leaked:
            thread.join(0.05)
        return sorted(t.name for t in leaked if t.is_alive())


def descendants(pid: int) -> list[int]:
    """Processes below this one, where the system lists them (Linux); orphans too, since a runner adopts them."""
    found: list[int] = []
    for listed in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            for child in map(int, listed.read_text().split()):
                found += [child, *descendants(child)]
    return found


def end() -> NoReturn:
    """End this process and all it started."""
    for pid in descendants(os.getpid()):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    os._exit(0)


class Child:
    """Serves runs. Sync functions run in the main thread, async ones in an event loop made for the run."""

    def __init__(self, sock: socket.socket, root: Path) -> None:
        self._root = root
        self._busy = False
        self._cancelled = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._link = Link(sock, self._cancel, end)  # no server, or one that talks nonsense: nothing here may outlive it
        self._host = RemoteHost(self._link)

    def serve(self) -> None:
        self._link.send(Ready(pid=os.getpid(), python=sys.version.split()[0]))
        while True:
            self._one(self._link.starts.get())

    def _one(self, start: Start) -> None:
        before = _State()
        os.environ.update(start.environment)
        failure: WindlassError | None = None
        retire, value = False, None
        try:
            self._busy = True
            call = Call(find_entry(start.entry, self._root), start.entry)
            arguments = call.bind(start.arguments)
            self._host.entry = start.entry
            with bind(self._host, everywhere=True):
                value = self._perform(call, arguments)
        except BaseException as e:
            if isinstance(e, KeyboardInterrupt | asyncio.CancelledError) and self._cancelled:
                failure = RunFailed("the run was cancelled")
            else:
                failure = told(e, start.entry, self._root)
            retire = self._cancelled or isinstance(e, MemoryError)
        finally:
            self._busy = False
        warnings = self._tidy(start, before)
        retire = retire or bool(warnings)
        if failure is not None:
            self._link.send(Failed(failure.as_dict()["error"], warnings, retire))
        else:
            self._link.send(Done(value, warnings, retire))
        if self._cancelled:
            end()

    def _perform(self, call: Call, arguments: dict[str, Any]) -> Any:
        function = call.function
        if inspect.isasyncgenfunction(function):
            return self._async(self._drain_async(call, function(**arguments)))
        if inspect.iscoroutinefunction(function):
            return call.check(self._async(function(**arguments)))
        result = function(**arguments)
        if inspect.isgenerator(result):
            return self._drain(call, result)
        return call.check(result)

    def _async(self, work: Any) -> Any:
        async def main() -> Any:
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
            return await work

        try:
            return asyncio.run(main())
        finally:
            self._loop = self._task = None

    def _drain(self, call: Call, values: Iterator[Any]) -> Any:
        gathered: list[Any] = []
        while True:
            try:
                value = plain(next(values))
            except StopIteration as end:
                return _whole(gathered) if end.value is None else call.check(end.value)
            self._link.send(Yielded(value))
            gathered.append(value)

    async def _drain_async(self, call: Call, values: AsyncIterator[Any]) -> Any:
        gathered: list[Any] = []
        async for item in values:
            value = plain(item)
            self._link.send(Yielded(value))
            gathered.append(value)
        return _whole(gathered)

    def _tidy(self, start: Start, before: _State) -> tuple[str, ...]:
        """Undo what a run may leave behind, and name what cannot be undone."""
        shut = [name for name, stream in (("output", sys.stdout), ("error output", sys.stderr)) if not _flushed(stream)]
        before.restore(self._root)
        threads, processes = before.leaked_threads(), [f"process {pid}" for pid in descendants(os.getpid())]
        counted = ((threads, "thread", "threads"), (processes, "process", "processes"))
        left = [f"{len(names)} {one if len(names) == 1 else many}" for names, one, many in counted if names]
        if shut:  # the descriptor is free now, and whatever is opened next would take it
            return (f"{start.entry} closed its {' and its '.join(shut)}: its runner was ended",)
        if not left:
            return ()
        return (f"{start.entry} left {' and '.join(left)} running ({', '.join([*threads, *processes][:5])}): its runner was ended",)

    def _cancel(self) -> None:
        if not self._busy:
            return
        self._cancelled = True
        loop, task = self._loop, self._task
        if loop is not None and task is not None:
            loop.call_soon_threadsafe(task.cancel)
        else:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def _flushed(stream: Any) -> bool:
    """Flush a stream; False when it was closed."""
    try:
        stream.flush()
    except (ValueError, OSError, AttributeError):
        return False
    return True


def _whole(gathered: list[Any]) -> Any:
    """What a generator gave: text joined, else the list."""
    return "".join(gathered) if all(isinstance(g, str) for g in gathered) else gathered


def main() -> None:
    sock = socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(sock.fileno(), False)
    limits = msgspec.json.decode(sys.argv[2], type=Limits)
    apply(limits)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the server runs in a shell's background
    root = Path.cwd()
    if limits.sandbox:
        restrict(writable=[os.environ["HOME"]], readable=[str(root), *limits.readable])
    sys.path.insert(0, str(root))
    Child(sock, root).serve()


if __name__ == "__main__":
    main()
