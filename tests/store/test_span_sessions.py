"""Sessions summed up in SQL say what a plain reading of all spans says."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable

import msgspec
import pytest

from windlass.core.errors import Invalid
from windlass.core.operations.sessions import SessionQuery, SessionSummary
from windlass.core.span import APPROVED, CALLER, DECISION
from windlass.store.segments import Position
from windlass.store.spans import SpanRow, SpanStore

NOW, SECOND = 1_800_000_000 * 10**9, 10**9


def some_spans(rnd: random.Random) -> list[SpanRow]:
    """Sessions of several traces, revised spans among them, and spans of none, of evaluations and of another project."""
    rows = []
    for number in range(400):
        trace = f"{rnd.randrange(60):032x}"
        kind = rnd.choice(["tool", "model", "span", "request", "embedding", "evaluator"])
        said = {
            DECISION: rnd.choice(["allow", "deny", "ask", None]), CALLER: rnd.choice([None, "agent/a", "chain/ü", 'x"y']),
            APPROVED: rnd.choice([None, None, "denied"]),
        }  # fmt: skip
        attributes = msgspec.json.encode({k: v for k, v in said.items() if v}).decode()
        start = NOW + rnd.randrange(2000) * SECOND
        session = rnd.choice([f"s{int(trace, 16) % 9}", None] if rnd.random() < 0.98 else ["s1", "s2"])  # few traces are of two
        above = rnd.choice([None, "1", f"{rnd.randrange(250):016x}"])  # now and then a call beneath a call: the innermost has the price
        rows.append(
            SpanRow(
                rnd.choice(["default"] * 9 + ["other"]), trace, f"{rnd.randrange(250):016x}", above, "n", kind, start,
                start + SECOND, NOW + number, rnd.choice(["ok", "error"]), "", rnd.choice(["windlass", "theirs"]), str(number),
                cost=rnd.choice([0.25, 0.5, None]) if rnd.random() < 0.2 else 0.125, session=session,
                evaluation=rnd.choice([None] * 8 + ["e"]), attributes=attributes, user=None,
            )
        )  # fmt: skip
    return rows


def plainly(rows: list[SpanRow]) -> list[SessionSummary]:
    named: dict[str, set[str]] = defaultdict(set)
    mine = [r for r in rows if r.project == "default" and not r.evaluation]
    for r in mine:
        named[r.trace_id] |= {r.session} if r.session else set()
    newest: dict[tuple[str, str], tuple[str, SpanRow]] = {}
    for r in sorted(mine, key=lambda r: r.receipt_ns):
        if session := r.session or (next(iter(named[r.trace_id])) if len(named[r.trace_id]) == 1 else ""):
            newest[r.trace_id, r.span_id] = session, r
    groups: dict[str, list[SpanRow]] = defaultdict(list)
    for session, r in newest.values():
        groups[session].append(r)
    outer = {(r.trace_id, r.parent) for _, r in newest.values() if r.kind in ("model", "embedding")}
    found = []
    for id, spans in groups.items():
        said = [(msgspec.json.decode(s.attributes), s) for s in spans]
        paid = [s.cost for s in spans if s.kind in ("model", "embedding") and (s.trace_id, s.span_id) not in outer]
        steps = [s for s in spans if s.kind != "evaluator"] or spans  # a score says nothing of when
        found.append((max(s.start_ns for s in steps), id, SessionSummary(
            id, min(s.start_ns for s in spans), max(s.end_ns for s in steps), len({s.trace_id for s in spans}),
            sum(a.get(DECISION) == "allow" or (s.kind == "tool" and s.service != "windlass") for a, s in said),
            sum(a.get(DECISION) == "deny" for a, _ in said), sum(APPROVED in a for a, _ in said),
            len({s.trace_id for s in spans if s.parent is None and s.status == "error"}),
            None if None in paid else sum(p or 0 for p in paid), tuple(sorted({a[CALLER] for a, _ in said if CALLER in a})),
        )))  # fmt: skip
    return [summary for _, _, summary in sorted(found, key=lambda f: f[:2], reverse=True)]


@pytest.mark.parametrize("seed", range(6))
def test_every_page_of_every_filter_says_what_reading_it_all_says(spans: Callable[[], SpanStore], seed: int) -> None:
    rows = some_spans(random.Random(seed))
    store = spans()
    store.write("2027-01-15", rows[:200], "w", Position(0, 1))
    store.write("2027-01-16", rows[200:], "w", Position(0, 2))
    whole = plainly(rows)
    assert whole
    for fields, fits in (
        ({}, lambda s: True),
        ({"search": "s1"}, lambda s: "s1" in s.id),
        ({"agent": 'x"y'}, lambda s: 'x"y' in s.callers),
    ):
        for limit in (1, 4, 200):
            query, found = SessionQuery(limit=limit, **fields), []
            while True:
                page = store.sessions(query)
                found += page.items
                if page.next is None:
                    break
                query = msgspec.structs.replace(query, cursor=page.next)
            assert found == [s for s in whole if fits(s)]
    with pytest.raises(Invalid, match="cursor"):
        store.sessions(SessionQuery(cursor="x"))
    store.close()
