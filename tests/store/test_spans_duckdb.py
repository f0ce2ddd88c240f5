"""Lists read only as much of history as fills a page: they must say what reading all of it says."""

from __future__ import annotations

import random
import time
from itertools import groupby

import msgspec
import pytest

from windlass.core.errors import Invalid
from windlass.core.operations.traces import LiveQuery, TraceQuery, TraceShow
from windlass.core.span import SCORE, SCORED
from windlass.store.journal import Position
from windlass.store.spans import ArrivalQuery, ScoreQuery, SpanRow
from windlass.store.spans_duckdb import DuckSpans

NOW = 1_800_000_000_000_000_000
SECOND = 1_000_000_000


def span(trace: str, number: int, parent: str | None, start: int, **fields) -> SpanRow:
    given = {"project": "default", "name": "run", "kind": "request", "status": "ok", "status_message": "", "service": "s"}
    given |= {"end_ns": start + SECOND, "receipt_ns": start, "digest": f"{trace}{number}"}
    return SpanRow(trace_id=trace, span_id=f"{number:016x}", parent=parent, start_ns=start, **(given | fields))


def some_traces(rnd: random.Random) -> list[SpanRow]:
    """Overlapping traces with children that start long after, or by a wrong clock long before, their root; some without one."""
    rows, number = [], 0
    for _ in range(120):
        trace, began = rnd.randbytes(16).hex(), NOW + rnd.randrange(1000) * SECOND
        status, evaluation = rnd.choice(["ok", "error"]), rnd.choice([None, None, "e1"])
        common = {"status": status, "evaluation": evaluation, "session": f"s{rnd.randrange(40)}"}
        rootless = rnd.random() < 0.1
        for step in range(rnd.randrange(1, 8)):
            number += 1
            parent = f"{number - step:016x}" if step or rootless else None
            at = began + step * rnd.choice([1, 1, 300, -400]) * SECOND
            spent = {"kind": "model", "cost": 0.25, "tokens_in": 3, "model": rnd.choice(["a", "b"])} if step % 2 else {}
            rows.append(span(trace, number, parent, at, **common, **spent))
            if spent and rnd.random() < 0.3:  # the application's own account of a call, and the gateway's under it
                number += 1
                rows.append(span(trace, number, rows[-1].span_id, at, **common, **(spent | {"cost": 0.5, "tokens_in": 7})))
    return rows


def all_pages(store: DuckSpans, query: TraceQuery) -> list[tuple]:
    found = []
    while True:
        page = store.traces(query)
        found += [(t.trace_id, t.start_ns, t.spans, t.cost, t.tokens, t.status) for t in page.items]
        if page.next is None:
            return found
        query.cursor = page.next


def expected(rows: list[SpanRow], fits) -> list[tuple]:
    found = []
    for trace, group in groupby(sorted(rows, key=lambda r: r.trace_id), key=lambda r: r.trace_id):
        spans = list(group)
        if fits(spans):
            outer = {s.parent for s in spans if s.kind == "model"}
            calls = [s for s in spans if s.kind == "model" and s.span_id not in outer]
            costs = [s.cost for s in calls]
            rooted = any(s.parent is None for s in spans)
            failed = any(s.status == "error" and (s.parent is None or not rooted) for s in spans)
            tokens = sum(s.tokens_in for s in calls) if calls else None
            line = (trace, min(s.start_ns for s in spans), len(spans), sum(costs) if costs else None, tokens, "error" if failed else "ok")
            found.append(line)
    return sorted(found, key=lambda f: (-f[1], f[0]))


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("limit", [2, 50])
def test_pages_of_windows_are_the_whole_list(tmp_path, seed, limit):
    rnd = random.Random(seed)
    rows = some_traces(rnd)
    rnd.shuffle(rows)
    store = DuckSpans(tmp_path)
    for n in range(0, len(rows), 100):  # several files: a view over days
        store.write(f"2027-01-{1 + n // 200:02}", rows[n : n + 100], "w", Position(1, n))
    production = [r for r in rows if r.evaluation is None]
    middle = NOW + 500 * SECOND
    cases = {
        "all": (TraceQuery(), production, lambda t: True),
        "of an evaluation": (TraceQuery(evaluation="e1"), [r for r in rows if r.evaluation], lambda t: True),
        "rare": (TraceQuery(session="s7"), production, lambda t: t[0].session == "s7"),
        "errors": (TraceQuery(status="error"), production, lambda t: any(s.status == "error" and s.parent is None for s in t)),
        "a model": (TraceQuery(model="a"), production, lambda t: any(s.model == "a" for s in t)),
        "before": (TraceQuery(until_ns=middle), production, lambda t: min(s.start_ns for s in t) < middle),
        "after": (TraceQuery(since_ns=middle), production, lambda t: min(s.start_ns for s in t) >= middle),
    }
    for name, (query, among, fits) in cases.items():
        query.limit = limit
        assert all_pages(store, query) == expected(among, fits), name
    store.close()


