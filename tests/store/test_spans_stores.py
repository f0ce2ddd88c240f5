"""Both stores of spans answer alike. Lists read only as much of history as fills a page: they must say what reading all of it says."""

from __future__ import annotations

import random
import secrets
import time
from itertools import groupby

import msgspec
import pytest
from tests.conftest import clickhouse_spans

from windlass.core.errors import Invalid
from windlass.core.operations.sessions import SessionQuery
from windlass.core.operations.traces import LiveQuery, TraceQuery, TraceShow
from windlass.core.span import ARM, GIVEN, NOT_COMPARED, ROLLOUT, ROLLOUT_STAGE, ROLLOUT_UNIT, SCORE, SCORED
from windlass.store.segments import Position
from windlass.store.spans import ArrivalQuery, ScoreQuery, SpanRow, SpanStore, TrialQuery
from windlass.store.spans_duckdb import DuckSpans

NOW = 1_800_000_000_000_000_000
SECOND = 1_000_000_000


def id_of(name: str) -> str:
    """A trace's id that can be read: a name, or what is an id already."""
    return name if len(name) == 32 else name.encode().hex().ljust(32, "0")


def name_of(trace_id: str) -> str:
    return bytes.fromhex(trace_id).rstrip(b"\0").decode()


def span(trace: str, number: int, parent: str | None, start: int, **fields) -> SpanRow:
    given = {"project": "default", "name": "run", "kind": "request", "status": "ok", "status_message": "", "service": "s"}
    given |= {"end_ns": start + SECOND, "receipt_ns": start, "digest": f"{number:x}"}
    return SpanRow(trace_id=id_of(trace), span_id=f"{number:016x}", parent=parent, start_ns=start, **(given | fields))


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


def all_pages(store: SpanStore, query: TraceQuery) -> list[tuple]:
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
def test_pages_of_windows_are_the_whole_list(spans, seed, limit):
    rnd = random.Random(seed)
    rows = some_traces(rnd)
    rnd.shuffle(rows)
    store = spans()
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


def test_a_revised_span_is_counted_once_and_as_it_is_now(spans):
    store = spans()
    began = NOW
    root = span("a" * 32, 1, None, began)
    first = span("a" * 32, 2, root.span_id, began, kind="model", cost=0.5, tokens_in=10, tokens_out=1)
    second = span("a" * 32, 2, root.span_id, began, kind="model", cost=0.25, tokens_in=10, tokens_out=2, digest="f1", receipt_ns=began + 1)
    store.write("2027-01-15", [root, first, second], "w", Position(1, 1))
    (summary,) = store.traces(TraceQuery()).items
    assert (summary.spans, summary.cost, summary.tokens) == (2, 0.25, 12)
    assert store.trace(TraceShow("a" * 32)).summary == summary
    live = store.live(LiveQuery(hours=10**6))
    assert (live.requests, live.cost, live.tokens) == (1, 0.25, 12)
    unknown = span("a" * 32, 2, root.span_id, began, kind="model", tokens_in=10, digest="f2", receipt_ns=began + 2)
    store.write("2027-01-15", [unknown], "w", Position(1, 2))
    assert store.live(LiveQuery(hours=10**6)).cost is None, "the newest has no price: unknown, not the price of before"
    store.close()


def test_a_call_that_the_application_and_the_gateway_tell_of_is_counted_once(spans) -> None:
    """The application's span knows tokens and no price; the gateway's under it knows both."""
    store = spans()
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


