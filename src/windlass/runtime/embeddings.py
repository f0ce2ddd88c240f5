"""What paid encoders did, as a span with tokens and cost: of a question in its run, of an index as a trace of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

from windlass.core import span as names
from windlass.core.ids import span_id
from windlass.core.span import Span
from windlass.runtime.context import Records, RunContext
from windlass.runtime.encoders import Encoded, watch_encoding


@contextlib.contextmanager
def encoding(records: Records, context: RunContext, versions: Sequence[str] = ()) -> Iterator[None]:
    """What is encoded inside becomes one span of kind `embedding`, and counts among what the run cost. Nothing where nobody is paid."""
    with watch_encoding() as calls:
        try:
            yield
        finally:
            if calls:
                span = _span(_together(calls), context, versions)
                for call in calls:
                    context.ledger.paid(call.cost)
                if context.ledger.held is None:
                    records.record([span])
                else:
                    context.ledger.held.append(span)


def _together(calls: Sequence[Encoded]) -> Encoded:
    """Calls of one encoder as one; what one of them does not tell is not known of all."""
    tokens, costs = [c.tokens for c in calls], [c.cost for c in calls]
    return Encoded(
        calls[0].provider, calls[0].model, sum(c.texts for c in calls), min(c.start_ns for c in calls), max(c.end_ns for c in calls),
        None if None in tokens else sum(t or 0 for t in tokens), None if None in costs else sum(c or 0.0 for c in costs), calls[-1].error,
    )  # fmt: skip


def _span(call: Encoded, context: RunContext, versions: Sequence[str]) -> Span:
    said = {
        names.KIND: "embedding", names.PROVIDER: call.provider, names.REQUEST_MODEL: call.model, names.INPUT_TOKENS: call.tokens,
        names.COST: call.cost, names.TEXTS: call.texts, names.VERSIONS: list(versions) or None, **context.attributes(),
    }  # fmt: skip
    parent = context.parent
    return Span(
        trace_id=parent.trace_id if parent else context.trace, span_id=span_id(), name=f"encode {call.provider}/{call.model}",
        start_ns=call.start_ns, end_ns=call.end_ns, parent=parent.span_id if parent else None, events=[], project=context.project,
        attributes={k: v for k, v in said.items() if v is not None}, status="error" if call.error else "ok", status_message=call.error,
    )  # fmt: skip
