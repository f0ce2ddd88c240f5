"""The kept bytes are whole, and `facts.toml` tells of every span in them, and of no other."""

from __future__ import annotations

import base64
import json
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from windlass.traces import opik_spans

CAPTURED = sorted(p for p in (Path(__file__).parent / "captured").iterdir() if p.is_dir())
KEYS = {
    "name", "nth", "kind", "model", "provider", "input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens",
    "cost", "session", "user", "tags", "prompt", "input", "output", "tool", "arguments", "documents", "scores", "error", "content_in",
    "streamed", "superseded", "sum", "again",
}  # fmt: skip


def exports(folder: Path) -> list[ExportTraceServiceRequest]:
    """What an SDK sent to a path of traces; JSON has its ids in hexadecimal, where protobuf's own JSON has base64. What Opik's sent as it
    becomes OTLP."""
    if steps := rest_steps(folder):
        return [
            opik_spans.request((told["project_name"], opik_spans.step(told, is_span=what == "spans")) for (what, _), told in steps.items())
        ]
    entries = json.loads((folder / "requests.json").read_bytes())
    sent = [(folder / e["file"]) for e in entries if e["signal"] == "traces" and e["file"]]
    return [
        ExportTraceServiceRequest.FromString(file.read_bytes())
        if file.suffix == ".otlp"
        else ParseDict(in_base64(json.loads(file.read_bytes())), ExportTraceServiceRequest(), ignore_unknown_fields=True)
        for file in sent
    ]


def rest_steps(folder: Path) -> dict[tuple[str, str], Any]:
    """By what it is and its id, of Opik's own interface, where a trace or a span is sent as it begins and again when it has ended."""
    entries = json.loads((folder / "requests.json").read_bytes())
    batches = [
        (what, json.loads((folder / e["file"]).read_bytes()))
        for e in entries
        for what in ("traces", "spans")
        if e["path"].endswith(f"/{what}/batch")
    ]
    steps = [(what, told) for what, batch in batches for told in batch[what]]
    return {(what, told["id"]): told for what, told in sorted(steps, key=lambda step: "end_time" in step[1])}


def in_base64(value: Any) -> Any:
    if isinstance(value, list):
        return [in_base64(v) for v in value]
    if not isinstance(value, dict):
        return value
    ids = ("traceId", "spanId", "parentSpanId")
    return {k: base64.b64encode(bytes.fromhex(v)).decode() if k in ids else in_base64(v) for k, v in value.items()}


@pytest.mark.parametrize("folder", CAPTURED, ids=lambda p: p.name)
def test_facts_tell_of_every_captured_span(folder: Path) -> None:
    spans = [s for export in exports(folder) for r in export.resource_spans for scope in r.scope_spans for s in scope.spans]
    names = [s.name for s in spans]
    facts = tomllib.loads((folder / "facts.toml").read_text())["span"]
    assert Counter(names) == Counter(f["name"] for f in facts)
    assert all(set(f) <= KEYS for f in facts)
    of_name = Counter()  # type: Counter[str]
    for fact in facts:
        assert fact["nth"] == of_name[fact["name"]]
        of_name[fact["name"]] += 1


@pytest.mark.parametrize("folder", CAPTURED, ids=lambda p: p.name)
def test_what_is_captured_is_small_and_holds_no_secret(folder: Path) -> None:
    kept = [f.read_bytes() for f in folder.iterdir()]
    assert sum(map(len, kept)) < 100_000
    assert not any(secret in data for data in kept for secret in (b"wl_captured", b"sk-scripted", b"sk-ant-scripted"))
