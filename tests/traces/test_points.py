"""Metrics end to end in one process, on both engines: what OpenTelemetry's SDK exports, what is answered, and what the ledger says."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider, ObservableCounter, UpDownCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from tests.traces.test_ledger import House
from tests.traces.test_projector import make

from windlass.core.errors import Invalid, NotFound
from windlass.core.operations.erasures import Place
from windlass.core.operations.metrics import MetricPage, MetricQuery, MetricShow, MetricTold
from windlass.govern.erasure import Subject
from windlass.store.spans import Forget, SpanStore
from windlass.traces.envelope import METRICS, seal, unseal
from windlass.traces.erasing import TraceRoom
from windlass.traces.ledger import lines_of
from windlass.traces.local import LocalSpans
from windlass.traces.points import points

SECOND = 10**9
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
NOW = time.time_ns() // HOUR * HOUR  # a bucket begins
CAPTURED = Path(__file__).parent / "sdks" / "captured"
DELTA = dict.fromkeys((Counter, Histogram, ObservableCounter, UpDownCounter), AggregationTemporality.DELTA)
CUMULATIVE = dict.fromkeys(DELTA, AggregationTemporality.CUMULATIVE)


@pytest.fixture
def house(tmp_path: Path, spans: Callable[[], SpanStore]) -> Iterator[House]:
    made = House(tmp_path, spans)
    yield made
    made.close()


def send(house: House, request: ExportMetricsServiceRequest | bytes, project: str = "default") -> None:
    house.sent(seal(project, request if isinstance(request, bytes) else request.SerializeToString(), METRICS))


def told(house: House, name: str, **query: Any) -> MetricTold:
    return house.projection.ask("metric", MetricShow(name, **{"since_ns": NOW - 2 * HOUR, "until_ns": NOW + 2 * HOUR} | query))


def listed(house: House, **query: Any) -> MetricPage:
    return house.projection.ask("metrics", MetricQuery(**query))


class App:
    """An application with OpenTelemetry's SDK, whose exports are taken as bytes."""

    def __init__(self, temporality: dict[type, AggregationTemporality], service: str = "shop", *, exponential: bool = False) -> None:
        self.reader = InMemoryMetricReader(preferred_temporality=temporality)
        views = [View(instrument_type=Histogram, aggregation=ExponentialBucketHistogramAggregation())] if exponential else []
        provider = MeterProvider([self.reader], Resource({"service.name": service}), views=views)
        self.meter = provider.get_meter("of tests", "1")

    def exported(self) -> ExportMetricsServiceRequest:
        return encode_metrics(self.reader.get_metrics_data())


def window() -> dict[str, int]:
    """The time around now, in one bucket or two."""
    now = time.time_ns()
    return {"since_ns": now - HOUR, "until_ns": now + HOUR, "bucket_s": 3600}


