"""OpenTelemetry's own instrumentations of OpenAI's and Anthropic's clients (opentelemetry-instrumentation-genai-openai, -genai-anthropic),
and their helper for the steps around them (opentelemetry-util-genai): spans, log records that carry messages, and metrics.
"""

from __future__ import annotations

import os

import anthropic
import openai
from opentelemetry.instrumentation.genai.anthropic import AnthropicInstrumentor
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor
from opentelemetry.util.genai.handler import TelemetryHandler
from opentelemetry.util.genai.types import InputMessage, OutputMessage, RetrievalDocument, TextPart
from story import (
    DOCUMENTS,
    QUESTION,
    SESSION,
    chat,
    claude,
    claude_streamed,
    embedded,
    failing,
    look_up,
    opentelemetry,
    streamed,
    tool_round,
)

os.environ["OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT"] = "true"
spans, logs, metrics = opentelemetry()

given = {"tracer_provider": spans, "logger_provider": logs, "meter_provider": metrics}
OpenAIInstrumentor().instrument(**given)
AnthropicInstrumentor().instrument(**given)
steps = TelemetryHandler(**given)
client = openai.OpenAI(max_retries=0)


def called(order: int) -> str:
    with steps.tool("look_up", tool_type="function") as step:
        step.tool_call_id, step.arguments = "call_7", {"order": order}
        step.tool_result = look_up(order)
        return step.tool_result


def answer(question: str) -> str:
    with steps.retrieval(data_source_id="docs", provider="shop") as step:
        step.query_text = question
        step.documents = [RetrievalDocument(id=key, score=score) for key, _, score in DOCUMENTS]
    embedded(client)
    chat(client, temperature=0.5, seed=7)
    streamed(client)
    client.responses.create(model="gpt-5-mini", instructions="You answer questions about orders.", input=question)
    claude(anthropic.Anthropic())
    claude_streamed(anthropic.Anthropic())
    failing(client)
    return tool_round(client, called)


with steps.workflow("answer", conversation_id=SESSION) as root:
    root.input_messages = [InputMessage("user", [TextPart(QUESTION)])]
    root.output_messages = [OutputMessage("assistant", [TextPart(answer(QUESTION))])]
for provider in (spans, logs, metrics):
    provider.shutdown()
