"""OpenTelemetry's instrumentation of OpenAI's client as it was until the summer of 2026 and as most have it (-openai-v2).

By default it keeps to the conventions of 1.30: content in log records, one for each message, never on spans. With
OTEL_SEMCONV_STABILITY_OPT_IN=gen_ai_latest_experimental it writes newer ones. Both are captured.
"""

from __future__ import annotations

import os

import openai
from opentelemetry.instrumentation.openai_v2 import OpenAIInstrumentor
from story import SESSION, chat, embedded, failing, opentelemetry, streamed, tool_round

os.environ["OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT"] = "true"
spans, logs, metrics = opentelemetry()

OpenAIInstrumentor().instrument(tracer_provider=spans, logger_provider=logs, meter_provider=metrics)
client = openai.OpenAI(max_retries=0)
with spans.get_tracer("shop").start_as_current_span("answer", attributes={"session.id": SESSION}):
    embedded(client)
    chat(client, temperature=0.5, seed=7)
    streamed(client)
    failing(client)
    tool_round(client)
for provider in (spans, logs, metrics):
    provider.shutdown()
