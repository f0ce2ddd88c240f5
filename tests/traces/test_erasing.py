"""What an erasure leaves of a record of the journal: the same length, the others' spans to the bit, and nothing of theirs."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from windlass.core.operations.logs import LogQuery
from windlass.core.span import Span
from windlass.govern.erasure import Subject
from windlass.settings import Settings
from windlass.store.home import Home
from windlass.store.journal import Journal
from windlass.traces.envelope import LOGS, METRICS, OTLP, SPANS, seal, seal_spans, unseal
from windlass.traces.erasing import TraceRoom, _without
from windlass.traces.erasing_statements import sessions_of, theirs
from windlass.traces.local import LocalSpans
from windlass.traces.mapping import rows
from windlass.traces.projector import open_projection

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


def logs(*records: tuple[str, str, str]) -> bytes:
    """Log records of a trace, by a user, saying something."""
    request = ExportLogsServiceRequest()
    scope = request.resource_logs.add().scope_logs.add()
    for trace, user, said in records:
        record = scope.log_records.add(trace_id=bytes.fromhex(trace), time_unix_nano=7)
        record.body.string_value = said
        if user:
            record.attributes.add(key="user.id").value.string_value = user
    return request.SerializeToString()


def metrics(*points: tuple[str, str]) -> bytes:
    """Points with an attribute, and an exemplar of a trace."""
    request = ExportMetricsServiceRequest()
    scope = request.resource_metrics.add().scope_metrics.add()
    for n, (user, trace) in enumerate(points):
        point = scope.metrics.add(name=f"m{n}").sum.data_points.add(as_int=n)
        point.attributes.add(key="user.id").value.string_value = user
        if trace:
            point.exemplars.add(as_int=1, trace_id=bytes.fromhex(trace))
    return request.SerializeToString()


def test_log_records_that_are_of_their_traces_by_them_or_about_them() -> None:
    hers, others = f"{1:032x}", f"{2:032x}"
    records = [
        (hers, "", "in her trace"), ("", ANN, "by her"), ("", "", f"{ANN} logged in"), ("", "", f"see trace {hers}"),
        (others, "", "of others"), ("", "bob-0001", "by bob"), ("", "", "of nobody"),
    ]  # fmt: skip
    payload = seal("shop", logs(*records), LOGS)
    assert len(list(theirs(LOGS, unseal(payload)[2], subject(hers)))) == 4
    left = _without(subject(hers))(payload)
    assert left is not None and len(left) == len(payload)
    kind, project, data = unseal(left)
    assert (kind, project, data) == (LOGS, "shop", logs(*records[4:]))
    assert b"her" not in left.replace(b"others", b"") and ANN.encode() not in left
    assert _without(subject(hers))(left) is None, "a second time there is nothing to do"
    left_over = list(rows(kind, project, 7, data))
    assert [r.name for r in left_over] == ["of others", "by bob", "of nobody"]
    assert [r.trace_id == others for r in left_over] == [True, False, False]


def test_a_log_record_in_a_trace_of_others_goes_with_that_trace_alone() -> None:
    """As a span in which a name stands: what is left is told, and `mentions` takes it."""
    others = f"{2:032x}"
    payload = seal("shop", logs((others, "", f"{ANN} logged in"), (others, ANN, "by her")), LOGS)
    assert len(list(theirs(LOGS, unseal(payload)[2], subject()))) == 1
    assert len(list(theirs(LOGS, unseal(payload)[2], subject(others)))) == 2


def test_points_of_metrics_and_what_held_nothing_else() -> None:
    hers = f"{1:032x}"
    payload = seal("shop", metrics((ANN, ""), ("bob-0001", hers), ("bob-0001", ""), ("", "")), METRICS)
    left = _without(subject(hers))(payload)
    assert left is not None and len(left) == len(payload)
    request = ExportMetricsServiceRequest.FromString(unseal(left)[2])
    assert [m.name for m in request.resource_metrics[0].scope_metrics[0].metrics] == ["m2", "m3"]
    alone = _without(subject())(seal("shop", metrics((ANN, "")), METRICS))
    assert alone is not None and unseal(alone) == (METRICS, "shop", b"")


def test_what_carries_a_session_of_theirs_and_nobody_elses_name() -> None:
    request = ExportLogsServiceRequest()
    of = request.resource_logs.add().scope_logs.add().log_records
    for session, user in [("hers", ""), ("hers", "bob-0001"), ("other", ""), (ANN, "")]:
        record = of.add()
        record.body.string_value = "anything"
        record.attributes.add(key="session.id").value.string_value = session
        if user:
            record.attributes.add(key="user.id").value.string_value = user
    in_a_trace = of.add(trace_id=bytes.fromhex(f"{9:032x}"))
    in_a_trace.attributes.add(key="session.id").value.string_value = "hers"
    found = Subject.restored("shop", "", False, subject().held())
    found.sessions.add("hers")
    assert list(theirs(LOGS, request.SerializeToString(), found)) == [of[0], of[3]]
    assert set(sessions_of(LOGS, request.SerializeToString(), found)) == {("hers", False)}


def test_a_resource_that_is_theirs_takes_all_with_it() -> None:
    request = ExportLogsServiceRequest()
    resource = request.resource_logs.add()
    resource.resource.attributes.add(key="enduser.id").value.string_value = ANN
    resource.scope_logs.add().log_records.add().body.string_value = "anything"
    left = _without(subject())(seal("shop", request.SerializeToString(), LOGS))
    assert left is not None and unseal(left)[2] == b""


async def test_an_erasure_finds_and_removes_them_in_the_journal(tmp_path) -> None:
    """Also a trace that only a log says was theirs."""
    hers = f"{1:032x}"
    home = Home(tmp_path / "home")
    spans = LocalSpans(lambda: open_projection(home, Settings()))
    await spans.open()
    journal = Journal(home.path / "journal" / "doors")
    journal.append(seal("shop", logs((hers, ANN, "by her"), (hers, "", "in her trace"), ("", "", "of nobody")), LOGS))
    journal.append(seal("shop", metrics((ANN, ""), ("", "")), METRICS))
    journal.append(seal("other", logs(("", ANN, "elsewhere")), LOGS))
    room, about = TraceRoom(spans, journal, home.path / "journal"), subject()
    await room.find(about)
    assert about.traces == {hers}
    assert [(p.place, p.count) for p in await room.find(about)] == [
        ("traces", 1), ("log records", 2), ("points of metrics", 1)
    ]  # fmt: skip
    assert [(p.place, p.count) for p in await room.erase(about)] == [("spans", 2), ("records of the journal", 2)]
    assert (await spans.ask("counts", None))["logs"] == 2, "of nobody, and of another project"
    assert [r.body for r in (await spans.logs(LogQuery("shop"))).items] == ["of nobody"]
    assert await room.find(about) == []
    assert (await spans.ask("counts", None))["unreadable"] == 0
    journal.close()
    await spans.close()
    held = (home.path / "journal" / "doors" / "00000001.wj").read_bytes()
    assert (held.count(ANN.encode()), b"of nobody" in held, b"elsewhere" in held) == (1, True, True)


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
