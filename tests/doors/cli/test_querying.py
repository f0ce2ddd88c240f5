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


def test_a_view_by_its_name_is_what_traces_and_figures_are_asked(shop: Shell) -> None:
    shop("push")
    opens, kayaks = (shop.json("run", "shop", q)["trace"] for q in ("When do you open?", "Do you sell kayaks?"))
    assert "windlass views save hours 'status:error'" in shop("traces", "--view", "hours", code=1).stderr
    shop("views", "save", "hours", '"you open"')
    shop("views", "save", "either", "/traces?filter=status%3Aok&last=1h")
    shop("views", "save", "models", "/dashboards?by=model&last=7d&filter=kayaks")

    def found(*words: str) -> set[str]:
        return {t["trace_id"] for t in shop.json("traces", *words)["items"]}

    assert found("--view", "hours") == {opens} and found("--view", "either") == {opens, kayaks}
    assert found("--view", "either", "-w", "kayaks") == {kayaks} and found("--view", "models") == {kayaks}
    assert found("--view", "hours", "--status", "error") == set()
    assert shop.json("traces", "fields", "--view", "hours")["traces"] == 1
    drawn = shop("figures", "--view", "models").stdout
    assert "1 trace in 168 h" in drawn and "/dashboards?filter=kayaks&last=7d&by=model" in drawn
    assert "there are 'either', 'hours', 'models'" in shop("traces", "--view", "hour", code=1).stderr
    shop("views", "save", "past", "/traces?since_ns=1&until_ns=2")
    assert found("--view", "past") == set()
    assert "one time that is over" in shop("figures", "--view", "past", code=1).stderr
    for option in (("--graph",), ("--costs",), ("--below", "ab"), ("--order", "slow"), ("--text", "input")):
        assert f"windlass traces ID {option[0]}" in shop("traces", *option, code=1).stderr.replace("--span SPAN ", "")


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
    costs = shop.json("traces", trace, "--costs")
    assert costs["models"][0]["calls"] >= 1 and "share" in shop("traces", trace, "--costs").stdout
