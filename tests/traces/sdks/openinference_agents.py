"""OpenAI's Agents SDK through OpenInference's instrumentation: an agent that uses a tool (Responses API), and one whose call fails."""

from __future__ import annotations

import openai
import story
from agents import Agent, Runner, function_tool, set_default_openai_client, set_trace_processors, trace
from openinference.instrumentation import using_attributes
from openinference.instrumentation.openai_agents import OpenAIAgentsInstrumentor
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

story.otlp()
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
set_trace_processors([])  # without the SDK's own export to OpenAI
OpenAIAgentsInstrumentor().instrument(tracer_provider=provider)
set_default_openai_client(openai.AsyncOpenAI(max_retries=0), use_for_tracing=False)


@function_tool
def look_up(order: int) -> str:
    """Where an order is"""
    return story.look_up(order)


agent = Agent(name="answer", instructions=story.SYSTEM, model=story.MODEL, tools=[look_up])
with using_attributes(session_id=story.SESSION, user_id=story.USER, tags=story.TAGS):
    with trace("answer", group_id=story.SESSION, metadata={"shop": "north"}):
        Runner.run_sync(agent, story.QUESTION)
    try:
        Runner.run_sync(agent, story.FAILING)
    except openai.RateLimitError:
        pass
provider.shutdown()
