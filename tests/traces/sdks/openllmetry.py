"""OpenLLMetry through Traceloop's SDK: its decorators, and its instrumentations of OpenAI's and Anthropic's clients."""

from __future__ import annotations

import os

import anthropic
import openai
import story
from opentelemetry.instrumentation.anthropic import AnthropicInstrumentor
from opentelemetry.instrumentation.openai import OpenAIInstrumentor
from traceloop.sdk import Traceloop
from traceloop.sdk.decorators import conversation, task, tool, workflow
from traceloop.sdk.tracing.manual import LLMMessage, LLMUsage, track_llm_call

os.environ["TRACELOOP_BASE_URL"] = story.SERVER
os.environ["TRACELOOP_API_KEY"] = story.KEY
os.environ["TRACELOOP_METRICS_ENABLED"] = "false"
os.environ["TRACELOOP_TELEMETRY"] = "false"
Traceloop.init(app_name="shop")
OpenAIInstrumentor().instrument()  # does nothing where `init` found it already
AnthropicInstrumentor().instrument()
client = openai.OpenAI(max_retries=0)


@task(name="docs")
def docs(question: str) -> list[str]:
    return [text for _, text, _ in story.DOCUMENTS]


@tool(name="look_up")
def look_up(order: int) -> str:
    return story.look_up(order)


def by_hand(question: str) -> None:
    with track_llm_call(vendor="openai", type="chat") as call:
        call.report_request(model=story.MODEL, messages=[LLMMessage(role="user", content=question)])
        call.report_response(story.MODEL, ["Order 7 was shipped on Monday."])
        usage = LLMUsage(
            prompt_tokens=1000, completion_tokens=50, total_tokens=1050, cache_creation_input_tokens=0, cache_read_input_tokens=400
        )
        call.report_usage(usage)


@workflow(name="answer")
@conversation(story.SESSION)
def answer(question: str) -> str:
    Traceloop.set_association_properties({"session_id": story.SESSION, "user_id": story.USER})
    Traceloop.set_prompt("You answer questions about {subject}.", {"subject": "orders"}, 3)
    docs(question)
    story.embedded(client)
    story.chat(client, temperature=0.5, seed=7)
    story.streamed(client)
    client.responses.create(model=story.MODEL, instructions=story.SYSTEM, input=question)
    story.claude(anthropic.Anthropic())
    story.claude_streamed(anthropic.Anthropic())
    by_hand(question)
    story.failing(client)
    return story.tool_round(client, look_up)


answer(story.QUESTION)
