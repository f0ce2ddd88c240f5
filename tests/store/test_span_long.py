"""Very long texts: kept whole, shown in part, asked and erased like others, and no harm to what lies beside them. On both engines."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest
from tests.store.test_spans_stores import NOW, SECOND, id_of, span

from windlass.core.errors import NotFound
from windlass.core.operations.traces import TextShow, TraceQuery, TraceShow
from windlass.core.shortening import KEPT, beginning
from windlass.core.span import input_of, make_whole
from windlass.store.segments import Position
from windlass.store.span_erasing import pattern_of
from windlass.store.span_long import NAME as NAME_BYTES
from windlass.store.span_long import OVER, PART
from windlass.store.spans import SHOWN, ArrivalQuery, Forget, MentionQuery, RecentQuery, SpanRow, SpanStore, SubjectQuery
from windlass.store.spans_duckdb import DuckSpans

DAY = "2027-01-15"
NAME = "user-4711@example.org"


def words(size: int, seed: int = 0) -> str:
    rnd = random.Random(seed)
    return " ".join(rnd.choices(["order", "refund", "späť", "\N{SNOWMAN}", "a", "'quoted'", '"b"'], k=size // 5))[:size].ljust(size, "x")


def long_row(trace: str, number: int, size: int, **fields: Any) -> SpanRow:
    said = msgspec.json.encode([{"role": "user", "content": words(size, number)}]).decode()
    fields = {"digest": f"{number:016x}", **fields}
    attributes = msgspec.json.encode({"kept": 1, "windlass.long": words(size, number + 1), "n": list(range(50))}).decode()
    return span(trace, number, None, NOW + number * SECOND, input=said, output=words(size, number + 2), attributes=attributes, **fields)


@pytest.mark.parametrize("size", [KEPT - 40, KEPT + 1, PART * 2, PART * 3 + 5, PART * 3 + OVER, 400_000])
def test_it_comes_back_whole(spans: Callable[[], SpanStore], size: int) -> None:
    store = spans()
    row, beside = long_row("a", 1, size), span("a", 2, f"{1:016x}", NOW + SECOND, input="short", digest="2".rjust(16, "0"))
    assert store.write(DAY, [row, beside], "w", Position(1, 1)) == 2
    assert store.write(DAY, [row, beside], "w", Position(1, 2)) == 0, "it is known again"
    found = {r.span_id: r for r in store.held(DAY, "default", [row.trace_id])}
    assert found[row.span_id] == row and found[beside.span_id] == beside
    shown = {s.span_id: s for s in store.trace(TraceShow(row.trace_id)).spans}
    assert input_of(shown[row.span_id]) == row.input and shown[row.span_id].cut == {}
    assert shown[row.span_id].attributes == msgspec.json.decode(row.attributes)
    assert shown[beside.span_id].told_input == "short"
    for of in ("input", "output", "attributes"):
        assert store.text(TextShow(row.trace_id, row.span_id, of)).text == getattr(row, of)
    assert store.text(TextShow(row.trace_id[:8], beside.span_id)).text == "short"
    assert store.text(TextShow(row.trace_id, beside.span_id, "output")).text == ""
    with pytest.raises(NotFound, match="there is no span"):
        store.text(TextShow(row.trace_id, "0" * 16))
    store.close()


def test_what_is_too_long_to_show_is_shortened_and_said(spans: Callable[[], SpanStore]) -> None:
    store = spans()
    row = long_row("a", 1, SHOWN + 10)
    store.write(DAY, [row], "w", Position(1, 1))
    (shown,) = store.trace(TraceShow(row.trace_id)).spans
    assert shown.cut == {"input": len(row.input or ""), "output": len(row.output or ""), "attributes": len(row.attributes)}
    assert shown.attributes["kept"] == 1 and len(shown.attributes["windlass.long"]) < KEPT
    assert shown.told_output == beginning(row.output or "", KEPT)
    (said,) = msgspec.json.decode(input_of(shown) or "")
    assert said["content"].startswith(words(100, 1)[:50])
    (listed,) = store.traces(TraceQuery()).items
    assert listed.input.startswith(words(100, 1)[:50]) and len(listed.input) <= 401
    make_whole(shown, {of: store.text(TextShow(row.trace_id, row.span_id, of)).text for of in shown.cut})
    assert (input_of(shown), shown.told_output, shown.attributes, shown.cut) == (
        row.input, row.output, msgspec.json.decode(row.attributes), {},
    )  # fmt: skip
    store.close()


def test_a_page_of_spans_shares_its_room(spans: Callable[[], SpanStore]) -> None:
    store = spans()
    rows = [span("a", n, None, NOW + n, input=words(SHOWN - 1, n)) for n in range(1, 13)]
    for n, row in enumerate(rows):
        store.write(DAY, [row], "w", Position(1, n + 1))
    shown = store.trace(TraceShow(rows[0].trace_id)).spans
    assert [bool(s.cut) for s in shown] == [False] * 8 + [True] * 4
    assert sum(len(s.told_input or "") for s in shown) <= SHOWN * 8 + KEPT * 4
    together = store.recent(RecentQuery("default", tuple((row.trace_id, row.span_id) for row in rows)))
    assert (len(together), sum(bool(s.cut) for s in together)) == (12, 4)
    assert sum(len(s.told_input or "") for s in together) <= SHOWN * 8 + KEPT * 4
    store.close()


def test_a_revision_has_its_own_texts(spans: Callable[[], SpanStore]) -> None:
    store = spans()
    first = long_row("a", 1, 50_000, digest="1".rjust(16, "0"))
    second = msgspec.structs.replace(first, output=words(60_000, 99), digest="2".rjust(16, "0"), receipt_ns=NOW + 5 * SECOND)
    short = msgspec.structs.replace(first, output="now short", digest="3".rjust(16, "0"), receipt_ns=NOW + 9 * SECOND)
    for n, row in enumerate((first, second)):
        store.write(DAY, [row], "w", Position(1, n + 1))
    assert store.text(TextShow(first.trace_id, first.span_id, "output")).text == second.output
    assert [r.output for r in store.spans_at([("default", first.trace_id, first.span_id)])] == [second.output]
    of = RecentQuery("default", ((first.trace_id, first.span_id), (first.trace_id, "ab" * 8), ("cd" * 16, first.span_id)))
    (one,) = store.recent(of)
    assert (one.told_output, one.cut) == (second.output, {})
    assert [one] == list(store.trace(TraceShow(first.trace_id)).spans)
    assert store.recent(RecentQuery("other", of.spans)) == store.recent(RecentQuery("default", ())) == []
    store.write(DAY, [short], "w", Position(1, 3))
    (shown,) = store.trace(TraceShow(first.trace_id)).spans
    assert shown.told_output == "now short" == store.text(TextShow(first.trace_id, first.span_id, "output")).text
    store.close()


def test_monitors_are_given_texts_up_to_a_size(spans: Callable[[], SpanStore]) -> None:
    store = spans()
    rows = [long_row("a", 1, 100_000), long_row("b", 2, 50)]
    store.write(DAY, rows, "w", Position(1, 1))
    found = store.arrivals(ArrivalQuery("default", service="s"))
    assert sorted(a.input or "" for a in found.items) == sorted(r.input or "" for r in rows)
    store.close()


@pytest.mark.parametrize("where", ["attributes", "input", "across"])
def test_a_name_deep_in_a_long_text_is_found_and_erased(spans: Callable[[], SpanStore], tmp_path: Path, where: str) -> None:
    store = spans()
    at = PART * 3 - len(NAME) // 2 if where == "across" else 150_000
    text = words(at, 7).rstrip("x") + f" {NAME} " + words(50_000, 8)
    given = {"attributes": msgspec.json.encode({"deep": text}).decode()} if where == "attributes" else {"input": text}
    rows = [span("a", 1, None, NOW, **given), span("b", 2, None, NOW + SECOND, input=words(60_000, 9))]
    store.write(DAY, rows, "w", Position(1, 1))
    pattern = pattern_of((NAME,))
    assert store.mentions(MentionQuery("default", pattern)) == 1
    assert store.mentions(MentionQuery("other", pattern)) == 0
    assert store.theirs(SubjectQuery("default", (NAME,), (), pattern)).traces == (id_of("a"),)
    assert store.forget(Forget("default", (id_of("a"),))) == 1
    assert store.mentions(MentionQuery("default", pattern)) == 0
    (left,) = store.traces(TraceQuery()).items
    assert store.text(TextShow(left.trace_id, rows[1].span_id)).text == rows[1].input
    store.close()
    for file in (tmp_path / "spans").glob("*.duckdb"):
        with duckdb.connect(str(file), read_only=True) as db:  # its texts are packed, so no bytes are looked for
            for (table,) in db.execute("SELECT table_name FROM duckdb_tables()").fetchall():
                assert db.execute(f"SELECT count(*) FROM {table} t WHERE contains(t::VARCHAR, ?)", [NAME]).fetchone() == (0,)
        assert NAME not in file.read_bytes().decode("latin-1")


def test_read_anew_they_stay_whole(spans: Callable[[], SpanStore]) -> None:
    store = spans()
    rows = [long_row(chr(97 + n), n + 1, 30_000 + n) for n in range(6)]
    store.write(DAY, rows, "w", Position(1, 1))
    store.forget(Forget("default", (rows[2].trace_id,)))

    def read(row: SpanRow) -> SpanRow:
        assert row in rows
        return msgspec.structs.replace(row, model="m", output=f"{row.output}!")

    while not store.remap(read, 0.01).finished:
        pass
    for row in (*rows[:2], *rows[3:]):
        (found,) = store.held(DAY, "default", [row.trace_id])
        assert (found.model, found.output, found.input) == ("m", f"{row.output}!", row.input)
        assert store.text(TextShow(row.trace_id, row.span_id, "output")).text == f"{row.output}!"
    assert store.held(DAY, "default", [rows[2].trace_id]) == []
    store.close()


def test_hundreds_of_megabytes_fit_in_little_memory(tmp_path: Path) -> None:
    """DuckDB reads 2,048 texts at once: before they were kept apart, 1,000 of 200 kB left a file that could be neither asked nor packed."""
    store = DuckSpans(tmp_path / "spans", memory_mb=128)
    text = words(200_000)
    for n in range(20):
        rows = [span(f"{n * 50 + k:x}", n * 50 + k + 1, None, NOW + (n * 50 + k) * SECOND, input=f"{n} {k} {text}") for k in range(50)]
        store.write(DAY, rows, "w", Position(1, n + 1))
    store.write(DAY, [span("end", 9_999, None, NOW + 9_999 * SECOND, input="x" * 20_000_000)], "w", Position(1, 99))
    store._db.execute(f"CHECKPOINT {store._files()[0].name}")
    store.rest()
    assert len(store.traces(TraceQuery(limit=100)).items) == 100
    assert [t.trace_id for t in store.traces(TraceQuery(search="19 49 ", limit=5)).items] == [id_of("3e7")]
    assert len(store.text(TextShow(id_of("end"), f"{9_999:016x}")).text) == 20_000_000
    assert len(input_of(store.trace(TraceShow(id_of("1f4"))).spans[0]) or "") > 200_000
    assert store.size() < 60_000_000
    store.close()


def marked(said: dict[str, Any], mark: str) -> dict[str, Any]:
    return {column: [mark, *text] if column == "tags" else mark + text for column, text in said.items()}


@pytest.mark.parametrize(
    "said",
    [
        {"input": "\N{CJK UNIFIED IDEOGRAPH-4E2D}" * KEPT, "output": "\N{CJK UNIFIED IDEOGRAPH-6587}" * KEPT},
        {"model": "m" * 200_000, "service": "s" * 200_000},
        {"tags": ["t" * 50] * 4_000},
    ],
    ids=["characters of three bytes", "names", "tags"],
)
def test_what_takes_more_than_its_characters_say_fits_too(tmp_path: Path, said: dict[str, Any]) -> None:
    """A name that was as long as a text, and a text of which each character takes three bytes, left a file that could not be asked."""
    store = DuckSpans(tmp_path / "spans", memory_mb=128)
    for n in range(14):
        rows = [span(f"{k}", n * 80 + k, None, NOW + k * SECOND, **marked(said, f"{n} {k} ")) for k in range(1, 81)]
        store.write(DAY, rows, "w", Position(1, n + 1))
    store.rest()
    assert len(store.traces(TraceQuery(limit=100)).items) == 80
    given = {row.span_id: row for row in rows}
    for row in store.held(DAY, "default", [rows[-1].trace_id]):
        if row.span_id in given:
            assert (row.input, row.output) == (given[row.span_id].input, given[row.span_id].output)
        assert len(row.model or "") <= NAME_BYTES >= len(row.service) and sum(map(len, row.tags)) <= KEPT
    store.close()
    store = DuckSpans(tmp_path / "spans", memory_mb=256)
    of_all = {r.span_id: r for r in rows}
    told = store.remap(lambda row: of_all.get(row.span_id, row), 60)
    assert told.finished and not told.changed, "a name that is cut is what it was"
    store.close()


def test_a_file_keeps_texts_that_are_nested_too_deep_to_be_shortened(tmp_path: Path) -> None:
    """They end in the beginning of them, and an object in an empty one; the whole is there."""
    store = DuckSpans(tmp_path / "spans")
    deep = '{"a":' * 700 + f'"{"x" * KEPT}"' + "}" * 700
    row = span("a", 1, None, NOW, input=deep, attributes=deep, digest="1".rjust(16, "0"))
    assert store.write(DAY, [row], "w", Position(1, 1)) == 1
    assert store.held(DAY, "default", [row.trace_id]) == [row]
    store.close()
