"""History for an MLflow server (MLFLOW_TRACKING_URI), by MLflow's own client: run by the Python of `.bench/mlflow`."""

from __future__ import annotations

import mlflow
from mlflow.entities import AssessmentSource, SpanType

TRACES = 7

mlflow.set_experiment("shop")


mlflow.genai.register_prompt("greeting", "Hello {{name}}", tags={"team": "shop"})
said = [{"role": "system", "content": "Be {{ how }}."}, {"role": "user", "content": "{{name}}"}]
mlflow.genai.register_prompt("greeting", said, commit_message="politer", model_config={"temperature": 0.5})
mlflow.genai.register_prompt("Other", "A name that stays there")


@mlflow.trace(name="docs", span_type=SpanType.RETRIEVER)
def docs(question: str) -> list[str]:
    return [f"what {question} says"]


@mlflow.trace(name="chat", span_type=SpanType.CHAT_MODEL)
def chat(question: str) -> str:
    span = mlflow.get_current_active_span()
    span.set_attribute("mlflow.llm.model", "gpt-5-mini")
    span.set_attribute("mlflow.llm.provider", "openai")
    span.set_attribute("mlflow.chat.tokenUsage", {"input_tokens": 30, "output_tokens": 12, "total_tokens": 42})
    span.add_event(mlflow.entities.SpanEvent("first token", attributes={"after_ms": 12}))
    return f"the answer to {question}"


@mlflow.trace(name="answer", span_type=SpanType.AGENT)
def answer(question: str, number: int) -> str:
    about = {"mlflow.trace.session": f"s{number % 2}", "mlflow.trace.user": "ann"}
    mlflow.update_current_trace(tags={"shop": "north"}, metadata=about)
    mlflow.genai.load_prompt("greeting", version=2)
    docs(question)
    if number == 3:
        raise ValueError("no such order")
    return chat(question)


people = AssessmentSource("HUMAN", "ann@example.com")
judge = AssessmentSource("LLM_JUDGE", "gpt-5")
for number in range(TRACES):
    try:
        answer(f"question {number}", number)
    except ValueError:
        pass
    trace = mlflow.get_last_active_trace_id()
    mlflow.flush_trace_async_logging()
    if number == 0:
        mlflow.log_feedback(trace_id=trace, name="helpful", value=True, rationale="says when", source=people)
        mlflow.log_feedback(trace_id=trace, name="tone", value="plain", source=judge)
        mlflow.log_feedback(trace_id=trace, name="parts", value={"a": 1}, source=people)
        mlflow.log_feedback(trace_id=trace, name="broken", error=ValueError("the judge is away"), source=judge)
        mlflow.log_expectation(trace_id=trace, name="expected", value="the right answer", source=people)
    if number == 1:
        span = next(s for s in mlflow.get_trace(trace).data.spans if s.name == "chat")
        mlflow.log_feedback(trace_id=trace, span_id=span.span_id, name="faithful", value=0.75, source=judge)
mlflow.flush_trace_async_logging()