def test_a_revised_span_is_counted_once_and_as_it_is_now(tmp_path, monkeypatch):
    store = DuckSpans(tmp_path)
    began = NOW
    root = span("a" * 32, 1, None, began)
    first = span("a" * 32, 2, root.span_id, began, kind="model", cost=0.5, tokens_in=10, tokens_out=1)
    second = span(
        "a" * 32, 2, root.span_id, began, kind="model", cost=0.25, tokens_in=10, tokens_out=2, digest="revised", receipt_ns=began + 1
    )
    store.write("2027-01-15", [root, first, second], "w", Position(1, 1))
    (summary,) = store.traces(TraceQuery()).items
    assert (summary.spans, summary.cost, summary.tokens) == (2, 0.25, 12)
    assert store.trace(TraceShow("a" * 32)).summary == summary
    live = store.live(LiveQuery(hours=10**6))
    assert (live.requests, live.cost, live.tokens) == (1, 0.25, 12)
    unknown = span("a" * 32, 2, root.span_id, began, kind="model", tokens_in=10, digest="again", receipt_ns=began + 2)
    store.write("2027-01-15", [unknown], "w", Position(1, 2))
    assert store.live(LiveQuery(hours=10**6)).cost is None, "the newest has no price: unknown, not the price of before"
    store.close()


def test_traces_are_found_by_a_passage_they_were_given(tmp_path) -> None:
    """By its whole key: one that begins alike, or stands in another field or another kind of step, is another."""
    store = DuckSpans(tmp_path)
    outputs = {
        "a": [{"key": 'trip"#1', "text": "yes"}], "b": [{"key": 'trip"#10', "text": "no"}],
        "c": [{"key": "x", "text": 'see "key":"trip"#1"'}],
    }  # fmt: skip
    rows = [
        span(trace * 32, number, None, NOW, kind="retrieval", output=msgspec.json.encode(found).decode())
        for number, (trace, found) in enumerate(outputs.items())
    ]
    rows.append(span("d" * 32, 9, None, NOW, kind="tool", output=rows[0].output))
    store.write("2027-01-15", rows, "w", Position(0, 1))
    assert [t.trace_id[0] for t in store.traces(TraceQuery(passage='trip"#1')).items] == ["a"]
    assert store.traces(TraceQuery(passage="trip")).items == ()


def arrived(store: DuckSpans, limit: int = 500, cursor: str | None = None, **query) -> tuple[list[str], str]:
    found, asked = [], ArrivalQuery("default", limit=limit, cursor=cursor, **({"release": "answer"} | query))
    while True:
        page = store.arrivals(asked)
        found += [a.trace_id for a in page.items]
        asked.cursor = page.cursor
        assert len(page.items) <= limit
        if not page.more:
            return found, page.cursor


@pytest.mark.parametrize("limit", [1, 2, 3, 500])
def test_what_arrives_is_read_once_in_the_order_it_came(tmp_path, limit):
    """Over days, restarts, a clock that was set back, and other things that come between."""
    store = DuckSpans(tmp_path)

    def write(day: str, *names: str, **fields) -> None:
        given = {"release": "release/answer@sha256:aa", "environment": "production"} | fields
        rows = [span(n, abs(hash(n)) % 10**9, None, NOW, **given) for n in names]
        store.write(day, rows, "w", Position(1, 0))

    assert arrived(store, limit) == ([], "")
    write("2027-01-02", "a", "b")
    write("2027-01-02", "of another", release="release/answers@sha256:aa")
    write("2027-01-02", "judged", evaluation="e1")
    write("2027-01-02", "a child", kind="chain")
    first, cursor = arrived(store, limit)
    assert first == ["a", "b"]
    write("2027-01-03", "c", "d")
    write("2027-01-01", "by a clock set back")
    store.close()
    store = DuckSpans(tmp_path)
    write("2027-01-02", "late", environment="staging")
    second, cursor = arrived(store, limit, cursor)
    assert sorted(second) == ["by a clock set back", "c", "d", "late"]
    assert arrived(store, limit, cursor) == ([], cursor)
    assert arrived(store, limit, environment="staging")[0] == ["late"]
    assert set(arrived(store, limit, release=None, service="s")[0]) >= {"a", "b", "of another"}
    with pytest.raises(Invalid, match="not one of ours"):
        arrived(store, limit, "2027-01-02:x")