def test_a_call_that_two_tell_of_side_by_side_is_counted_once(spans) -> None:
    """A framework's span and the client's, neither beneath the other: one answer has one id, and the inner in time counts."""
    store = spans()
    step, call = "%016x", {"kind": "model", "tokens_in": 10, "tokens_out": 1, "cost": 0.5}
    rows = [
        span("a" * 32, 1, None, NOW, end_ns=NOW + 90),
        span("a" * 32, 2, step % 1, NOW + 10, end_ns=NOW + 30, **call, response="r-1"),
        span("a" * 32, 3, step % 1, NOW + 11, end_ns=NOW + 29, **(call | {"cost": 0.25}), response="r-1"),
        span("a" * 32, 4, step % 1, NOW + 40, end_ns=NOW + 50, **call, response="r-1"),  # of a server that gives every answer one id
        span("a" * 32, 5, step % 1, NOW + 60, end_ns=NOW + 70, **call, response="r-2"),
        span("a" * 32, 6, step % 1, NOW + 60, end_ns=NOW + 70, **(call | {"cost": 2.0}), response="r-2"),  # to the nanosecond
        span("a" * 32, 7, step % 1, NOW + 60, end_ns=NOW + 70, **call),
        span("a" * 32, 8, step % 1, NOW + 61, end_ns=NOW + 69, **call),
        span("b" * 32, 9, None, NOW, **call, response="r-2"),
    ]
    store.write("2027-01-15", [msgspec.structs.replace(r, session=r.trace_id[:1]) for r in rows], "w", Position(1, 1))
    sums = {t.trace_id[0]: (t.cost, t.tokens) for t in store.traces(TraceQuery()).items}
    assert sums == {"a": (0.25 + 0.5 + 2.0 + 0.5 + 0.5, 55), "b": (0.5, 11)}
    assert {s.id: s.cost for s in store.sessions(SessionQuery()).items} == {"a": 3.75, "b": 0.5}
    live = store.live(LiveQuery(hours=10**6))
    assert (live.cost, live.tokens) == (4.25, 66)
    store.close()


def test_a_trace_whose_root_says_nothing_is_shown_by_what_was_first_asked_and_last_answered_in_it(spans) -> None:
    store = spans()
    quiet, loud = "a" * 32, "b" * 32
    rows = [
        span(quiet, 1, None, NOW, kind="span"),
        span(quiet, 2, f"{1:016x}", NOW, kind="embedding", input="a vector"),
        span(quiet, 3, f"{1:016x}", NOW + 1, kind="model", input="first", output="one"),
        span(quiet, 4, f"{1:016x}", NOW + 2, kind="model", input="second", output="two"),
        span(quiet, 5, f"{1:016x}", NOW + 3, kind="tool", output="a tool's"),
        span(quiet, 3, f"{1:016x}", NOW + 1, kind="model", input="first, revised", output="one", digest="f3", receipt_ns=NOW + 9),
        span(loud, 6, None, NOW - 1, input="asked of the root"),
        span(loud, 7, f"{6:016x}", NOW - 1, kind="model", input="other", output="answer"),
    ]
    store.write("2027-01-15", rows, "w", Position(1, 1))
    first, second = store.traces(TraceQuery()).items
    assert (first.input, first.output) == ("first, revised", "two")
    assert (second.input, second.output) == ("asked of the root", "")
    assert store.trace(TraceShow(quiet)).summary == first
    store.close()


def test_traces_are_found_by_a_passage_they_were_given(spans) -> None:
    """By its whole key: one that begins alike, or stands in another field or another kind of step, is another."""
    store = spans()
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


def arrived(store: SpanStore, limit: int = 500, cursor: str | None = None, **query) -> tuple[list[str], str]:
    found, asked = [], ArrivalQuery("default", limit=limit, cursor=cursor, **({"release": "answer"} | query))
    while True:
        page = store.arrivals(asked)
        found += [a.trace_id for a in page.items]
        asked.cursor = page.cursor
        assert len(page.items) <= limit
        if not page.more:
            return found, page.cursor


@pytest.mark.parametrize("limit", [1, 2, 3, 500])
def test_what_arrives_is_read_once_in_the_order_it_came(spans, limit):
    """Over days, restarts, a clock that was set back, and other things that come between."""
    store = spans()

    def seen(*given, **query) -> tuple[list[str], str]:
        found, cursor = arrived(store, *given, **query)
        return [name_of(t) for t in found], cursor

    def write(day: str, *names: str, **fields) -> None:
        given = {"release": "release/answer@sha256:aa", "environment": "production"} | fields
        rows = [span(n, abs(hash(n)) % 10**9, None, NOW, **given) for n in names]
        store.write(day, rows, "w", Position(1, 0))

    assert seen(limit) == ([], "")
    write("2027-01-02", "a", "b")
    write("2027-01-02", "of another", release="release/answers@sha256:aa")
    write("2027-01-02", "judged", evaluation="e1")
    write("2027-01-02", "a child", kind="chain")
    first, cursor = seen(limit)
    assert first == ["a", "b"]
    write("2027-01-03", "c", "d")
    write("2027-01-01", "clock set back")
    store.close()
    store = spans()
    write("2027-01-02", "late", environment="staging")
    second, cursor = seen(limit, cursor)
    assert sorted(second) == ["c", "clock set back", "d", "late"]
    assert seen(limit, cursor) == ([], cursor)
    assert seen(limit, environment="staging")[0] == ["late"]
    assert set(seen(limit, release=None, service="s")[0]) >= {"a", "b", "of another"}
    with pytest.raises(Invalid, match="not one of ours"):
        seen(limit, "2027-01-02:x")


