"""Moving what a data folder holds to where its settings say. Nothing is deleted: the file that was moved is kept under another name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, Table, func, select

from windlass.core.errors import Conflict
from windlass.store.home import Home
from windlass.store.meta import open_meta, read, write
from windlass.store.tables import handed_over, metadata

BATCH = 500


class Handed(NamedTuple):
    """A piece of work that was taken from its table and is not done: it is handed over again in the new store."""

    id: str
    kind: str
    project: str


def move_meta(home: Home, url: str, unfinished: Sequence[Handed] = ()) -> dict[str, int]:
    """Copy every row of the folder's own store into an empty one, in one transaction, and put the file out of the way as
    `windlass.db.moved`. Returns the rows of each table. Cut off anywhere it can be done again.

    Raises `Conflict` where the other store holds anything else.
    """
    own = home.path / "windlass.db"
    source, target = open_meta(home.database_url), open_meta(url)
    try:
        with read(source) as old, write(target) as new:
            rows = {t.name: _count(old, t) for t in metadata.sorted_tables}
            there = {t.name: _count(new, t) for t in metadata.sorted_tables}
            if any(there.values()):
                _expect(there, rows | {"handed_over": there["handed_over"]}, url=str(target.url))  # it was cut off before its last step
            else:
                for table in metadata.sorted_tables:
                    _copy(old, new, table)
                waiting = set(new.execute(select(handed_over.c.id)).scalars())
                if again := [h._asdict() for h in unfinished if h.id not in waiting]:
                    new.execute(handed_over.insert(), again)
                there = {t.name: _count(new, t) for t in metadata.sorted_tables}
                _expect(there, rows | {"handed_over": rows["handed_over"] + len(again)}, url=str(target.url))
    finally:
        source.dispose()  # the last connection brings the write-ahead log into the file
        target.dispose()
    own.rename(own.with_name("windlass.db.moved"))
    for rest in (Path(f"{own}-wal"), Path(f"{own}-shm")):
        rest.unlink(missing_ok=True)
    return rows


def _copy(old: Connection, new: Connection, table: Table) -> None:
    for batch in old.execution_options(yield_per=BATCH).execute(select(table)).mappings().partitions(BATCH):
        new.execute(table.insert(), [dict(row) for row in batch])


def _count(c: Connection, table: Table) -> int:
    return c.execute(select(func.count()).select_from(table)).scalar_one()


def _expect(there: dict[str, int], wanted: dict[str, int], *, url: str) -> None:
    if there != wanted:
        table = next(name for name in wanted if there[name] != wanted[name])
        raise Conflict(
            f"the store to move to is not empty: it has {there[table]:,} rows in {table}, and {wanted[table]:,} were to be there",
            where=url,
            remedy="name an empty database",
        )
