"""What tracing libraries of others export is read as what it means. It was caught once; `sdks/captured/*/facts.toml` says what it means."""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.traces.sdks.test_captured import CAPTURED, exports

from windlass.govern.prices import Prices
from windlass.store.spans import SpanRow
from windlass.traces.envelope import OTLP
from windlass.traces.mapping import PRICED, again, rows

COLUMNS = {
    "kind": "kind", "model": "model", "provider": "provider", "input_tokens": "tokens_in", "cached_tokens": "tokens_cached",
    "cache_write_tokens": "tokens_written", "output_tokens": "tokens_out", "reasoning_tokens": "tokens_reasoning", "session": "session",
    "user": "user", "prompt": "prompt", "tool": "tool", "cost": "cost",
}  # fmt: skip


def read(folder: Path) -> list[SpanRow]:
    found = [row for export in exports(folder) for row in rows(OTLP, "default", 1, export.SerializeToString())]
    return sorted(found, key=lambda r: r.start_ns)


def differences(folder: Path) -> list[str]:
    facts = {(f["name"], f["nth"]): f for f in tomllib.loads((folder / "facts.toml").read_text())["span"]}
    seen: Counter[str] = Counter()
    wrong = []
    for row in read(folder):
        fact: dict[str, Any] = facts[row.name, seen[row.name]]
        seen[row.name] += 1
        if fact.get("superseded"):
            continue
        where = f"{row.name} {seen[row.name] - 1}"
        for key, column in COLUMNS.items():
            told, expected = getattr(row, column), fact.get(key)
            if key == "prompt" and expected:
                expected = "@".join(str(expected[k]) for k in ("name", "version") if k in expected) if "name" in expected else None
            if key == "tool" and fact["kind"] != "tool":  # what a model wants
                continue
            if key == "provider" and fact["kind"] not in PRICED:  # some name their own library where nobody is asked
                continue
            if key == "cost" and expected:
                expected = pytest.approx(expected)
            if told != expected and not (key == "cache_write_tokens" and not told and not expected):
                wrong.append(f"{where}: {column} is {told!r}, not {expected!r}")
        if sorted(row.tags) != sorted(fact.get("tags", [])):
            wrong.append(f"{where}: tags are {row.tags}, not {fact.get('tags')}")
        for key in ("input", "output"):
            if (expected := fact.get(key)) and fact.get("content_in") != "logs" and expected not in plain(getattr(row, key)):
                wrong.append(f"{where}: {expected!r} is not in {key}: {(getattr(row, key) or '')[:300]}")
    return wrong


def plain(text: str | None) -> str:
    return (text or "").replace("\\", "")


@pytest.mark.parametrize("folder", CAPTURED, ids=lambda p: p.name)
def test_what_others_send_means_what_it_means(folder: Path) -> None:
    assert differences(folder) == []


@pytest.mark.parametrize("folder", CAPTURED, ids=lambda p: p.name)
def test_read_anew_a_row_says_what_it_said(folder: Path) -> None:
    """All that the tables read is kept with a row, what its process said of itself too."""
    prices = Prices()
    for export in exports(folder):
        for row in rows(OTLP, "default", 1, export.SerializeToString(), prices):
            assert again(msgspec.msgpack.decode(msgspec.msgpack.encode(row), type=SpanRow), prices) == row


def test_of_a_row_whose_resource_is_lost_nothing_is_forgotten() -> None:
    (row,) = rows(OTLP, "default", 1, one("chat", {"gen_ai.operation.name": "chat"}, {"deployment.environment": "staging", "user.id": "u"}))
    assert (row.environment, row.user, row.kind) == ("staging", "u", "model")
    row.resource, row.kind = None, "span"
    read = again(row, None)
    assert (read.environment, read.user, read.kind) == ("staging", "u", "model")


def test_a_price_of_ones_own_counts_before_what_was_told(tmp_path: Path) -> None:
    called = {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-5-mini",
        "gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 50, "gen_ai.usage.cache_read.input_tokens": 400,
    }  # fmt: skip
    (table,) = rows(OTLP, "default", 1, one("chat", called), Prices())
    assert table.cost == pytest.approx((600 * 0.25 + 400 * 0.025 + 50 * 2.0) / 1e6)
    (told,) = rows(OTLP, "default", 1, one("chat", called | {"llm.cost.total": 7.5}), Prices())
    assert told.cost == 7.5
    file = tmp_path / "prices.toml"
    file.write_text('["openai/gpt-5-mini"]\ninput = 1000.0\noutput = 0.0\ncached = 0.0\n')
    assert again(told, Prices(file)).cost == pytest.approx(0.6)
    unknown = called | {"gen_ai.request.model": "nobody-knows-it"}
    assert [row.cost for row in rows(OTLP, "default", 1, one("chat", unknown), Prices())] == [None]


def one(name: str, attributes: dict[str, Any], resource: dict[str, Any] | None = None) -> bytes:
    """A request of one span."""
    made = ExportTraceServiceRequest()
    told = made.resource_spans.add()
    span = told.scope_spans.add().spans.add(trace_id=b"t" * 16, span_id=b"s" * 8, name=name, start_time_unix_nano=10**18)
    for pairs, given in ((told.resource.attributes, resource or {}), (span.attributes, attributes)):
        for key, value in given.items():
            field = {str: "string_value", int: "int_value", float: "double_value"}[type(value)]
            setattr(pairs.add(key=key).value, field, value)
    return made.SerializeToString()


@pytest.mark.parametrize("name", ["opik.usage", "gen_ai.input.messages", "llm.invocation_parameters", "langfuse.observation.usage_details"])
def test_text_that_is_nested_too_deeply_hides_no_other_span(name: str) -> None:
    """Else all that was sent with it would be kept, and seen by nobody."""
    sent = ExportTraceServiceRequest()
    spans = sent.resource_spans.add().scope_spans.add().spans
    for number in (1, 2):
        spans.add(
            trace_id=bytes([number] * 16), span_id=bytes([number] * 8), name=str(number), start_time_unix_nano=1, end_time_unix_nano=2
        )
    deep = "[" * 5_000 + "]" * 5_000
    spans[0].attributes.add(key=name).value.string_value = deep
    found = list(rows(OTLP, "default", 1, sent.SerializeToString()))
    assert [row.name for row in found] == ["1", "2"]
    assert deep in (found[0].input or "") + found[0].attributes
