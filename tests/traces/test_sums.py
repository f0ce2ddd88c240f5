"""What each SDK sent sums up to what was called: every call once, however many told of it."""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.traces.sdks.test_captured import CAPTURED, exports
from tests.traces.sdks.test_live import cost, total

from windlass.core.operations.figures import FiguresQuery
from windlass.core.operations.traces import TraceQuery, TraceShow
from windlass.govern.prices import Prices
from windlass.store.journal import Journal
from windlass.store.spans_duckdb import DuckSpans
from windlass.traces.envelope import seal
from windlass.traces.mapping import PRICED
from windlass.traces.projector import Projection


def test_each_sent_traces() -> None:
    assert all(any(exports(folder)) for folder in CAPTURED)


@pytest.mark.parametrize("folder", CAPTURED, ids=lambda p: p.name)
def test_every_call_counts_once(tmp_path: Path, folder: Path) -> None:
    journal, store = Journal(tmp_path / "journal" / "w"), DuckSpans(tmp_path / "spans")
    projection = Projection(tmp_path / "journal", store, Prices())
    for export in exports(folder):
        journal.append(seal("default", export.SerializeToString()))
    traces = projection.ask("traces", TraceQuery(limit=200)).items
    spans = [s for t in traces for s in projection.ask("trace", TraceShow(t.trace_id)).spans]
    facts = [f for f in tomllib.loads((folder / "facts.toml").read_text())["span"] if not f.get("superseded")]
    assert Counter(s.name for s in spans) == Counter(f["name"] for f in facts)
    calls = [f for f in facts if f["kind"] in PRICED and not f.get("again")]
    asked: list[dict[str, Any]] = [f for f in calls if f["kind"] == "model"]
    tokens = [f.get(key) for f in asked for key in ("input_tokens", "output_tokens")]
    assert total([t.tokens for t in traces]) == total(tokens)
    assert total([t.cost for t in traces]) == pytest.approx(total([cost(f) for f in calls]))
    times = {"since_ns": min(t.start_ns for t in traces), "until_ns": max(t.start_ns for t in traces) + 1}
    whole = projection.ask("figures", FiguresQuery(**times)).whole
    assert (whole.traces, whole.calls) == (len(traces), len(asked))
    assert total([whole.tokens_in, whole.tokens_out]) == total(tokens)
    assert whole.cost == pytest.approx(total([cost(f) for f in calls]))
    journal.close()
    projection.close()
