"""What an erasure leaves of a record of the journal: the same length, the others' spans to the bit, and nothing of theirs."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from windlass.core.span import Span
from windlass.govern.erasure import Subject
from windlass.traces.envelope import OTLP, SPANS, seal, seal_spans, unseal
from windlass.traces.erasing import _without
from windlass.traces.mapping import rows

ANN = "user-4711"


def subject(*traces: str) -> Subject:
    made = Subject("shop", [ANN])
    made.traces.update(traces)
    return made


def otlp(traces: list[str]) -> bytes:
    request = ExportTraceServiceRequest()
    for n, trace in enumerate(traces):
        resource = request.resource_spans.add()
        resource.resource.attributes.add(key="service.name").value.string_value = f"service {n}"
        span = resource.scope_spans.add().spans.add()
        span.trace_id, span.span_id, span.name = bytes.fromhex(trace), n.to_bytes(8, "big"), f"of {trace}"
        span.attributes.add(key="input.value").value.string_value = f"said in {trace}"
    return request.SerializeToString()


def own(traces: list[str]) -> list[bytes]:
    pack = msgspec.msgpack.Encoder().encode
    return [pack(Span(t, f"{n:016x}", f"of {t}", 1, 2, attributes={"windlass.input": f"said in {t}"})) for n, t in enumerate(traces)]


TRACES = st.lists(st.sampled_from([f"{n:032x}" for n in range(1, 6)]), min_size=1, max_size=12)


@given(TRACES, st.sets(st.sampled_from([f"{n:032x}" for n in range(1, 6)])))
def test_of_either_kind_of_record(traces: list[str], theirs: set[str]) -> None:
    for kind, payload in ((OTLP, seal("shop", otlp(traces))), (SPANS, seal_spans("shop", own(traces)))):
        before = list(rows(kind, "shop", 7, unseal(payload)[2]))
        left = _without(subject(*theirs))(payload)
        if not theirs & set(traces):
            assert left is None
            continue
        assert left is not None and len(left) == len(payload)
        assert not any(f"said in {t}".encode() in left for t in theirs)
        assert unseal(left)[:2] == (kind, "shop")
        assert list(rows(kind, "shop", 7, unseal(left)[2])) == [r for r in before if r.trace_id not in theirs]
        assert _without(subject(*theirs))(left) is None, "a second time there is nothing to do"


def test_a_second_person_of_the_same_record() -> None:
    one, two, three = (f"{n:032x}" for n in (1, 2, 3))
    payload = seal_spans("shop", own([one, two, three]))
    left = _without(subject(one))(payload)
    assert left
    again = _without(subject(two))(left)
    assert again and len(again) == len(payload)
    assert [r.trace_id for r in rows(SPANS, "shop", 7, unseal(again)[2])] == [three]
    assert two.encode() not in again


def test_another_project_and_what_cannot_be_read_stay_as_they_are() -> None:
    trace = f"{1:032x}"
    assert _without(subject(trace))(seal_spans("other", own([trace]))) is None
    assert _without(subject(trace))(b"\x09unknown") is None


@pytest.mark.parametrize(
    ("name", "telling"),
    [("ada@example.com", True), ("user-4711", True), ("Ada Lovelace", True), ("done", False), ("17", False), ("12345678", True),
     ("warning", False), ("Zoë", False), ("u_77a", True)],
)  # fmt: skip
def test_names_that_can_be_looked_for_in_text(name: str, telling: bool) -> None:
    made = Subject("shop", [name])
    assert made.names_them(f"it is {name}, they said") == telling
    assert made.is_theirs({"user": [name]})
    assert not made.names_them(f"x{name}x")
