"""From an OTLP span to a row: which attribute of which convention means what. Tables, not code.

First forms of Windlass's own names, OpenTelemetry's GenAI conventions (old and new names) and OpenInference. The raw attributes
stay with the row, so that newer tables can read older spans again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from windlass.core import span as names
from windlass.store.spans import SpanRow

# column → attributes that give it, the first that is there counts
SOURCES: dict[str, tuple[str, ...]] = {
    "model": (names.RESPONSE_MODEL, names.REQUEST_MODEL, "llm.model_name", "embedding.model_name"),
    "provider": (names.PROVIDER, "gen_ai.system", "llm.provider", "llm.system"),
    "tokens_in": (names.INPUT_TOKENS, "gen_ai.usage.prompt_tokens", "llm.token_count.prompt"),
    "tokens_out": (names.OUTPUT_TOKENS, "gen_ai.usage.completion_tokens", "llm.token_count.completion"),
    "tokens_cached": (names.CACHED_TOKENS, "gen_ai.usage.cached_input_tokens", "llm.token_count.prompt_details.cache_read"),
    "cost": (names.COST,),
    "input": (names.INPUT, names.INPUT_MESSAGES, "input.value", "gen_ai.prompt"),
    "output": (names.OUTPUT, names.OUTPUT_MESSAGES, "output.value", "gen_ai.completion"),
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
            "EVALUATOR": "evaluator",
        },
    ),
)  # fmt: skip
STATUS = {0: "unset", 1: "ok", 2: "error"}


def rows(project: str, receipt_ns: int, otlp: bytes) -> Iterator[SpanRow]:
    """The rows of one OTLP request."""
    request = ExportTraceServiceRequest.FromString(otlp)
    for resource in request.resource_spans:
        shared = _attributes(resource.resource.attributes)
        service = str(shared.get("service.name", ""))
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield _row(project, receipt_ns, service, shared, span)


def _row(project: str, receipt_ns: int, service: str, shared: dict[str, Any], span: Any) -> SpanRow:
    attributes = _attributes(span.attributes)
    events = [{"name": e.name, "time_ns": e.time_unix_nano, "attributes": _attributes(e.attributes)} for e in span.events]
    columns: dict[str, Any] = {column: _first(sources, attributes, shared, column) for column, sources in SOURCES.items()}
    versions = attributes.get(names.VERSIONS)
    return SpanRow(
        project=project,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent=span.parent_span_id.hex() or None,
        name=span.name,
        kind=_kind(attributes),
        start_ns=min(span.start_time_unix_nano, 2**63 - 1),
        end_ns=min(max(span.end_time_unix_nano, span.start_time_unix_nano), 2**63 - 1),
        receipt_ns=receipt_ns,
        status=STATUS.get(span.status.code, "unset"),
        status_message=span.status.message,
        service=service,
        digest=hashlib.sha256(span.SerializeToString(deterministic=True)).hexdigest()[:32],
        versions=[str(v) for v in versions] if isinstance(versions, list) else [],
        attributes=msgspec.json.encode(attributes).decode(),
        events=msgspec.json.encode(events).decode(),
        **columns,
    )


def _first(sources: tuple[str, ...], attributes: dict[str, Any], shared: dict[str, Any], column: str) -> Any:
    for source in sources:
        value = attributes.get(source)
        if value is None and column == "environment":
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
