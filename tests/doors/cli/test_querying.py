"""`windlass sql`, `windlass views`, and one trace piece by piece, on a folder without a server."""

from __future__ import annotations

import json

import duckdb
from tests.doors.cli.conftest import Shell


def test_sql_as_a_table_a_file_csv_and_json(shop: Shell) -> None:
    shop("push")
    trace = shop.json("run", "shop", "When do you open?")["trace"]
    told = shop("sql", "SELECT trace_id, count(*) AS steps FROM spans GROUP BY ALL").stdout
    assert trace in told and "1 row of" in told
    assert shop.json("sql", f"SELECT trace_id FROM traces WHERE trace_id = '{trace}'")["rows"] == [[trace]]
    assert shop("sql", "-", "--csv", stdin="SELECT 1 AS a, 'x,y' AS b").stdout.splitlines() == ["a,b", '1,"x,y"']
    assert "took_ms" in shop("sql").stdout
    shop("sql", "SELECT kind, took_ms, tags FROM spans ORDER BY kind", "--to", str(shop.cwd / "steps.parquet"))
    shop("sql", "SELECT kind FROM spans", "--to", str(shop.cwd / "steps.jsonl"))
    packed = duckdb.sql(f"DESCRIBE FROM '{shop.cwd / 'steps.parquet'}'").fetchall()
    assert [row[:2] for row in packed] == [("kind", "VARCHAR"), ("took_ms", "DOUBLE"), ("tags", "VARCHAR[]")]
    lines = [json.loads(line)["kind"] for line in (shop.cwd / "steps.jsonl").read_text().splitlines()]
    assert sorted(lines) == [row[0] for row in duckdb.sql(f"SELECT kind FROM '{shop.cwd / 'steps.parquet'}' ORDER BY kind").fetchall()]
    for words, why in ((("DROP TABLE spans",), "only a SELECT"), (("SELECT 1", "--to", "x.txt"), "neither JSON Lines nor Parquet")):
        assert why in shop("sql", *words, code=1).stderr


def test_views_are_kept_listed_and_removed(shop: Shell) -> None:
    shop("views", "save", "failures", "status:error", "--shared")
    shop("views", "save", "costs", "/dashboards?by=model&last=7d&cursor=9")
    kept = {v["name"]: v for v in shop.json("views", "list")["items"]}
    assert kept["costs"]["asked"] == {"by": "model", "last": "7d"} and kept["failures"]["shared"]
    assert shop.json("views", "remove", "failures", "--shared")["name"] == "failures"
    assert "there is no shared view" in shop("views", "remove", "costs", "--shared", code=1).stderr
    assert "is not a page" in shop("views", "save", "x", "/policy", code=1).stderr


def test_a_trace_is_told_piece_by_piece(shop: Shell) -> None:
    shop("push")
    trace = shop.json("run", "shop", "When do you open?")["trace"]
    root = shop.json("traces", trace)["spans"][0]["span_id"]
    below = shop.json("traces", trace, "--below", root[:8])
    assert below["below"] == root and all(s["level"] > 0 for s in below["items"])
    assert shop.json("traces", trace, "--order", "slow")["items"][0]["self_ns"] > 0
    assert "no step failed" in shop("traces", trace, "--order", "failed").stdout
    assert "there is no order" in shop("traces", trace, "--order", "best", code=1).stderr
    graph = shop.json("traces", trace, "--graph")
    assert graph["calls"][0]["source"] is None and "caller" in shop("traces", trace, "--graph").stdout
