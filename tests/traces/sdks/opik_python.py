"""Opik's SDK: `track`, its wrappers of OpenAI's and Anthropic's clients, session, user, tags, a prompt, feedback.

It speaks no OpenTelemetry, but its own REST interface: JSON in batches to OPIK_URL_OVERRIDE/v1/private/{traces,spans}/batch.
"""

from __future__ import annotations

import os

import anthropic
import openai
import story

os.environ["OPIK_URL_OVERRIDE"] = f"{story.SERVER}/api"
os.environ["OPIK_API_KEY"] = story.KEY
os.environ["OPIK_WORKSPACE"] = "default"
os.environ["OPIK_PROJECT_NAME"] = "shop"
os.environ["OPIK_SENTRY_ENABLE"] = "false"

import opik
from opik.integrations.anthropic import track_anthropic
from opik.integrations.openai import track_openai

client = track_openai(openai.OpenAI(max_retries=0))
claude = track_anthropic(anthropic.Anthropic())


@opik.track(type="tool")
def look_up(order: int) -> str:
    return story.look_up(order)


@opik.track(name="docs")
def docs(question: str) -> list[dict[str, object]]:
    return [{"id": key, "text": text, "score": score} for key, text, score in story.DOCUMENTS]


@opik.track
def answer(question: str) -> str:
    opik.opik_context.update_current_trace(thread_id=story.SESSION, tags=story.TAGS, metadata={"user_id": story.USER})
    docs(question)
    story.chat(client)
    story.streamed(client)
    story.claude(claude)
    story.failing(client)
    said = story.tool_round(client, look_up)
    opik.opik_context.update_current_trace(feedback_scores=[{"name": "helpful", "value": 0.9}])
    return said


answer(story.QUESTION)
opik.flush_tracker()
