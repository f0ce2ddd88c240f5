"""Which engine each store has, where it is, and whether it answers now."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, Engine, func, select, text

from windlass.core.errors import Unavailable
from windlass.core.operations.system import Queue, StoreState
from windlass.settings import Settings
from windlass.store.blobs_folder import FolderBlobs
from windlass.store.blobs_s3 import S3Blobs
from windlass.store.home import Home
from windlass.store.meta import read
from windlass.store.tables import (
    approvals,
    bakeoffs,
    deliveries,
    evaluations,
    gates,
    handed_over,
    keys,
    labels,
    links,
    tunes,
    verdicts,
    versions,
)

COUNTED = {"versions": versions, "links": links, "labels": labels, "evaluations": evaluations, "verdicts": verdicts, "keys": keys}
WORKED_ON = {"evaluations": evaluations, "gates": gates, "bake-offs": bakeoffs, "tunings": tunes}
# What answers depend on, by the name each is installed by.
LIBRARIES = (
    "granian",
    "starlette",
    "aiohttp",
    "msgspec",
    "sqlalchemy",
    "dbos",
    "duckdb",
    "cedarpy",
    "jsonschema-rs",
    "numpy",
    "onnxruntime",
)
PATIENCE = 5.0  # seconds a bucket may take to answer
NOWHERE = "sha256:" + "0" * 64


class Health:
    """Of the stores of one data folder. Nothing is asked before somebody asks here."""

    def __init__(self, home: Home, settings: Settings, engine: Engine) -> None:
        self._home = home
        self._settings = settings
        self._engine = engine

    def stores(self) -> dict[str, StoreState]:
        """By what each holds. Whether spans can be asked is the projector's to say."""
        home, wanted = self._home, self._settings
        found = {"tables": _tables(home, self._engine), "blobs": _blobs(home, wanted.blobs)}
        if wanted.spans:
            found["spans"] = StoreState("ClickHouse", wanted.spans.partition("?")[0], "ready", _package("clickhouse-connect"))
        else:
            found["spans"] = StoreState("DuckDB", str(home.path / "spans"), "ready", _package("duckdb"))
        if wanted.ray:
            found["evaluations"] = StoreState("Ray", wanted.ray, "ready", _package("ray"))
        return found

    def counts(self) -> dict[str, int]:
        """How many rows the tables have that people ask about. Raises `Unavailable`."""
        with read(self._engine) as c:
            return {name: c.execute(select(func.count()).select_from(table)).scalar_one() for name, table in COUNTED.items()}

    def waiting(self) -> int:
        """Pieces of work that were handed over and that nobody has taken yet. Raises `Unavailable`."""
        with read(self._engine) as c:
            return c.execute(select(func.count()).select_from(handed_over)).scalar_one()

    def queues(self, now: int) -> dict[str, Queue]:
        """What waits and what is under way, by kind. Raises `Unavailable`."""
        with read(self._engine) as c:
            found = {name: Queue(**_states(c, table.c.status)) for name, table in WORKED_ON.items()}
            waiting = deliveries.c.status == "waiting"
            told = c.execute(select(func.count(), func.count().filter(deliveries.c.next_ns <= now)).where(waiting)).one()
            found["deliveries of alerts"] = Queue(told[0], due=told[1])
            asked = c.execute(select(func.count()).where(approvals.c.state == "waiting", approvals.c.expires_ns > now)).scalar_one()
            found["calls that wait for a person"] = Queue(asked)
        return found

    def libraries(self) -> dict[str, str]:
        """Python, and what is installed of `LIBRARIES`, with versions."""
        return {"Python": platform.python_version(), **{name: found for name in LIBRARIES if (found := _package(name))}}


def _states(c: Connection, status: ColumnElement[str]) -> dict[str, int]:
    many = {row[0]: int(row[1]) for row in c.execute(select(status, func.count()).group_by(status))}
    return {"waiting": many.get("queued", 0), "running": many.get("running", 0) + many.get("checking", 0)}


def _size(folder: Path) -> int:
    """Bytes of the files below a folder; one that goes away meanwhile does not count."""

    def sizes(at: str) -> Iterator[int]:
        with os.scandir(at) as entries:
            for entry in entries:
                try:
                    yield from sizes(entry.path) if entry.is_dir(follow_symlinks=False) else [entry.stat(follow_symlinks=False).st_size]
                except FileNotFoundError:
                    continue

    return sum(sizes(str(folder)))


def _tables(home: Home, engine: Engine) -> StoreState:
    lite = engine.dialect.name == "sqlite"
    name, where = (
        ("SQLite", str(home.path / "windlass.db")) if lite else ("PostgreSQL", engine.url.set(drivername="postgresql").render_as_string())
    )
    try:
        with read(engine) as c:
            number = c.execute(text("SELECT sqlite_version()" if lite else "SHOW server_version")).scalar_one()
            schema = c.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
            pages = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
            size = c.execute(text(pages if lite else "SELECT pg_database_size(current_database())")).scalar_one()
        return StoreState(name, where, "ready", str(number).split()[0], int(size), str(schema))
    except Unavailable as e:
        return StoreState(name, where, e.message)


def _blobs(home: Home, setting: str) -> StoreState:
    folder = home.path / "blobs"
    if not setting:
        return StoreState("folder", str(folder), "ready", bytes=_size(folder))
    where, state = setting.partition("?")[0], "ready"
    try:
        S3Blobs(setting, FolderBlobs(folder), folder, PATIENCE).has(NOWHERE)
    except Unavailable as e:
        state = e.message
    return StoreState("S3", where, state, _package("obstore"))


def _package(name: str) -> str:
    """The version of what speaks to it, for an engine that is not asked here."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
