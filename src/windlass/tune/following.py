"""One tuning process as the server sees it: started with a scrubbed environment, its reports followed, ended when nobody wants it."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from windlass.core.errors import RunFailed, WindlassError, error_from_dict
from windlass.runtime.local.environment import quiet_environment
from windlass.runtime.local.process import how_it_ended, last_line
from windlass.tune.training.job import JOB, LOCK, REPORTS, Exported, Fault, Job, Report

LONGEST_LINE = 2**26
LOOK_SECONDS = 0.5
LOG = "log"


async def follow(job: Job, folder: Path, told: Callable[[Report], None], wanted: Callable[[], bool]) -> Exported | None:
    """Train in a process of its own, to its end; None when it was not wanted any more. Raises what ended it as one of our errors."""
    (folder / JOB).write_bytes(msgspec.json.encode(job))
    with (folder / LOG).open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-s", "-P", "-m", "windlass.tune.training", str(folder), stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=log, cwd=folder, limit=LONGEST_LINE, start_new_session=True,
            env=quiet_environment(folder / "scratch", job.threads),
        )  # fmt: skip
    reports = asyncio.ensure_future(_reports(process, told))
    try:
        while not reports.done():
            await asyncio.wait({reports}, timeout=LOOK_SECONDS)
            if not reports.done() and not await asyncio.to_thread(wanted):
                return None
        last = reports.result()
        code = await process.wait()
    finally:
        reports.cancel()
        _kill(process.pid)
        await process.wait()
    if isinstance(last, Exported) and code == 0:
        return last
    if isinstance(last, Fault):
        raise error_from_dict({"error": {"code": last.code, "message": last.message, "remedy": last.remedy}})
    raise _ended(code, folder)


async def _reports(process: asyncio.subprocess.Process, told: Callable[[Report], None]) -> Report | None:
    """Pass reports on as they come. Returns the last that ends it."""
    assert process.stdout is not None
    last: Report | None = None
    while data := await process.stdout.readline():
        if not data.endswith(b"\n"):
            break  # it was killed in the middle of a word
        last = REPORTS.decode(data)
        if not isinstance(last, Exported | Fault):
            await asyncio.to_thread(told, last)
    return last


def _ended(code: int, folder: Path) -> WindlassError:
    said = last_line(folder / LOG) if code >= 0 else ""
    return RunFailed(
        how_it_ended(code, "the tuning process") + (f": {said}" if said else ""),
        remedy="make room for it, then: windlass tune resume goes on from the last whole checkpoint",
    )


def is_held(folder: Path) -> bool:
    """Whether a process is at work in the folder of a tuning."""
    try:
        held = os.open(folder / LOCK, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(held)
    return False


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