def on_arm(name: str, rollout: str, arm: str, number: int = 0, **more) -> SpanRow:
    """A span of a run that a rollout put on an arm."""
    told = {ROLLOUT: rollout, ROLLOUT_STAGE: 2, ARM: arm, ROLLOUT_UNIT: "00000000000000ff", **more.pop("told", {})}
    given = {"release": "release/answer@sha256:aa", "attributes": msgspec.json.encode(told).decode()} | more
    return span(name, number or abs(hash(name)) % 10**9, None, NOW, **given)


@pytest.mark.parametrize("limit", [1, 2, 500])
def test_runs_and_scores_of_a_rollout_are_read_once_in_the_order_they_came(spans, limit):
    store, found = spans(), []
    first = [
        on_arm("a", "r1", "base", 1, cost=0.5),
        on_arm("b", "r1", "candidate", 2, status="error"),
        on_arm("step", "r1", "base", 3, kind="model"),
        on_arm("other", "r2", "base", 4),
        on_arm("beside", "r1", "candidate", 5, evaluation="shadow/r1", told={NOT_COMPARED: "it writes"}),
        on_arm("elsewhere", "r1", "base", 6, project="other"),
        span("no rollout", 7, None, NOW),
    ]  # fmt: skip
    store.write("2027-01-02", first, "w", Position(1, 0))
    score = {SCORED: "helpful", SCORE: 0.25, GIVEN: "number"}
    later = [on_arm("a", "r1", "base", 8, kind="evaluator", told=score), on_arm("a", "r1", "base", 9, kind="evaluator", told={SCORED: "x"})]
    query, after = TrialQuery("default", "r1", None, limit), False
    while True:
        page = store.trials(query)
        found += page.items
        query.cursor = page.cursor
        assert len(page.items) <= limit
        if not page.more and after:
            break
        if not page.more:
            store.write("2027-01-03", later, "w", Position(2, 0))
            after = True
    unit = ("00000000000000ff", "2")
    assert [(int(t.span_id, 16), t.status, t.cost, t.arm, t.score, t.value, t.given) for t in found] == [
        (1, "ok", 0.5, "base", None, None, None), (2, "error", None, "candidate", None, None, None),
        (5, "ok", None, "candidate", None, None, None), (8, "ok", None, "base", "helpful", 0.25, "number"),
        (9, "ok", None, "base", "x", None, None),
    ]  # fmt: skip
    assert {(t.unit, t.stage) for t in found} == {unit} and [t.not_compared for t in found] == [None, None, "it writes", None, None]
    arrived = {name_of(a.trace_id): a.rollout for a in store.arrivals(ArrivalQuery("default", service="s")).items}
    assert (arrived["a"], arrived["no rollout"]) == ("r1 2 base 00000000000000ff", None)


def test_what_a_release_of_a_project_does_is_found_in_its_project(spans):
    store, now = spans(), time.time_ns()
    row = span("a", 1, None, now, release="shop/release/answer@sha256:aa", project="shop")
    store.write("2027-01-02", [row], "w", Position(1, 0))
    assert store.live(LiveQuery("shop", "answer")).requests == 1
    assert [name_of(a.trace_id) for a in store.arrivals(ArrivalQuery("shop", "answer")).items] == ["a"]


def test_judgements_of_production_are_read_by_name_and_version(spans):
    store = spans()
    told = {"release": "release/answer@sha256:aa", "environment": "production", "kind": "evaluator"}

    def judged(trace: str, number: int, name: str, value: float | None, **fields) -> SpanRow:
        said = {SCORED: name} | ({SCORE: value} if value is not None else {})
        return span(trace, number, "1" * 16, NOW + number, attributes=msgspec.json.encode(said).decode(), **(told | fields))

    rows = [judged("a", 1, "right", 1.0), judged("b", 2, "right", None), judged("b", 3, "grounded", 0.5)]
    rows += [judged("c", 4, "right", 0.0, evaluation="e1"), judged("a", 5, "right", 0.25, receipt_ns=NOW + 100)]
    rows += [span("a", 6, None, NOW, **told)]
    store.write("2027-01-02", rows, "w", Position(1, 0))
    query = ScoreQuery("default", "answer")
    assert [(name_of(s.trace_id), s.evaluator, s.value) for s in store.scores(query)] == [
        ("b", "right", None), ("b", "grounded", 0.5), ("a", "right", 0.25),
    ]  # fmt: skip
    assert [s.value for s in store.scores(ScoreQuery("default", "answer", evaluator="grounded"))] == [0.5]
    assert store.scores(ScoreQuery("default", "answer", since_ns=NOW + 6)) == []
    assert store.scores(ScoreQuery("default", "other")) == []


