"""Bringing history: what is remembered, and when it no longer holds; and what our own side refuses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from windlass.core.operations.traces import ScoreRequest, TraceQuery, TraceShow
from windlass.doors.local import open_local
from windlass.sdk.client import Client
from windlass.sdk.importing import bring as module
from windlass.sdk.importing.bring import bring
from windlass.sdk.importing.source import Left, Marks, Page, scored
from windlass.sdk.importing.spans import request
from windlass.store.segments import Position
from windlass.store.spans_duckdb import DuckSpans
from windlass.traces.envelope import OTLP
from windlass.traces.mapping import rows

TRACE = "ab" * 16
SECOND = 10**9


class Three:
    """A source of three pages; the marks are the number of the next. `asked` is what it was told to go on with."""

    product = "Three"

    def __init__(self, size: int = 10) -> None:
        self.asked: list[tuple[Marks, int]] = []
        self._size = size

    def version(self) -> str:
        return "1"

    def pages(self, marks: Marks, since_ns: int, project: str | None) -> Iterator[Page]:
        self.asked.append((dict(marks), since_ns))
        for number in range(int(marks.get("next", 0)), 3):
            page = Page("theirs", {"next": number + 1}, traces=1)
            span = Span(
                trace_id=bytes([number + 1]) * 16, span_id=b"s" * 8, name=f"n{number}", start_time_unix_nano=5, end_time_unix_nano=9
            )
            span.attributes.add(key="text").value.string_value = "x" * self._size
            page.spans.append(span)
            yield page

    def prompts(self, client: Client, left: Counter[Left], *, dry: bool) -> tuple[dict[tuple[str, int], str], int]:
        return {}, 0

    def rest(self) -> Counter[Left]:
        return Counter({Left("files", "they are not read"): 2})


def test_it_goes_on_where_it_left_off_unless_that_is_not_here(tmp_path: Path, client: Client) -> None:
    source, folder = Three(), tmp_path / "imports"
    first = bring(client, source, "http://a", folder=folder)
    assert (first.traces, first.spans, first.went_on) == (3, 3, False)
    assert [(n.what, n.count) for n in first.left] == [("files", 2)]
    assert bring(client, source, "http://a", folder=folder).went_on
    bring(client, source, "http://b", folder=folder)
    with open_local(tmp_path / "another") as other:  # an installation of the same address that has none of it
        assert bring(other, source, "http://a", folder=folder).traces == 3
    assert [marks for marks, _ in source.asked] == [{}, {"next": 3}, {}, {}]
    (file,) = [f for f in folder.glob("*") if f.suffix != ".json"] or [None]
    assert file is None and len(list(folder.glob("*.json"))) == 2


def test_an_earlier_time_begins_anew(tmp_path: Path, client: Client) -> None:
    source, folder = Three(), tmp_path / "imports"
    for since in (7 * SECOND, 8 * SECOND, 5 * SECOND, 0):
        bring(client, source, "http://a", since_ns=since, folder=folder)
    assert source.asked == [({}, 7 * SECOND), ({"next": 3}, 8 * SECOND), ({}, 5 * SECOND), ({}, 0)]


def test_a_file_that_is_damaged_means_from_the_beginning(tmp_path: Path, client: Client) -> None:
    source, folder = Three(), tmp_path / "imports"
    bring(client, source, "http://a", folder=folder)
    (file,) = folder.glob("*.json")
    file.write_bytes(b"{")
    bring(client, source, "http://a", folder=folder)
    assert [marks for marks, _ in source.asked] == [{}, {}]


def test_one_span_that_is_refused_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WINDLASS_OTLP_LIMIT", "2000")
    monkeypatch.setattr(module, "BYTES", 10_000)

    class All(Three):
        def pages(self, marks: Marks, since_ns: int, project: str | None) -> Iterator[Page]:
            whole = Page("theirs", {"next": 3})
            for page in super().pages({}, since_ns, project):
                whole.spans += page.spans
            whole.spans[1].attributes[0].value.string_value = "y" * 5_000
            whole.spans.append(Span(trace_id=bytes(16), span_id=b"s" * 8, name="of no trace"))
            yield whole

    with open_local(tmp_path / "home") as client:
        done = bring(client, All(), "http://a", folder=tmp_path / "imports")
        assert done.spans == 2 and {t.name for t in client.traces.list().items} == {"n0", "n2"}
    why = {n.why.partition(" ")[0]: n.count for n in done.left if n.what == module.REFUSED_SPANS}
    assert sum(why.values()) == 2, done.left


def test_scores_of_theirs_as_ours() -> None:
    page = Page("theirs", {})

    def of(value: object, comment: str | None = None, by: str = "") -> ScoreRequest | None:
        before = len(page.scores)
        scored(page, id="1", name=" tone ", value=value, comment=comment, by=by, at_ns=5, trace=TRACE)
        return page.scores[-1] if len(page.scores) > before else None

    assert of(True, "good", "human ann") == ScoreRequest("tone", True, "good\n\n(human ann)", TRACE, None, None, "1", at_ns=5)
    assert (of(3) or page.scores[0]).value == 3.0 and (of("plain") or page.scores[0]).value == "plain"
    long = of("a" * 201, "why")
    assert long and long.value is None and long.comment == "a" * 201 + "\n\nwhy"
    assert of({"a": 1}) is None and of(None) is None and of(float("nan")) is None and of(1e300) is None
    assert sum(page.left.values()) == 4
    most = of(None, "c" * 10_001)
    assert most and len(most.comment or "") == 10_000 and page.left[Left("scores' comments", "all but their first 10,000 characters")] == 1


def test_brought_again_on_another_day_a_span_is_in_its_trace_once(tmp_path: Path) -> None:
    """Each day has a file of its own, and a file knows its own spans alone."""
    (page, *_) = Three().pages({}, 0, None)
    data = request(page.spans, "three", "theirs").SerializeToString()
    store = DuckSpans(tmp_path / "spans")
    days = ("2026-01-01", "2026-01-01", "2026-01-02")
    sealed = [list(rows(OTLP, "default", (n + 1) * 10**18, data)) for n in range(len(days))]
    assert [store.write(day, some, "w", Position(1, n)) for n, (day, some) in enumerate(zip(days, sealed, strict=True), 100)] == [1, 0, 1]
    (found,) = store.traces(TraceQuery()).items
    assert found.spans == 1 and len(store.trace(TraceShow(found.trace_id)).spans) == 1
    store.close()
