"""BigQuery, as far as an emulator shows it: rows as they were at a moment after they were changed. `bigquery_server.py` says what the
emulator leaves out, which the tests here say in its place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.registry.sources.bigquery_server import PROJECT, BigQueryServer
from tests.registry.sources.conftest import Reader
from tests.registry.sources.httpd import Httpd
from tests.registry.sources.postgresql_server import free_port

from windlass.core.errors import Invalid, Unavailable
from windlass.core.pin import HOUR_NS, Column
from windlass.registry.sources.source import Gone

ADDRESS = f"bigquery://{PROJECT}"
OLD = [{"key": "a", "n": 1, "note": "one"}, {"key": "b", "n": 2, "note": None}]


@pytest.fixture
def bq(bigquery_server: BigQueryServer, reader: Reader) -> Iterator[BigQueryServer]:
    """A data set `sales` with two orders, and one item of order a."""
    reader.environ["BIGQUERY_EMULATOR_HOST"] = bigquery_server.address
    bigquery_server.reset()
    bigquery_server.client.create_dataset("sales", exists_ok=True)
    bigquery_server.sql("CREATE OR REPLACE TABLE sales.orders (key STRING NOT NULL, n INT64, note STRING)")
    bigquery_server.sql("INSERT INTO sales.orders VALUES ('a', 1, 'one'), ('b', 2, NULL)")
    bigquery_server.sql("CREATE OR REPLACE TABLE sales.items (of_key STRING, what STRING)")
    bigquery_server.sql("INSERT INTO sales.items VALUES ('a', 'tea')")
    bigquery_server.reads = ("sales.orders",)
    yield bigquery_server
    bigquery_server.client.delete_dataset("sales", delete_contents=True, not_found_ok=True)


def change(bq: BigQueryServer) -> None:
    bq.sql("UPDATE sales.orders SET n = 99 WHERE key = 'a'")
    bq.sql("DELETE FROM sales.orders WHERE key = 'b'")
    bq.sql("INSERT INTO sales.orders VALUES ('c', 3, NULL)")


def test_what_was_read_is_read_again_as_it_was_after_the_table_was_changed(bq: BigQueryServer, reader: Reader) -> None:
    spec = reader.spec(ADDRESS, "SELECT * FROM sales.orders ORDER BY key")
    rows, first = reader.read(spec)
    assert rows == OLD
    # that the key may not be null the emulator does not say of what a statement gives
    assert first.columns == (Column("key", "STRING", True), Column("n", "INTEGER", True), Column("note", "STRING", True))
    assert first.tables == ("shop-eu.sales.orders",) and first.snapshot.repeatable
    assert first.snapshot.token["system_time"].endswith("Z")
    change(bq)
    assert [r["key"] for r in reader.read(spec)[0]] == ["a", "c"]
    again, second = reader.read(spec, first.snapshot)
    assert again == OLD
    assert second.snapshot == first.snapshot


@pytest.mark.parametrize(
    "query",
    [
        "SELECT o.* FROM sales.orders AS o ORDER BY key",
        f"SELECT * FROM `{PROJECT}.sales.orders` o WHERE o.n < 50 ORDER BY o.key",
        "WITH x AS (SELECT * FROM sales.orders) SELECT * FROM x ORDER BY key",
        "SELECT * FROM (SELECT * FROM sales.orders WHERE n < 50) ORDER BY key",
        "SELECT a.* FROM sales.orders AS a JOIN sales.orders AS b ON a.key = b.key AND a.n = b.n ORDER BY a.key",
        "SELECT * FROM sales.orders WHERE n IN (SELECT n FROM sales.orders) ORDER BY key",
        "SELECT * FROM sales.orders WHERE 'FROM sales.orders' != '' /* JOIN sales.orders */ ORDER BY key -- FROM sales.orders",
    ],
)
def test_every_way_to_name_a_table_is_read_again_as_it_was(bq: BigQueryServer, reader: Reader, query: str) -> None:
    spec = reader.spec(ADDRESS, query)
    rows, first = reader.read(spec)
    assert rows == OLD and first.snapshot.repeatable
    change(bq)
    assert reader.read(spec, first.snapshot)[0] == OLD
    assert reader.read(spec)[0] != OLD


def test_two_tables_are_both_read_as_they_were(bq: BigQueryServer, reader: Reader) -> None:
    bq.reads = ("sales.orders", "sales.items")
    spec = reader.spec(ADDRESS, "SELECT o.key, i.what FROM sales.orders o LEFT JOIN sales.items AS i ON i.of_key = o.key ORDER BY key")
    rows, first = reader.read(spec)
    assert rows == [{"key": "a", "what": "tea"}, {"key": "b", "what": None}]
    assert first.tables == ("shop-eu.sales.items", "shop-eu.sales.orders")
    bq.sql("UPDATE sales.items SET what = 'coffee' WHERE TRUE")
    change(bq)
    assert reader.read(spec, first.snapshot)[0] == rows


def test_a_view_is_read_as_it_is_now_and_says_so(bq: BigQueryServer, reader: Reader) -> None:
    bq.sql("CREATE OR REPLACE VIEW sales.seen AS SELECT * FROM sales.orders")
    spec = reader.spec(ADDRESS, table="sales.seen")
    rows, first = reader.read(spec)
    assert sorted(r["key"] for r in rows) == ["a", "b"]
    assert not first.snapshot.repeatable and first.snapshot.deadline_ns is None and not first.snapshot.token
    change(bq)
    rows, second = reader.read(spec, first.snapshot)
    assert sorted(r["key"] for r in rows) == ["a", "c"]
    assert second.snapshot.at_ns > first.snapshot.at_ns  # the moment is that of the rows


def test_a_table_without_a_past_is_read_as_it_is(bq: BigQueryServer, reader: Reader) -> None:
    def refuse(path: str, body: dict[str, Any]) -> tuple[int, str] | None:
        told = "FOR SYSTEM_TIME AS OF is not supported for external table"
        return (400, told) if "SYSTEM_TIME" in json.dumps(body) else None

    bq.refuse = refuse
    rows, first = reader.read(reader.spec(ADDRESS, table="sales.orders"))
    assert len(rows) == 2 and not first.snapshot.repeatable


def test_more_tables_than_bigquery_names_are_not_repeatable(bq: BigQueryServer, reader: Reader) -> None:
    bq.reads = tuple(["sales.orders"] * 50)
    assert not reader.read(reader.spec(ADDRESS, table="sales.orders"))[1].snapshot.repeatable


@pytest.mark.parametrize("hours", [48, 168])
def test_the_deadline_is_that_of_the_data_set(bq: BigQueryServer, reader: Reader, hours: int) -> None:
    bq.hours = hours
    snapshot = reader.read(reader.spec(ADDRESS, table="sales.orders"))[1].snapshot
    assert snapshot.deadline_ns == snapshot.at_ns + hours * HOUR_NS


def test_the_deadline_where_nothing_may_be_asked_about_the_data_set(bq: BigQueryServer, reader: Reader) -> None:
    bq.refuse = lambda path, body: (403, "Access Denied: Dataset") if path.partition("?")[0].endswith("/datasets/sales") else None
    snapshot = reader.read(reader.spec(ADDRESS, table="sales.orders"))[1].snapshot
    assert snapshot.deadline_ns == snapshot.at_ns + 168 * HOUR_NS


def test_a_moment_that_is_forgotten_is_gone(bq: BigQueryServer, reader: Reader) -> None:
    spec = reader.spec(ADDRESS, table="sales.orders")
    first = reader.read(spec)[1].snapshot
    told = "Invalid time travel timestamp 1 for table shop-eu:sales.orders@1. Cannot read before 2."
    bq.refuse = lambda path, body: (400, told) if "SYSTEM_TIME" in json.dumps(body) else None
    with pytest.raises(Gone, match="Cannot read before 2"):
        reader.read(spec, first)


@pytest.mark.parametrize(
    "statement", ["DELETE FROM sales.orders WHERE TRUE", "DROP TABLE sales.orders", "CREATE TABLE sales.x AS SELECT 1 AS a"]
)
def test_a_statement_that_writes_is_refused_and_nothing_is_changed(bq: BigQueryServer, reader: Reader, statement: str) -> None:
    with pytest.raises(Invalid, match="a pin reads, and this statement is"):
        reader.rows(ADDRESS, statement)
    assert bq.sql("SELECT COUNT(*) FROM sales.orders") == [(2,)]
    assert bq.sql("SELECT COUNT(*) FROM sales.INFORMATION_SCHEMA.TABLES WHERE table_name = 'x'") == [(0,)]


def test_a_script_is_refused(bq: BigQueryServer, reader: Reader) -> None:
    """That it is not run cannot be shown here: the emulator runs scripts that it is asked to describe. Nothing was asked but that."""
    bq.asked.clear()
    with pytest.raises(Invalid, match="this statement is SCRIPT"):
        reader.rows(ADDRESS, "SELECT 1; DROP TABLE sales.orders")
    sent = [body["configuration"] for body in bq.asked if "DROP" in json.dumps(body)]
    assert sent and all(job["dryRun"] for job in sent)


def test_what_is_not_there_is_gone(bq: BigQueryServer, reader: Reader) -> None:
    bq.reads = ()
    spec = reader.spec(ADDRESS, table="sales.items")
    reader.read(spec)
    bq.sql("DROP TABLE sales.items")
    with pytest.raises(Gone, match=r"^bigquery://shop-eu: Not found: Table shop-eu.sales.items was not found in location US$"):
        reader.read(spec)
    with pytest.raises(Gone):
        reader.rows(ADDRESS, table="nowhere.orders")


def test_a_statement_that_is_none_is_invalid(bq: BigQueryServer, reader: Reader) -> None:
    with pytest.raises(Invalid):
        reader.rows(ADDRESS, "SELEC")


def test_who_may_not_read_is_told_so(bq: BigQueryServer, reader: Reader) -> None:
    bq.refuse = lambda path, body: (403, "Access Denied: Table shop-eu:sales.orders: User does not have permission")
    with pytest.raises(Unavailable, match=r"Access Denied.*GOOGLE_APPLICATION_CREDENTIALS"):
        reader.rows(ADDRESS, table="sales.orders")


def test_a_quota_that_is_used_up_is_no_question_of_rights(bq: BigQueryServer, reader: Reader) -> None:
    bq.refuse = lambda path, body: (403, "Quota exceeded: Your project exceeded quota for free query bytes scanned")
    with pytest.raises(Unavailable, match=r"Quota exceeded.*try again"):
        reader.rows(ADDRESS, table="sales.orders")


def test_without_any_credentials(reader: Reader, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    with pytest.raises(Unavailable, match=r"nobody to ask as.*GOOGLE_APPLICATION_CREDENTIALS"):
        reader.rows(ADDRESS, table="sales.orders")


def test_parameters(bq: BigQueryServer, reader: Reader) -> None:
    query = "SELECT key, @text AS text, @yes AS yes, @half AS half FROM sales.orders WHERE n = @n"
    asked = {"text": "'; --", "yes": True, "half": 0.5, "n": 2}
    assert reader.rows(ADDRESS, query, parameters=asked) == [{"key": "b", "text": "'; --", "yes": True, "half": 0.5}]
    with pytest.raises(Invalid, match="parameter n is neither"):
        reader.rows(ADDRESS, query, parameters={"n": [1]})


def test_values(bq: BigQueryServer, reader: Reader) -> None:
    values = {
        "9007199254740993": "9007199254740993",
        "CAST('nan' AS FLOAT64)": "NaN",
        "CAST('-inf' AS FLOAT64)": "-Infinity",
        "NUMERIC '12345678901234567890.123456789'": "12345678901234567890.123456789",  # fewer places the emulator fills with zeros
        "TIMESTAMP '2026-01-02 03:04:05.123456+02:00'": "2026-01-02T01:04:05.123456Z",
        "DATETIME '2026-01-02 03:04:05'": "2026-01-02T03:04:05",
        "DATE '2026-01-02'": "2026-01-02",
        "TIME '03:04:05'": "03:04:05",
        "[1, 2]": [1, 2],
        "STRUCT(1 AS a, 'x' AS b)": {"a": 1, "b": "x"},
        "[STRUCT(DATE '2026-01-02' AS at)]": [{"at": "2026-01-02"}],
        "TRUE": True,
    }
    bq.reads = ()
    [row] = reader.rows(ADDRESS, "SELECT " + ", ".join(f"{v} AS c{n}" for n, v in enumerate(values)))
    assert dict(zip(values, row.values(), strict=True)) == values


def test_more_rows_than_a_page(bq: BigQueryServer, reader: Reader) -> None:
    bq.reads = ()
    rows = reader.rows(ADDRESS, "SELECT CAST(n AS STRING) AS key FROM UNNEST(GENERATE_ARRAY(1, 25000)) AS n")
    assert {r["key"] for r in rows} == {str(n) for n in range(1, 25_001)}


def test_a_server_that_is_away_is_unavailable(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windlass.registry.sources.bigquery.SECONDS", 1.0)
    reader.environ["BIGQUERY_EMULATOR_HOST"] = f"127.0.0.1:{free_port()}"
    with pytest.raises(Unavailable, match="nothing was kept"):
        reader.rows(ADDRESS, table="sales.orders")


def test_credentials_that_are_none(reader: Reader, tmp_path: Path) -> None:
    reader.named(f'[sales]\nurl = "{ADDRESS}"\nenv = "SALES"')
    for text in (
        None,
        "s3cret",
        "{}",
        json.dumps({"type": "service_account", "private_key": "s3cret", "client_email": "a", "token_uri": "b"}),
    ):
        file = tmp_path / "credentials.json"
        if text is not None:
            file.write_text(text)
        reader.environ["SALES"] = str(file)
        with pytest.raises(Unavailable, match="nobody to ask as") as e:
            reader.rows("sales", table="sales.orders")
        assert "s3cret" not in repr(e.value.as_dict()) and str(file) not in repr(e.value.as_dict())


def test_credentials_that_google_does_not_know(httpd: Httpd, reader: Reader, tmp_path: Path) -> None:
    """The token service that the file names refuses them; nobody is asked for rows."""
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    refused = b'{"error": "invalid_grant", "error_description": "Invalid JWT Signature."}'
    token_uri = httpd.put("/token", refused, 400, Content_Type="application/json")
    account = {"type": "service_account", "client_email": "pins@shop", "private_key": key.decode(), "token_uri": token_uri}
    file = tmp_path / "credentials.json"
    file.write_text(json.dumps(account))
    reader.environ["SALES"] = str(file)
    reader.named(f'[sales]\nurl = "{ADDRESS}"\nenv = "SALES"')
    with pytest.raises(Unavailable, match="Invalid JWT Signature") as e:
        reader.rows("sales", table="sales.orders")
    assert [a.path for a in httpd.asked] == ["/token"]
    said = repr(e.value.as_dict())
    assert str(file) not in said and key.decode().splitlines()[1] not in said


@pytest.mark.parametrize("source", ["bigquery://", "bigquery://p/d", "bigquery://p?key=x", "bigquery://a:b@p"])
def test_addresses_that_are_none(reader: Reader, source: str) -> None:
    with pytest.raises(Invalid):
        reader.spec(source, table="d.t")


def test_a_query_may_not_say_of_which_moment_it_reads(reader: Reader) -> None:
    with pytest.raises(Invalid, match="of which moment"):
        reader.spec(ADDRESS, "SELECT * FROM d.t FOR\n  system_time AS OF CURRENT_TIMESTAMP()")
    assert reader.spec(ADDRESS, "SELECT system_time FROM d.t;").query == "SELECT system_time FROM d.t"