def test_what_a_release_of_a_project_does_is_found_in_its_project(tmp_path):
    store, now = DuckSpans(tmp_path), time.time_ns()
    row = span("a", 1, None, now, release="shop/release/answer@sha256:aa", project="shop")
    store.write("2027-01-02", [row], "w", Position(1, 0))
    assert store.live(LiveQuery("shop", "answer")).requests == 1
    assert [a.trace_id for a in store.arrivals(ArrivalQuery("shop", "answer")).items] == ["a"]


def test_judgements_of_production_are_read_by_name_and_version(tmp_path):
    store = DuckSpans(tmp_path)
    told = {"release": "release/answer@sha256:aa", "environment": "production", "kind": "evaluator"}

    def judged(trace: str, number: int, name: str, value: float | None, **fields) -> SpanRow:
        said = {SCORED: name} | ({SCORE: value} if value is not None else {})
        return span(trace, number, "1" * 16, NOW + number, attributes=msgspec.json.encode(said).decode(), **(told | fields))

    rows = [judged("a", 1, "right", 1.0), judged("b", 2, "right", None), judged("b", 3, "grounded", 0.5)]
    rows += [judged("c", 4, "right", 0.0, evaluation="e1"), judged("a", 5, "right", 0.25, receipt_ns=NOW + 100)]
    rows += [span("a", 6, None, NOW, **told)]
    store.write("2027-01-02", rows, "w", Position(1, 0))
    query = ScoreQuery("default", "answer")
    assert [(s.trace_id, s.evaluator, s.value) for s in store.scores(query)] == [
        ("b", "right", None), ("b", "grounded", 0.5), ("a", "right", 0.25),
    ]  # fmt: skip
    assert [s.value for s in store.scores(ScoreQuery("default", "answer", evaluator="grounded"))] == [0.5]
    assert store.scores(ScoreQuery("default", "answer", since_ns=NOW + 6)) == []
    assert store.scores(ScoreQuery("default", "other")) == []


def test_what_memory_cannot_hold_is_laid_into_the_data_folder(tmp_path, monkeypatch) -> None:
    """Not where the server was started: people's questions are in it. What a killed process left there goes."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    left = tmp_path / "spans" / "spill" / "duckdb_temp_storage-0.tmp"
    left.parent.mkdir(parents=True)
    left.write_text("of one that was killed")
    store = DuckSpans(tmp_path / "spans", 64)
    assert not left.exists()
    store._db.execute("SELECT * FROM (SELECT range AS n, repeat(range::VARCHAR, 20) AS t FROM range(1500000)) ORDER BY t").fetchone()
    assert list((tmp_path / "spans" / "spill").glob("duckdb_temp*")) and not list(here.iterdir())
    store.close()


def test_a_call_that_the_application_and_the_gateway_tell_of_is_counted_once(tmp_path) -> None:
    """The application's span knows tokens and no price; the gateway's under it knows both."""
    store = DuckSpans(tmp_path)
    rows = [
        span("a" * 32, 1, None, NOW),
        span("a" * 32, 2, f"{1:016x}", NOW, kind="model", tokens_in=20, tokens_out=9),
        span("a" * 32, 3, f"{2:016x}", NOW, kind="model", tokens_in=21, tokens_out=9, cost=0.5),
        span("a" * 32, 4, f"{1:016x}", NOW, kind="model", tokens_in=1, tokens_out=1, cost=0.25),
    ]
    store.write("2027-01-15", rows, "w", Position(1, 1))
    (summary,) = store.traces(TraceQuery()).items
    assert (summary.cost, summary.tokens) == (0.75, 32)
    live = store.live(LiveQuery(hours=10**6))
    assert (live.cost, live.tokens) == (0.75, 32)
    store.close()
