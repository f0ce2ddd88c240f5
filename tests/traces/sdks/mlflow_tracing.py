"""MLflow's tracing: its decorator, its automatic instrumentation of OpenAI's and Anthropic's clients, session, user, tags, a prompt.

It goes to an MLflow server (MLFLOW_TRACKING_URI: spans to /v1/traces with x-mlflow-experiment-id, the rest to /api/3.0/mlflow/traces), or
with OTEL_EXPORTER_OTLP_ENDPOINT to any collector, with MLFLOW_ENABLE_OTEL_GENAI_SEMCONV in GenAI's names. MLFLOW_TO says which.
"""

from __future__ import annotations

import os

import story

if os.environ.get("MLFLOW_TO") == "otlp":
    story.otlp()
else:
    os.environ["MLFLOW_TRACKING_URI"] = story.SERVER
    os.environ["MLFLOW_TRACKING_TOKEN"] = story.KEY
    os.environ["MLFLOW_EXPERIMENT_ID"] = "7"

import anthropic
import mlflow
import openai
from mlflow.entities import Document, SpanType

mlflow.openai.autolog()
mlflow.anthropic.autolog()
client = openai.OpenAI(max_retries=0)


@mlflow.trace(name="docs", span_type=SpanType.RETRIEVER)
def docs(question: str) -> list[Document]:
    return [Document(text, {"doc_uri": key, "score": score}, id=key) for key, text, score in story.DOCUMENTS]


@mlflow.trace(name="look_up", span_type=SpanType.TOOL)
def look_up(order: int) -> str:
    return story.look_up(order)


@mlflow.trace(name="answer", span_type=SpanType.AGENT)
def answer(question: str) -> str:
    about = {"mlflow.trace.session": story.SESSION, "mlflow.trace.user": story.USER}
    mlflow.update_current_trace(tags={"shop": "north"}, metadata=about)
    docs(question)
    story.embedded(client)
    story.chat(client, temperature=0.5, seed=7)
    story.streamed(client)
    client.responses.create(model=story.MODEL, instructions=story.SYSTEM, input=question)
    story.claude(anthropic.Anthropic())
    story.failing(client)
    return story.tool_round(client, look_up)


answer(story.QUESTION)
mlflow.flush_trace_async_logging()
if os.environ.get("MLFLOW_TO") != "otlp":
    mlflow.log_feedback(trace_id=mlflow.get_last_active_trace_id(), name="helpful", value=0.9, rationale="says when")