@pytest.mark.parametrize("temporality", [DELTA, CUMULATIVE], ids=["delta", "cumulative"])
@pytest.mark.parametrize("exponential", [False, True], ids=["explicit", "exponential"])
def test_what_an_application_measured_is_told(house: House, temporality: dict[type, Any], exponential: bool) -> None:
    """Whichever way its SDK tells it: the same figures, and those that are true."""
    app, chance, recorded = App(temporality, exponential=exponential), np.random.default_rng(3), {"a": [], "b": []}
    asked, open_, took = (
        app.meter.create_counter("asked"),
        app.meter.create_up_down_counter("open"),
        app.meter.create_histogram("took", "s"),
    )
    for _ in range(4):
        for model, values in recorded.items():
            for value in chance.lognormal(3, 1.5, 40):
                took.record(value, {"gen_ai.request.model": model})
                values.append(value)
            asked.add(len(model) + len(values), {"gen_ai.request.model": model})
        open_.add(3)
        open_.add(-2)
        request = app.exported()
        send(house, request)
        send(house, request)  # the answer was lost
    calls = 2 * sum(1 + n for n in (40, 80, 120, 160))
    assert told(house, "asked", **window()).whole.increase == calls
    by = told(house, "asked", by="gen_ai.request.model", **window())
    assert [(g.value, g.whole.increase) for g in by.groups] == [("a", calls / 2), ("b", calls / 2)]
    level = told(house, "open", **window()).whole
    assert (level.increase, level.last) == ((4, None) if temporality is DELTA else (None, 4))
    found = told(house, "took", by="gen_ai.request.model", **window())
    assert (found.metric.unit, found.metric.series, found.metric.type) == (
        "s", 2, "exponential_histogram" if exponential else "histogram"
    )  # fmt: skip
    for of, values in ((found.whole, [*recorded["a"], *recorded["b"]]), *((g.whole, recorded[g.value]) for g in found.groups)):
        assert (of.count, of.points, of.unknown) == (len(values), len(values) // 40 * 1, 0)
        assert of.sum == pytest.approx(sum(values)) and of.mean == pytest.approx(np.mean(values))
        if temporality is DELTA:
            assert (of.min, of.max) == (min(values), max(values))
        if exponential:
            p50, p90 = np.quantile(values, (0.5, 0.9), method="inverted_cdf")
            assert of.quantiles.p50 == pytest.approx(p50, rel=0.05) and of.quantiles.p90 == pytest.approx(p90, rel=0.05)
    line = house.line("shop", "metrics")
    assert (line.received, line.indexed, line.again, line.kept) == (40, 20, 20, 0)
    assert house.problems() == []


def test_more_histograms_than_there_is_memory_for_are_refused(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    app = App(DELTA)
    took = app.meter.create_histogram("took")
    for value in (1, 2):
        took.record(value, {"n": "a"})
        took.record(value, {"n": "b"})
        send(house, app.exported())
    monkeypatch.setattr("windlass.store.point_measuring.DELTAS", 3)
    with pytest.raises(Invalid, match="these are 4 histograms"):
        told(house, "took", **window())
    assert told(house, "took", filter="attr.n:a", **window()).whole.count == 2


def sums(*told: tuple[int, int, float], name: str = "n", temporality: int = 2, monotonic: bool = True, **attributes: str) -> bytes:
    """A sum's points: minutes of start and time from now on, and a value. A start of None is not told."""
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "shop"
    metric = resource.scope_metrics.add().metrics.add(name=name)
    metric.sum.aggregation_temporality, metric.sum.is_monotonic = temporality, monotonic
    for start, at, value in told:
        point = metric.sum.data_points.add(time_unix_nano=NOW + at * MINUTE, as_double=value)
        point.start_time_unix_nano = 0 if start is None else NOW + start * MINUTE
        for key, text in attributes.items():
            point.attributes.add(key=key.replace("_", ".")).value.string_value = text
    return request.SerializeToString()


def buckets(found: MetricTold) -> dict[int, Any]:
    """What each bucket grew by, by its minutes from now on."""
    return {(b.start_ns - NOW) // MINUTE: b.increase for b in found.buckets}


def test_a_cumulative_series_grows_between_its_points(house: House) -> None:
    send(house, sums((-600, -5, 1000), (-600, 5, 1010), (-600, 15, 1010), (-600, 45, 1030)))
    found = told(house, "n", since_ns=NOW, until_ns=NOW + HOUR, bucket_s=600)
    assert buckets(found) == {0: 10, 10: 0, 40: 20}, "the base is the point before; nothing new is 0, no point is a gap"
    assert (found.whole.increase, found.whole.rate, found.whole.unknown) == (30, 30 / 3600, 0)


def test_what_was_counted_before_anybody_was_told_is_unknown(house: House) -> None:
    send(house, sums((-600, 5, 1000)))
    found = told(house, "n", since_ns=NOW, until_ns=NOW + HOUR, bucket_s=600)
    assert (buckets(found), found.whole.increase, found.whole.unknown) == ({0: None}, None, 1)
    send(house, sums((-600, 25, 1007)))
    found = told(house, "n", since_ns=NOW, until_ns=NOW + HOUR, bucket_s=600)
    assert (buckets(found), found.whole.increase, found.whole.unknown) == ({0: None, 20: 7}, 7, 1)


def test_a_new_beginning_counts_from_nought(house: House) -> None:
    send(house, sums((1, 5, 3), (1, 9, 4), (11, 15, 9), (11, 19, 12)))
    assert buckets(told(house, "n", since_ns=NOW, until_ns=NOW + HOUR, bucket_s=600)) == {0: 4, 10: 12}, "also where it stands higher"
    send(house, sums((None, 2, 50), (None, 12, 60), (None, 14, 5), (None, 22, 8), name="fell"))
    found = told(house, "fell", since_ns=NOW, until_ns=NOW + HOUR, bucket_s=600)
    assert buckets(found) == {0: None, 10: 10 + 5, 20: 3}, "as Prometheus counts a fall"


def test_two_processes_of_one_name_are_not_taken_for_restarts(house: House) -> None:
    """Workers of one server often share all attributes; when they began tells them apart."""
    send(house, sums((1, 4, 100), (2, 5, 10), (1, 8, 130), (2, 9, 15)))
    assert told(house, "n", since_ns=NOW, until_ns=NOW + HOUR).whole.increase == 145


def test_deltas_are_added_and_a_revised_point_counts_as_it_is_now(house: House) -> None:
    send(house, sums((0, 1, 3), (1, 2, 4), (1, 2, 4), temporality=1))
    assert told(house, "n").whole.increase == 7
    send(house, sums((1, 2, 5), temporality=1))
    found = told(house, "n")
    assert (found.whole.increase, found.whole.points) == (8, 2)
    line = house.line("shop", "metrics")
    assert (line.received, line.indexed, line.again) == (4, 3, 1)
    assert house.problems() == []


def test_a_sum_that_does_not_say_since_when_is_a_level(house: House) -> None:
    send(house, sums((0, 1, 3), (0, 2, 5), temporality=0))
    found = told(house, "n").whole
    assert (found.increase, found.last, found.max) == (None, 5, 5)


def gauge(*values: tuple[int, float | None], name: str = "g", room: str = "") -> bytes:
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name=name, unit="Cel")
    for at, value in values:
        point = metric.gauge.data_points.add(time_unix_nano=NOW + at * MINUTE, as_double=value or 0, flags=int(value is None))
        if room:
            point.attributes.add(key="room").value.string_value = room
    return request.SerializeToString()


def test_a_gauge_is_told_as_it_stood(house: House) -> None:
    send(house, gauge((1, 20), (2, 24), (3, None), (25, 19.5), room="a"))
    send(house, gauge((2, 30), room="b"))
    found = told(house, "g", since_ns=NOW, until_ns=NOW + HOUR, bucket_s=600, by="room")
    assert [(b.mean, b.min, b.max, b.last) for b in found.buckets] == [(74 / 3, 20, 30, 30), (19.5, 19.5, 19.5, 19.5)]
    assert [g.value for g in found.groups] == ["a", "b"] and found.groups[0].whole.points == 3, "none recorded is not 0"
    assert house.line("", "metrics").indexed == 5, "but the point is there"
    assert [(a.name, a.values) for a in found.attributes] == [("room", 2)]


def test_levels_of_several_places_are_added(house: House) -> None:
    for room, value in (("a", 3.0), ("b", 4.0)):
        send(house, sums((0, 1, value), (0, 2, value + 1), monotonic=False, room=room))
    whole = told(house, "n").whole
    assert (whole.last, whole.mean, whole.min, whole.increase) == (9, 8, None, None)
    assert [g.whole.last for g in told(house, "n", by="room").groups] == [4, 5]


def test_conditions_groups_and_what_is_left_of_them(house: House) -> None:
    for n in range(12):
        send(house, sums((0, 1, n + 1), temporality=1, gen_ai_model=f"m{n:02}", tier="paid" if n % 2 else "free"))
    send(house, sums((0, 1, 100), temporality=1))
    found = told(house, "n", by="gen.ai.model", limit=3)
    assert [(g.value, g.others, g.whole.increase) for g in found.groups] == [
        ("m11", False, 12), ("m10", False, 11), ("m09", False, 10), (None, True, sum(range(1, 10))), (None, False, 100),
    ]  # fmt: skip
    assert (found.more, found.whole.increase, found.metric.series) == (9, 178, 13)
    for filter, expected in {
        "attr.tier:paid": 42, "-attr.tier:paid": 136, "has:attr.tier": 78, "attr.gen.ai.model:m1*": 23, "service:shop": 178,
        "attr.tier:free or attr.gen.ai.model:m11": 48, "service:sh* -has:attr.tier": 100, "resource.service.name:other": None,
    }.items():  # fmt: skip
        assert told(house, "n", filter=filter).whole.increase == expected, filter
    assert [g.value for g in told(house, "n", by="service").groups] == ["shop"]
    assert [g.value for g in told(house, "n", by="resource.service.name").groups] == ["shop"]
    for filter in ("status:error", "refund", "attr.tier:"):
        with pytest.raises(Invalid, match=r"filter|point|stand|value|term"):
            told(house, "n", filter=filter)


def test_which_metrics_there_are(house: House) -> None:
    send(house, sums((0, 1, 1), name="a.calls"))
    send(house, sums((0, 1, 1), name="a.calls", temporality=1))
    send(house, gauge((1, 2), name="a.heat"))
    send(house, gauge((2, 2), name="A.heat"), project="other")
    app = App(CUMULATIVE)
    app.meter.create_histogram("b.took", "s", "how long it took").record(1)
    send(house, app.exported())
    found = listed(house).items
    assert [(m.name, m.unit, m.type, m.temporalities, m.series, m.points) for m in found] == [
        ("a.calls", "", "sum", ("cumulative", "delta"), 2, 2), ("a.heat", "Cel", "gauge", ("",), 1, 1),
        ("b.took", "s", "histogram", ("cumulative",), 1, 1),
    ]  # fmt: skip
    assert (found[1].last_ns, found[2].description) == (NOW + MINUTE, "how long it took")
    page, names = listed(house, limit=1), list[str]()
    while True:
        names += [m.name for m in page.items]
        if page.next is None:
            break
        page = listed(house, limit=1, cursor=page.next)
    assert names == [m.name for m in found]
    assert [m.name for m in listed(house, search="HEAT").items] == ["a.heat"]
    assert listed(house, project="nobody's").items == ()


def test_what_is_not_there_or_is_several_things_is_said(house: House) -> None:
    send(house, gauge((1, 2), name="x"))
    send(house, sums((0, 1, 1), name="x"))
    with pytest.raises(NotFound, match="no point of a metric 'y'"):
        told(house, "y")
    with pytest.raises(Invalid, match="several ways: sum in no unit, gauge in Cel"):
        told(house, "x")
    assert told(house, "x", type="sum").whole.points == 1
    assert told(house, "x", unit="Cel").whole.last == 2
    with pytest.raises(NotFound, match="as a histogram"):
        told(house, "x", type="histogram")


@pytest.mark.parametrize("seed", range(2))
def test_whatever_comes_and_goes_the_ledger_balances(house: House, seed: int) -> None:
    """Batches new, again and mixed with their own parts, over two writers, with the projector closed in between: figures are those of each
    point once."""
    chance, all_sent, total = random.Random(seed), list[tuple[int, int, float]](), 0
    for n in range(30):
        new = [(60 * n + k, 60 * n + k + 1, float(chance.randrange(9))) for k in range(chance.randrange(3))]
        batch = new + chance.sample(all_sent, min(len(all_sent), chance.randrange(4)))
        all_sent += new
        send(house, sums(*((s - 10_000, a - 10_000, v) for s, a, v in batch), temporality=1))
        house.journals[1].append(seal("default", sums(*((s - 10_000, a - 10_000, v) for s, a, v in new), temporality=1), METRICS))
        total += len(batch) + len(new)
        if chance.random() < 0.2:
            house.again()
    line = house.line("shop", "metrics")
    assert (line.received, line.indexed, line.again) == (total, len(all_sent), total - len(all_sent))
    found = told(house, "n", since_ns=NOW - 11_000 * MINUTE, bucket_s=86_400)
    assert found.whole.increase == pytest.approx(sum(v for *_, v in all_sent))
    assert house.problems() == []


def test_an_edited_point_and_one_taken_out_are_told_by_the_audit(tmp_path: Path) -> None:
    from windlass.store.spans_duckdb import DuckSpans

    house = House(tmp_path, lambda: DuckSpans(tmp_path / "spans"))
    send(house, sums((0, 1, 1), (1, 2, 2), (2, 3, 3), temporality=1))
    assert house.problems() == []
    db = house.projection._store._db
    (name,) = db.execute("SELECT database_name FROM duckdb_tables() WHERE table_name = 'points'").fetchone()
    db.execute(f"UPDATE {name}.points SET value = 7 WHERE value = 2")
    db.execute(f"DELETE FROM {name}.points WHERE value = 3")
    problems = " ".join(house.problems())
    assert "saying something else in the tables" in problems and "not in the tables" in problems and "the tables hold 2 rows" in problems
    house.close()


async def test_a_person_is_erased_from_points(tmp_path: Path, spans: Callable[[], SpanStore]) -> None:
    """Theirs go from journal and table; those of others, in the same request too, stay; and it can be done again."""
    house = House(tmp_path, spans)
    mixed = ExportMetricsServiceRequest.FromString(sums((0, 1, 1), temporality=1, user_id="ann-0001"))
    mixed.MergeFromString(sums((0, 1, 10), temporality=1, user_id="bob-0001"))
    send(house, mixed)
    send(house, sums((0, 1, 1), temporality=1, user_id="ann-0001"))  # again
    send(house, sums((1, 2, 100), temporality=1))
    assert told(house, "n").whole.increase == 111
    room = TraceRoom(LocalSpans(lambda: house.projection), house.journals[0], house.folder)
    subject = Subject("default", ["ann-0001"])
    assert list(await room.find(subject)) == [Place("points of metrics", 2)]
    for _ in range(2):
        await room.erase(subject)
    after = told(house, "n", by="user.id")
    assert (after.whole.increase, [g.value for g in after.groups]) == (110, ["bob-0001", None])
    line = house.line("shop", "metrics")
    assert (line.received, line.indexed, line.again, line.erased, line.kept) == (4, 2, 1, 1, 0)
    assert house.problems() == []
    house.again()
    assert house.line("shop", "metrics").erased == 1 and house.problems() == []
    house.close()
    for file in tmp_path.rglob("*.duckdb"):
        assert b"ann-0001" not in file.read_bytes()


def test_points_of_before_their_table_balance_and_are_erased(house: House) -> None:
    """A server of before entered them as kept, and made no rows."""
    payload = seal("default", sums((0, 1, 1), temporality=1), METRICS)
    house.sent(payload)
    made = house.projection._rows
    house.projection._rows = lambda record: []
    page = type(house.projection._book.page())
    read = page.read

    def as_before(self: Any, record: Any, rows: Any) -> None:
        read(self, record, rows)
        for (key, what), items in list(self.counts.items()):
            if key.signal == "metrics" and what == "received":
                self.counts[key, "kept"] += items

    page.read = as_before
    try:
        house.projection.ask("catch_up", None)
    finally:
        page.read, house.projection._rows = read, made
    assert house.line("shop", "metrics").kept == 1
    assert house.problems() == []
    lines, _, _ = lines_of(house.projection._store.ledger("default", 0), "default")
    ((key, _),) = lines.items()
    house.projection.ask("forget", Forget("default", (), ((key.hour, "shop", "metrics", 1),)))
    assert (house.line("shop", "metrics").kept, house.line("shop", "metrics").erased) == (0, 1)


@pytest.mark.parametrize("library", ["otel-openai-v2-2.4b0", "otel-genai-1.3b0", "openllmetry-frameworks-0.62.4"])
def test_metrics_of_generative_ai_as_libraries_send_them(house: House, library: str) -> None:
    """Bytes of the real library. Tokens by kind are those that the model's answers said, and spans of the same run tell."""
    import msgspec

    requests = msgspec.json.decode((CAPTURED / library / "requests.json").read_bytes())
    numbered = [r for r in requests if r.get("signal") == "metrics"]
    assert numbered
    for r in numbered:
        send(house, (CAPTURED / library / r["file"]).read_bytes())
    names = {m.name for m in listed(house, hours=0).items}
    assert {"gen_ai.client.token.usage", "gen_ai.client.operation.duration"} <= names
    first = min(m.first_ns for m in listed(house, hours=0).items)
    query = {"since_ns": first - HOUR, "until_ns": first + HOUR}
    tokens = told(house, "gen_ai.client.token.usage", by="gen_ai.token.type", **query)
    assert {g.value for g in tokens.groups} == {"input", "output"} and tokens.whole.unknown == 0
    took = told(house, "gen_ai.client.operation.duration", by="gen_ai.request.model", **query)
    assert took.metric.unit == "s" and took.whole.count > 0 and 0 < took.whole.quantiles.p50 <= took.whole.max
    assert took.groups and house.problems() == []


def test_a_series_is_one_whatever_the_order_of_its_attributes() -> None:
    request = ExportMetricsServiceRequest.FromString(sums((0, 1, 1), a="1", b="2"))
    request.MergeFromString(sums((0, 2, 1), b="2", a="1"))
    request.MergeFromString(sums((0, 2, 1), b="2", a="3"))
    one, same, other = points("default", 7, request.SerializeToString())
    assert one.series == same.series != other.series and one.digest != same.digest
    assert unseal(seal("default", b"", METRICS))[0] == METRICS


def test_rows_read_anew_leave_points_as_they_are(house: House) -> None:
    send(house, sums((0, 1, 3), (1, 2, 4), temporality=1))
    house.spans(make(service="shop"))
    before = told(house, "n")
    while not house.projection.ask("remap", None).finished:
        pass
    send(house, sums((0, 1, 3), temporality=1))
    assert told(house, "n") == before
    assert house.line("shop", "metrics").again == 1 and house.problems() == []


async def test_an_erasure_that_was_cut_off_is_done_again(tmp_path: Path, spans: Callable[[], SpanStore], monkeypatch: Any) -> None:
    """After the journal was rewritten, before the tables were: what is to go is read from the journal, so nothing is forgotten."""
    house = House(tmp_path, spans)
    send(house, sums((0, 1, 1), temporality=1, user_id="ann-0001"))
    send(house, sums((0, 1, 5), temporality=1, user_id="bob-0001"))
    house.projection.catch_up()
    room = TraceRoom(LocalSpans(lambda: house.projection), house.journals[0], house.folder)
    monkeypatch.setattr(house.projection._store, "forget", lambda asked: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await room.erase(Subject("default", ["ann-0001"]))
    monkeypatch.undo()
    assert told(house, "n").whole.increase == 6, "they are still in the table"
    await room.erase(Subject("default", ["ann-0001"]))
    assert told(house, "n").whole.increase == 5 and house.line("shop", "metrics").erased == 1
    assert house.problems() == []
    house.close()


async def test_points_go_with_a_session_of_theirs(tmp_path: Path, spans: Callable[[], SpanStore]) -> None:
    """Met in spans, or in points that name session and user; not one in which somebody else is met. No byte is left in files."""
    house = House(tmp_path, spans)
    house.spans(make(attributes={"user.id": "ann-0001", "session.id": "session-one"}), make(attributes={"session.id": "session-one"}))
    for session, who, value in [("session-one", "", 1), ("session-one", "bob-0001", 2), ("session-two", "ann-0001", 4),
                                ("session-two", "", 8), ("session-six", "ann-0001", 16), ("session-six", "bob-0001", 32),
                                ("session-six", "", 64), ("session-ten", "", 128)]:  # fmt: skip
        named = {"user_id": who} if who else {}
        send(house, sums((0, 1, value), temporality=1, session_id=session, **named))
    house.projection.catch_up()
    room = TraceRoom(LocalSpans(lambda: house.projection), house.journals[0], house.folder)
    subject = Subject("default", ["ann-0001"])
    before = None
    while subject.size != before:
        before = subject.size
        found = list(await room.find(subject))
    # bob is met in session-one, though in a point alone: what names nobody there stays
    assert subject.sessions == {"session-two"} and found[-1] == Place("points of metrics", 3)
    subject = Subject.restored("default", "", False, subject.held())
    await room.erase(subject)
    assert told(house, "n", by="session.id").whole.increase == 1 + 2 + 32 + 64 + 128
    assert house.problems() == []
    one = Subject("default", ["session-ten"])  # a session may be what stands for somebody
    assert list(await room.find(one)) == [Place("points of metrics", 1)]
    await room.erase(one)
    assert told(house, "n").whole.increase == 1 + 2 + 32 + 64 and house.problems() == []
    house.close()
    held = b"".join(f.read_bytes() for f in tmp_path.rglob("*") if f.is_file())
    assert b"session-six" in held and b"bob-0001" in held
    assert not any(word in held for word in (b"session-two", b"session-ten", b"ann-0001"))
