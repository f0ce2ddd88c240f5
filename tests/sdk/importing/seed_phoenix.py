"""History for a Phoenix server (PHOENIX_COLLECTOR_ENDPOINT), by Phoenix's own clients: run by the Python of `.bench/phoenix`."""

from __future__ import annotations

import os
import time

from openinference.instrumentation import using_attributes
from opentelemetry.trace import Status, StatusCode
from phoenix.client import Client
from phoenix.otel import register

TRACES = 7

provider = register(project_name="shop", protocol="http/protobuf", verbose=False)
tracer = provider.get_tracer("shop")
spans: list[tuple[str, str, str]] = []
for number in range(TRACES):
    with (
        using_attributes(session_id=f"s{number % 2}", user_id="ann", tags=["north"], metadata={"order": number}),
        tracer.start_as_current_span("answer", openinference_span_kind="agent") as root,
    ):
        root.set_input(f"question {number}")
        with tracer.start_as_current_span("docs", openinference_span_kind="retriever") as docs:
            docs.set_attribute("retrieval.documents.0.document.content", f"what question {number} says")
            docs.set_attribute("retrieval.documents.0.document.score", 0.5)
        with tracer.start_as_current_span("chat", openinference_span_kind="llm") as chat:
            chat.set_attribute("llm.model_name", "gpt-5-mini")
            chat.set_attribute("llm.provider", "openai")
            chat.set_attribute("llm.token_count.prompt", 30)
            chat.set_attribute("llm.token_count.completion", 12)
            chat.set_attribute("llm.input_messages.0.message.role", "user")
            chat.set_attribute("llm.input_messages.0.message.content", f"question {number}")
            chat.add_event("first token", {"after_ms": 12})
            chat.set_output(f"the answer to question {number}")
        if number == 3:
            root.record_exception(ValueError("no such order"))
            root.set_status(Status(StatusCode.ERROR, "no such order"))
        else:
            root.set_output(f"the answer to question {number}")
        one, two = root.get_span_context(), chat.get_span_context()
        spans.append((format(one.trace_id, "032x"), format(one.span_id, "016x"), format(two.span_id, "016x")))
provider.force_flush()

client = Client(base_url=os.environ["PHOENIX_COLLECTOR_ENDPOINT"])
for _ in range(100):
    try:
        if len(client.spans.get_spans(project_identifier="shop", limit=1000)) == 3 * TRACES:
            break
    except Exception:
        pass
    time.sleep(0.2)
about = client.spans.add_span_annotation
about(span_id=spans[0][1], annotation_name="helpful", annotator_kind="HUMAN", label="yes", score=1, explanation="says when", sync=True)
about(span_id=spans[0][1], annotation_name="tone", annotator_kind="LLM", label="plain", sync=True)
about(span_id=spans[1][2], annotation_name="faithful", annotator_kind="CODE", score=0.75, identifier="run-1", sync=True)
client.traces.add_trace_annotation(trace_id=spans[2][0], annotation_name="kept", annotator_kind="HUMAN", label="good", sync=True)
client.sessions.add_session_annotation(session_id="s1", annotation_name="settled", annotator_kind="HUMAN", score=1.0, sync=True)
