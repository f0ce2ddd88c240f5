"""Log records by their time: both engines say what reading all rows in plain Python says, page by page."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.store.test_spans_stores import NOW, SECOND, span

from windlass.core.errors import Invalid
from windlass.core.operations.logs import LEAST, LogQuery, LogRecord
from windlass.core.operations.traces import TraceQuery
from windlass.store.segments import Position
from windlass.store.spans import Forget, SpanRow, SpanStore

WORDS = ("disk is nearly full", "Größe 12 %", "no refund", 'said "hello"', "über alles", "")


def record(rnd: random.Random, number: int) -> SpanRow:
    """Of a trace, or of none; some at the same time; a step that a record told; and a span, which is no record."""
    level, trace = rnd.choice([0, 5, 9, 13, 17, 21]), f"{rnd.randrange(1, 30):032x}"
    at, body = NOW + rnd.randrange(60) * SECOND, rnd.choice(WORDS)
    attributes = {"n": number, "http.status_code": rnd.choice([200, 503]), "windlass.log.severity": f"L{level}"}
    common = {
        "name": rnd.choice(["shop.paid", "shop.sent", "login"]), "service": rnd.choice(["shop", "desk"]), "severity": level, "end_ns": at,
        "user": rnd.choice([None, "ann"]), "input": body or None, "input_from": "windlass.log.body" if body else None,
        "project": rnd.choice(["default", "default", "other"]),
    }  # fmt: skip
    kind = rnd.choice(["log", "alone", "model", "span"])
    if kind == "span":
        return span(trace, number, None, at, **common | {"severity": None})
    if kind == "model":
        common |= {"cost": rnd.choice([None, 0.5]), "end_ns": at + rnd.choice([0, SECOND])}
        return span(trace, number, f"{1:016x}", at, kind="model", attributes=text(attributes), **common)
    attributes["windlass.kind"] = "log"
    if kind == "log":
        return span(trace, number, f"{1:016x}", at, kind="log", attributes=text(attributes), **common)
    own = rnd.randbytes(16).hex()
    row = span(own, number, None, at, kind="log", attributes=text(attributes), **common)
    return msgspec.structs.replace(row, parent=row.span_id)


def text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def is_alone(row: SpanRow) -> bool:
    return row.parent == row.span_id


def all_pages(store: SpanStore, query: LogQuery) -> list[LogRecord]:
    found: list[LogRecord] = []
    while True:
        page = store.logs(query)
        assert len(page.items) <= query.limit
        found += page.items
        if page.next is None:
            return found
        query = msgspec.structs.replace(query, cursor=page.next)


CASES: dict[str, tuple[dict[str, Any], Callable[[SpanRow], bool]]] = {
    "all": ({}, lambda r: True),
    **{s: ({"severity": s}, lambda r, least=n: (r.severity or 0) >= least) for s, n in LEAST.items()},
    "service": ({"service": "shop"}, lambda r: r.service == "shop"),
    "name": ({"name": "shop.*"}, lambda r: r.name.startswith("shop.")),
    "one name": ({"name": "login"}, lambda r: r.name == "login"),
    "text": ({"search": "DISK IS"}, lambda r: "disk is" in (r.input or "")),
    "umlaut": ({"search": "größe"}, lambda r: "Größe" in (r.input or "")),
    "text in a name": ({"search": "paid"}, lambda r: "paid" in r.name),
    "filter": ({"filter": "user:ann attr.http.status_code>=500"}, lambda r: r.user == "ann" and '"http.status_code":503' in r.attributes),
    "not": ({"filter": "-user:ann (name:login or service:desk)"}, lambda r: r.user != "ann" and (r.name == "login" or r.service == "desk")),
    "known cost": ({"filter": "has:cost"}, lambda r: r.cost is not None),
    "cost": ({"filter": "cost>=0.1 -latency>1ms"}, lambda r: (r.cost or 0) >= 0.1 and r.end_ns - r.start_ns <= 1_000_000),
    "kind": ({"filter": "kind:model"}, lambda r: r.kind == "model"),
    "time": ({"since_ns": NOW + 20 * SECOND, "until_ns": NOW + 40 * SECOND}, lambda r: NOW + 20 * SECOND <= r.start_ns < NOW + 40 * SECOND),
    "together": ({"severity": "error", "service": "desk", "filter": "-user:ann"},
                 lambda r: (r.severity or 0) >= 17 and r.service == "desk" and r.user != "ann"),
    "other": ({"project": "other"}, lambda r: True),
}  # fmt: skip


@pytest.mark.parametrize("seed", range(2))
def test_pages_are_what_reading_everything_says(spans: Callable[[], SpanStore], seed: int) -> None:
    rnd = random.Random(seed)
    rows = [record(rnd, n) for n in range(1, 260)]
    store = spans()
    for n in range(0, len(rows), 65):
        store.write(f"2027-01-{1 + n // 130:02}", rows[n : n + 65], "w", Position(1, n + 1))
    for name, (asked, fits) in CASES.items():
        for limit in (7, 200):
            query = LogQuery(**{"limit": limit} | asked)
            among = [r for r in rows if r.severity is not None and r.project == query.project and fits(r)]
            wanted = sorted(among, key=lambda r: (-r.start_ns, -int(r.span_id, 16)))
            found = all_pages(store, query)
            assert [r.attributes["n"] for r in found] == [msgspec.json.decode(r.attributes)["n"] for r in wanted], name
    shown = {r.attributes["n"]: r for r in all_pages(store, LogQuery(limit=200))}
    for r in rows:
        if r.severity is not None and r.project == "default":
            told = shown[int(r.span_id, 16)]
            assert (told.at_ns, told.name, told.service, told.level, told.severity) == (
                r.start_ns,
                r.name,
                r.service,
                r.severity,
                f"L{r.severity}",
            )
            assert (told.trace_id, told.body) == (None if is_alone(r) else r.trace_id, r.input)
            assert told.attributes.keys() == {"n", "http.status_code"}
    listed = {t.trace_id for t in store.traces(TraceQuery(limit=200)).items}
    assert listed == {r.trace_id for r in rows if r.kind != "log" and r.project == "default"}, "no record of none is a trace"
    assert store.counts()["traces"] == len({r.trace_id for r in rows if r.kind != "log"})
    gone = next(r for r in rows if is_alone(r) and r.project == "default")
    assert store.forget(Forget("default", (gone.trace_id,))) == 1
    assert int(gone.span_id, 16) not in {r.attributes["n"] for r in all_pages(store, LogQuery(limit=200))}
    store.close()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"filter": "spans>2"}, "spans asks for whole traces"),
        ({"filter": "status:error"}, "status asks for whole traces"),
        ({"filter": "name:("}, "nothing stands after"),
        ({"cursor": "7-x"}, "this cursor is not one of ours"),
        ({"cursor": "next"}, "this cursor is not one of ours"),
        ({"search": "x" * 2_001}, "at most 2,000"),
    ],
)
def test_what_cannot_be_asked_is_told(spans: Callable[[], SpanStore], asked: dict[str, Any], said: str) -> None:
    store = spans()
    with pytest.raises(Invalid, match=said):
        store.logs(LogQuery(**asked))
    store.close()


def test_a_long_body_is_whole_or_says_how_long_it_is(spans: Callable[[], SpanStore]) -> None:
    store, rnd = spans(), random.Random(7)
    rows = [r for n in range(1, 40) if (r := record(rnd, n)).kind == "log" and is_alone(r) and r.project == "default"][:2]
    for row, size in zip(rows, (300_000, 1_500_000), strict=True):
        row.input, row.input_from = "a b" * (size // 3), "windlass.log.body"
    store.write("2027-01-01", rows, "w", Position(1, 1))
    found = {r.attributes["n"]: r for r in store.logs(LogQuery()).items}
    whole, cut = (found[int(r.span_id, 16)] for r in rows)
    assert whole.body == rows[0].input and whole.cut == {}
    assert len(cut.body) < 1_100_000 and cut.cut == {"input": 1_500_000}
    store.close()
