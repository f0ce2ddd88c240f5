"""From a span to a row: which attribute of which convention means what. Tables, not code.

First forms of Windlass's own names, OpenTelemetry's GenAI conventions (old and new names), OpenInference and OpenLLMetry. The raw
attributes stay with the row, so that newer tables can read older spans again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from windlass.core import span as names
from windlass.core.span import Span, SpanEvent, Status
from windlass.store.spans import SpanRow
from windlass.traces.envelope import LOGS, METRICS, SPANS

# column → attributes that give it, the first that is there counts
SOURCES: dict[str, tuple[str, ...]] = {
    "model": (names.RESPONSE_MODEL, names.REQUEST_MODEL, "llm.model_name", "embedding.model_name"),
    "provider": (names.PROVIDER, "gen_ai.system", "llm.provider", "llm.system"),
    "tokens_in": (names.INPUT_TOKENS, "gen_ai.usage.prompt_tokens", "llm.token_count.prompt"),
    "tokens_out": (names.OUTPUT_TOKENS, "gen_ai.usage.completion_tokens", "llm.token_count.completion"),
    "tokens_cached": (names.CACHED_TOKENS, "gen_ai.usage.cached_input_tokens", "llm.token_count.prompt_details.cache_read"),
    "cost": (names.COST,),
    "input": (names.INPUT, names.INPUT_MESSAGES, "input.value", "gen_ai.prompt", "traceloop.entity.input"),
    "output": (names.OUTPUT, names.OUTPUT_MESSAGES, "output.value", "gen_ai.completion", "traceloop.entity.output"),
    "session": (names.SESSION, "session.id"),
    "user": (names.USER, "enduser.id"),
    "release": (names.RELEASE,),
    "environment": (names.ENVIRONMENT, "deployment.environment.name", "deployment.environment"),
    "evaluation": (names.EVALUATION,),
    "row": (names.ROW,),
}
INTEGERS = ("tokens_in", "tokens_out", "tokens_cached")
KINDS: tuple[tuple[str, dict[str, str]], ...] = (
    (names.KIND, {}),
    ("traceloop.span.kind", {"workflow": "chain", "task": "span", "agent": "agent", "tool": "tool"}),
    (
        names.OPERATION,
        {
            "chat": "model", "generate_content": "model", "text_completion": "model", "embeddings": "embedding", "retrieval": "retrieval",
            "execute_tool": "tool", "invoke_agent": "agent", "create_agent": "agent", "invoke_workflow": "chain",
        },
    ),
    (
        "openinference.span.kind",
        {
            "LLM": "model", "CHAIN": "chain", "TOOL": "tool", "AGENT": "agent", "RETRIEVER": "retrieval", "EMBEDDING": "embedding",
            "EVALUATOR": "evaluator", "RERANKER": "retrieval", "PROMPT": "span", "GUARDRAIL": "span", "UNKNOWN": "span",
        },
    ),
)  # fmt: skip
_STATUS: dict[int, Status] = {0: "unset", 1: "ok", 2: "error"}
_LATEST = 2**63 - 1
_unpack = msgspec.msgpack.Decoder(list[Span]).decode
_pack = msgspec.msgpack.Encoder().encode


def rows(kind: int, project: str, receipt_ns: int, data: bytes) -> Iterator[SpanRow]:
    """The rows of one journal record."""
    if kind == SPANS:
        for span in _unpack(data):
            yield _row(span, _digest(_pack(span)), project, receipt_ns, {})
        return
    if kind in (LOGS, METRICS):  # no table is made of them yet; they stay in the journal
        return
    for resource in ExportTraceServiceRequest.FromString(data).resource_spans:
        shared = _attributes(resource.resource.attributes)
        for scope in resource.scope_spans:
            for sent in scope.spans:
                digest = _digest(sent.SerializeToString(deterministic=True))
                yield _row(_from_otlp(sent, str(shared.get("service.name", ""))), digest, project, receipt_ns, shared)


def _from_otlp(sent: Any, service: str) -> Span:
    start = min(sent.start_time_unix_nano, _LATEST)
    return Span(
        trace_id=sent.trace_id.hex(),
        span_id=sent.span_id.hex(),
        name=sent.name,
        start_ns=start,
        end_ns=min(max(sent.end_time_unix_nano, start), _LATEST),
        parent=sent.parent_span_id.hex() or None,
        status=_STATUS.get(sent.status.code, "unset"),
        status_message=sent.status.message,
        attributes=_attributes(sent.attributes),
        events=[SpanEvent(e.name, e.time_unix_nano, _attributes(e.attributes)) for e in sent.events],
        service=service,
    )


def _row(span: Span, digest: str, project: str, receipt_ns: int, shared: dict[str, Any]) -> SpanRow:
    attributes = span.attributes
    columns: dict[str, Any] = {column: _first(sources, attributes, shared, column) for column, sources in SOURCES.items()}
    versions = attributes.get(names.VERSIONS)
    return SpanRow(
        project=project,
        trace_id=span.trace_id,
        span_id=span.span_id,
        parent=span.parent,
        name=span.name,
        kind=_kind(attributes),
        start_ns=span.start_ns,
        end_ns=max(span.end_ns, span.start_ns),
        receipt_ns=receipt_ns,
        status=span.status,
        status_message=span.status_message,
        service=span.service,
        digest=digest,
        versions=[str(v) for v in versions] if isinstance(versions, list) else [],
        attributes=msgspec.json.encode(attributes).decode(),
        events=msgspec.json.encode(span.events).decode(),
        **columns,
    )


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def _first(sources: tuple[str, ...], attributes: dict[str, Any], shared: dict[str, Any], column: str) -> Any:
    for source in sources:
        value = attributes.get(source)
        if value is None and column in ("environment", "evaluation"):
            value = shared.get(source)
        if value is None:
            continue
        if column in INTEGERS:
            return value if isinstance(value, int) and not isinstance(value, bool) else None
        if column == "cost":
            return float(value) if isinstance(value, (int, float)) else None
        return value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return None


def _kind(attributes: dict[str, Any]) -> str:
    for attribute, words in KINDS:
        value = attributes.get(attribute)
        if isinstance(value, str) and value:
            return words.get(value, value) if words else value
    return "span"


def _attributes(pairs: Any) -> dict[str, Any]:
    return {p.key: _value(p.value) for p in pairs}


def _value(value: Any) -> Any:
    """OTLP's AnyValue as JSON; bytes as hex."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [_value(v) for v in value.array_value.values]
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values)
    if kind == "bytes_value":
        return value.bytes_value.hex()
    found = getattr(value, kind)
    return found if not isinstance(found, float) or (found == found and abs(found) != float("inf")) else str(found)
