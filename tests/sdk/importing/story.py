"""What is done with a server that has the history of a `seed_*.py`, and what must come of it: the same for the real server, which a
recording is made of, and for the recording."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from windlass.core.errors import NotFound, Unavailable
from windlass.core.operations.traces import Trace
from windlass.core.span import kind_of
from windlass.sdk.client import Client
from windlass.sdk.importing import mlflow, phoenix
from windlass.sdk.importing.bring import Brought, bring, source_of
from windlass.sdk.transport import Answer, Transport

TRACES = 7  # of a seed
CUT_AFTER = 2  # requests to us


class CutOff:
    """A transport that breaks off at a request with spans."""

    def __init__(self, transport: Transport, after: int) -> None:
        self._transport = transport
        self._left = after
        self.address = transport.address

    def send(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: bytes = b"", kind: str = "application/json"
    ) -> Answer:
        if path == "/v1/traces":
            self._left -= 1
            if self._left < 0:
                raise Unavailable("the line is cut")
        return self._transport.send(method, path, query=query, body=body, kind=kind)

    def close(self) -> None:
        pass


SMALL = ((mlflow, "TRACES", 4), (mlflow, "BATCH", 2), (phoenix, "SPANS", 6), (phoenix, "LISTED", 2), (phoenix, "ANNOTATIONS", 2))


def walk(client: Client, product: str, address: str, folder: Path, scores: int, spans: int) -> Brought:
    """All of it, in the order of a recording. Returns what the reading that was cut off and the one after it brought."""

    def brought(by: Client = client, **more: bool | str | int) -> Brought:
        return bring(by, source_of(product, address, {}), address, folder=folder, **more)  # type: ignore[arg-type]

    dry = brought(dry=True)
    assert (dry.traces, dry.spans, dry.scores, dry.dry) == (TRACES, spans, scores, True)
    assert client.traces.list(limit=200).items == () and not list(folder.glob("*"))
    with pytest.raises(Unavailable, match="the line is cut"):
        brought(Client(transport=CutOff(client.transport, CUT_AFTER)))
    before = spans_there(client)
    assert 0 < before < spans
    rest = brought()
    assert rest.went_on and rest.spans < spans, "it went on"
    check(client, spans, scores)
    nothing = brought()
    assert (nothing.traces, nothing.spans, nothing.scores, nothing.went_on) == (0, 0, 0, True)
    whole = brought(again=True)
    assert (whole.traces, whole.spans, whole.scores) == (TRACES, spans, scores)
    check(client, spans, scores)
    with pytest.raises(NotFound, match="nobody's"):
        brought(project="nobody's")
    assert brought(project="shop").traces == TRACES, "of one of theirs it is remembered by itself"
    check(client, spans, scores)
    return whole


def spans_there(client: Client) -> int:
    return sum(1 for t in traces(client) for s in t.spans if "gen_ai.evaluation.name" not in s.attributes)


def traces(client: Client) -> Iterator[Trace]:
    for summary in client.traces.list(limit=200).items:
        yield client.traces.show(summary.trace_id)


def check(client: Client, spans: int, scores: int) -> None:
    """What both seeds tell. Nothing is there twice, in the tables neither."""
    page = client.traces.list(limit=200).items
    assert len(page) == len({t.trace_id for t in page}) == TRACES and [t.name for t in page] == ["answer"] * TRACES
    assert [t.start_ns for t in page] == sorted((t.start_ns for t in page), reverse=True)
    assert {(t.session, t.user) for t in page} == {("s0", "ann"), ("s1", "ann")}
    assert [t.status for t in page].count("error") == 1
    found = list(traces(client))
    assert sum(len(t.scores) for t in found) == scores and spans_there(client) == spans
    kinds = Counter(kind_of(s) for t in found for s in t.spans if "gen_ai.evaluation.name" not in s.attributes)
    assert kinds["agent"] == kinds["retrieval"] == TRACES and kinds["model"] == spans - 2 * TRACES
    for trace in found:
        steps = {s.span_id: s for s in trace.spans}
        assert all(s.parent is None or s.parent in steps for s in trace.spans)
        assert all(s.end_ns >= s.start_ns for s in trace.spans)
        assert all(s.resource["windlass.foreign.project"] == "shop" for s in trace.spans if "gen_ai.evaluation.name" not in s.attributes)
        for s in trace.spans:
            if kind_of(s) == "model":
                assert trace.summary.tokens == 42 and s.events[0].attributes == {"after_ms": 12}
    assert all(f"question {number}" in found[TRACES - 1 - number].summary.input for number in range(TRACES))
    (line,) = [e for e in client.traces.ledger(0).items if e.source == "shop"]
    assert line.indexed == spans + scores and not line.missing, line
