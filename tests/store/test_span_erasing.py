"""A person's spans are gone from either store, also from the bytes of files; everybody else's are as they were, where they were."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.store.test_spans_stores import NOW, SECOND, arrived, span

from windlass.core.operations.traces import TraceQuery
from windlass.store.segments import Position
from windlass.store.span_erasing import pattern_of
from windlass.store.spans import ArrivalQuery, Forget, MentionQuery, SpanRow, SubjectQuery
from windlass.store.spans_duckdb import DuckSpans

ANN, BOB, CAT, DAN = ("user-4711", "user-0815", "c" * 9 + "1", "user-dan")
SAID = "my left knee was operated on"
RELEASE = "release/answer@sha256:aa"


def a_day(trace: int, **fields) -> list[SpanRow]:
    """A request and a model call under it, which does not say who asked."""
    id, start = f"{trace:032x}", NOW + trace * SECOND
    asked = span(id, trace * 2, None, start, release=RELEASE, **fields)
    said = {"input": fields.get("input"), "kind": "model", "project": fields.get("project", "default")}
    return [asked, span(id, trace * 2 + 1, f"{trace * 2:016x}", start + 1, **said)]


@pytest.fixture
def rows() -> list[SpanRow]:
    return [
        *a_day(1, user=ANN, session="s1", input=f'"{SAID}"', attributes=f'{{"user.id":"{ANN}"}}'),
        *a_day(2, session="s1", input=f'"{SAID} again"'),  # of the same session, which is nobody else's
        *a_day(3, user=ANN, session="shared", input='"in a room with Bob"'),
        *a_day(4, user=BOB, session="shared", input='"what Bob said"'),
        *a_day(5, session="shared", input='"who said this?"'),
        *a_day(6, user=BOB, session="s2", input=f'"write to {ANN}, please"'),
        *a_day(7, user=ANN, session="s1", project="other", input='"elsewhere"'),
    ]


def ids(*traces: int) -> tuple[str, ...]:
    return tuple(f"{t:032x}" for t in traces)


def test_whose_traces(spans, rows) -> None:
    store = spans()
    store.write("2026-11-23", rows, "w", Position(1, 100))
    found = store.theirs(SubjectQuery("default", (ANN,)))
    assert found.traces == ids(1, 2, 3)
    assert f'"{SAID}"' in found.said
    assert store.theirs(SubjectQuery("default", (ANN,), pattern=pattern_of((ANN,)))).traces == ids(1, 2, 3, 6)
    assert store.theirs(SubjectQuery("default", ("user-47",), pattern=pattern_of(("user-47",)))).traces == (), "a part of a name is none"
    assert store.theirs(SubjectQuery("default", ("nobody",), traces=ids(4))).traces == ids(4)
    assert store.theirs(SubjectQuery("default", ("nobody",))).traces == ()
    assert store.mentions(MentionQuery("default", pattern_of((ANN,)))) == 4
    store.close()


def test_they_are_gone_and_everything_else_is_where_it_was(spans, rows) -> None:
    store = spans()
    store.write("2026-11-23", rows[:8], "w", Position(1, 100))
    store.write("2026-11-24", rows[8:], "w", Position(1, 200))
    before, _ = arrived(store)
    first = store.arrivals(ArrivalQuery("default", release="answer", limit=2))
    assert [a.trace_id for a in first.items] == list(ids(1, 2))
    seen = store.traces(TraceQuery(project="other", limit=50))
    assert store.forget(Forget("default", ids(1, 2, 3))) == 6
    assert store.forget(Forget("default", ids(1, 2, 3))) == 0
    assert store.counts() == {"spans": 8, "traces": 4, "logs": 0}
    assert store.positions() == {"w": Position(1, 200)}
    assert store.traces(TraceQuery(project="other", limit=50)) == seen
    assert [t.trace_id for t in store.traces(TraceQuery(limit=50)).items] == list(ids(6, 5, 4))
    assert store.mentions(MentionQuery("default", pattern_of((ANN,)))) == 2, "what Bob said of Ann"
    # a monitor goes on from where it was: what came after is seen once, and nothing twice
    store.write("2026-11-24", a_day(8, user=BOB, input='"new"'), "w", Position(1, 300))
    assert before == list(ids(1, 2, 3, 4, 5, 6))
    assert arrived(store, 500, first.cursor)[0] == list(ids(4, 5, 6, 8))
    store.close()
    again = spans()
    assert again.positions() == {"w": Position(1, 300)}
    assert again.counts() == {"spans": 10, "traces": 5, "logs": 0}
    again.close()


def test_no_byte_of_it_is_left_in_files(tmp_path: Path, rows) -> None:
    folder = tmp_path / "spans"
    store = DuckSpans(folder)
    store.write("2026-11-23", rows, "w", Position(1, 100))
    (folder / ".left.ndjson").write_text(SAID)
    store.rest()  # closed and opened again, so that all of it is in the file
    assert SAID in _bytes(folder)
    store.forget(Forget("default", ids(1, 2, 3)))
    assert SAID not in _bytes(folder), "not in the file that is open either"
    store.close()
    assert SAID not in _bytes(folder)
    assert {p.name for p in folder.iterdir()} == {"2026-11-23.duckdb"}


def _bytes(folder: Path) -> str:
    return "".join(p.read_bytes().decode("latin-1") for p in folder.rglob("*") if p.is_file())


def test_cut_off_before_the_new_file_stands(tmp_path: Path, rows, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is killed while a file is written anew finds the old one whole, and does it again."""
    folder = tmp_path / "spans"
    store = DuckSpans(folder)
    store.write("2026-11-23", rows, "w", Position(1, 100))

    def killed(self: Path, target: Path) -> None:
        raise SystemError("killed")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", killed)
        with pytest.raises(SystemError):
            store.forget(Forget("default", ids(1)))
    store._db.close()
    again = DuckSpans(folder)
    assert again.counts() == {"spans": 14, "traces": 7, "logs": 0}
    assert again.forget(Forget("default", ids(1))) == 2
    assert again.positions() == {"w": Position(1, 100)}
    again.close()
