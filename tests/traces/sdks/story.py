"""The small story that every script tells through its SDK, and the calls of it that real clients make.

A script needs nothing but its environment: WINDLASS_URL and WINDLASS_KEY say where its spans go, OPENAI_BASE_URL, OPENAI_API_KEY,
ANTHROPIC_BASE_URL and ANTHROPIC_API_KEY where its models are (`python model.py` is one). `capture.py` gives it both.
"""

from __future__ import annotations

import json
import os
from typing import Any

SERVER = os.environ["WINDLASS_URL"].rstrip("/")
KEY = os.environ["WINDLASS_KEY"]
SESSION, USER, TAGS = "s-1", "u-7", ["shop", "beta"]
MODEL, CLAUDE, EMBEDDER = "gpt-5-mini", "claude-sonnet-4-5", "text-embedding-3-small"
SYSTEM = "You answer questions about orders."
QUESTION = "Where is order 7?"
FAILING = "fail, please"  # the scripted model answers 429
DOCUMENTS = [("shipping.md", "Orders ship within two days.", 0.9), ("returns.md", "Returns take 14 days.", 0.4)]
PARAMETERS = {"type": "object", "properties": {"order": {"type": "integer"}}, "required": ["order"]}
TOOL = {"type": "function", "function": {"name": "look_up", "description": "Where an order is", "parameters": PARAMETERS}}


def otlp() -> None:
    """Where OpenTelemetry's own exporters send, as its specification names it."""
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = SERVER
    os.environ["OTEL_EXPORTER_OTLP_HEADERS"] = f"authorization=Bearer%20{KEY}"
    os.environ["OTEL_EXPORTER_OTLP_PROTOCOL"] = "http/protobuf"


def opentelemetry() -> tuple[Any, Any, Any]:
    """Providers of spans, log records and metrics, as an application sets them up that exports all three."""
    otlp()
    from opentelemetry import trace
    from opentelemetry._logs import set_logger_provider
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    spans, logs = TracerProvider(), LoggerProvider()
    spans.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
    trace.set_tracer_provider(spans)
    set_logger_provider(logs)
    return spans, logs, MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())])


def look_up(order: int) -> str:
    """Where an order is"""
    return f"Order {order}: shipped on Monday"


def asked(text: str = QUESTION) -> list[dict[str, Any]]:
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]


def chat(client: Any, **more: Any) -> str:
    return client.chat.completions.create(model=MODEL, messages=asked(), **more).choices[0].message.content


def tool_round(client: Any, run: Any = look_up) -> str:
    """The model asks for the tool, reads what it says, and answers."""
    messages = asked()
    wanted = client.chat.completions.create(model=MODEL, messages=messages, tools=[TOOL]).choices[0].message
    messages.append(wanted.model_dump(exclude_none=True))
    for call in wanted.tool_calls:
        messages.append({"role": "tool", "tool_call_id": call.id, "content": run(**json.loads(call.function.arguments))})
    return client.chat.completions.create(model=MODEL, messages=messages, tools=[TOOL]).choices[0].message.content


def streamed(client: Any) -> str:
    pieces = client.chat.completions.create(model=MODEL, messages=asked(), stream=True, stream_options={"include_usage": True})
    return "".join(choice.delta.content or "" for piece in pieces for choice in piece.choices)


def failing(client: Any) -> None:
    """A call that ends in 429."""
    import openai

    try:
        client.chat.completions.create(model=MODEL, messages=asked(FAILING))
    except openai.RateLimitError:
        pass


def embedded(client: Any) -> list[float]:
    return client.embeddings.create(model=EMBEDDER, input=[QUESTION]).data[0].embedding


def claude(client: Any) -> str:
    """A call of Anthropic's API whose system prompt is cached."""
    cached = [{"type": "text", "text": SYSTEM, "cache_control": {"type": "ephemeral"}}]
    asked = [{"role": "user", "content": QUESTION}]
    return client.messages.create(model=CLAUDE, max_tokens=100, system=cached, messages=asked).content[0].text


def claude_streamed(client: Any) -> str:
    with client.messages.stream(model=CLAUDE, max_tokens=100, system=SYSTEM, messages=[{"role": "user", "content": QUESTION}]) as events:
        return events.get_final_message().content[0].text
