"""What is evaluated: a version of ours, or an application behind a URL, a command or a Python function that is none of ours.

A foreign application is asked `{"input": …}` and answers JSON: its output under `output`, or as it is. Nothing behind it counts as
unchanged, so nothing it said is re-used but by its declared version.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

from windlass.core.artifacts import SuiteBody
from windlass.core.errors import Invalid, RunFailed, TooLarge, WindlassError
from windlass.core.operations.runs import RunResult
from windlass.core.ref import Ref, parse_ref
from windlass.runtime.context import Records, RunContext, step
from windlass.runtime.schema import text_of

if TYPE_CHECKING:
    import aiohttp  # loaded when somebody is called: a seventh of a small command's time

ANSWER_LIMIT = 8_000_000  # bytes
TRIES = 3
DRAIN_SECONDS = 5.0
BUSY = frozenset({429, 502, 503, 504})
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV")  # of the environment, to a foreign command


Environment = Callable[[RunContext], dict[str, str]]


class Answered(NamedTuple):
    output: Any
    text: str


class Target(Protocol):
    """One thing that is asked about rows. `ours` says that its answers are draws we record; `given` is what it is sent of a row."""

    ours: bool

    def given(self, row: dict[str, Any]) -> Any: ...
    async def ask(self, given: Any, context: RunContext) -> Answered: ...


class Runs(Protocol):
    """The part of `runtime.execute.Executor` that targets need."""

    async def execute(self, target: Ref, given: Any, context: RunContext) -> RunResult: ...
    async def takes(self, target: Ref) -> dict[str, Any]: ...


class Registered:
    """A version in the registry."""

    ours = True

    def __init__(self, ref: Ref, runs: Runs, fields: tuple[str, ...]) -> None:
        self._ref = ref
        self._runs = runs
        self._fields = fields

    def given(self, row: dict[str, Any]) -> Any:
        return row["input"] if "input" in row else {name: row[name] for name in self._fields if name in row}

    async def ask(self, given: Any, context: RunContext) -> Answered:
        result = await self._runs.execute(self._ref, given, context)
        return Answered(result.output, result.text)


class _Foreign:
    """What all foreign applications share: the span, the input field, reading the answer."""

    ours = False

    def __init__(self, name: str, field: str, records: Records, seconds: float) -> None:
        self._name = name
        self._field = field
        self._records = records
        self._seconds = seconds

    def given(self, row: dict[str, Any]) -> Any:
        if self._field not in row:
            raise Invalid(f"row {row.get('key')!r} has no field {self._field!r} to send", remedy="name the field: input=…")
        return row[self._field]

    async def ask(self, given: Any, context: RunContext) -> Answered:
        with step(self._records, context, self._name, "request", input=given) as span:
            context.ledger.root = span.context.parent
            header = span.context.parent.header() if span.context.parent else ""
            data = await self._send(msgspec.json.encode({"input": given}), header, context)
            output = self._read(data)
            span.output(output)
        return Answered(output, text_of(output, None) if not isinstance(output, dict) else _text(output))

    async def _send(self, body: bytes, traceparent: str, context: RunContext) -> bytes:
        raise NotImplementedError

    def _read(self, data: bytes) -> Any:
        try:
            answer = msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as e:
            raise RunFailed(f"it answered what is no JSON: {data[:80]!r}", where=self._name) from e
        return answer["output"] if isinstance(answer, dict) and "output" in answer else answer


class Url(_Foreign):
    """An application behind a URL."""

    def __init__(self, address: str, field: str, records: Records, seconds: float, session: Sessions) -> None:
        super().__init__(address, field, records, seconds)
        self._address = address
        self._session = session

    async def _send(self, body: bytes, traceparent: str, context: RunContext) -> bytes:
        import aiohttp

        for attempt in range(1, TRIES + 1):
            try:
                status, data = await asyncio.wait_for(self._once(body, traceparent), self._seconds)
            except TimeoutError as e:
                raise RunFailed(f"it did not answer within {self._seconds:g} s", where=self._address) from e
            except aiohttp.ClientError as e:
                if attempt == TRIES:
                    raise RunFailed(f"it does not answer: {e}", where=self._address, remedy="is it running?") from e
            else:
                if status < 400:
                    return data
                if status not in BUSY or attempt == TRIES:
                    raise RunFailed(f"it answered {status}: {data[:200].decode('utf-8', 'replace')}", where=self._address)
            await asyncio.sleep(0.2 * 4**attempt)
        raise AssertionError

    async def _once(self, body: bytes, traceparent: str) -> tuple[int, bytes]:
        headers = {"content-type": "application/json", "traceparent": traceparent}
        async with self._session.session().post(self._address, data=body, headers=headers, allow_redirects=False) as response:
            data = bytearray()
            async for piece in response.content.iter_chunked(2**16):
                data += piece
                if len(data) > ANSWER_LIMIT:
                    raise TooLarge(f"it answered more than {ANSWER_LIMIT:,} bytes", where=self._address)
            return response.status, bytes(data)


class Sessions(Protocol):
    """Where HTTP sessions come from (`runtime.models.Http`)."""

    def session(self) -> aiohttp.ClientSession: ...


class Command(_Foreign):
    """An application that is a command, started anew for each row in the workspace's folder, with little of our environment, and with
    what its clients need to call models through the gateway."""

    def __init__(self, arguments: list[str], folder: str, field: str, records: Records, seconds: float, environment: Environment) -> None:
        super().__init__(shlex.join(arguments), field, records, seconds)
        self._environment = environment
        self._arguments = arguments
        self._folder = folder

    async def _send(self, body: bytes, traceparent: str, context: RunContext) -> bytes:
        environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        environment |= {"TRACEPARENT": traceparent, **self._environment(context)}
        try:
            process = await asyncio.create_subprocess_exec(
                *self._arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
                cwd=self._folder, env=environment, start_new_session=True, limit=2**16,
            )  # fmt: skip
        except OSError as e:
            raise RunFailed(f"it cannot be started: {e.strerror}", where=self._name) from e
        try:
            out, err = await asyncio.wait_for(_talk(process, body), self._seconds)
        except TimeoutError as e:
            raise RunFailed(f"it did not end within {self._seconds:g} s", where=self._name) from e
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(_drain(process), DRAIN_SECONDS)
        if process.returncode:
            last = err.decode("utf-8", "replace").strip().splitlines()[-1:]
            raise RunFailed(f"it ended with status {process.returncode}{': ' + last[0] if last else ''}", where=self._name)
        return out


async def _talk(process: asyncio.subprocess.Process, body: bytes) -> tuple[bytes, bytes]:
    """Send the body, read both outputs to their bounds, wait for the end. Raises `TooLarge`."""
    assert process.stdin and process.stdout and process.stderr

    async def feed() -> None:
        assert process.stdin
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.write(body)
            await process.stdin.drain()
        process.stdin.close()

    out, err, _ = await asyncio.gather(_bounded(process.stdout), _bounded(process.stderr), feed())
    await process.wait()
    return out, err


async def _drain(process: asyncio.subprocess.Process) -> None:
    """Read what a killed process left, so that its pipes close and it can be waited for."""
    for stream in (process.stdout, process.stderr):
        while stream is not None and await stream.read(2**16):
            pass
    await process.wait()


async def _bounded(stream: asyncio.StreamReader) -> bytes:
    data = bytearray()
    while piece := await stream.read(2**16):
        data += piece
        if len(data) > ANSWER_LIMIT:
            raise TooLarge(f"it wrote more than {ANSWER_LIMIT:,} bytes")
    return bytes(data)


class Targets:
    """Makes targets.

    Args:
        runs: what runs versions of ours.
        records: where spans of foreign targets go.
        sessions: HTTP sessions.
        seconds: how long one answer may take.
        environment: what a command's own clients need to call models here.
        commands: whether commands may be started on this machine; a server that others reach does not.
    """

    def __init__(
        self, runs: Runs, records: Records, sessions: Sessions, seconds: float, environment: Environment, *, commands: bool
    ) -> None:
        self._runs = runs
        self._records = records
        self._sessions = sessions
        self._seconds = seconds
        self._environment = environment
        self._commands = commands

    async def registered(self, ref: Ref) -> Target:
        """A version of ours. Raises `NotFound`, `Invalid` when it cannot be run."""
        schema = await self._runs.takes(ref)
        return Registered(ref, self._runs, tuple(schema.get("properties", {})))

    def foreign(self, suite: SuiteBody, folder: str | None) -> Target:
        """The application that a suite names. Raises `Invalid`."""
        target, common = suite.target, (self._records, self._seconds)
        assert isinstance(target, dict)
        field = str(target.get("input", "input"))
        if address := target.get("url"):
            if not str(address).startswith(("http://", "https://")):
                raise Invalid(f"{address!r} is not an address", remedy="write http://… or https://…")
            return Url(str(address), field, *common, self._sessions)
        if not self._commands:
            raise Invalid("this server starts no commands for suites", remedy="evaluate a URL, or run Windlass on the machine itself")
        if not folder or not Path(folder).is_dir():
            raise Invalid(f"the workspace's folder {folder!r} is not on this machine", remedy="push the workspace from here")
        if line := target.get("command"):
            return Command(shlex.split(str(line)), folder, field, *common, self._environment)
        return Command([sys.executable, "-m", "windlass.sdk.foreign", str(target["callable"])], folder, field, *common, self._environment)


def foreign_name(target: dict[str, Any]) -> str:
    """How a foreign target is written: `http://127.0.0.1:3000/ask@1f2e3d`."""
    address = target.get("url") or target.get("command") or target.get("callable")
    return f"{address}@{target.get('version')}"


def is_foreign(target: str) -> bool:
    """Whether a target's text names something that is no version of ours."""
    try:
        return not parse_ref(target).exact
    except WindlassError:
        return True


def _text(output: dict[str, Any]) -> str:
    return output["text"] if isinstance(output.get("text"), str) else msgspec.json.encode(output).decode()
