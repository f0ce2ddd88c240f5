"""Values of PostgreSQL as JSON: exact, and the same text whatever the server, the database or the role prefers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import psycopg
import pytest
from tests.registry.sources.conftest import Reader
from tests.registry.sources.postgresql_server import PostgreSqlServer

from windlass.core.errors import Invalid

Sql = Callable[[str], list[Any]]

VALUES = {
    # numbers
    "1::smallint": 1,
    "9007199254740991::bigint": 9007199254740991,
    "9007199254740993::bigint": "9007199254740993",
    "(-9223372036854775808)::bigint": "-9223372036854775808",
    "0.1::numeric": "0.1",
    "1.50::numeric(10, 2)": "1.50",
    "123456789012345678901234567890.000000000000000000001": "123456789012345678901234567890.000000000000000000001",
    "'1e-20'::numeric": "0.00000000000000000001",
    "'NaN'::numeric": "NaN",
    "0.1::float8": 0.1,
    "0.1::float4": 0.1,
    "1e300::float8": 1e300,
    "'NaN'::float8": "NaN",
    "'-Infinity'::float4": "-Infinity",
    "'Infinity'::float8": "Infinity",
    "1234.5::money": "$1,234.50",
    "4294967295::oid": 4294967295,
    # texts
    "'ä €'::text": "ä €",
    "'ab'::char(4)": "ab  ",
    "'x'::varchar": "x",
    "'n'::name": "n",
    "true": True,
    "NULL::int": None,
    "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    "'10.0.0.1/8'::inet": "10.0.0.1/8",
    "'<a/>'::xml": "<a/>",
    "B'101'::bit(3)": "101",
    "'(1,2)'::point": "(1,2)",
    "'a b'::tsvector": "'a' 'b'",
    # times
    "'2026-01-02 03:04:05.123456+02'::timestamptz": "2026-01-02T01:04:05.123456Z",
    "'2026-01-02 03:04:05'::timestamp": "2026-01-02T03:04:05",
    "'infinity'::timestamptz": "infinity",
    "'-infinity'::date": "-infinity",
    "'0044-03-15 12:00:00+00 BC'::timestamptz": "0044-03-15 12:00:00+00 BC",
    "'12026-01-02 00:00+00'::timestamptz": "12026-01-02T00:00:00Z",
    "'2026-01-02'::date": "2026-01-02",
    "'03:04:05'::time": "03:04:05",
    "'03:04:05+02'::timetz": "03:04:05+02",
    "'1 year 2 days 03:04:05.5'::interval": "P1Y2DT3H4M5.5S",
    # bytes
    "'\\xdeadbeef'::bytea": "3q2+7w==",
    "''::bytea": "",
    # lists
    "ARRAY[1, NULL, 9007199254740993]::bigint[]": [1, None, "9007199254740993"],
    "ARRAY[[1, 2], [3, 4]]": [[1, 2], [3, 4]],
    "'{}'::text[]": [],
    "ARRAY['a,b', 'NULL', NULL, '\"']": ["a,b", "NULL", None, '"'],
    "ARRAY['NaN', '1.5']::float8[]": ["NaN", 1.5],
    "ARRAY[0.1, 1.50]::numeric[]": ["0.1", "1.50"],
    "ARRAY['2026-01-02 03:04:05+02']::timestamptz[]": ["2026-01-02T01:04:05Z"],
    "ARRAY['\\x00']::bytea[]": ["AA=="],
    "'[0:1]={7,8}'::int[]": [7, 8],
    "ARRAY['{\"a\": 1}']::jsonb[]": [{"a": 1}],
    # documents
    '\'{"a": [1, 2.5, null, {"b": true}]}\'::jsonb': {"a": [1, 2.5, None, {"b": True}]},
    "'{\"a\": 9007199254740993}'::json": {"a": "9007199254740993"},
    "'{\"a\": 123456789012345678901234567890}'::jsonb": {"a": "123456789012345678901234567890"},
    "'null'::jsonb": None,
    "'\"x\"'::json": "x",
    # ranges, enums, composites, domains
    "int4range(1, 5)": "[1,5)",
    "tstzrange('2026-01-02 03:04:05+02', NULL)": '["2026-01-02 01:04:05+00",)',
    "'{[1,3)}'::int4multirange": "{[1,3)}",
    "ARRAY[int4range(1, 5)]": ["[1,5)"],
    "'sad'::mood": "sad",
    "ARRAY['sad', 'glad']::mood[]": "{sad,glad}",
    "ROW('Main St', 5)::place": '("Main St",5)',
    "ROW(1, 'a', NULL, '2026-01-02 03:04:05+02'::timestamptz)": '(1,a,,"2026-01-02 01:04:05+00")',
    "ARRAY[ROW(1, 'a')]": ["(1,a)"],
    "1.50::price": "1.50",
    "ARRAY[1.50]::price[]": "{1.50}",
}


@pytest.fixture
def typed(sql: Sql) -> Sql:
    sql("CREATE TYPE mood AS ENUM ('sad', 'glad')")
    sql("CREATE TYPE place AS (street text, number int)")
    sql("CREATE DOMAIN price AS numeric(10, 2)")
    return sql


def test_every_kind_of_value(shop: Reader, typed: Sql) -> None:
    query = "SELECT " + ", ".join(f"{value} AS c{n}" for n, value in enumerate(VALUES))
    [row] = shop.rows("shop", query)
    got = dict(zip(VALUES, row.values(), strict=True))
    assert got == VALUES
    assert {v: type(got[v]) for v in got} == {v: type(VALUES[v]) for v in VALUES}  # 1 and True are equal


def test_values_are_the_same_whatever_the_server_prefers(shop: Reader, typed: Sql, postgresql: PostgreSqlServer, database: str) -> None:
    query = "SELECT " + ", ".join(f"{value} AS c{n}" for n, value in enumerate(VALUES))
    before = shop.rows("shop", query)
    for setting in (
        "TimeZone = 'America/St_Johns'", "DateStyle = 'German, DMY'", "IntervalStyle = 'postgres_verbose'", "extra_float_digits = -15",
        "bytea_output = 'escape'",
    ):  # fmt: skip
        typed(f"ALTER DATABASE {database} SET {setting}")
    with postgresql.admin(database) as c:  # that is how it answers others now
        assert str(c.execute("SELECT '2026-01-02 03:04:05+02'::timestamptz::text").fetchone()) == "('01.01.2026 21:34:05 NST',)"
    assert shop.rows("shop", query) == before


def test_no_type_gives_what_json_has_not(shop: Reader, typed: Sql) -> None:
    """Whatever can be written as text, of every type there is and of lists of them."""
    types = [name for (name,) in typed("SELECT format_type(oid, NULL) FROM pg_type WHERE typtype IN ('b', 'd', 'e', 'r', 'm') ORDER BY 1")]
    texts = (
        "1",
        "a",
        "2026-01-02 03:04",
        "{}",
        "[1,2)",
        "(1,2)",
        "((1,2),(3,4))",
        "<(1,2),3>",
        "1.1.1.1",
        "08:00:2b:01:02:03",
        "{1,2,3}",
        "1:1:",
    )
    met = 0
    for name in types:
        for text in texts:
            try:
                typed(f"SELECT '{text}'::{name}")
            except psycopg.Error:  # this type has no such value
                continue
            [row] = shop.rows("shop", f"SELECT '{text}'::{name} AS a")
            assert msgspec.json.decode(msgspec.json.encode(row)) == row, name
            assert type(row["a"]) in (str, int, float, bool, list, dict, type(None)), name
            met += 1
            break
    assert met > 60


@pytest.mark.parametrize("encoding", ["LATIN1", "EUC_JP"])
def test_text_is_read_whatever_the_database_keeps_it_in(shop: Reader, postgresql: PostgreSqlServer, database: str, encoding: str) -> None:
    word = "é" if encoding == "LATIN1" else "日本"
    with postgresql.admin() as c:
        c.execute(f"DROP DATABASE {database}")
        c.execute(f"CREATE DATABASE {database} ENCODING '{encoding}' TEMPLATE template0 LOCALE 'C'")
    query = f"SELECT '{word}' AS key, '[\"{word}\"]'::jsonb AS doc, ARRAY['{word}'] AS list"
    assert shop.rows("shop", query) == [{"key": word, "doc": [word], "list": [word]}]


def test_bytes_that_are_no_text_are_refused(shop: Reader, postgresql: PostgreSqlServer, database: str) -> None:
    with postgresql.admin() as c:
        c.execute(f"DROP DATABASE {database}")
        c.execute(f"CREATE DATABASE {database} ENCODING 'SQL_ASCII' TEMPLATE template0 LOCALE 'C'")
    with pytest.raises(Invalid, match="UTF8"):
        shop.rows("shop", r"SELECT E'\xe9' AS key")
