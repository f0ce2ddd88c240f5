"""LangSmith's SDK over OpenTelemetry (LANGSMITH_OTEL_ENABLED): `traceable`, its wrappers of OpenAI's and Anthropic's clients, LangChain.

It sends to LANGSMITH_ENDPOINT/otel/v1/traces with x-api-key and Langsmith-Project, unless OTEL_EXPORTER_OTLP_ENDPOINT says otherwise.
"""

from __future__ import annotations

import os

import anthropic
import openai
import story
from langchain_core.messages import HumanMessage, SystemMessage
from langchain_openai import ChatOpenAI
from langsmith import Client, traceable
from langsmith.wrappers import wrap_anthropic, wrap_openai

os.environ["LANGSMITH_TRACING"] = "true"
os.environ["LANGSMITH_OTEL_ENABLED"] = "true"
os.environ["LANGSMITH_OTEL_ONLY"] = "true"
os.environ["LANGSMITH_ENDPOINT"] = story.SERVER
os.environ["LANGSMITH_API_KEY"] = story.KEY
os.environ["LANGSMITH_PROJECT"] = "shop"
langsmith = Client()
client = wrap_openai(openai.OpenAI(max_retries=0))
claude = wrap_anthropic(anthropic.Anthropic(open_telemetry=False))


@traceable(run_type="retriever")
def docs(question: str) -> list[dict[str, object]]:
    return [{"page_content": text, "type": "Document", "metadata": {"source": key, "score": score}} for key, text, score in story.DOCUMENTS]


@traceable(run_type="tool")
def look_up(order: int) -> str:
    return story.look_up(order)


@traceable(tags=story.TAGS, metadata={"session_id": story.SESSION, "user_id": story.USER})
def answer(question: str) -> str:
    docs(question)
    story.chat(client, temperature=0.5, seed=7)
    story.streamed(client)
    client.responses.create(model=story.MODEL, instructions=story.SYSTEM, input=question)
    story.claude(claude)
    ChatOpenAI(model=story.MODEL).invoke([SystemMessage(story.SYSTEM), HumanMessage(question)])
    story.failing(client)
    return story.tool_round(client, look_up)


answer(story.QUESTION, langsmith_extra={"client": langsmith})
langsmith.flush()
