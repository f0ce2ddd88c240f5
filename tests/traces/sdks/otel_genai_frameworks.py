"""OpenTelemetry's own instrumentations of LangChain and of OpenAI's Agents SDK (opentelemetry-instrumentation-genai-*)."""

from __future__ import annotations

import story
import story_agents
import story_langchain
from agents import set_trace_processors
from opentelemetry.instrumentation.genai.langchain import LangChainInstrumentor
from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor
from opentelemetry.instrumentation.genai.openai_agents import OpenAIAgentsInstrumentor

spans, logs, metrics = story.opentelemetry()
given = {"tracer_provider": spans, "logger_provider": logs, "meter_provider": metrics}
set_trace_processors([])  # without the SDK's own export to OpenAI
LangChainInstrumentor().instrument(**given)
story_langchain.tell()
OpenAIAgentsInstrumentor().instrument(**given)
OpenAIInstrumentor().instrument(**given)  # an agent's calls of its model are left to the client's instrumentation
story_agents.tell()
for provider in (spans, logs, metrics):
    provider.shutdown()
