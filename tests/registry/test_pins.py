"""Pins over real sources: what is recorded, what a look finds, what is kept when, and that nothing is half kept."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import select
from tests.registry.application import Registry
from tests.registry.sources.bigquery_server import PROJECT, BigQueryServer
from tests.registry.sources.conftest import bigquery_server, database, sql  # noqa: F401
from tests.registry.sources.postgresql_server import OWNER as USER
from tests.registry.sources.postgresql_server import PASSWORD, PostgreSqlServer

from windlass.core.actor import OWNER, Actor
from windlass.core.dataset import make_rows
from windlass.core.errors import Conflict, Forbidden, Invalid, NotFound, Unavailable, WindlassError
from windlass.core.operations.datasets import EditRequest, RowCounts
from windlass.core.operations.pins import PinAdd, PinCompare, PinDetail, PinDifference, PinKeep, PinQuery, PinRead, PinShow
from windlass.core.operations.registry import VerifyQuery
from windlass.core.ref import Ref
from windlass.registry.pins import Pins
from windlass.registry.pins_due import pins_due
from windlass.registry.sources import Sources
from windlass.store.meta import read
from windlass.store.tables import versions

Sql = Callable[..., list[Any]]
HOUR = 3600 * 10**9


class Pinned(Registry):
    """A registry with pins, whose clock can be moved."""

    def __init__(self, path: Path, environ: dict[str, str] | None = None) -> None:
        super().__init__(path)
        self.environ = environ if environ is not None else {}
        self.later = 0
        sources = Sources(self.home.path, self.environ)
        self.pins = Pins(self.engine, self.versions, self.datasets, self.rows, self.blobs, sources, self.now)

    def now(self) -> int:
        import time

        return time.time_ns() + self.later

    def add(self, name: str, source: str, **more: Any) -> PinDetail:
        return self.pins.add(OWNER, PinAdd(name, source, **more))

    def again(self, name: str) -> PinDifference:
        return self.pins.compare(OWNER, PinCompare(name))

    def held(self, name: str) -> list[dict[str, Any]]:
        return list(self.pins.read(OWNER, PinRead(name)).items)

    def outcomes(self, name: str) -> list[str]:
        return [k.outcome for k in self.pins.show(OWNER, PinShow(name)).history]

    def digest(self, label: str) -> str | None:
        return self.versions.resolve(Ref("dataset", "orders", None, label)).digest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "files"
    made.mkdir()
    (made / "a.txt").write_text("one")
    (made / "b.txt").write_text("two")
    return made


@pytest.fixture
def here(tmp_path: Path) -> Pinned:
    return Pinned(tmp_path / "home")


@pytest.fixture
def shop(here: Pinned, postgresql: PostgreSqlServer, database: str, sql: Sql) -> Pinned:  # noqa: F811
    """`orders` in a real PostgreSQL, which `sources.toml` names `shop`."""
    here.environ["OWNERS"] = PASSWORD
    (here.home.path / "sources.toml").write_text(f'[shop]\nurl = "{postgresql.url(database)}"\nuser = "{USER}"\nenv = "OWNERS"\n')
    sql("CREATE TABLE orders (id bigint PRIMARY KEY, who text NOT NULL, total numeric(10,2))")
    sql("INSERT INTO orders SELECT n, 'customer ' || n % 7, n * 1.10 FROM generate_series(1, 500) n")
    return here


def test_a_table_is_recorded_and_its_rows_are_kept(shop: Pinned) -> None:
    found = shop.add("orders", "shop", table="orders", key=("id",)).pin
    assert (found.clock.state, found.said, found.record.count, found.record.principal) == ("materialised", "kept here", 500, USER)
    assert [(c.name, c.type, c.nullable) for c in found.record.columns] == [
        ("id", "bigint", False), ("who", "text", False), ("total", "numeric(10,2)", True),
    ]  # fmt: skip
    assert found.record.tables == ("public.orders",) and {"snapshot", "lsn"} <= found.record.snapshot.token.keys()
    wanted = [{"id": n, "who": f"customer {n % 7}", "total": f"{n * 11 // 10}.{n * 11 % 10}0", "key": str(n)} for n in range(1, 501)]
    assert found.record.digest == make_rows(wanted).tree.root  # as anybody would name these rows
    assert shop.held("orders") == sorted(wanted, key=lambda r: r["key"])[:20]
    version = shop.versions.get("default", "dataset", "orders", (found.rows or "").partition("@")[2])
    assert [(k.relation, k.kind, k.name, f"pin/orders@{k.digest}") for k in version.links] == [("derived-from", "pin", "orders", found.ref)]
    assert shop.digest("main") == shop.digest("pinned") == version.digest
    assert shop.verify.verify(OWNER, VerifyQuery()).problems == ()
    stored = msgspec.json.encode(shop.pins.list(OWNER, PinQuery())) + Path(shop.home.path / "windlass.db").read_bytes()
    assert PASSWORD.encode() not in stored


def test_a_look_says_which_rows_and_columns_differ_and_changes_nothing(shop: Pinned, sql: Sql) -> None:  # noqa: F811
    before = shop.add("orders", "shop", table="orders", key=("id",)).pin
    assert (shop.again("orders").outcome, shop.again("orders").rows) == ("same", RowCounts(0, 0, 0))
    sql("UPDATE orders SET total = 0 WHERE id IN (7, 8)")
    sql("DELETE FROM orders WHERE id = 9")
    sql("INSERT INTO orders VALUES (1000, 'new', 1)")
    found = shop.again("orders")
    assert (found.outcome, found.rows, found.count, found.columns) == ("changed", RowCounts(1, 1, 2), 500, ())
    assert [(k.key, k.fields, k.before is None, k.after is None) for k in found.keys] == [
        ("7", ("total",), False, False), ("8", ("total",), False, False), ("9", (), False, True), ("1000", (), True, False),
    ]  # fmt: skip
    assert (
        found.keys[0].before and found.keys[0].before["total"] == "7.70" and found.keys[0].after and found.keys[0].after["total"] == "0.00"
    )
    sql("ALTER TABLE orders RENAME COLUMN who TO buyer")
    found = shop.again("orders")
    assert found.columns == ("column who (text) was dropped", "column buyer (text) was added") and found.rows == RowCounts(1, 1, 499)
    after = shop.pins.show(OWNER, PinShow("orders")).pin
    assert (after.ref, after.rows, after.clock.state) == (before.ref, before.rows, "materialised") and len(shop.held("orders")) == 20
    assert shop.outcomes("orders") == ["changed", "changed", "same", "same", "first"]


@pytest.mark.parametrize(
    ("change", "outcome", "said"),
    [
        ("DROP TABLE orders", "gone", "does not exist"), ("ALTER TABLE orders RENAME TO elsewhere", "gone", "does not exist"),
        ("ALTER TABLE orders RENAME COLUMN id TO number", "changed", "no column is called 'id'"),
        ("TRUNCATE orders", "changed", "500 rows removed"),
        ("REVOKE ALL ON orders FROM public", "same", ""),
    ],
)  # fmt: skip
def test_a_table_that_vanished_or_changed_is_an_answer(shop: Pinned, sql: Sql, change: str, outcome: str, said: str) -> None:  # noqa: F811
    shop.add("orders", "shop", table="orders", key=("id",))
    shop.add("by-name", "shop", table="orders", key=("id",), keep=False)
    sql(change)
    for name in ("orders", "by-name"):
        found = shop.again(name)
        assert (found.outcome, said in found.why) == (outcome, True), found.why
    states = {p.name: p.clock.state for p in shop.pins.list(OWNER, PinQuery()).items}
    assert states == {"orders": "materialised", "by-name": "live" if outcome == "same" else "lost"}
    assert len(shop.held("orders")) == 20
    with pytest.raises(Invalid, match="cannot be read as it was"):
        shop.held("by-name")


def test_what_was_not_kept_is_kept_later_only_if_it_is_the_same(shop: Pinned, sql: Sql) -> None:  # noqa: F811
    first = shop.add("orders", "shop", table="orders", key=("id",), keep=False).pin
    assert (first.clock.state, first.rows) == ("live", None)
    with pytest.raises(NotFound):
        shop.versions.resolve(Ref("dataset", "orders"))
    kept = shop.pins.keep(OWNER, PinKeep("orders")).pin
    assert kept.ref == first.ref and kept.rows and kept.clock.state == "materialised"
    assert shop.pins.keep(OWNER, PinKeep("orders")).message == "the rows are kept already"
    sql("UPDATE orders SET who = 'x' WHERE id = 1")
    shop.add("other", "shop", query="SELECT * FROM orders", key=("id",), keep=False)
    sql("UPDATE orders SET who = 'y' WHERE id = 1")
    with pytest.raises(Conflict, match="1 row changed"):
        shop.pins.keep(OWNER, PinKeep("other"))
    assert shop.pins.show(OWNER, PinShow("other")).pin.clock.state == "lost"
    anew = shop.pins.keep(OWNER, PinKeep("other", now=True)).pin
    assert anew.clock.state == "materialised" and shop.again("other").outcome == "same"


def test_reading_anew_costs_what_changed_and_loses_no_edit(shop: Pinned, sql: Sql) -> None:  # noqa: F811
    shop.add("orders", "shop", table="orders", key=("id",))
    sizes = {b: len(shop.blobs.get(b)) for b in shop.blobs.all()}
    sql("UPDATE orders SET total = 5 WHERE id = 5")
    second = shop.pins.keep(OWNER, PinKeep("orders", now=True)).pin
    grown = sum(len(shop.blobs.get(b)) for b in shop.blobs.all() if b not in sizes)
    assert grown < sum(sizes.values()) / 4
    assert shop.digest("main") == shop.digest("pinned") == (second.rows or "").partition("@")[2]
    shop.edits.edit(OWNER, EditRequest("orders", ({"key": "6", "who": "edited here"},)))
    edited = shop.digest("main")
    sql("UPDATE orders SET total = 7 WHERE id = 7")
    third = shop.pins.keep(OWNER, PinKeep("orders", now=True)).pin
    assert shop.digest("main") == edited and shop.digest("pinned") == (third.rows or "").partition("@")[2]
    assert shop.verify.verify(OWNER, VerifyQuery()).problems == ()


def test_a_reading_that_breaks_off_leaves_nothing(shop: Pinned, postgresql: PostgreSqlServer, sql: Sql) -> None:  # noqa: F811
    """The server dies in the middle; then it is there again and all is read."""
    sql("INSERT INTO orders SELECT n, repeat('x', 500), 1 FROM generate_series(1001, 60000) n")
    reading = shop.pins._sources.read  # the moment to stop the server is when rows have come

    def stopping(*given: Any) -> Any:
        made = reading(*given)
        enter = made.__enter__

        class Cut:
            def __enter__(self) -> Any:
                incoming = enter()
                rows = incoming.rows

                def cut() -> Any:
                    yield from itertools.islice(rows, 6000)
                    postgresql.stop("immediate")
                    yield from rows

                incoming.rows = cut()
                return incoming

            def __exit__(self, *error: Any) -> Any:
                return made.__exit__(*error)

        return Cut()

    shop.pins._sources.read = stopping  # type: ignore[method-assign]
    try:
        with pytest.raises(Unavailable, match="rows"):
            shop.add("orders", "shop", table="orders", key=("id",))
    finally:
        shop.pins._sources.read = reading  # type: ignore[method-assign]
        postgresql.start()
    with read(shop.engine) as c:
        assert c.execute(select(versions.c.name)).all() == []
    assert shop.pins.list(OWNER, PinQuery()).items == ()
    found = shop.add("orders", "shop", table="orders", key=("id",)).pin
    assert found.record.count == 59_500 and shop.verify.verify(OWNER, VerifyQuery()).problems == ()


def test_a_source_that_cannot_be_asked_is_not_one_that_is_gone(shop: Pinned) -> None:
    shop.add("orders", "shop", table="orders", key=("id",), keep=False)
    shop.environ["OWNERS"] = "wrong-" + PASSWORD
    with pytest.raises(Unavailable) as caught:
        shop.again("orders")
    assert PASSWORD not in str(caught.value.as_dict())
    shop.environ.pop("OWNERS")
    with pytest.raises(Unavailable, match="OWNERS is not set"):
        shop.again("orders")
    assert shop.outcomes("orders") == ["failed", "failed", "first"]
    assert shop.pins.show(OWNER, PinShow("orders")).pin.clock.state == "live"


def test_rows_that_cannot_be_named_are_named_and_the_rest_is_taken(shop: Pinned, sql: Sql) -> None:  # noqa: F811
    sql("CREATE TABLE odd (a text, b text, n int)")
    sql("INSERT INTO odd VALUES ('x', 'y/z', 1), ('x/y', 'z', 2), ('x', 'y/z', 3), (NULL, 'q', 4), ('p', '', 5), ('ü', '%', 6)")
    found = shop.add("odd", "shop", query="SELECT * FROM odd ORDER BY n", key=("a", "b")).pin
    assert [(r["key"], r["n"]) for r in shop.held("odd")] == [("x%2Fy/z", 2), ("x/y%2Fz", 1), ("ü/%25", 6)]
    assert found.record.problems == (
        "row 3 has the key 'x/y%2Fz' again; the first counts",
        "row 4 has nothing in a, which names it",
        "row 5 has nothing in b, which names it",
    )
    with pytest.raises(Invalid, match="no column is called 'id'"):
        shop.add("none", "shop", table="odd", key=("id",))
    with pytest.raises(Invalid, match="column `key`"):
        shop.add("none", "shop", query="SELECT n, 'x' AS key FROM odd", key=("n",))
    with pytest.raises(Invalid, match="nothing in a"):
        shop.add("none", "shop", query="SELECT NULL AS a FROM odd", key=("a",))
    sql("CREATE TABLE many AS SELECT n, NULL AS a FROM generate_series(1, 900) n")
    sql("INSERT INTO many VALUES (901, 1)")
    assert len(shop.add("many", "shop", query="SELECT a::int AS a, n FROM many", key=("a",)).pin.record.problems) == 50
    empty = shop.add("empty", "shop", query="SELECT * FROM odd WHERE n > 99", key=("a",))
    assert (empty.pin.record.count, empty.message) == (0, "it has no rows")


def test_names_are_not_taken_from_others(here: Pinned, folder: Path) -> None:
    here.push(here.dataset({"key": "a", "q": "?"}, name="questions"))
    with pytest.raises(Conflict, match="comes from elsewhere"):
        here.add("questions", str(folder))
    here.add("files", str(folder))
    with pytest.raises(Conflict, match="its endpoint differs"):
        here.add("files", str(folder.parent))
    with pytest.raises(Invalid):
        here.add("No Name", str(folder))
    with pytest.raises(NotFound, match="files"):
        here.pins.show(OWNER, PinShow("file"))
    assert here.pins.read(Actor("k", "viewer"), PinRead("files")).items
    here.add("by-name", str(folder), keep=False)
    (folder / "a.txt").write_text("new")
    here.add("by-name", str(folder), keep=False)
    with pytest.raises(Forbidden):
        here.pins.read(Actor("k", "viewer"), PinRead("by-name"))


def test_a_pin_that_somebody_pushes_is_refused(here: Pinned, folder: Path) -> None:
    ref = here.add("files", str(folder)).pin.ref
    version = here.versions.get("default", "pin", "files", ref.partition("@")[2])
    with pytest.raises(Invalid, match="what the server itself read"):
        here.push(version)


def test_writers_at_once_leave_one_state(here: Pinned, folder: Path) -> None:
    """Some add, some read anew: each either is recorded whole or says why not, and what is there holds together."""
    here.add("files", str(folder))
    errors: list[Exception] = []

    def work(number: int) -> None:
        try:
            for turn in range(5):
                (folder / f"{number}-{turn}.txt").write_text("x")
                here.pins.keep(OWNER, PinKeep("files", now=True))
        except WindlassError as e:
            errors.append(e)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert errors == []
    assert here.verify.verify(OWNER, VerifyQuery()).problems == ()
    assert len(here.outcomes("files")) == 21
    assert here.pins.keep(OWNER, PinKeep("files", now=True)).pin.record.count == 22


class TestBigQuery:
    """A source that can be asked for its past, until it forgets it."""

    @pytest.fixture
    def store(self, here: Pinned, bigquery_server: BigQueryServer) -> Pinned:  # noqa: F811
        bigquery_server.reset()
        here.environ["BIGQUERY_EMULATOR_HOST"] = bigquery_server.address
        self.server = bigquery_server
        data_set = f"d{abs(hash(str(here.home.path))) % 10**9}"
        self.table = f"{data_set}.orders"
        bigquery_server.client.create_dataset(data_set)
        bigquery_server.sql(f"CREATE TABLE {self.table} (id INT64, who STRING)")
        bigquery_server.sql(f"INSERT INTO {self.table} VALUES (1, 'a'), (2, 'b')")
        bigquery_server.reads = (self.table,)
        return here

    def add(self, store: Pinned, **more: Any) -> PinDetail:
        return store.add("orders", f"bigquery://{PROJECT}", query=f"SELECT * FROM {self.table}", key=("id",), **more)

    def test_it_is_read_again_as_it_was_until_it_ends(self, store: Pinned) -> None:
        found = self.add(store).pin
        assert (found.clock.state, found.rows, found.said[:17]) == ("expiring", None, "expires in 6 days")
        self.server.sql(f"UPDATE {self.table} SET who = 'changed' WHERE id = 1")
        assert store.again("orders").outcome == "same"
        assert [r["who"] for r in store.held("orders")] == ["a", "b"]
        store.later = 169 * HOUR
        assert store.pins.show(OWNER, PinShow("orders")).pin.clock.state == "lost"

    def test_its_rows_are_kept_by_themselves_the_day_before_the_end(self, store: Pinned) -> None:
        found = self.add(store).pin
        self.server.sql(f"DELETE FROM {self.table} WHERE id = 2")

        def due() -> list[tuple[str, str]]:
            with read(store.engine) as c:
                return pins_due(c, store.now())

        assert due() == []
        store.later = 145 * HOUR
        assert due() == [("default", found.ref.removeprefix("pin/"))]
        self.server.refuse = lambda path, body: (503, "later")
        with pytest.raises(Unavailable):
            store.pins.keep_before_the_end(*due()[0])
        self.server.refuse = lambda path, body: None
        store.pins.keep_before_the_end(*due()[0])
        assert due() == [] and store.outcomes("orders") == ["kept", "failed", "first"]
        store.later = 1000 * HOUR
        kept = store.pins.show(OWNER, PinShow("orders")).pin
        assert kept.clock.state == "materialised" and [r["who"] for r in store.held("orders")] == ["a", "b"]
        assert store.pins.show(OWNER, PinShow("orders")).history[0].actor == "clock"

    def test_only_the_newest_reading_is_kept_by_itself(self, store: Pinned) -> None:
        self.add(store)
        second = self.add(store).pin
        with read(store.engine) as c:
            assert pins_due(c, store.now() + 145 * HOUR) == [("default", second.ref.removeprefix("pin/"))]
