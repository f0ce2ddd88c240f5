"""The story as OpenAI's Agents SDK tells it: an agent that uses a tool (Responses API), and one whose call fails."""

from __future__ import annotations

import openai
import story
from agents import Agent, Runner, function_tool, set_default_openai_client, trace


@function_tool
def look_up(order: int) -> str:
    """Where an order is"""
    return story.look_up(order)


def tell() -> None:
    set_default_openai_client(openai.AsyncOpenAI(max_retries=0), use_for_tracing=False)
    agent = Agent(name="answer", instructions=story.SYSTEM, model=story.MODEL, tools=[look_up])
    with trace("answer", group_id=story.SESSION, metadata={"shop": "north"}):
        Runner.run_sync(agent, story.QUESTION)
    try:
        Runner.run_sync(agent, story.FAILING)
    except openai.RateLimitError:
        pass
