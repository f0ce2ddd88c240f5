"""Spans as OTLP's bytes: whatever is recorded, they say what OpenTelemetry's own encoder says."""

from __future__ import annotations

import logging
import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

from windlass.sdk.encoding import encode

text = st.text(st.characters(exclude_categories=()), max_size=200)  # what no UTF-8 can say too
plain_text = st.text(max_size=200)
value: Any = st.one_of(
    text, st.booleans(), st.integers(-(1 << 65), 1 << 65), st.floats(), st.binary(max_size=10), st.none(),
    st.lists(st.integers(-5, 1 << 40)), st.lists(text, max_size=4), st.lists(st.one_of(st.none(), st.booleans()), max_size=3),
    st.text("x", min_size=126, max_size=20_000),
)  # fmt: skip
attributes = st.dictionaries(st.one_of(st.sampled_from(["windlass.input", "llm.é", ""]), text), value, max_size=6)
recorded = st.fixed_dictionaries(
    {
        "name": plain_text, "attributes": attributes, "late": attributes, "kind": st.sampled_from(SpanKind), "resource": st.integers(0, 1),
        "scope": st.sampled_from([("windlass", None), ("a", "1.0"), ("", None)]), "status": st.sampled_from(StatusCode),
        "said": st.one_of(st.none(), plain_text), "event": st.booleans(), "link": st.booleans(), "start": st.integers(0, 1 << 62),
        "parent": st.sampled_from(["", "", "here", "remote", "state"]),
    }
)  # fmt: skip


class Kept(SpanProcessor):
    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


def record(told: list[dict[str, Any]]) -> list[ReadableSpan]:
    kept, providers = Kept(), []
    for named in ({"service.name": "shop", "n": 1}, {}):
        providers.append(
            TracerProvider(resource=Resource(named, "https://schema" if named else ""), span_limits=SpanLimits(max_attributes=8))
        )
        providers[-1].add_span_processor(kept)
    for one in told:
        tracer = providers[one["resource"]].get_tracer(*one["scope"], schema_url="https://scope" if one["scope"][1] else None)
        above = None
        if one["parent"]:
            state = TraceState([("a", "b")]) if one["parent"] == "state" else None
            context = SpanContext(
                random.getrandbits(128) or 1, random.getrandbits(64) or 1, one["parent"] == "remote", TraceFlags(1), state
            )
            above = set_span_in_context(NonRecordingSpan(context))
        links = [Link(SpanContext(5, 6, False), {"why": "so"})] if one["link"] else []
        span = tracer.start_span(one["name"], above, one["kind"], one["attributes"], links, one["start"])
        for name, given_value in one["late"].items():
            span.set_attribute(name, given_value)
        if one["event"]:
            span.add_event("happened", {"x": 1})
        span.set_status(Status(one["status"], one["said"] if one["status"] is StatusCode.ERROR else None))
        span.end(one["start"] + 5)
    return kept.spans


def said(data: bytes) -> dict[bytes, tuple[bytes, bytes]]:
    """By span what it, its scope and its resource say. A number that is none is not equal to itself, so bytes are compared."""
    found = {}
    for resource in ExportTraceServiceRequest.FromString(data).resource_spans:
        for scope in resource.scope_spans:
            where = resource.resource.SerializeToString(deterministic=True) + resource.schema_url.encode()
            where += scope.scope.SerializeToString(deterministic=True) + scope.schema_url.encode()
            found |= {span.span_id: (span.SerializeToString(deterministic=True), where) for span in scope.spans}
    return found


@settings(max_examples=300, deadline=None)
@given(st.lists(recorded, max_size=5))
def test_it_says_what_opentelemetrys_encoder_says(told: list[dict[str, Any]]) -> None:
    logging.disable(logging.CRITICAL)  # it logs what it cannot encode, and who runs tests in several processes cannot pass that on
    try:
        spans = record(told)
        data, rest = encode(spans)
        theirs = encode_spans(rest).SerializePartialToString() if rest else b""
        expected = said(encode_spans(spans).SerializePartialToString())
    finally:
        logging.disable(logging.NOTSET)
    assert said(data + theirs) == expected


def test_plain_spans_are_not_left_to_it() -> None:
    plain = {"attributes": {"a": "b", "n": -1, "f": 0.5, "yes": True, "l": ("x", "y")}, "late": {"windlass.output": "é" * 500}}
    more = {"kind": SpanKind.CLIENT, "resource": 0, "scope": ("windlass", None), "status": StatusCode.ERROR, "said": "it broke"}
    one = {"name": "f", **plain, **more, "event": False, "link": False, "start": 10**18, "parent": "remote"}
    spans = record([one, {**one, "event": True}, {**one, "parent": ""}])
    data, rest = encode(spans)
    assert (len(said(data)), rest) == (2, [spans[1]])
