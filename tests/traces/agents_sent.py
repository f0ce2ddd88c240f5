"""What coding agents send when they are told to: their events with the attributes that their sources write, by OpenTelemetry's SDK.

Claude Code: code.claude.com/docs/en/monitoring-usage, as of November 2026. Codex: codex-rs/otel/src/events, whose macros write counts of
tokens and times as text. Gemini CLI: packages/core/src/telemetry/types.ts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.common._log_encoder import encode_logs
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import LogRecordExporter, LogRecordExportResult, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

START = 1_900_000_000_000_000_000
MS = 1_000_000


class Event(NamedTuple):
    """At so many milliseconds from the beginning."""

    at: int
    body: str | None
    attributes: Mapping[str, Any]
    span: tuple[str, str] | None = None  # the trace and span it was made in


class _Kept(LogRecordExporter):
    def __init__(self) -> None:
        self.batches: list[Sequence[Any]] = []

    def export(self, batch: Sequence[Any]) -> LogRecordExportResult:
        self.batches.append(batch)
        return LogRecordExportResult.SUCCESS

    def force_flush(self, timeout_millis: int = 0) -> bool:
        return True

    def shutdown(self) -> None:
        pass


def sent(events: Sequence[Event], resource: Mapping[str, str], scope: str) -> list[ExportLogsServiceRequest]:
    """One request for each event."""
    kept = _Kept()
    provider = LoggerProvider(Resource(dict(resource)))
    provider.add_log_record_processor(SimpleLogRecordProcessor(kept))
    logger = provider.get_logger(scope, "1.0")
    for event in events:
        context = None
        if event.span:
            trace, span = (int(part, 16) for part in event.span)
            context = set_span_in_context(NonRecordingSpan(SpanContext(trace, span, False, TraceFlags(1))))
        logger.emit(
            LogRecord(
                timestamp=START + event.at * MS, observed_timestamp=START + event.at * MS, context=context, body=event.body,
                attributes=dict(event.attributes), severity_number=SeverityNumber.INFO, severity_text="INFO",
            )
        )  # fmt: skip
    provider.shutdown()
    return [encode_logs(batch) for batch in kept.batches]


def claude_code(
    session: str,
    turn: str,
    at: int = 0,
    *,
    user: str = "ann@example.com",
    span: Any = None,
    prompt: str = "why does the build fail?",
    response: str = "A header is missing.",
) -> list[Event]:
    """A turn: asked, a call of a model that wants a tool, the tool, a call that answers; before it what was done at the start."""
    told = {"session.id": session, "user.email": user, "user.id": "f" * 64, "organization.id": "org-1", "terminal.type": "xterm"}

    def event(ms: int, name: str, **attributes: Any) -> Event:
        of_turn = {"prompt.id": turn} if turn else {}
        named = {"event.name": name, "event.timestamp": "2026-11-30T07:00:00.000Z", "event.sequence": ms}
        given = {k.replace("__", "."): v for k, v in attributes.items()}
        return Event(at + ms, f"claude_code.{name}", told | named | of_turn | given, span)

    model = {"model": "claude-sonnet-5", "speed": "normal", "query_source": "repl_main_thread"}
    first = {"input_tokens": 12, "output_tokens": 88, "cache_read_tokens": 15_000, "cache_creation_tokens": 420}
    last = {"input_tokens": 7, "output_tokens": 140, "cache_read_tokens": 15_420, "cache_creation_tokens": 0}
    return [
        event(0, "user_prompt", prompt=prompt, prompt_length=len(prompt)),
        event(
            2_100, "api_request", **model, **first, cost_usd=0.0123, cost_usd_micros=12_300, duration_ms=2_000, request_id=f"req_1{turn}"
        ),
        event(2_150, "tool_decision", tool_name="Bash", tool_use_id=f"toolu_1{turn}", decision="accept", source="config"),
        event(
            5_200, "tool_result", tool_name="Bash", tool_use_id=f"toolu_1{turn}", success="false", duration_ms=3_000,
            error_type="ShellError", tool_input='{"command":"make"}', decision_type="accept", decision_source="config",
            tool_input_size_bytes=18, tool_result_size_bytes=2_048,
        ),
        event(5_300, "api_error", **model, error="Overloaded", status_code=529, duration_ms=90, attempt=1),
        event(9_300, "api_request", **model, **last, cost_usd=0.004, cost_usd_micros=4_000, duration_ms=4_000, request_id=f"req_2{turn}"),
        event(9_310, "assistant_response", response=response, response_length=20, **model),
    ]  # fmt: skip


CLAUDE = {"service.name": "claude-code", "service.version": "2.1.222"}, "com.anthropic.claude_code.events"


def codex(conversation: str, at: int = 0, *, prompt: str = "add a test", span: Any = None) -> list[Event]:
    told = {
        "conversation.id": conversation, "app.version": "0.60.0", "auth_mode": "ApiKey", "originator": "codex_cli_rs",
        "user.account_id": "acct-1", "user.email": "bob@example.com", "terminal.type": "xterm",
        "model": "gpt-5-codex", "slug": "gpt-5-codex",
    }  # fmt: skip

    def event(ms: int, name: str, **attributes: Any) -> Event:
        given = {k.replace("__", "."): v for k, v in attributes.items()}
        return Event(at + ms, None, {"event.name": f"codex.{name}", "event.timestamp": "2026-11-30T07:00:00.000Z"} | told | given, span)

    return [
        event(0, "conversation_starts", provider_name="OpenAI", reasoning_summary="auto", approval_policy="on-request", mcp_servers=""),
        event(10, "user_prompt", prompt_length=str(len(prompt)), prompt=prompt),
        event(400, "api_request", duration_ms="380", http__response__status_code=200, attempt=0, endpoint="/responses"),
        event(420, "sse_event", event__kind="response.created", duration_ms="20"),
        event(900, "sse_event", event__kind="response.output_text.delta", duration_ms="480"),
        event(
            1_900, "sse_event", event__kind="response.completed", input_token_count="5000", output_token_count="120",
            cached_token_count=4_096, reasoning_token_count=64, tool_token_count="5120",
        ),
        event(1_950, "tool_decision", tool_name="shell", call_id="call_1", decision="approved", source="User"),
        event(
            3_000, "tool_result", tool_name="shell", call_id="call_1", arguments='{"command":["ls"]}', duration_ms="1000",
            success="true", output="README.md", mcp_server="", mcp_server_origin="",
        ),
    ]  # fmt: skip


CODEX = {"service.name": "codex_cli_rs", "service.version": "0.60.0", "env": "dev"}, "codex_otel"


def gemini(session: str, prompt: str, at: int = 0, *, span: Any = None) -> list[Event]:
    told = {"session.id": session, "installation.id": "inst-1", "interactive": True, "user.email": "cyd@example.com"}

    def event(ms: int, name: str, body: str, **attributes: Any) -> Event:
        named = {"event.name": f"gemini_cli.{name}", "event.timestamp": "2026-11-30T07:00:00.000Z", "prompt_id": prompt}
        return Event(at + ms, body, told | named | attributes, span)

    return [
        event(0, "user_prompt", "User prompt. Length: 12.", prompt_length=12, prompt="explain this", auth_type="oauth-personal"),
        event(5, "api_request", "API request to gemini-2.5-pro.", model="gemini-2.5-pro", request_text="[…]"),
        event(
            1_505, "api_response", "API response from gemini-2.5-pro. Status: 200. Duration: 1500ms.", model="gemini-2.5-pro",
            duration_ms=1_500, input_token_count=900, output_token_count=40, cached_content_token_count=300, thoughts_token_count=25,
            tool_token_count=10, total_token_count=975, status_code=200, finish_reasons=["stop"], response_text="It sorts.",
        ),
        event(
            1_700, "tool_call", "Tool call: read_file. Success: true. Duration: 12ms.", function_name="read_file",
            function_args='{\n  "path": "a.py"\n}', duration_ms=12, success=True, decision="auto_accept", tool_type="native",
        ),
        event(
            1_900, "api_error", "API error for gemini-2.5-pro.", model="gemini-2.5-pro", duration_ms=100, error="quota",
            **{"error.message": "quota", "status_code": 429, "model_name": "gemini-2.5-pro", "duration": 100},
        ),
    ]  # fmt: skip


GEMINI = {"service.name": "gemini-cli", "service.version": "v24"}, "gemini-cli"
