"""Which engine each store has, where it is, and whether it answers now."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from sqlalchemy import Engine, func, select, text

from windlass.core.errors import Unavailable
from windlass.core.operations.system import StoreState
from windlass.settings import Settings
from windlass.store.blobs_folder import FolderBlobs
from windlass.store.blobs_s3 import S3Blobs
from windlass.store.home import Home
from windlass.store.meta import read
from windlass.store.tables import evaluations, handed_over, keys, labels, links, verdicts, versions

COUNTED = {"versions": versions, "links": links, "labels": labels, "evaluations": evaluations, "verdicts": verdicts, "keys": keys}
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


def _tables(home: Home, engine: Engine) -> StoreState:
    lite = engine.dialect.name == "sqlite"
    name, where = (
        ("SQLite", str(home.path / "windlass.db")) if lite else ("PostgreSQL", engine.url.set(drivername="postgresql").render_as_string())
    )
    try:
        with read(engine) as c:
            number = c.execute(text("SELECT sqlite_version()" if lite else "SHOW server_version")).scalar_one()
        return StoreState(name, where, "ready", str(number).split()[0])
    except Unavailable as e:
        return StoreState(name, where, e.message)


def _blobs(home: Home, setting: str) -> StoreState:
    folder = home.path / "blobs"
    if not setting:
        return StoreState("folder", str(folder), "ready")
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
