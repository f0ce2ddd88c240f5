"""OpenInference's instrumentations of OpenAI's and Anthropic's clients, and its tracer for the steps around them."""

from __future__ import annotations

import anthropic
import openai
import story
from openinference.instrumentation import TracerProvider, using_attributes
from openinference.instrumentation.anthropic import AnthropicInstrumentor
from openinference.instrumentation.openai import OpenAIInstrumentor
from openinference.semconv.trace import DocumentAttributes, SpanAttributes
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace.export import BatchSpanProcessor

story.otlp()
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
OpenAIInstrumentor().instrument(tracer_provider=provider)
AnthropicInstrumentor().instrument(tracer_provider=provider)
tracer = provider.get_tracer("shop")
client = openai.OpenAI(max_retries=0)


@tracer.tool(name="look_up", description="Where an order is")
def look_up(order: int) -> str:
    return story.look_up(order)


def retrieve(question: str) -> None:
    with tracer.start_as_current_span("docs", openinference_span_kind="retriever") as step:
        step.set_input(question)
        for i, (key, text, score) in enumerate(story.DOCUMENTS):
            document = {
                DocumentAttributes.DOCUMENT_ID: key,
                DocumentAttributes.DOCUMENT_CONTENT: text,
                DocumentAttributes.DOCUMENT_SCORE: score,
            }
            step.set_attributes({f"{SpanAttributes.RETRIEVAL_DOCUMENTS}.{i}.{name}": value for name, value in document.items()})


@tracer.chain(name="answer")
def answer(question: str) -> str:
    retrieve(question)
    story.embedded(client)
    subject = {"subject": "orders"}
    with using_attributes(
        prompt_template="You answer questions about {subject}.", prompt_template_version="3", prompt_template_variables=subject
    ):
        story.chat(client, temperature=0.5, seed=7)
    story.streamed(client)
    client.responses.create(model=story.MODEL, instructions=story.SYSTEM, input=question)
    story.claude(anthropic.Anthropic())
    story.claude_streamed(anthropic.Anthropic())
    story.failing(client)
    return story.tool_round(client, look_up)


with using_attributes(session_id=story.SESSION, user_id=story.USER, tags=story.TAGS, metadata={"shop": "north"}):
    answer(story.QUESTION)
provider.shutdown()
