"""OpenInference's instrumentation of LangChain."""

from __future__ import annotations

import story
import story_langchain
from openinference.instrumentation.langchain import LangChainInstrumentor

spans, logs, metrics = story.opentelemetry()
LangChainInstrumentor().instrument(tracer_provider=spans)
story_langchain.tell()
for provider in (spans, logs, metrics):
    provider.shutdown()
