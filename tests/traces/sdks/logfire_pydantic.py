"""Logfire with Pydantic AI: an agent with a tool, one of Anthropic's, a stream, a failure, embeddings; and Logfire's own view of a client.

It sends to LOGFIRE_BASE_URL with the token as it is, without a scheme, in the authorization header.
"""

from __future__ import annotations

import asyncio
import os

import logfire
import openai
import story
from pydantic_ai import Agent, Embedder
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

os.environ["LOGFIRE_BASE_URL"] = story.SERVER
os.environ["LOGFIRE_TOKEN"] = story.KEY
logfire.configure(service_name="shop", environment="production", console=False, metrics=False, inspect_arguments=False)
logfire.instrument_pydantic_ai()
Embedder.instrument_all()
model = OpenAIChatModel(story.MODEL, provider=OpenAIProvider(openai_client=openai.AsyncOpenAI(max_retries=0)))
agent = Agent(model, name="answer", instructions=story.SYSTEM)
plain = Agent(model, name="plain", instructions=story.SYSTEM)


@agent.tool_plain
def look_up(order: int) -> str:
    """Where an order is"""
    return story.look_up(order)


async def streamed() -> None:
    async with plain.run_stream(story.QUESTION, conversation_id=story.SESSION) as run:
        async for _ in run.stream_text():
            pass


async def steps(question: str) -> str:
    with logfire.span("docs for {question}", question=question, _span_name="docs", documents=[text for _, text, _ in story.DOCUMENTS]):
        pass
    await Embedder(f"openai:{story.EMBEDDER}").embed_query(question)
    await plain.run(question, conversation_id=story.SESSION, model_settings={"max_tokens": 100, "seed": 7})
    await Agent(f"anthropic:{story.CLAUDE}", name="claude", instructions=story.SYSTEM).run(question, conversation_id=story.SESSION)
    await streamed()
    try:
        await plain.run(story.FAILING, conversation_id=story.SESSION)
    except ModelHTTPError:
        pass
    client = openai.OpenAI(max_retries=0)
    with logfire.instrument_openai(client):
        story.chat(client)
    return (await agent.run(question, conversation_id=story.SESSION)).output


with logfire.span("answer {question}", question=story.QUESTION, _span_name="answer", _tags=story.TAGS) as root:
    root.set_attributes({"session.id": story.SESSION, "user.id": story.USER, "answer": asyncio.run(steps(story.QUESTION))})
logfire.shutdown()
