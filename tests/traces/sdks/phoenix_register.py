"""Phoenix's `register`: where it is, the project and the key come from its own variables; it finds installed instrumentations."""

from __future__ import annotations

import os

import openai
import story
from phoenix.otel import register

os.environ["PHOENIX_COLLECTOR_ENDPOINT"] = story.SERVER
os.environ["PHOENIX_API_KEY"] = story.KEY
os.environ["PHOENIX_PROJECT_NAME"] = "shop"
provider = register(protocol="http/protobuf", batch=True, auto_instrument=True, verbose=False)  # gRPC to port 4317 where nothing is said
tracer = provider.get_tracer("shop")


@tracer.agent(name="answer")
def answer(question: str) -> str:
    return story.chat(openai.OpenAI())


answer(story.QUESTION)
provider.shutdown()
