"""PostgreSQL as it is: one state however many write meanwhile, nothing changed by reading, and what is said when it goes wrong."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
from tests.registry.sources.conftest import Reader
from tests.registry.sources.postgresql_server import OWNER, PASSWORD, READER, READERS, PostgreSqlServer, free_port

from windlass.core.errors import Invalid, NotFound, Unavailable, WindlassError
from windlass.core.pin import Column
from windlass.registry.sources.postgresql import FETCHED
from windlass.registry.sources.source import Gone

Sql = Callable[[str], list[Any]]


@pytest.fixture
def orders(sql: Sql) -> Sql:
    """Rows for three fetches, with keys `o000000` and up."""
    sql("CREATE TABLE orders (key text PRIMARY KEY, n int NOT NULL, note text)")
    sql(f"INSERT INTO orders SELECT 'o' || lpad(i::text, 6, '0'), i, NULL FROM generate_series(0, {FETCHED * 3 - 1}) i")
    return sql


def contents(sql: Sql) -> list[Any]:
    return sql("SELECT count(*), sum(n), md5(string_agg(key, '' ORDER BY key)) FROM orders")


def test_all_rows_are_of_one_state_while_another_writer_commits_between_the_fetches(shop: Reader, orders: Sql) -> None:
    with shop.sources.read(shop.spec("shop", table="orders"), None) as incoming:
        orders("UPDATE orders SET n = n + 100")  # after the snapshot that is recorded, and before the first row
        rows = [next(incoming.rows)]
        orders("UPDATE orders SET n = -1")
        orders("DELETE FROM orders WHERE key > 'o010000'")
        orders("INSERT INTO orders VALUES ('new', 0)")
        rows += incoming.rows
    assert sorted(r["n"] for r in rows) == list(range(FETCHED * 3))
    assert contents(orders)[0][0] == 10_002  # and that was committed
    assert len(shop.rows("shop", table="orders")) == 10_002


def test_what_is_known_of_a_reading(shop: Reader, orders: Sql, postgresql: PostgreSqlServer, database: str) -> None:
    before = orders("SELECT (extract(epoch FROM clock_timestamp()) * 1e9)::bigint")[0][0]
    spec = shop.spec("shop", "SELECT key, n, n / 2 AS half FROM orders WHERE n < 3 ORDER BY n;")
    rows, incoming = shop.read(spec)
    assert rows == [{"key": f"o00000{n}", "n": n, "half": n // 2} for n in range(3)]
    assert incoming.columns == (Column("key", "text", False), Column("n", "integer", False), Column("half", "integer"))
    assert incoming.tables == ("public.orders",)
    assert incoming.principal == OWNER
    assert incoming.snapshot.token.keys() == {"snapshot", "lsn", "version"} and not incoming.snapshot.repeatable
    assert before <= incoming.snapshot.at_ns and incoming.snapshot.deadline_ns is None
    assert (spec.endpoint, spec.source) == (f"{postgresql.url(database)}", "shop")


def test_a_table_without_rows_still_has_columns(shop: Reader, sql: Sql) -> None:
    sql("CREATE TABLE nothing (key bigint, at timestamptz(3) NOT NULL, price numeric(10, 2))")
    rows, incoming = shop.read(shop.spec("shop", table="nothing"))
    assert rows == []
    assert incoming.columns == (
        Column("key", "bigint", True), Column("at", "timestamp(3) with time zone", False), Column("price", "numeric(10,2)", True),
    )  # fmt: skip


@pytest.mark.parametrize("table", ["orders", "public.orders", '"public"."orders"'])
def test_a_table_is_named_with_or_without_its_schema(shop: Reader, orders: Sql, table: str) -> None:
    assert len(shop.rows("shop", table=table)) == FETCHED * 3


def test_a_table_whose_name_is_a_statement_is_only_a_name(shop: Reader, orders: Sql) -> None:
    before = contents(orders)
    with pytest.raises(Gone):
        shop.rows("shop", table="orders; DROP TABLE orders")
    assert contents(orders) == before


WRITES = [
    "INSERT INTO orders VALUES ('x', 1, '') RETURNING *",
    "UPDATE orders SET n = 0 RETURNING *",
    "DELETE FROM orders RETURNING *",
    "WITH gone AS (DELETE FROM orders RETURNING *) SELECT * FROM gone",
    "WITH made AS (INSERT INTO orders VALUES ('x', 1, '') RETURNING *) SELECT * FROM made",
    "SELECT emptied() AS n",
    "SELECT 1; DROP TABLE orders",
    "SELECT 1; COMMIT; DROP TABLE orders",
    "COMMIT; DELETE FROM orders",
    "ROLLBACK",
    "DROP TABLE orders",
    "TRUNCATE orders",
    "CREATE TABLE copied AS SELECT * FROM orders",
    "SELECT * INTO copied FROM orders",
    "SELECT * FROM orders FOR UPDATE",
    "COPY orders TO PROGRAM 'touch {file}'",
    "COPY (SELECT 1) TO PROGRAM 'touch {file}'",
    "COPY orders FROM PROGRAM 'touch {file}'",
    "DO $$ BEGIN DELETE FROM orders; END $$",
    "CALL emptied()",
    "EXPLAIN ANALYZE DELETE FROM orders",
    "ANALYZE DELETE FROM orders",
    "SELECT nextval('counted')",
    "SELECT set_config('transaction_read_only', 'off', false)",
    "SET transaction_read_only = off",
    "VACUUM orders",
    ") SELECT 1",
]


@pytest.mark.parametrize("statement", WRITES)
def test_a_statement_that_writes_is_refused_and_nothing_is_changed(shop: Reader, orders: Sql, statement: str, tmp_path: Any) -> None:
    orders("CREATE FUNCTION emptied() RETURNS int LANGUAGE plpgsql AS $$ BEGIN DELETE FROM orders; RETURN 1; END $$")
    orders("CREATE SEQUENCE counted")
    before, objects = contents(orders), "SELECT count(*) FROM pg_class UNION ALL SELECT count(*) FROM pg_largeobject_metadata"
    there = orders(objects)
    file = tmp_path / "touched"
    with pytest.raises(Invalid) as e:
        shop.rows("shop", statement.format(file=file))
    assert PASSWORD not in str(e.value) and e.value.remedy
    assert contents(orders) == before and orders(objects) == there
    assert orders("SELECT is_called FROM counted") == [(False,)]
    assert not file.exists()


def test_what_a_server_lets_a_reading_transaction_write_is_undone(shop: Reader, sql: Sql) -> None:
    """Before version 16 large objects can be made in a transaction that only reads."""
    try:
        shop.rows("shop", "SELECT lo_create(0)::text AS key")
    except Invalid:
        pass
    assert sql("SELECT count(*) FROM pg_largeobject_metadata") == [(0,)]


def test_a_function_that_turns_writing_on_cannot(shop: Reader, orders: Sql) -> None:
    orders("""CREATE FUNCTION sly() RETURNS int LANGUAGE plpgsql AS
        $$ BEGIN SET transaction_read_only = off; DELETE FROM orders; RETURN 1; END $$""")
    before = contents(orders)
    with pytest.raises(Invalid):
        shop.rows("shop", "SELECT sly() AS key")
    assert contents(orders) == before


def test_what_has_vanished_is_gone(shop: Reader, orders: Sql) -> None:
    spec, picked = shop.spec("shop", table="orders"), shop.spec("shop", "SELECT key, note FROM orders")
    whole = shop.read(spec)[1].columns
    orders("ALTER TABLE orders DROP COLUMN note")
    with pytest.raises(Gone, match='column "note" does not exist'):
        shop.read(picked)
    assert shop.read(spec)[1].columns == whole[:2]
    orders("ALTER TABLE orders RENAME TO olders")
    with pytest.raises(Gone, match='relation "orders" does not exist'):
        shop.read(spec)
    with pytest.raises(Gone):
        shop.rows("shop", table="nowhere.orders")


def test_a_database_with_another_name_now_is_gone(shop: Reader, orders: Sql, postgresql: PostgreSqlServer, database: str) -> None:
    spec = shop.spec("shop", table="orders")
    with postgresql.admin() as c:
        c.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'")
        c.execute(f"ALTER DATABASE {database} RENAME TO {database}_old")
        try:
            with pytest.raises(Gone, match=f"{database}.*does not exist") as e:
                shop.read(spec)
            assert OWNER in str(e.value) and PASSWORD not in str(e.value)
        finally:
            c.execute(f"ALTER DATABASE {database}_old RENAME TO {database}")


def test_a_wrong_password_is_told_without_it(shop: Reader, orders: Sql) -> None:
    shop.environ["OWNERS"] = "wrong-s3cret"
    with pytest.raises(Unavailable, match="did not let owner into") as e:
        shop.rows("shop", table="orders")
    assert "wrong-s3cret" not in repr(e.value.as_dict()) and "sources.toml" in str(e.value)
    del shop.environ["OWNERS"]
    with pytest.raises(Unavailable, match="OWNERS is not set"):
        shop.rows("shop", table="orders")


def test_without_a_name_the_environment_of_the_server_says_who_reads(
    shop: Reader, orders: Sql, postgresql: PostgreSqlServer, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", READERS)
    url = postgresql.url(database).replace("//", f"//{READER}@")
    orders("GRANT SELECT ON orders TO reader")
    assert shop.read(shop.spec(url, "SELECT key FROM orders LIMIT 1"))[1].principal == READER
    monkeypatch.setenv("PGPASSWORD", "wrong-s3cret")
    with pytest.raises(Unavailable) as e:
        shop.rows(url, table="orders")
    assert "wrong-s3cret" not in repr(e.value.as_dict())


def test_who_may_not_read_a_table_is_told_so(shop: Reader, orders: Sql) -> None:
    with pytest.raises(Unavailable, match="permission denied for table orders"):
        shop.rows("guest", table="orders")


@pytest.mark.parametrize(
    "address",
    [
        f"postgresql://{OWNER}:{PASSWORD}@127.0.0.1/shop",
        f"postgresql://127.0.0.1/shop?password={PASSWORD}",
        f"postgresql://{OWNER}:pa#{PASSWORD}@127.0.0.1/shop",
        f"postgresql://{OWNER}:pa/{PASSWORD}@127.0.0.1/shop",
        f"postgresql://{OWNER}:12/{PASSWORD}@127.0.0.1/shop",
        f"postgresql://127.0.0.1/shop?sslpassword={PASSWORD}",
    ],
)
def test_an_address_with_a_password_is_refused_and_not_repeated(shop: Reader, address: str) -> None:
    with pytest.raises(Invalid) as e:
        shop.spec(address, table="orders")
    assert PASSWORD not in repr(e.value.as_dict())


def test_a_server_that_is_away_is_unavailable(reader: Reader) -> None:
    port = free_port()
    with pytest.raises(Unavailable, match=rf"nobody answers at 127\.0\.0\.1:{port}: .*refused") as e:
        reader.rows(f"postgresql://someone@127.0.0.1:{port}/shop", table="orders")
    assert e.value.remedy == "is the database up, and this its host and port?" and "did not let" not in str(e.value)
    with pytest.raises(Unavailable, match=r"nobody answers at no-such-host\.invalid:5432"):
        reader.rows("postgresql://someone@no-such-host.invalid/shop", table="orders")


def test_a_server_killed_in_the_middle_says_after_how_many_rows_and_is_read_again_when_it_is_back(
    shop: Reader, sql: Sql, postgresql: PostgreSqlServer
) -> None:
    sql("CREATE TABLE many AS SELECT i AS key, repeat('x', 50) AS note FROM generate_series(1, 200000) i")
    spec = shop.spec("shop", table="many")
    got = 0
    with pytest.raises(Unavailable) as e, shop.sources.read(spec, None) as incoming:
        for _ in incoming.rows:
            got += 1
            if got == FETCHED * 2 + 1:
                postgresql.stop("immediate")
    assert f"the database broke off after {got:,} rows" in str(e.value) and got == FETCHED * 3
    try:
        with pytest.raises(Unavailable):
            shop.read(spec)
    finally:
        postgresql.start()
    assert len(shop.read(spec)[0]) == 200_000


def test_a_reading_that_is_left_early_leaves_no_connection(shop: Reader, orders: Sql) -> None:
    with shop.sources.read(shop.spec("shop", table="orders"), None) as incoming:
        next(incoming.rows)
    del incoming
    gc.collect()  # what a forgotten generator raises would be reported here
    # a backend ends on its own time, after its client has gone
    while orders("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'windlass pin'") != [(0,)]:
        pass


def test_a_query_that_takes_too_long_for_the_server_is_unavailable(shop: Reader, orders: Sql, database: str) -> None:
    orders(f"ALTER DATABASE {database} SET statement_timeout = '50ms'")
    with pytest.raises(Unavailable, match="statement timeout"):
        shop.rows("shop", "SELECT pg_sleep(60) AS key")


def test_a_percent_sign_is_one_without_parameters_and_is_doubled_with_them(shop: Reader, orders: Sql) -> None:
    assert len(shop.rows("shop", "SELECT key FROM orders WHERE key LIKE 'o00000%' AND n % 2 = 1")) == 5
    asked = {"least": 6, "like": "o00000%"}
    query = "SELECT key FROM orders WHERE key LIKE %(like)s AND n %% 2 = 1 AND n >= %(least)s"
    assert [r["key"] for r in shop.rows("shop", query, parameters=asked)] == ["o000007", "o000009"]
    with pytest.raises(Invalid, match="write %% for a %"):
        shop.rows("shop", "SELECT key FROM orders WHERE n % 2 = %(rest)s", parameters={"rest": 1})


def test_parameters_are_values_and_never_sql(shop: Reader, orders: Sql) -> None:
    before = contents(orders)
    query = "SELECT %(text)s::text AS key, %(yes)s AS yes, %(half)s::float8 AS half, %(none)s::text AS none"
    asked = {"text": "'; DROP TABLE orders; --", "yes": True, "half": 0.5, "none": None}
    assert shop.rows("shop", query, parameters=asked) == [{"key": asked["text"], "yes": True, "half": 0.5, "none": None}]
    assert contents(orders) == before
    for wrong in ({"other": 1}, {"text": {"a": 1}}):
        with pytest.raises(Invalid):
            shop.rows("shop", query, parameters=wrong)


def test_two_columns_of_one_name_are_refused_by_name(shop: Reader, orders: Sql) -> None:
    with pytest.raises(Invalid, match="two columns are called 'n'"):
        shop.rows("shop", "SELECT key, n, n FROM orders")


def test_the_tables_behind_views_functions_and_partitions(shop: Reader, orders: Sql) -> None:
    orders("CREATE SCHEMA other")
    orders("CREATE TABLE other.customers (key text)")
    orders("CREATE VIEW seen AS SELECT o.key FROM orders o JOIN other.customers c USING (key)")
    orders("CREATE MATERIALIZED VIEW kept AS SELECT key FROM orders")
    orders("CREATE TABLE parts (key int) PARTITION BY RANGE (key)")
    orders("CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (9)")

    def tables(query: str) -> tuple[str, ...]:
        return shop.read(shop.spec("shop", query))[1].tables

    assert tables("SELECT * FROM seen") == ("other.customers", "public.orders")
    assert tables("SELECT * FROM kept") == ("public.kept",)
    assert tables("SELECT * FROM parts") == ("public.parts_1",)
    assert tables("WITH c AS (SELECT * FROM orders) SELECT key FROM c WHERE n > (SELECT count(*) FROM other.customers)") == (
        "other.customers", "public.orders",
    )  # fmt: skip
    assert tables("SELECT 'from orders' AS key") == ()


def test_every_error_is_ours_and_none_holds_a_secret(shop: Reader, orders: Sql) -> None:
    for query in ("SELEC", "SELECT 1/0 AS key", "SHOW all", "SELECT 'x'::int AS key", "SELECT %(p)s AS key", "", "-- nothing", "SELECT '"):
        with pytest.raises(WindlassError) as e:
            shop.rows("shop", query)
        assert PASSWORD not in repr(e.value.as_dict()), query


@pytest.mark.parametrize("source", ["postgresql://h:x/db", "postgresql://h/db?options=-c", "mysql://h/db", "postgresql://[::1/db"])
def test_addresses_that_are_none(reader: Reader, source: str) -> None:
    with pytest.raises(Invalid):
        reader.spec(source, table="orders")


def test_a_query_or_a_table_and_not_both(reader: Reader) -> None:
    for more in ({}, {"query": "SELECT 1", "table": "orders"}):
        with pytest.raises(Invalid, match="a query or a table"):
            reader.spec("postgresql://h/db", **more)
    with pytest.raises(NotFound):
        reader.spec("a-name", table="orders")
