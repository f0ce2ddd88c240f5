"""An application that measures calls of models with OpenTelemetry's SDK, and sends to a server."""

from __future__ import annotations

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from tests.doors.server import Server

MODELS = ("gpt-5", "gpt-5-mini", "<b>claude</b>")


def send_metrics(server: Server) -> None:
    """Ten calls of each model, in one export: durations as GenAI's conventions call them, a counter, a gauge below 0."""

    def cold(_: CallbackOptions) -> list[Observation]:
        return [Observation(-4.5, {"room": "cold"})]

    exporter = OTLPMetricExporter(f"{server.address}/v1/metrics", headers={"authorization": f"Bearer {server.token}"})
    provider = MeterProvider(
        [PeriodicExportingMetricReader(exporter)], Resource.create({"service.name": "shop"}),
        views=[View(instrument_type=Histogram, aggregation=ExponentialBucketHistogramAggregation())],
    )  # fmt: skip
    meter = provider.get_meter("of tests")
    took = meter.create_histogram("gen_ai.client.operation.duration", "s", "How long <i>calls</i> take")
    calls = meter.create_counter("calls/models", "{call}")
    meter.create_observable_gauge("cold", [cold], "Cel")
    for model in MODELS:
        for n in range(1, 11):
            took.record(n / 10, {"gen_ai.request.model": model})
            calls.add(2, {"gen_ai.request.model": model})
    provider.shutdown()
