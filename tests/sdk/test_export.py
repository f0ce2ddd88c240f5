"""Traces written to a file are what the server has: read back by PyArrow, which had no part in writing them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.doors.server import Server
from tests.doors.web.test_foreign_traces import Sent

from windlass.core.errors import Invalid
from windlass.core.span import input_of
from windlass.sdk import export

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sent]:
    up = Server(tmp_path_factory.mktemp("export") / "home")
    yield Sent(up, "openinference-langchain")
    up.stop()


def test_both_kinds_of_files_say_what_the_server_says(sent: Sent, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    lines, packed = tmp_path / "runs.jsonl", tmp_path / "it's.parquet"
    for path in (lines, packed):
        export.write(path, sent.client.traces.spans())
    listed = sent.client.traces.list().items
    spans = {s.span_id: s for t in listed for s in sent.client.traces.show(t.trace_id).spans}
    told = [json.loads(line) for line in lines.read_text().splitlines()]
    table = parquet.read_table(packed)
    assert table.column_names == list(export.COLUMNS) == list(told[0])
    assert [r["trace_id"] for r in told] == [t.trace_id for t in listed for _ in range(t.spans)]
    assert {r["span_id"] for r in told} == spans.keys() and len(told) == len(spans) > 5
    for row, kept in zip(told, table.to_pylist(), strict=True):
        span = spans[row["span_id"]]
        assert (row["kind"], row["model"], row["tokens_in"], row["cost"]) == (span.kind, span.model, span.tokens_in, span.cost)
        assert (row["input"], row["attributes"], row["session"]) == (input_of(span), span.attributes, "s-1" if row["session"] else None)
        for name, of in export.COLUMNS.items():
            assert (json.loads(kept[name]) if of == "JSON" else kept[name]) == row[name], name
    assert sorted(p.name for p in tmp_path.iterdir()) == ["it's.parquet", "runs.jsonl"]
    assert [r["span_id"] for r in sent.client.traces.spans(model="nothing")] == []


def test_nothing_is_written_over_or_by_halves(sent: Sent, tmp_path: Path) -> None:
    there = tmp_path / "there.jsonl"
    there.write_text("mine")
    for path, why in ((there, "is there already"), (tmp_path / "a.csv", "neither"), (tmp_path / "no" / "a.jsonl", "no folder")):
        with pytest.raises(Invalid, match=why):
            export.write(path, sent.client.traces.spans())

    def broken() -> Iterator[dict[str, object]]:
        yield next(sent.client.traces.spans())
        raise Invalid("the server went away")

    for name in ("a.jsonl", "a.parquet"):
        with pytest.raises(Invalid, match="went away"):
            export.write(tmp_path / name, broken())
    assert [p.name for p in tmp_path.iterdir()] == ["there.jsonl"] and there.read_text() == "mine"
