"""Langfuse's Python SDK: `observe`, its OpenAI client, generations by hand with a prompt, usage and cost, its LangChain handler, scores.

Spans go to /api/public/otel/v1/traces with Basic authentication (public and secret key), scores to /api/public/scores, and the
prompt is read from /api/public/v2/prompts.
"""

from __future__ import annotations

import os

import story
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI
from langfuse import get_client, observe, propagate_attributes
from langfuse.langchain import CallbackHandler
from langfuse.openai import OpenAI

os.environ["LANGFUSE_BASE_URL"] = story.SERVER
os.environ["LANGFUSE_PUBLIC_KEY"] = os.environ.get("WINDLASS_PROJECT", "pk-lf-shop")
os.environ["LANGFUSE_SECRET_KEY"] = story.KEY
os.environ["LANGFUSE_RELEASE"] = "2026-11"
langfuse = get_client()
client = OpenAI(max_retries=0)


@observe(as_type="retriever")
def docs(question: str) -> list[dict[str, object]]:
    return [{"id": key, "text": text, "score": score} for key, text, score in story.DOCUMENTS]


@observe(as_type="tool")
def look_up(order: int) -> str:
    return story.look_up(order)


def generations(question: str) -> None:
    """By hand. In `usage_details` no token counts twice: `input` is without those that were read from or written to a cache."""
    prompt = langfuse.get_prompt("answer", fallback=story.SYSTEM, max_retries=0)
    with langfuse.start_as_current_observation(
        as_type="generation", name="by hand", model=story.MODEL, input=story.asked(), prompt=prompt, model_parameters={"temperature": 0.5}
    ) as step:
        usage = {"input": 600, "input_cached_tokens": 400, "output": 30, "output_reasoning_tokens": 20}
        step.update(output="Order 7 was shipped on Monday.", usage_details=usage, cost_details={"input": 0.00016, "output": 0.0001})
    with langfuse.start_as_current_observation(as_type="generation", name="claude", model=story.CLAUDE, input=question) as step:
        usage = {"input": 100, "cache_read_input_tokens": 400, "cache_creation_input_tokens": 50, "output": 30}
        step.update(output="Order 7 was shipped on Monday.", usage_details=usage)


@observe
def answer(question: str) -> str:
    docs(question)
    story.embedded(client)
    story.chat(client, temperature=0.5, seed=7)
    story.streamed(client)
    client.responses.create(model=story.MODEL, instructions=story.SYSTEM, input=question)
    generations(question)
    asked = [SystemMessage(story.SYSTEM), HumanMessage(question)]
    ChatOpenAI(model=story.MODEL).invoke(asked, {"callbacks": [CallbackHandler()]})
    story.failing(client)
    said = story.tool_round(client, look_up)
    langfuse.score_current_trace(name="helpful", value=0.9, comment="says when")
    langfuse.score_current_span(name="tone", value="plain", data_type="CATEGORICAL")
    return said


with propagate_attributes(
    session_id=story.SESSION, user_id=story.USER, tags=story.TAGS, metadata={"shop": "north"}, environment="production"
):
    answer(story.QUESTION)
langfuse.shutdown()
