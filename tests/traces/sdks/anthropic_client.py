"""Anthropic's own client: from version 2 on it writes a span for each call wherever a tracer provider is set, here with its content."""

from __future__ import annotations

import os

import anthropic
import story

os.environ["ANTHROPIC_OPEN_TELEMETRY_TRACES_CONTENT_MODE"] = "content"
spans, logs, metrics = story.opentelemetry()
client = anthropic.Anthropic(max_retries=0)
tools = [{"name": "look_up", "description": "Where an order is", "input_schema": story.PARAMETERS}]
asked = [{"role": "user", "content": story.QUESTION}]


def tool_round() -> None:
    wanted = client.messages.create(model=story.CLAUDE, max_tokens=100, messages=asked, tools=tools).content
    answers = [{"type": "tool_result", "tool_use_id": call.id, "content": story.look_up(**call.input)} for call in wanted]
    messages = [*asked, {"role": "assistant", "content": [call.model_dump() for call in wanted]}, {"role": "user", "content": answers}]
    client.messages.create(model=story.CLAUDE, max_tokens=100, messages=messages, tools=tools)


with spans.get_tracer("shop").start_as_current_span("answer"):
    story.claude(client)
    story.claude_streamed(client)
    try:
        client.messages.create(model=story.CLAUDE, max_tokens=100, messages=[{"role": "user", "content": story.FAILING}])
    except anthropic.RateLimitError:
        pass
    tool_round()
for provider in (spans, logs, metrics):
    provider.shutdown()
