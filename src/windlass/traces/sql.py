"""`traces.sql`: a project's rows are put into files piece by piece, and a process that has those and nothing else answers.

The store's own engine is never asked what somebody wrote: it holds every project's rows, and who fills its memory stops what comes in.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any, Literal

import msgspec

from windlass.core.actor import Actor
from windlass.core.errors import Busy, Invalid, TooLarge, Unavailable
from windlass.core.ids import uuid7
from windlass.core.operations.ledger import LedgerQuery
from windlass.core.operations.sql import SqlAnswer, SqlColumn, SqlQuery
from windlass.govern.permissions import guard
from windlass.store.journal import Journal
from windlass.store.spans import PortionQuery, Spans

SECONDS = 30  # of running
MEMORY_MB = 512
AT_ONCE, WAITING = 2, 20  # questions
MOST_ROWS, MOST_BYTES = 5_000_000, 1_000_000_000  # of what is put into files
OLD = 3_600.0  # seconds after which a folder is one that somebody left who was killed
LINE = 128_000_000  # bytes of an answer


class Sql:
    """Operation `traces.sql`. `folder` is where files lie while a question is asked."""

    def __init__(self, spans: Spans, journal: Journal, folder: Path) -> None:
        self._spans = spans
        self._journal = journal
        self._folder = folder
        self._free = asyncio.Semaphore(AT_ONCE)
        self._asked = 0

    async def sql(self, actor: Actor, query: SqlQuery) -> SqlAnswer:
        """Raises `Invalid` with what is wrong with the question, `TooLarge` where it is of too much, `Busy`, and `Unavailable`."""
        guard(actor, "read", query.project)
        if not query.sql.strip():
            from windlass.traces.sql_views import told  # with DuckDB's dialect, for those who ask

            return SqlAnswer(views=told())
        if self._asked >= WAITING:
            raise Busy(f"{WAITING} questions in SQL are being asked", remedy="try again in a moment")
        began = time.monotonic()
        self._asked += 1
        try:
            async with self._free:
                await self._journal.settle()
                answer = await self._answered(query)
        finally:
            self._asked -= 1
        answer.took_ms = round((time.monotonic() - began) * 1000)
        return answer

    async def _answered(self, query: SqlQuery) -> SqlAnswer:
        folder = self._folder / uuid7()
        try:
            found = await self._once(query, folder, whole=False)
            if "again" in found:
                found = await self._once(query, folder, whole=True)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        if "error" in found:
            raise Invalid(found["error"], where="sql", remedy="windlass sql lists what can be asked")
        columns = tuple(SqlColumn(**c) for c in found["columns"])
        return SqlAnswer(columns, tuple(map(tuple, found["rows"])), found["more"], found["read"], found["measured"])

    async def _once(self, query: SqlQuery, folder: Path, whole: bool) -> dict[str, Any]:
        """What the process said last. With `whole` it gets every column."""
        await asyncio.to_thread(_clear, self._folder, folder)
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "windlass.traces.sql_process", cwd=folder, env=_environment(), limit=LINE,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            asked = {"sql": query.sql, "limit": query.limit, "all": whole, "memory_mb": MEMORY_MB, "seconds": SECONDS}
            wanted = await _say(child, asked)
            if "error" in wanted:
                return wanted
            if "ledger" in wanted["views"]:
                await self._put_ledger(query.project, folder / "ledger.json")
            read = await self._put(query, "spans", wanted["spans"], folder)
            measured = await self._put(query, "points", wanted["points"], folder)
            return {**await _say(child, {}), "read": read, "measured": measured}
        finally:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            await child.wait()

    async def _put(self, query: SqlQuery, of: Literal["spans", "points"], columns: list[str], folder: Path) -> int:
        """Put what is asked about into files. Returns how many rows that is. Between two pieces the store answers others."""
        if not columns:
            return 0
        rows = size = number = 0
        cursor: str | None = ""
        while cursor is not None:
            file = folder / of / f"{number:05}.parquet"
            asked = PortionQuery(query.project, tuple(columns), str(file), cursor, query.since_ns, query.until_ns, of)
            portion = await self._spans.portion(asked)
            rows, size, number, cursor = rows + portion.rows, size + portion.bytes, number + 1, portion.next
            if rows > MOST_ROWS or size > MOST_BYTES:
                remedy = "ask for a shorter time (--since), or name fewer columns: input, output and attributes are the large ones"
                said = f"this is about more than {MOST_ROWS:,} {of} or {MOST_BYTES // 1_000_000:,} MB of them"
                raise TooLarge(said, where="sql", remedy=remedy)
        return rows

    async def _put_ledger(self, project: str, file: Path) -> None:
        page = await self._spans.ledger(LedgerQuery(project, 0))
        lines = [
            msgspec.json.encode(
                {**msgspec.structs.asdict(x), "refused": sum(x.refused.values()), "turned_away": sum(x.turned_away.values())}
            )
            for x in page.items
        ]
        await asyncio.to_thread(file.write_bytes, b"\n".join(lines))


def _clear(all: Path, folder: Path) -> None:
    """Make a question's folder, empty; take away those that nobody asks of any more."""
    shutil.rmtree(folder, ignore_errors=True)
    for of in ("spans", "points"):
        (folder / of).mkdir(parents=True, mode=0o700)
    all.chmod(0o700)
    for left in all.iterdir():
        if left != folder and time.time() - left.stat().st_mtime > OLD:
            shutil.rmtree(left, ignore_errors=True)


def _environment() -> dict[str, str]:
    """What Python needs, and nothing that is secret."""
    kept = ("PYTHONPATH", "PATH", "LD_LIBRARY_PATH", "SYSTEMROOT")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}


async def _say(child: asyncio.subprocess.Process, what: dict[str, Any]) -> dict[str, Any]:
    """Raises `Invalid` where it takes too long, and `Unavailable`."""
    assert child.stdin is not None and child.stdout is not None
    try:
        child.stdin.write(msgspec.json.encode(what) + b"\n")
        await child.stdin.drain()
        line = await asyncio.wait_for(child.stdout.readline(), SECONDS)
    except TimeoutError:
        raise Invalid(f"this took longer than {SECONDS} s", where="sql", remedy="ask for a shorter time, or for less") from None
    except (OSError, ValueError) as e:
        raise Unavailable("what answers SQL went away", remedy="try again") from e
    if not line:
        if await child.wait() >= 0:
            raise Unavailable("what answers SQL ended by itself", remedy="python -m windlass.traces.sql_process says why")
        # the kernel ended it: too much memory, processor or disk
        raise Invalid("this needs more than a question may use", where="sql", remedy="ask for a shorter time, or for less")
    found: dict[str, Any] = msgspec.json.decode(line)
    return found