WORDS = [
    "",
    "refund",
    "Ärger",
    "ÄRGER 😀",
    "it's",
    'a "quote"',
    "back\\slash",
    "tab\tand\nline",
    "nul\0nul",
    "%s {p0:String} ?",
    '{"text": "Refund?"}',
]


def a_day_of_traces(rnd: random.Random, now: int) -> list[SpanRow]:
    """What a server sees: revisions, missing roots, missing prices, odd texts, several projects, releases and sessions."""
    rows: list[SpanRow] = []
    for _ in range(60):
        trace, began = rnd.randbytes(16).hex(), now - rnd.randrange(1, 30 * 3600) * SECOND
        release = rnd.choice([None, "release/answer@sha256:aa", "release/answer@sha256:bb", "release/other@sha256:cc"])
        shared = {
            "project": rnd.choice(["default", "default", "shop"]), "release": release, "session": rnd.choice([None, "s1", "s2"]),
            "user": rnd.choice([None, *WORDS]) or None, "evaluation": rnd.choice([None, None, None, "e1"]),
            "environment": rnd.choice([None, "production", "staging"]), "service": rnd.choice(["s", "t"]),
        }  # fmt: skip
        for step in range(rnd.randrange(1, 6)):
            number = rnd.randrange(1 << 60)
            kind = "request" if step == 0 else rnd.choice(["model", "embedding", "retrieval", "evaluator", "chain", "tool"])
            fields: dict = {"kind": kind, "status": rnd.choice(["ok", "ok", "error"]), "name": rnd.choice(WORDS)}
            fields |= {"input": rnd.choice([None, *WORDS]), "output": rnd.choice([None, *WORDS]), "end_ns": 0}
            if kind in ("model", "embedding"):
                fields |= {"cost": rnd.choice([None, 0.0, 0.125, 2.5]), "tokens_in": rnd.choice([None, 0, 7]), "model": rnd.choice("ab")}
                fields |= {"tokens_out": rnd.choice([None, 3]), "provider": "p"}
            if kind == "retrieval":
                fields["output"] = msgspec.json.encode([{"key": rnd.choice(['k"1', "k2"]), "text": rnd.choice(WORDS)}]).decode()
            if kind == "evaluator":
                told = {SCORED: rnd.choice(["right", "it's"])} | rnd.choice([{}, {SCORE: 0.25}, {SCORE: 1}, {SCORE: None}])
                fields["attributes"] = msgspec.json.encode(rnd.choice([told, {}])).decode()
            fields["versions"] = rnd.sample([f"prompt/p@sha256:{n}" for n in "abc"] + ["release/answer@sha256:aa"], rnd.randrange(3))
            fields["events"] = rnd.choice(["[]", msgspec.json.encode([{"name": "e", "time_ns": now, "attributes": {"a": "\0"}}]).decode()])
            parent = rnd.choice(["1" * 16, rows[-1].span_id]) if step else "1" * 16 if rnd.random() < 0.1 else None
            at = began + step * rnd.choice([1, 60, -30]) * SECOND
            row = span(
                trace, number, parent, at, **(shared | fields | {"receipt_ns": now + len(rows), "end_ns": at + rnd.randrange(10**10)})
            )
            rows.append(row)
            if rnd.random() < 0.2:
                changed = {"digest": f"f{len(rows)}", "receipt_ns": now + len(rows), "cost": rnd.choice([None, 9.0]), "status": "ok"}
                rows.append(msgspec.structs.replace(row, **changed))
            if rnd.random() < 0.1:
                rows.append(row)  # the same again
    return rows


