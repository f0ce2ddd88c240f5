"""What real exporters of logs and metrics send, whatever they send it by."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from tests.doors.otlp.sent import log_records, metrics, said


def a_log(exporter: Any, mark: str) -> None:
    provider = LoggerProvider(Resource.create({"service.name": "theirs"}))
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    logger = logging.Logger(f"of {mark}")
    logger.addHandler(LoggingHandler(logger_provider=provider))
    logger.warning("told %s", mark, extra={"mark": mark})
    provider.shutdown()


def a_metric(exporter: Any, mark: str) -> None:
    provider = MeterProvider([PeriodicExportingMetricReader(exporter)], Resource.create({"service.name": "theirs"}))
    meter = provider.get_meter("of tests")
    meter.create_counter(f"calls.{mark}").add(3, {"mark": mark})
    meter.create_histogram(f"seconds.{mark}").record(0.5, {"mark": mark})
    provider.shutdown()


def check(home: Path, mark: str) -> None:
    (record,) = [r for r in log_records(home) if said(r.attributes).get("mark") == mark]
    assert (record.body.string_value, record.severity_text) == (f"told {mark}", "WARN")
    found = {m.name: m for m in metrics(home) if mark in m.name}
    assert found.keys() == {f"calls.{mark}", f"seconds.{mark}"}
    assert found[f"calls.{mark}"].sum.data_points[0].as_int == 3
    assert found[f"seconds.{mark}"].histogram.data_points[0].sum == 0.5
