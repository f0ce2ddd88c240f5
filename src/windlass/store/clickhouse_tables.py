"""Where tables of ClickHouse lie: on one server, or spread over the shards of a cluster.

On a cluster each table is three things: `spans_local` on every node, replicated within its shard; `spans` on every node, `Distributed`,
which is what is asked; and what is done to a table is done to the local ones, on every node. Spans are spread by their trace, points by
their series, so each lies on one shard whole. Small tables lie on the first shard.

A row is never sent to a shard by the Distributed table itself: we say which (`insert_shard_id`), so that an insert is of one shard, is
there or is not, and carries the same token when it is sent again. Were it spread by the server, one that was cut off could be half there,
the rest would come again under another token, and what the server still goes on with would be there twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar
from zlib import crc32

from windlass.core.errors import Invalid

KEPT = "fsync_after_insert = 1, fsync_part_directory = 1"  # a table's rows are on disk when an insert is acknowledged
PATH, REPLICA = "/clickhouse/tables/{shard}/{database}/{table}", "{replica}"
_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,100}")
_PLACE = re.compile(r"[A-Za-z0-9_.\-/{}]{1,500}")
# Who asks sees what was acknowledged, whichever replica answers; an answer of some shards is none; what is done is done on every replica.
SETTINGS: Mapping[str, str | int] = {
    "insert_quorum": "auto", "insert_quorum_parallel": 0, "select_sequential_consistency": 1, "load_balancing": "in_order",
    "distributed_foreground_insert": 1, "distributed_product_mode": "global", "prefer_global_in_and_join": 1, "skip_unavailable_shards": 0,
    "fallback_to_stale_replicas_for_distributed_queries": 0, "mutations_sync": 2, "alter_sync": 2, "distributed_ddl_output_mode": "throw",
}  # fmt: skip

Ask = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]
R = TypeVar("R")


class Table(NamedTuple):
    """`key` is the column by which rows are spread over shards; without it they lie on the first. `once`: an insert that comes again with
    its token is dropped. `later` are columns that a table of before lacks."""

    name: str
    columns: str
    engine: str
    order: str
    key: str = ""
    arguments: str = ""
    once: bool = False
    later: Sequence[str] = ()

    @property
    def added(self) -> str:
        return ", ".join(f"ADD COLUMN IF NOT EXISTS {column}" for column in self.later)


class Cluster(NamedTuple):
    """A cluster by its name in ClickHouse's configuration, and how a replica is called in Keeper, with ClickHouse's macros."""

    name: str
    path: str = PATH
    replica: str = REPLICA


class Lies(Protocol):
    """`parts` is the beginning of a question about parts of our tables, up to a condition."""

    parts: str

    def created(self, table: Table) -> list[str]: ...
    def beside(self, name: str, table: Table) -> list[str]:
        """One that is as `table`, and empty."""
        ...

    def dropped(self, name: str) -> list[str]: ...
    def emptied(self, name: str) -> str: ...
    def altered(self, name: str, what: str) -> str: ...
    def holds(self, name: str) -> str:
        """The table whose parts the rows are in."""
        ...

    def apart(self, rows: Iterable[R], key: Callable[[R], str]) -> list[tuple[int, list[R]]]:
        """Rows by shard."""
        ...

    def to(self, shard: int) -> dict[str, Any]:
        """Settings of an insert."""
        ...


class OneServer:
    parts = "FROM system.parts WHERE active AND database = currentDatabase()"

    def created(self, table: Table) -> list[str]:
        kept = f"{KEPT}, non_replicated_deduplication_window = 1000" if table.once else KEPT
        engine = f"{table.engine}({table.arguments})" if table.arguments else table.engine
        made = f"CREATE TABLE IF NOT EXISTS {table.name} ({table.columns}) ENGINE = {engine} {table.order} SETTINGS {kept}"
        return [made, *([self.altered(table.name, table.added)] if table.later else [])]

    def beside(self, name: str, table: Table) -> list[str]:
        return [f"CREATE TABLE {name} AS {table.name}"]

    def dropped(self, name: str) -> list[str]:
        return [f"DROP TABLE IF EXISTS {name}"]

    def emptied(self, name: str) -> str:
        return f"TRUNCATE TABLE {name}"

    def altered(self, name: str, what: str) -> str:
        return f"ALTER TABLE {name} {what}"

    def holds(self, name: str) -> str:
        return name

    def apart(self, rows: Iterable[R], key: Callable[[R], str]) -> list[tuple[int, list[R]]]:
        return [(1, some)] if (some := list(rows)) else []

    def to(self, shard: int) -> dict[str, Any]:
        return {}


class OnCluster:
    """`database` is where its tables are, on every node."""

    def __init__(self, cluster: Cluster, database: str, shards: int) -> None:
        self._cluster = cluster
        self._on = f"ON CLUSTER '{cluster.name}'"
        self._database = database.replace("\\", "\\\\").replace("'", "\\'")
        self._shards = shards
        self.parts = f"FROM cluster('{cluster.name}', system.parts) WHERE active AND database = '{self._database}'"

    def created(self, table: Table) -> list[str]:
        local = self.holds(table.name)
        added = [f"ALTER TABLE {t} {self._on} {table.added}" for t in (local, table.name)] if table.later else []
        made = f"CREATE TABLE IF NOT EXISTS {local} {self._on} ({table.columns}) {self._replicated(table)}"
        return [made, *added[:1], self._distributed(table.name, table.key), *added[1:]]

    def beside(self, name: str, table: Table) -> list[str]:
        made = f"CREATE TABLE {self.holds(name)} {self._on} AS {self.holds(table.name)} {self._replicated(table)}"
        return [made, self._distributed(name, table.key)]

    def _replicated(self, table: Table) -> str:
        arguments = ", ".join([f"'{self._cluster.path}'", f"'{self._cluster.replica}'", *([table.arguments] if table.arguments else [])])
        return f"ENGINE = Replicated{table.engine}({arguments}) {table.order} SETTINGS {KEPT}"

    def _distributed(self, name: str, key: str) -> str:
        local, spread = self.holds(name), f"CRC32({key})" if key else "0"
        engine = f"Distributed('{self._cluster.name}', '{self._database}', '{local}', {spread})"
        return f"CREATE TABLE IF NOT EXISTS {name} {self._on} AS {local} ENGINE = {engine}"

    def dropped(self, name: str) -> list[str]:
        # at once: its name in Keeper is needed again
        return [f"DROP TABLE IF EXISTS {t} {self._on} SYNC" for t in (name, self.holds(name))]

    def emptied(self, name: str) -> str:
        return f"TRUNCATE TABLE {self.holds(name)} {self._on}"

    def altered(self, name: str, what: str) -> str:
        return f"ALTER TABLE {self.holds(name)} {self._on} {what}"

    def holds(self, name: str) -> str:
        return f"{name}_local"

    def apart(self, rows: Iterable[R], key: Callable[[R], str]) -> list[tuple[int, list[R]]]:
        found: dict[int, list[R]] = {}
        for row in rows:
            found.setdefault(crc32(key(row).encode()) % self._shards + 1, []).append(row)
        return sorted(found.items(), key=lambda each: each[0])

    def to(self, shard: int) -> dict[str, Any]:
        return {"insert_shard_id": shard}


def cluster_of(name: str, path: str, replica: str) -> Cluster | None:
    """By the settings. Raises `Invalid` naming the one that is wrong."""
    if not name:
        return None
    if not _NAME.fullmatch(name):
        raise Invalid("this is no name of a cluster", where="spans_cluster", remedy="write it as ClickHouse's remote_servers has it")
    for value, setting, macro in ((path, "spans_replica_path", "{shard}"), (replica, "spans_replica_name", "")):
        if not _PLACE.fullmatch(value):
            raise Invalid("letters, digits, _ . - / and macros in braces may stand here", where=setting, remedy=f"such as {PATH}")
        if macro not in value or (macro and "{table}" not in value):
            raise Invalid("two shards, or two tables, would be replicas of one another", where=setting, remedy=f"such as {PATH}")
    return Cluster(name, path, replica)


def on_cluster(ask: Ask, cluster: Cluster) -> OnCluster:
    """As ClickHouse knows it. Raises `Invalid` for a cluster that is not there, or would write each row to every replica itself."""
    (database,) = ask("SELECT currentDatabase()", [])[0]
    shards, replicas, internal = ask(
        "SELECT max(shard_num), max(replica_num), min(internal_replication) FROM system.clusters WHERE cluster = ?", [cluster.name]
    )[0]
    if not shards:
        remedy = "SELECT cluster FROM system.clusters lists those that ClickHouse's remote_servers names"
        raise Invalid("ClickHouse knows no such cluster", where="spans_cluster", remedy=remedy)
    if replicas > 1 and not internal:
        remedy = "set internal_replication of each shard in ClickHouse's remote_servers"
        raise Invalid("this cluster writes to every replica, beside replication", where="spans_cluster", remedy=remedy)
    return OnCluster(cluster, str(database), int(shards))
