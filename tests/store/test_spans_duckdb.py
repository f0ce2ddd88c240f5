"""What only spans in DuckDB do: they lie in files, and memory is bounded. `test_spans_stores.py` is what both stores do."""

from __future__ import annotations

from pathlib import Path

import duckdb
import msgspec
from tests.store.test_spans_stores import NOW, id_of, span

from windlass.core.operations.traces import TextShow, TraceQuery, TraceShow
from windlass.core.span import make_whole
from windlass.store.segments import Position
from windlass.store.spans import ArrivalQuery, SpanRow
from windlass.store.spans_duckdb import DuckSpans


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


OLD = (
    "project VARCHAR, trace_id VARCHAR, span_id VARCHAR, parent VARCHAR, name VARCHAR, kind VARCHAR, start_ns BIGINT, end_ns BIGINT,"
    " receipt_ns BIGINT, status VARCHAR, status_message VARCHAR, service VARCHAR, digest VARCHAR, model VARCHAR, provider VARCHAR,"
    " tokens_in BIGINT, tokens_out BIGINT, tokens_cached BIGINT, cost DOUBLE, input VARCHAR, output VARCHAR, session VARCHAR,"
    ' "user" VARCHAR, release VARCHAR, environment VARCHAR, evaluation VARCHAR, "row" VARCHAR, versions VARCHAR[], attributes VARCHAR,'
    " events VARCHAR"
)


def in_the_old_form(path: Path, rows: list[SpanRow]) -> None:
    """A file of format 1, which had ids and digests as text and did not know where a trace lies; its second row was erased."""
    db = duckdb.connect(str(path))
    db.execute(f"CREATE TABLE spans ({OLD})")
    db.execute("CREATE TABLE positions (writer VARCHAR PRIMARY KEY, segment BIGINT, read BIGINT)")
    names = [column.split()[0].strip('"') for column in OLD.split(", ")]
    for n, row in enumerate(rows):
        values = [getattr(row, name) if n != 1 or name in ("receipt_ns", "start_ns") else None for name in names]
        db.execute(f"INSERT INTO spans VALUES ({', '.join('?' * len(names))})", values)
    db.execute("INSERT INTO positions VALUES ('w', 3, 77)")
    db.close()


def test_files_of_format_1_are_brought_up_and_rows_keep_their_places(tmp_path: Path) -> None:
    folder = tmp_path / "spans"
    folder.mkdir()
    rows = [
        row
        for trace in ("ab" * 16, "ff" * 16)
        for row in (
            span(trace, 1, None, NOW, digest="e" * 16 + "0" * 16, release="release/answer@sha256:aa", input='"hi"', versions=["a", "b"]),
            span(trace, 0xFFFFFFFFFFFFFFFF, "0" * 15 + "1", NOW + 5, digest="1" * 32, kind="model", tokens_in=7, cost=0.5, model="m"),
        )
    ]
    in_the_old_form(folder / "2027-01-15.duckdb", rows)
    store = DuckSpans(folder)
    assert store.positions() == {"w": Position(3, 77)}
    assert store.counts() == {"spans": 3, "traces": 2, "logs": 0}
    (newest, older) = store.traces(TraceQuery()).items
    assert (newest.trace_id, newest.spans, newest.cost, newest.tokens) == ("ab" * 16, 1, None, None)
    assert (older.trace_id, older.spans, older.cost, older.tokens, older.input) == ("ff" * 16, 2, 0.5, 7, "hi")
    shown = store.trace(TraceShow("ffff"))
    assert [(s.span_id, s.parent) for s in shown.spans] == [("0" * 15 + "1", None), ("f" * 16, "0" * 15 + "1")]
    assert shown.versions == ("a", "b")
    assert store.arrivals(ArrivalQuery("default", "answer", cursor="2027-01-15:0")).cursor == "2027-01-15:3"
    for row in rows:
        row.digest = row.digest[:16]
    assert store.write("2027-01-15", [*rows[2:], span("ff" * 16, 3, None, NOW)], "w", Position(3, 99)) == 1, (
        "those that are there are known"
    )
    store.close()
    again = DuckSpans(folder)
    assert again.counts() == {"spans": 4, "traces": 2, "logs": 0}
    assert {p.name for p in folder.iterdir() if p.name != "spill"} == {"2027-01-15.duckdb"}
    again.close()


def test_a_file_without_the_newest_columns_and_tables_is_given_them(tmp_path: Path) -> None:
    store = DuckSpans(tmp_path)
    store.write("2027-01-15", [span("a", 1, None, NOW), span("a", 2, f"{1:016x}", NOW)], "w", Position(1, 1))
    store.close()
    with duckdb.connect(str(tmp_path / "2027-01-15.duckdb")) as db:
        for column in ("response", "joined", "severity"):
            db.execute(f"ALTER TABLE spans DROP COLUMN {column}")
        db.execute("DROP TABLE logs")
    store = DuckSpans(tmp_path)
    log = span("a", 3, f"{2:016x}", NOW, kind="log")
    assert store.write("2027-01-15", [span("a", 2, f"{1:016x}", NOW), span("b", 9, None, NOW), log], "w", Position(1, 2)) == 2
    assert store.counts() == {"spans": 3, "traces": 2, "logs": 1}
    assert [row.span_id for row in store.records([("default", id_of("a"), f"{2:016x}")])] == [log.span_id]
    assert {(r.span_id, r.response, r.joined) for r in store.held("2027-01-15", "default", [id_of("a")])} == {
        (f"{n:016x}", None, False) for n in (1, 2, 3)
    }
    store.close()


def test_a_clock_that_is_wrong_finds_its_spans_again(tmp_path: Path) -> None:
    store = DuckSpans(tmp_path / "spans")
    odd = [
        span(f"{n:032x}", n, None, start)
        for n, start in enumerate((0, 1, NOW, 2**62, 2**63 - 10**10, NOW + 10**12, 5 * 10**17, 10**9, 77), 1)
    ]
    assert store.write("2027-01-15", odd, "w", Position(1, 1)) == len(odd)
    assert store.write("2027-01-15", [*odd, span("e" * 32, 99, None, 2**60)], "w", Position(1, 2)) == 1
    assert store.counts() == {"spans": len(odd) + 1, "traces": len(odd) + 1, "logs": 0}
    store.close()


def test_any_text_is_kept_as_it_is(tmp_path: Path) -> None:
    store = DuckSpans(tmp_path / "spans")
    texts = ["", "nul\0nul", "😀 \u2028", '"', "\\u0000", "x" * 3_000_000]
    rows = [span(f"{n:032x}", n + 1, None, NOW + n, name=t, attributes=msgspec.json.encode({t: t}).decode()) for n, t in enumerate(texts)]
    store.write("2027-01-15", rows, "w", Position(1, 1))
    for n, t in enumerate(texts):
        (kept,) = store.trace(TraceShow(f"{n:032x}")).spans
        make_whole(kept, {of: store.text(TextShow(kept.trace_id, kept.span_id, of)).text for of in kept.cut})  # type: ignore[arg-type]
        assert kept.name == t and kept.attributes == {t: t} and not kept.cut
    store.close()
