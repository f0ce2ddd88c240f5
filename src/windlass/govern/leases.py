"""How far one node may go with a counter, by what the database knows of all nodes. A node is a data folder; its processes share counters.

SQLite has one node: it may go as far as the limit, less what an earlier node of this store used. In PostgreSQL each node has a row for each
counter, with what it used and its cap: the caps of the nodes that are live come to no more than the limit, so that together they never go
beyond it. What is left is shared among those live; one that asks again gets half of the rest, and so on. A node that said nothing for
`LIVE_NS` has only what it used. One that goes on without the database keeps its cap, and where a window begins meanwhile, takes the
limit over the number of nodes.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, delete, insert, select, update

from windlass.core.errors import Unavailable
from windlass.core.ids import now_ns
from windlass.govern.counters import Counters, Need
from windlass.store.meta import read, write
from windlass.store.tables import limit_uses

LIVE_NS = 10 * 10**9  # a row that was not renewed for so long holds its cap no more
RENEW_NS = 8 * 10**9  # so long a cap is gone by before it is asked for again, where there may be other nodes
KEPT_NS = 86_400 * 10**9  # so long the use of a window stays after its end


class Counter(NamedTuple):
    """One window of one limit, of one `who`. `shared` is False for calls at once, which each node counts by itself."""

    project: str
    id: str
    began_ns: int
    who: str
    ends_ns: int
    amount: int
    key: bytes
    shared: bool = True

    def need(self, need: int) -> Need:
        return Need(self.key, self.ends_ns, self.amount, need)

    def row(self) -> tuple[Any, ...]:
        t = limit_uses.c
        return (t.project == self.project, t.id == self.id, t.began_ns == self.began_ns, t.who == self.who)


class Leases:
    """Keeps the counters of a node and the table `limit_uses` in step. Its methods block: they are for threads."""

    def __init__(self, engine: Engine, counters: Counters, folder: Path) -> None:
        self._engine = engine
        self._counters = counters
        self.node = _node(folder)
        self.alone = engine.dialect.name == "sqlite"

    def lease(self, counter: Counter, wanted: int, nodes: int) -> bool:
        """Say how far this node may go now. Whether other nodes hold leave that they may give back. `nodes` counts where the database
        is away, which raises nothing."""
        now, need = now_ns(), counter.need(0)
        if not counter.shared:
            self._counters.lease(need, counter.amount, now)
            return False
        count = self._counters.look(need)
        try:
            with read(self._engine) if self.alone else write(self._engine) as c:
                known = {r["node"]: r for r in c.execute(select(limit_uses).where(*counter.row())).mappings()}
                used = max(count.used, known[self.node]["used"] if self.node in known else 0)
                held = count.cap - used if count.leased_ns else 0  # what it has leave for already, it keeps
                cap, others = self._cap(counter, known, used, max(held, count.reserved + wanted), now)
                if not self.alone:
                    self._enter(c, counter, used, cap, self.node in known)
        except Unavailable:
            if not count.leased_ns:
                self.take(counter, nodes)
            return False
        self._counters.lease(need, cap, now, used)
        return others

    def take(self, counter: Counter, nodes: int) -> None:
        """Without the database, of a window that nobody knows or a limit that was changed: a node's share."""
        self._counters.lease(counter.need(0), counter.amount if self.alone else counter.amount // max(1, nodes), 1)

    def _cap(self, counter: Counter, known: Mapping[str, Any], used: int, wanted: int, now: int) -> tuple[int, bool]:
        """How far this node may go, and whether others hold leave that is not used."""
        rest = [r for node, r in known.items() if node != self.node]
        if self.alone:
            return counter.amount - sum(r["used"] for r in rest), False
        live = [r for r in rest if now - r["at_ns"] < LIVE_NS]
        gone = sum(r["used"] for r in rest if now - r["at_ns"] >= LIVE_NS)
        left = counter.amount - gone - sum(max(r["used"], r["cap"]) for r in live) - used
        share = max(min(wanted, left), left // (len(live) + 1)) if left > 0 else 0
        return used + share, any(r["cap"] > r["used"] for r in live)

    def _enter(self, c: Connection, counter: Counter, used: int, cap: int, there: bool) -> None:
        values = {"used": used, "cap": cap, "at_ns": now_ns(), "ends_ns": counter.ends_ns}
        if there:
            c.execute(update(limit_uses).where(*counter.row(), limit_uses.c.node == self.node).values(**values))
            return
        key = {"project": counter.project, "id": counter.id, "began_ns": counter.began_ns, "who": counter.who, "node": self.node}
        c.execute(insert(limit_uses).values(**key, **values))

    def save(self, counters: list[Counter], leaving: bool = False) -> None:
        """Enter what was used since, and forget windows that ended a day ago. A node that is not alone gives back what it has leave for
        beyond what its calls have set aside and its share, which is nothing for one that is `leaving`. Raises `Unavailable`."""
        found = []
        for counter in counters:
            count = self._counters.look(counter.need(0))
            if counter.shared and (count.used > count.saved or (count.cap > count.used + count.reserved and not self.alone)):
                found.append((counter, count))
        if not found:
            return
        now = now_ns()
        with write(self._engine) as c:
            for counter, count in found:
                known = {r["node"]: r for r in c.execute(select(limit_uses).where(*counter.row())).mappings()}
                used = max(count.used, known[self.node]["used"] if self.node in known else 0)
                cap = used if leaving and not self.alone else self._cap(counter, known, used, count.reserved, now)[0]
                if count.leased_ns:  # here first, so that what is given back is not used meanwhile
                    self._counters.lease(counter.need(0), cap, now, used)
                    count = self._counters.look(counter.need(0))
                self._enter(c, counter, used, max(cap, count.used + count.reserved), self.node in known)
            c.execute(delete(limit_uses).where(limit_uses.c.ends_ns < now - KEPT_NS))
        for counter, count in found:
            self._counters.saved(counter.need(0), count.used)

    def used(self, c: Connection, project: str, since_ns: int) -> dict[tuple[str, int, str], dict[str, int]]:
        """What the table has of windows that end after a time: `(limit, began, who)` to what each node used."""
        t, found = limit_uses.c, dict[tuple[str, int, str], dict[str, int]]()
        for r in c.execute(select(limit_uses).where(t.project == project, t.ends_ns > since_ns)).mappings():
            found.setdefault((r["id"], r["began_ns"], r["who"]), {})[r["node"]] = r["used"]
        return found


def forget(c: Connection, project: str, id: str) -> None:
    """Of a limit that is no more."""
    c.execute(delete(limit_uses).where(limit_uses.c.project == project, limit_uses.c.id == id))


def _node(folder: Path) -> str:
    """The name of this node, made once."""
    path = folder / "node"
    if not path.exists():
        fresh = path.with_name(f".node.{secrets.token_hex(4)}")
        fresh.write_text(secrets.token_hex(8))
        try:
            path.hardlink_to(fresh)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()
    return path.read_text().strip()
