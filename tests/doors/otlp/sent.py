"""What tests send, and what of it the journal holds."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from windlass.store.journal import JournalReader
from windlass.store.segments import Position
from windlass.traces.envelope import LOGS, METRICS, OTLP, unseal

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["FORMATS", "JSON", "PROTOBUF", "a_log", "a_metric", "good", "kept", "log_records", "metrics", "request", "said", "zstd"]
PROTOBUF, JSON = {"content-type": "application/x-protobuf"}, {"content-type": "application/json"}
FORMATS = {OTLP: ExportTraceServiceRequest, LOGS: ExportLogsServiceRequest, METRICS: ExportMetricsServiceRequest}


def request(*spans: tuple[bytes, bytes, str]) -> ExportTraceServiceRequest:
    made = ExportTraceServiceRequest()
    scope = made.resource_spans.add().scope_spans.add()
    for trace_id, span_id, name in spans:
        scope.spans.add(trace_id=trace_id, span_id=span_id, name=name, start_time_unix_nano=10**18, end_time_unix_nano=10**18 + 10**6)
    return made


def good(name: str) -> tuple[bytes, bytes, str]:
    return os.urandom(16), os.urandom(8), name


def a_log(said: str) -> ExportLogsServiceRequest:
    made = ExportLogsServiceRequest()
    made.resource_logs.add().scope_logs.add().log_records.add(time_unix_nano=10**18).body.string_value = said
    return made


def a_metric(name: str) -> ExportMetricsServiceRequest:
    made = ExportMetricsServiceRequest()
    made.resource_metrics.add().scope_metrics.add().metrics.add(name=name).gauge.data_points.add(as_int=5)
    return made


def kept(home: Path, kind: int) -> list[Any]:
    """Every request of a format that is in the journals."""
    reader, found = JournalReader(home / "journal"), []
    for writer in reader.writers():
        at, end = Position(0, 0), reader.end(writer)
        while at < end and (records := reader.read(writer, at)):
            at = records[-1].position
            found += [unseal(r.payload) for r in records]
    return [FORMATS[k].FromString(data) for k, _, data in found if k == kind]


def log_records(home: Path) -> list[Any]:
    return [r for request in kept(home, LOGS) for o in request.resource_logs for s in o.scope_logs for r in s.log_records]


def metrics(home: Path) -> list[Any]:
    return [m for request in kept(home, METRICS) for o in request.resource_metrics for s in o.scope_metrics for m in s.metrics]


def said(attributes: Any) -> dict[str, str]:
    """Texts of attributes."""
    return {a.key: a.value.string_value for a in attributes if a.value.string_value}
