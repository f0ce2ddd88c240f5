"""OpenInference's instrumentation of OpenAI's Agents SDK."""

from __future__ import annotations

import story
import story_agents
from agents import set_trace_processors
from openinference.instrumentation import using_attributes
from openinference.instrumentation.openai_agents import OpenAIAgentsInstrumentor

spans, logs, metrics = story.opentelemetry()
set_trace_processors([])  # without the SDK's own export to OpenAI
OpenAIAgentsInstrumentor().instrument(tracer_provider=spans)
with using_attributes(session_id=story.SESSION, user_id=story.USER, tags=story.TAGS):
    story_agents.tell()
for provider in (spans, logs, metrics):
    provider.shutdown()
