"""Work in a process of its own, by DBOS: a queue and durable workflows in a SQLite file, or in PostgreSQL beside our tables.

Work is handed over by a row in the transaction that makes it; the process that works takes the row to DBOS. A workflow is one piece
of work under its own id, so taking it twice does it once; after a crash DBOS starts it again, and the work goes on from the tables.
Nothing but kind, project and id goes through DBOS.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, NullPool, create_engine, delete, insert, inspect, make_url, select, text
from sqlalchemy.exc import DBAPIError

from windlass.core.errors import Conflict
from windlass.jobs.work import Work, bring_to_its_end
from windlass.store.meta import read, write
from windlass.store.meta_postgres import LOCK
from windlass.store.tables import handed_over

if TYPE_CHECKING:
    from dbos import DBOSClient

QUEUE = "work"
SHORT = "short work"  # a queue of its own for what must not wait behind hours of evaluation
KINDS_OF_SHORT = ("delivery", "metric rule", "rollout")
WORKFLOW = "windlass.work"
AT_ONCE = 4  # pieces of work in one process
POLL_SECONDS = 0.2
# how often DBOS looks into a queue: 3 ms of processor each time, also where nothing ever comes
QUEUES = {QUEUE: 0.3, SHORT: 1.0}
ROUND_SECONDS = 30.0
OFTEN_SECONDS = 2.0
TURN_SECONDS = 15.0  # how long one that was killed may take to be gone for the database
# Recovery belongs to whoever holds the data folder, whatever version of Windlass began the work.
APPLICATION = {"name": "windlass", "application_version": "1"}

log = logging.getLogger(__name__)


class DurableJobs:
    """Hands work over to the process that works, whether it is there now or not."""

    def hand_over(self, c: Connection, kind: str, project: str, id: str) -> None:
        c.execute(insert(handed_over).values(id=id, kind=kind, project=project))

    def begin(self, kind: str, project: str, id: str) -> None:
        pass

    async def close(self) -> None:
        pass


def take(engine: Engine, client: DBOSClient) -> int:
    """Bring what was handed over to DBOS. Returns how much that was. Killed between the two, it is brought again, and done once."""
    with read(engine) as c:
        found = c.execute(select(handed_over.c.id, handed_over.c.kind, handed_over.c.project).order_by(handed_over.c.id)).all()
    for id, kind, project in found:
        queue = SHORT if kind in KINDS_OF_SHORT else QUEUE
        client.enqueue(
            {"queue_name": queue, "workflow_name": WORKFLOW, "workflow_id": id, "app_version": APPLICATION["application_version"]},
            kind, project, id,
        )  # fmt: skip
        with write(engine) as c:
            c.execute(delete(handed_over).where(handed_over.c.id == id))
    return len(found)


class Turn:
    """The turn to do the work of a database: of one process, for as long as its connection lasts. Without it the server of another data
    folder would take work whose bytes it does not have."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None

    def hold(self, seconds: float = 0.0) -> None:
        """Have it, or take it, waiting so long for one that ends. Raises `Conflict`."""
        until = time.monotonic() + seconds
        while not self._held():
            if time.monotonic() >= until:
                raise Conflict(
                    "the server of another data folder does the work of this database", where=str(self._engine.url),
                    remedy="give each data folder a database of its own",
                )  # fmt: skip
            time.sleep(POLL_SECONDS)

    def _held(self) -> bool:
        """Its lock belongs to a session, and a session that asks again has it."""
        if self._connection is None:
            self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            return bool(self._connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": LOCK + 1}))
        except DBAPIError:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None
            raise


class Queue:
    """DBOS, once there is something to do: it takes 25 MB and looks into its queues for ever, and most servers have nothing to do
    most of the time. `where`: as `work` has it."""

    def __init__(self, where: str | Engine, works: Callable[[], Mapping[str, Work]]) -> None:
        self._where = where
        self._works = works
        self._loops: list[asyncio.AbstractEventLoop] = []
        self._client: DBOSClient | None = None
        self._cut_off = cut_off(where)

    def take(self, engine: Engine) -> bool:
        """Bring what was handed over to DBOS. Returns whether it has to be begun first: something was handed over, or an earlier process
        did not end its work."""
        if self._client is None:
            return self._cut_off or waits(engine)
        take(engine, self._client)
        return False

    def begin(self) -> None:
        from dbos import DBOS, DBOSClient

        logging.getLogger("dbos").setLevel(logging.WARNING)
        # asked for, not told: a connection that listens for ever is one more to lose, and work is looked for five times a second anyway
        key = "system_database_url" if isinstance(self._where, str) else "system_database_engine"
        system = {key: self._where, "use_listen_notify": False}
        DBOS(config={**APPLICATION, **system, "executor_id": "local", "log_level": "WARNING"})  # type: ignore[typeddict-item]

        @DBOS.workflow(name=WORKFLOW)
        async def one(kind: str, project: str, id: str) -> None:
            self._loops[:] = [asyncio.get_running_loop()]
            await bring_to_its_end(self._works, kind, project, id)

        DBOS.launch()
        for queue, seconds in QUEUES.items():
            DBOS.register_queue(queue, worker_concurrency=AT_ONCE, polling_interval_sec=seconds)
        self._client = DBOSClient(**system)  # type: ignore[arg-type]

    def end(self, close: Callable[[], Any]) -> None:
        if self._client is None:
            return
        from dbos import DBOS

        if self._loops:
            with contextlib.suppress(Exception):
                asyncio.run_coroutine_threadsafe(close(), self._loops[0]).result(5)
        self._client.destroy()
        DBOS.destroy(workflow_completion_timeout_sec=0)


def waits(engine: Engine) -> bool:
    """Whether something was handed over."""
    with read(engine) as c:
        return c.execute(select(handed_over.c.id).limit(1)).first() is not None


def cut_off(where: str | Engine) -> bool:
    """Whether DBOS has work that has not ended. Its tables are public: https://docs.dbos.dev/explanations/system-tables"""
    if isinstance(where, str) and not Path(make_url(where).database or "").exists():
        return False
    engine = create_engine(where, poolclass=NullPool) if isinstance(where, str) else where
    schema = None if isinstance(where, str) else "dbos"
    with engine.connect() as c:
        if not inspect(c).has_table("workflow_status", schema):
            return False
        table = f"{schema}.workflow_status" if schema else "workflow_status"
        return c.scalar(text(f"SELECT 1 FROM {table} WHERE status IN ('PENDING', 'ENQUEUED', 'DELAYED') LIMIT 1")) is not None


def work(
    where: str | Engine, engine: Engine, works: Callable[[], Mapping[str, Work]], ended: threading.Event, rests: Callable[[], bool],
    close: Callable[[], Any], regularly: Callable[[], None] = lambda: None, often: Callable[[], None] = lambda: None,
) -> None:  # fmt: skip
    """Do work until `ended` is set, `rests` is true or another does the work of this database. Work cut off by the end of this process is
    begun again by the next. Raises `Conflict` where another does it already.

    `where` is the URL of DBOS's SQLite file, or the PostgreSQL that `engine` is of, without our transactions.

    `works` is called on the loop that works, when the first piece comes; `close` is a coroutine function for the end of it;
    `regularly` is called at the beginning and twice a minute, `often` every two seconds, to hand over what has fallen due.
    """
    turn = Turn(where) if not isinstance(where, str) else None
    if turn:
        turn.hold(TURN_SECONDS)
    queue = Queue(where, works)
    said, next_round, next_often, first = "", 0.0, 0.0, False
    while not ended.wait(POLL_SECONDS) and not rests():
        if first:
            queue.begin()  # where that fails, this process ends, and is begun again
        try:
            if time.monotonic() >= next_round:
                next_round = time.monotonic() + ROUND_SECONDS
                if turn:
                    turn.hold()
                regularly()
            if time.monotonic() >= next_often:
                next_often = time.monotonic() + OFTEN_SECONDS
                often()
            first, said = queue.take(engine), ""
        except Conflict as e:  # the database was away, and somebody else was first when it came back
            log.error("%s", e)
            break
        except Exception as e:  # it stays where it is, and is taken later
            first = False
            if said != (said := f"{type(e).__name__}: {e}"):
                log.warning("work that was handed over cannot be taken now: %s", said)
    queue.end(close)


def unfinished(path: Path) -> list[tuple[str, str, str]]:
    """Id, kind and project of the work in a data folder's `jobs.db` that is not done, for whoever moves it elsewhere."""
    if not path.exists():
        return []
    from dbos import DBOSClient

    client = DBOSClient(system_database_url=f"sqlite:///{path}")
    try:
        found = client.list_workflows(status=["PENDING", "ENQUEUED", "DELAYED"], name=WORKFLOW, load_output=False)
    finally:
        client.destroy()
    return [(w.workflow_id, w.input["args"][0], w.input["args"][1]) for w in found if w.input]
