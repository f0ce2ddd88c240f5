"""OpenLLMetry's instrumentations of LangChain and of OpenAI's Agents SDK."""

from __future__ import annotations

import story
import story_agents
import story_langchain
from agents import set_trace_processors
from opentelemetry.instrumentation.langchain import LangchainInstrumentor
from opentelemetry.instrumentation.openai_agents import OpenAIAgentsInstrumentor

spans, logs, metrics = story.opentelemetry()
set_trace_processors([])  # without the SDK's own export to OpenAI
LangchainInstrumentor().instrument(tracer_provider=spans, meter_provider=metrics)
story_langchain.tell()
OpenAIAgentsInstrumentor().instrument(tracer_provider=spans, meter_provider=metrics)
story_agents.tell()
for provider in (spans, logs, metrics):
    provider.shutdown()