def questions(rnd: random.Random, rows: list[SpanRow], now: int) -> list[TraceQuery]:
    found = [TraceQuery(), TraceQuery("shop"), TraceQuery(evaluation="*"), TraceQuery(evaluation="e1"), TraceQuery("nowhere")]
    for _ in range(20):
        seen = rnd.choice(rows)
        options = {
            "kind": seen.kind, "search": rnd.choice(WORDS) or "x", "status": rnd.choice(["ok", "error"]), "model": rnd.choice("abc"),
            "uses": rnd.choice(["prompt/p", "prompt/p@a", "prompt/p@sha256:b", "release/answer"]),
            "passage": rnd.choice(['k"1', "k2", "k"]),
            "session": "s1", "user": seen.user or "u", "environment": "staging", "since_ns": seen.start_ns, "until_ns": seen.start_ns,
            "slower_than_ms": rnd.randrange(20_000) / 3,
        }  # fmt: skip
        chosen = {name: options[name] for name in rnd.sample(sorted(options), rnd.randrange(1, 3))}
        found.append(TraceQuery(seen.project, limit=rnd.choice([3, 50]), **chosen))
    return found


@pytest.mark.parametrize("seed", range(2))
def test_both_stores_answer_alike(tmp_path, chdb_folder, seed) -> None:
    """One is the other's oracle: the same rows in the same batches, and every question we have."""
    rnd, now = random.Random(seed), time.time_ns()
    rows = a_day_of_traces(rnd, now)
    duck, house = DuckSpans(tmp_path / "spans"), clickhouse_spans(chdb_folder, f"t{secrets.token_hex(6)}")
    for n in range(0, len(rows), 37):
        day = f"2027-01-0{1 + n // 100}"
        added = [store.write(day, rows[n : n + 37], "w", Position(1, n)) for store in (duck, house)]
        assert added[0] == added[1]
        again = [store.write(day, rows[n : n + 37], "w", Position(1, n)) for store in (duck, house)]
        assert again == [0, 0]
    assert duck.counts() == house.counts() and duck.positions() == house.positions()
    assert duck.size() > 0 and house.size() > 0
    found = 0
    for asked in questions(rnd, rows, now):
        for _ in range(4):  # pages
            pages = [store.traces(msgspec.structs.replace(asked)) for store in (duck, house)]
            assert pages[0] == pages[1], asked
            found += len(pages[0].items)
            if not (cursor := pages[0].next):
                break
            asked = msgspec.structs.replace(asked, cursor=cursor)
    assert found > 50
    for row in rnd.sample(rows, 12):
        for shown in (TraceShow(row.trace_id, project=row.project), TraceShow(row.trace_id[:9], project=row.project, limit=2)):
            traces = [store.trace(msgspec.structs.replace(shown)) for store in (duck, house)]
            assert traces[0] == traces[1]
    for project, release, hours in [
        ("default", None, 24),
        ("default", "answer", 48),
        ("shop", None, 5),
        ("shop", "other", 1),
        ("x", None, 1),
    ]:
        one, other = (store.live(LiveQuery(project, release, hours)) for store in (duck, house))
        assert figures(one) == pytest.approx(figures(other))
    for project in ("default", "shop"):
        listed = [store.sessions(SessionQuery(project)) for store in (duck, house)]
        assert listed[0] == listed[1] and listed[0].items
    for asked in ({"release": "answer"}, {"service": "s"}, {"release": "answer", "environment": "staging"}):
        seen = [[msgspec.to_builtins(a) for a in every_arrival(store, limit=4, **asked)] for store in (duck, house)]
        assert seen[0] == seen[1] and seen[0]
    for asked in (
        {"release": "answer"},
        {"service": "t"},
        {"release": "answer", "evaluator": "it's"},
        {"service": "s", "since_ns": now - 3600 * SECOND},
    ):
        scores = [sorted(map(repr, store.scores(ScoreQuery("default", **asked)))) for store in (duck, house)]
        assert scores[0] == scores[1]
    duck.close()
    house.close()


def figures(live) -> list[float]:
    return [n for n in (live.requests, live.errors, live.p50_ms, live.p95_ms, live.cost, live.tokens) if n is not None] + [
        value for bucket in live.series for value in bucket
    ]


def every_arrival(store: SpanStore, limit: int, **asked):
    query = ArrivalQuery("default", limit=limit, **asked)
    while True:
        page = store.arrivals(query)
        yield from page.items
        if not page.more:
            return
        query.cursor = page.cursor
