"""Where `FOR SYSTEM_TIME AS OF` is written in a statement, and when it is not written at all."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.registry.sources.as_of import as_of

MOMENT = dt.datetime(2026, 1, 2, 3, 4, 5, 678, dt.timezone(dt.timedelta(hours=1)))
AT = " FOR SYSTEM_TIME AS OF TIMESTAMP '2026-01-02 02:04:05.000678+00:00'"
TABLES = ("shop-eu.sales.items", "shop-eu.sales.orders")
ORDERS = TABLES[1:]


def stamped(query: str, tables: tuple[str, ...] = ORDERS) -> str | None:
    """What is made of a query, with the clause as @."""
    made = as_of(query, tables, MOMENT, "shop-eu")
    return None if made is None else made.replace(AT, " @")


# each with the place where the clause belongs as ` @`
ORDERS_ONLY = [
    "SELECT * FROM sales.orders @",
    "SELECT * FROM `shop-eu.sales.orders` @",
    "SELECT * FROM `shop-eu`.sales.`orders` @",
    "SELECT * FROM `shop-eu`.`sales`.`orders` @ WHERE TRUE",
    "SELECT * FROM shop-eu.sales.orders @",
    "select * from sales.orders o @ where o.n > 1",
    "SELECT * FROM sales.orders AS o @ WHERE o.n > 1",
    "SELECT * FROM sales.orders AS `o` @ WHERE o.n > 1",
    "SELECT * FROM sales.orders @ TABLESAMPLE SYSTEM (10 PERCENT)",
    "SELECT * FROM sales.orders AS a @ JOIN sales.orders AS b @ USING (key)",
    "SELECT * FROM sales.orders a @, sales.orders b @ WHERE a.key = b.key",
    "SELECT * FROM sales.orders @ LEFT JOIN (SELECT key FROM sales.orders @) AS x USING (key), sales.orders AS z @",
    "SELECT * FROM (sales.orders AS a @ JOIN sales.orders AS b @ USING (key))",
    "SELECT * FROM ((sales.orders AS a @ CROSS JOIN sales.orders AS b @))",
    "WITH x AS (SELECT * FROM sales.orders @), y AS (SELECT * FROM x) SELECT * FROM x, y JOIN sales.orders @ USING (key)",
    "WITH orders AS (SELECT * FROM sales.orders @) SELECT * FROM orders",
    "SELECT (SELECT MAX(n) FROM sales.orders @) AS most, [1, 2], ARRAY(SELECT key FROM sales.orders o @ ORDER BY 1, 2)",
    "SELECT key FROM sales.orders @ UNION ALL SELECT key FROM sales.orders @ ORDER BY key, n LIMIT 3",
    "SELECT * EXCEPT (n), n FROM sales.orders @ WHERE key IN (SELECT key FROM sales.orders @)",
    "SELECT * FROM sales.orders AS o @, o.lines",
    "SELECT * FROM sales.orders @, orders.lines AS line, UNNEST(line.parts) AS part WITH OFFSET AS n",
    "SELECT * FROM sales.orders @, UNNEST([STRUCT(1 AS a, 2 AS b)]) u, u.rest",
    "SELECT EXTRACT(DATE FROM o.created), TRIM(o.a, o.b) FROM sales.orders AS o @",
    "SELECT a IS NOT DISTINCT FROM o.b FROM sales.orders AS o @",
    "SELECT 'FROM sales.orders' AS text, \"JOIN sales.orders\" FROM sales.orders @",
    "SELECT '''FROM\nsales.orders it's''' FROM sales.orders @ -- FROM sales.orders",
    "SELECT r\"\\\" AS a, 'it\\'s FROM sales.orders' FROM sales.orders @ # JOIN sales.orders",
    "SELECT 1 /* FROM sales.orders\n JOIN sales.orders */ FROM /* of */ sales.orders /* as */ AS /* such */ o @ WHERE TRUE",
    "SELECT a--FROM sales.orders\nFROM sales.orders @--and so on",
    "SELECT a-b FROM sales.orders @ WHERE a-1 > 0",
    "FROM sales.orders @ |> WHERE n > 1 |> JOIN sales.orders AS x @ USING (key) |> SELECT key, n",
    "SELECT * FROM sales.orders @ WINDOW w AS (PARTITION BY key, n)",
]


@pytest.mark.parametrize("query", ORDERS_ONLY)
def test_the_clause_stands_after_each_table_and_its_alias(query: str) -> None:
    assert stamped(query.replace(" @", "")) == query


def test_two_tables() -> None:
    asked = "SELECT * FROM sales.orders AS o @ JOIN `sales.items` i @ ON i.of = o.key"
    assert stamped(asked.replace(" @", ""), TABLES) == asked


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1",
        "SELECT * FROM sales.view",  # BigQuery says: orders
        "SELECT * FROM sales.view JOIN sales.orders USING (key)",  # half of it would be of then and half of now
        "SELECT * FROM sales.view AS v, sales.orders AS o",
        "SELECT COUNT(*) AS sales FROM sales.view AS sales JOIN sales.orders USING (key)",
        "SELECT * FROM reports.view, sales.orders",
        "SELECT * FROM sales.orders, sales.function(1)",
        "SELECT * FROM sales.orders, sales.INFORMATION_SCHEMA.TABLES",
        "SELECT * FROM `sales.orders_*`, sales.orders",
        "SELECT * FROM sales . orders JOIN sales.orders USING (key)",
        "SELECT * FROM other-project.sales.orders",
        "SELECT 'FROM sales.orders'",
        "SELECT * FROM sales.view -- FROM sales.orders",
        "SELECT a-- FROM sales.orders\nFROM sales.view",
        "SELECT ML.PREDICT(MODEL m, TABLE sales.orders) FROM sales.orders",
    ],
)
def test_what_is_not_met_everywhere_is_not_repeatable(query: str) -> None:
    assert stamped(query) is None


def test_a_statement_of_which_a_table_was_not_met_is_not_repeatable() -> None:
    assert stamped("SELECT * FROM sales.orders", TABLES) is None
    assert stamped("SELECT * FROM sales.orders", ()) is None


@given(st.lists(st.sampled_from([*"'\"`()[],.;@#\\\n", "--", "/*", "*/", "FROM", "JOIN", "SELECT", "AS", "o", "sales.orders", "r", "1"])))
def test_whatever_is_written_only_the_clause_is_added(parts: list[str]) -> None:
    query = " ".join(parts)
    made = as_of(query, ORDERS, MOMENT, "shop-eu")
    assert made is None or (made != query and made.replace(AT, "") == query)
