"""The filter language in both stores: each says what plain Python says of the same rows."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.store.filters import traces_that_fit
from tests.store.test_spans_stores import NOW, SECOND, all_pages, span

from windlass.core.errors import Invalid
from windlass.core.filter import HAS, KINDS, Node, Not, Term, all_of, any_of, printed
from windlass.core.filter_reading import read
from windlass.core.operations.traces import FieldQuery, TraceQuery
from windlass.core.span import GIVEN, GIVEN_TO, LABEL, SCORE, SCORED
from windlass.store import span_places, span_traces
from windlass.store.segments import Position
from windlass.store.spans import SpanRow, SpanStore
from windlass.store.spans_duckdb import DuckSpans

TEXTS = ["Refund", "no refund", "it's", 'say "yes"', "back\\slash", "Ärger", "50%_*", "'; DROP TABLE spans; --", "two\nlines", "nul\0"]
WORDS = ["a", "ab", "b c", "ä", "50%", 'q"uote', "a@1"]
VERSIONS = ["prompt/a@sha256:11", "prompt/ab@sha256:12", "index/a@sha256:13"]
ASKED = ["prompt/a", "prompt/a@1", "index/a@13", "prompt/ab@sha256:1"]
ODD = ['k"ey', "a.b", "a/b~c", "$.x", "ö'", "a[0]", "*"]
VALUES = ["x", "xy", "5", 5, 5.5, True, None, -2, {"in": "ner"}, ["l", 1], 'q"', ""]


def some_rows(rnd: random.Random, traces: int = 70) -> list[SpanRow]:
    rows: list[SpanRow] = []
    pick = rnd.choice
    for _ in range(traces):
        trace, began = rnd.randbytes(16).hex(), NOW + rnd.randrange(2000) * SECOND
        common = {"user": pick([None, *WORDS]), "session": pick([None, *WORDS]), "environment": pick([None, "prod", "ä"]),
                  "release": pick([None, "release/a@sha256:aa11", "release/ab@sha256:ab22"])}  # fmt: skip
        for step in range(rnd.randrange(1, 6)):
            number = len(rows) + 1
            parent = f"{number - rnd.randrange(1, step + 1):016x}" if step else pick([None] * 9 + ["f" * 16])
            kind = "request" if not step else pick(["model", "model", "embedding", "retrieval", "tool", "evaluator", "chain"])
            at = began + step * pick([1, 1, -3]) * SECOND
            fields: dict = {"name": pick(WORDS), "kind": kind, "status": pick(["ok", "ok", "error"]), "status_message": pick(["", *TEXTS]),
                            "input": pick([None, *TEXTS]), "output": pick([None, *TEXTS]), "service": pick(WORDS),
                            "tool": pick([None, "a", "ab"]),
                            "tags": rnd.sample(WORDS, rnd.randrange(3)), "prompt": pick([None, "a", "a@1", "ab@1"]),
                            "versions": rnd.sample(VERSIONS, rnd.randrange(3))}  # fmt: skip
            if rnd.random() < 0.3:
                fields["input"] = pick([msgspec.json.encode, ascii_json])({"question": pick(TEXTS)}).decode()
            if kind in ("model", "embedding"):
                fields |= {"model": pick([None, *WORDS]), "provider": pick(WORDS), "cost": pick([None, 0.0, 0.1, 0.2, 2.5]),
                           "tokens_in": pick([None, 0, 7]), "tokens_out": pick([None, 3])}  # fmt: skip
            if kind == "retrieval":
                fields["output"] = msgspec.json.encode([{"key": pick(WORDS), "text": pick(TEXTS)}]).decode()
            told = {n: pick(VALUES) for n in rnd.sample(ODD, rnd.randrange(4))}
            if kind == "evaluator":
                told |= {
                    SCORED: pick(["helpful", "tone"]),
                    GIVEN_TO: pick(["trace", "span", "session"]),
                    GIVEN: pick(["number", "withdrawn"]),
                }
                told |= pick([{SCORE: 0.25}, {SCORE: 1}, {LABEL: "plain"}, {LABEL: "true", SCORE: 1.0}, {}])
            fields["attributes"] = msgspec.json.encode(told).decode()
            fields["resource"] = pick([None, msgspec.json.encode({pick(ODD): pick(VALUES)}).decode()])
            end = at + pick([0, 1, SECOND, 3 * SECOND])
            rows.append(span(trace, number, parent, at, **(common | fields | {"end_ns": end, "receipt_ns": NOW + len(rows)})))
            if rnd.random() < 0.15:  # a revision says something else
                said = {
                    "digest": f"f{len(rows)}",
                    "receipt_ns": NOW + len(rows),
                    "status": "ok",
                    "input": pick(TEXTS),
                    "cost": pick([None, 0.1]),
                }
                rows.append(msgspec.structs.replace(rows[-1], **said))
    return rows


def ascii_json(value: object) -> bytes:
    import json

    return json.dumps(value).encode()


ANY = ["name", "model", "provider", "tool", "service", "session", "user", "env", "tag", "release", "prompt", "passage"]
TERMS = st.one_of(
    st.builds(Term, st.sampled_from(ANY), st.sampled_from([*WORDS, "prod"]), st.just("="), st.booleans()),
    st.builds(Term, st.sampled_from(["", "input", "output", "error"]), st.sampled_from([*TEXTS, "REFUND", "ÄRGER", "ärger", "s", "%"])),
    st.builds(Term, st.sampled_from(["kind", "root"]), st.sampled_from(KINDS)),
    st.builds(Term, st.just("status"), st.sampled_from(["ok", "error"])),
    st.builds(Term, st.just("uses"), st.sampled_from(ASKED), st.just("="), st.booleans()),
    st.builds(Term, st.just("cost"), st.sampled_from([0.0, 0.1, 0.3, 2.5]), st.sampled_from(["=", "<", "<=", ">", ">="])),
    st.builds(Term, st.sampled_from(["tokens", "spans"]), st.sampled_from([0.0, 2.0, 7.0, 10.0]), st.sampled_from(["=", "<", ">="])),
    st.builds(Term, st.just("latency"), st.sampled_from([1, SECOND, 3 * SECOND]), st.sampled_from(["=", "<", "<=", ">"])),
    st.builds(Term, st.just("score"), st.sampled_from(["helpful", "helpful<0.5", "helpful=yes", "tone=plain", "helpful>=1", "none"])),
    st.builds(Term, st.just("has"), st.sampled_from([*HAS, "attr.a.b", "resource.$.x"])),
    st.builds(Term, st.sampled_from([f"{room}.{n}" for n in ODD for room in ("attr", "resource")]),
              st.sampled_from(["x", "5", "5.50", "true", 'q"', ""]), st.just("="), st.booleans()),
    st.builds(Term, st.sampled_from([f"attr.{n}" for n in ODD]), st.sampled_from([5.0, -3.0]), st.sampled_from(["<", "<=", ">", ">="])),
)  # fmt: skip
TREES: st.SearchStrategy[Node] = st.recursive(
    TERMS,
    lambda inner: st.one_of(
        inner.map(Not), st.lists(inner, min_size=2, max_size=3).map(all_of), st.lists(inner, min_size=2, max_size=3).map(any_of)
    ),
    max_leaves=5,
)


def filled(spans: Callable[[], SpanStore], rows: list[SpanRow]) -> SpanStore:
    store = spans()
    for n in range(0, len(rows), 60):
        store.write(f"2027-01-{1 + n // 100:02}", rows[n : n + 60], "w", Position(1, n))
    return store


def test_each_store_says_what_plain_python_says(spans) -> None:
    rows = some_rows(random.Random(3))
    random.Random(1).shuffle(rows)
    store, seen = filled(spans, rows), [0]

    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
    @given(TREES, st.sampled_from([3, 50]))
    def holds(tree: Node, limit: int) -> None:
        expected = traces_that_fit(rows, tree)
        seen[0] += 0 < len(expected) < 70
        assert [t[0] for t in all_pages(store, TraceQuery(filter=printed(tree), limit=limit))] == expected, printed(tree)

    holds()
    assert seen[0] > 5, "questions that some traces fit and others do not"
    store.close()


FILTERS = [
    "", "refund", "-refund", "cost>0.2", "tokens>=7 -user:a*", "latency>9s", "spans>4", "status:error kind:tool", "(user:ä or latency>2s)",
    "attr.a.b:5", "-(has:tag or has:cost)", "kind:model name:a -status:error", "input:nothing_of_the_kind",
]  # fmt: skip


@pytest.mark.parametrize("together", [20, 100])
def test_history_is_read_in_rounds_and_pieces_that_are_the_whole(tmp_path, monkeypatch, together) -> None:
    """Also where many spans began at one instant, and where traces lie across what is read together."""
    monkeypatch.setattr(span_traces, "ROUND", together)
    monkeypatch.setattr(span_places, "PIECE", 16)
    rows = some_rows(random.Random(5))
    for row in rows[40:70]:
        row.start_ns = rows[40].start_ns
    random.Random(2).shuffle(rows)
    store = filled(lambda: DuckSpans(tmp_path / "spans"), rows)
    for text in FILTERS:
        expected = traces_that_fit(rows, read(text))
        assert [t[0] for t in all_pages(store, TraceQuery(filter=text, limit=5))] == expected, text
        told = store.fields(FieldQuery(filter=text, field="kind"))
        assert (told.traces, told.more) == (len(expected), False), text
    store.close()


def test_a_filter_stands_beside_the_other_questions(spans) -> None:
    rows = some_rows(random.Random(7))
    store = filled(spans, rows)
    middle = NOW + 1000 * SECOND
    beside = {
        "search": ("Refund", Term("", "Refund")), "kind": ("request", Term("root", "request")), "status": ("ok", Term("status", "ok")),
        "model": ("ab", Term("model", "ab")), "slower_than_ms": (2500, Term("latency", 2_500_000_000, ">")),
        "user": ("ä", Term("user", "ä")),
        "score": ("helpful<0.5", Term("score", "helpful<0.5")), "uses": ("prompt/a@1", Term("uses", "prompt/a@1")),
    }  # fmt: skip
    for name, (value, term) in beside.items():
        expected = traces_that_fit(rows, all_of([term, Not(Term("tag", "a"))]))
        assert [t[0] for t in all_pages(store, TraceQuery(filter="-tag:a", **{name: value}))] == expected, name
        late = {t[0] for t in all_pages(store, TraceQuery(filter="-tag:a", since_ns=middle, **{name: value}))}
        early = {t[0] for t in all_pages(store, TraceQuery(filter="-tag:a", until_ns=middle, **{name: value}))}
        assert not late & early and late | early == set(expected), name
    store.close()


def test_nothing_that_somebody_asks_is_read_as_sql_or_as_a_path(spans) -> None:
    """Of values and of names of attributes: they find what has them, and nothing else."""
    store = spans()
    evil = ["' OR 1=1 --", '"', "$.*", "$..*", "/a", "~1", "\\", "{p0:String}", "?", "%s", "a'); DROP TABLE spans; --", "*", "a[*]"]
    rows = [
        span(f"{n:032x}", n + 1, None, NOW + n, user=text, name=text, attributes=msgspec.json.encode({text: text}).decode(), tags=[text])
        for n, text in enumerate(evil)
    ]
    store.write("2027-01-15", rows, "w", Position(1, 1))
    for n, text in enumerate(evil):
        for term in (Term("user", text), Term("name", text), Term(f"attr.{text}", text), Term("has", f"attr.{text}"), Term("tag", text)):
            found = [t.trace_id for t in store.traces(TraceQuery(filter=printed(term))).items]
            assert found == [f"{n:032x}"], printed(term)
    assert len(store.traces(TraceQuery()).items) == len(evil)
    store.close()


def test_a_mistake_is_told_and_not_asked(spans) -> None:
    store = spans()
    with pytest.raises(Invalid, match="did you mean `model`"):
        store.traces(TraceQuery(filter="modle:a"))
    assert read("a") == Term("", "a")
    store.close()
