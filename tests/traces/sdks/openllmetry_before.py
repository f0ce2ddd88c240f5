"""OpenLLMetry as it was at the end of 2025, around clients of OpenAI and Anthropic: gen_ai.prompt.N.*, gen_ai.completion.N.*"""

from __future__ import annotations

import anthropic
import openai
import story
from opentelemetry.instrumentation.anthropic import AnthropicInstrumentor
from opentelemetry.instrumentation.openai import OpenAIInstrumentor

spans, logs, metrics = story.opentelemetry()
OpenAIInstrumentor().instrument(tracer_provider=spans, meter_provider=metrics)
AnthropicInstrumentor().instrument(tracer_provider=spans, meter_provider=metrics)
client = openai.OpenAI(max_retries=0)
about = {"traceloop.association.properties.session_id": story.SESSION, "traceloop.association.properties.user_id": story.USER}
with spans.get_tracer("shop").start_as_current_span("answer", attributes=about):
    story.embedded(client)
    story.chat(client, temperature=0.5)
    story.streamed(client)
    story.claude(anthropic.Anthropic())
    story.claude_streamed(anthropic.Anthropic())
    story.failing(client)
    story.tool_round(client)
for provider in (spans, logs, metrics):
    provider.shutdown()
