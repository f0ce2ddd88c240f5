"""Clusters as far as ClickHouse's engine in this process can be one: it is their only node, without Keeper and without a port.

`Distributed` is its own. What it lacks is taken out of what is said to it: `ON CLUSTER` (a queue in Keeper) and `Replicated` (a log there).
`one` has one shard. `two` has two, each of which is this node: there the Distributed tables stand over views, each of which shows a shard
the rows that are its own, so that a question is put together from two parts as it is on two machines; inserts go below the views.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from windlass.store.clickhouse_tables import Cluster
from windlass.store.spans_clickhouse import ClickHouseSpans

_HERE = "<shard><internal_replication>true</internal_replication><replica><host>127.0.0.1</host><port>9000</port></replica></shard>"
CONFIGURED = (
    f"<clickhouse><tcp_port>9000</tcp_port><macros><shard>01</shard><replica>node-1</replica></macros>"
    f"<remote_servers><one>{_HERE}</one><two>{_HERE}{_HERE}</two></remote_servers></clickhouse>"
)
REPLICATED = re.compile(r"Replicated(\w*MergeTree)\('[^']*', '[^']*'(?:, )?([^)]*)\)")
DISTRIBUTED = re.compile(r"^CREATE TABLE IF NOT EXISTS (\w+)  AS (\w+) ENGINE = Distributed\('two', '(\w+)', '\w+', (.*)\)$", re.S)


def alone(sql: str) -> str:
    """A statement without what needs Keeper. A replicated table drops an insert that comes again; one that is not does when it is told."""
    plain, replicated = REPLICATED.subn(lambda m: f"{m[1]}({m[2]})", re.sub(r"ON CLUSTER '\w+'", "", sql))
    return f"{plain}, non_replicated_deduplication_window = 1000" if replicated else plain


class Node:
    """A client of the engine, which is told what `alone` leaves. `said` is what the store said."""

    def __init__(self, client: Any, said: list[str], apart: bool) -> None:
        self._client = client
        self._said = said
        self._apart = apart

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def command(self, sql: str) -> Any:
        self._said.append(sql)
        sql = alone(sql)
        if self._apart and (made := DISTRIBUTED.match(sql)):
            table, local, database, key = made.groups()
            shard = f"toUInt32({key} % 2 + 1)"
            self._client.command(f"CREATE VIEW IF NOT EXISTS {table}_of AS SELECT * FROM {local} WHERE {shard} = shardNum()")
            columns = f"AS {table}_of ENGINE = Distributed('two', '{database}', '{table}_of', {key})"
            return self._client.command(f"CREATE TABLE IF NOT EXISTS {table} {columns}")
        if self._apart and sql.startswith("ALTER TABLE") and "ADD COLUMN" in sql and "_local" not in sql:
            return None  # its view was made with them
        return self._client.command(sql)

    def raw_insert(self, table: str, **given: Any) -> Any:
        if self._apart:
            given["settings"] = {k: v for k, v in given["settings"].items() if k != "insert_shard_id"}
        return self._client.raw_insert(f"{table}_local" if self._apart else table, **given)


def cluster_spans(folder: Path, database: str, name: str, said: list[str] | None = None) -> ClickHouseSpans:
    from tests.conftest import chdb_client

    made = chdb_client(folder)
    made.command(f"CREATE DATABASE IF NOT EXISTS {database}")
    made.close()
    heard = [] if said is None else said
    return ClickHouseSpans(lambda: Node(chdb_client(folder, database=database), heard, name == "two"), database, Cluster(name))
