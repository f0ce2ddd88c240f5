"""From OTLP's metrics to rows: one for each point, whatever it is of.

What tells one series from another is what OpenTelemetry says: resource, scope, name, unit, type, temporality, whether it only grows, and
attributes. Their order says nothing. A point's digest is of all it says, exemplars too: so an erasure that takes one for its exemplar
leaves another that has none.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from windlass.core.operations.metrics import PointType, Temporality
from windlass.store.histograms import Explicit, Exponential, written
from windlass.store.points import PointRow
from windlass.traces.otlp_values import attributes_of

NOTHING_RECORDED = 1  # the flag of a point that says that there is none any more
_LATEST = 2**63 - 1
_TEMPORALITY: dict[int, Temporality] = {1: "delta", 2: "cumulative"}
_TYPES: dict[str, PointType] = {
    "gauge": "gauge", "sum": "sum", "histogram": "histogram", "exponential_histogram": "exponential_histogram", "summary": "summary",
}  # fmt: skip
_json = msgspec.json.Encoder(order="sorted").encode


class _Around(NamedTuple):
    """What the points of one metric share."""

    project: str
    receipt_ns: int
    service: str
    resource: str
    metric: Any
    type: PointType
    temporality: Temporality
    monotonic: bool
    identity: tuple[str, ...]


def points(project: str, receipt_ns: int, data: bytes) -> Iterator[PointRow]:
    """The points of an ExportMetricsServiceRequest. Raises what reading it raises."""
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest  # who sends none needs it not

    for measured in ExportMetricsServiceRequest.FromString(data).resource_metrics:
        told = attributes_of(measured.resource.attributes)
        service = str(told.get("service.name", ""))
        for scope in measured.scope_metrics:
            named = {"otel.scope.name": scope.scope.name, "otel.scope.version": scope.scope.version}
            resource = _json({**told, **{name: value for name, value in named.items() if value}}).decode()
            of = _json(attributes_of(scope.scope.attributes)).decode()
            for metric in scope.metrics:
                if (kind := metric.WhichOneof("data")) is None:
                    continue
                held = getattr(metric, kind)
                # a summary counts since its start, and has no field that says so
                temporality = "cumulative" if kind == "summary" else _TEMPORALITY.get(getattr(held, "aggregation_temporality", 0), "")
                monotonic = held.is_monotonic if kind == "sum" else kind != "gauge"
                identity = (resource, of, metric.name, metric.unit, kind, temporality, str(monotonic))
                around = _Around(project, receipt_ns, service, resource, metric, _TYPES[kind], temporality, monotonic, identity)
                yield from (_point(around, sent) for sent in held.data_points)


def _point(around: _Around, sent: Any) -> PointRow:
    attributes = _json(attributes_of(sent.attributes)).decode()
    metric = around.metric
    content = (*around.identity, metric.description, sent.SerializeToString(deterministic=True))
    said = {} if sent.flags & NOTHING_RECORDED else _said(around.type, sent)
    return PointRow(
        project=around.project, metric=metric.name, unit=metric.unit, type=around.type, temporality=around.temporality,
        monotonic=around.monotonic, service=around.service, start_ns=min(sent.start_time_unix_nano, _LATEST),
        time_ns=min(sent.time_unix_nano, _LATEST), receipt_ns=around.receipt_ns, series=_digest(*around.identity, attributes),
        digest=_digest(*content), attributes=attributes, resource=around.resource, description=metric.description, **said,
    )  # fmt: skip


def _said(kind: PointType, sent: Any) -> dict[str, Any]:
    if kind in ("gauge", "sum"):
        value = getattr(sent, sent.WhichOneof("value") or "as_double")
        return {"value": _finite(value)}
    said: dict[str, Any] = {"count": min(sent.count, _LATEST)}
    if kind == "summary":
        shares = [[q.quantile, _finite(q.value)] for q in sent.quantile_values]
        return {**said, "total": _finite(sent.sum), "shape": _json({"quantiles": shares}).decode() if shares else None}
    for name, column in (("sum", "total"), ("min", "low"), ("max", "high")):
        said[column] = _finite(getattr(sent, name)) if sent.HasField(name) else None
    if kind == "histogram":
        bounds, counts = tuple(sent.explicit_bounds), tuple(sent.bucket_counts)
        if len(counts) == len(bounds) + 1 and list(bounds) == sorted(set(bounds)):
            said["shape"] = written(Explicit(bounds, counts))
        return said
    sides = ({side.offset + n: c for n, c in enumerate(side.bucket_counts) if c} for side in (sent.positive, sent.negative))
    return {**said, "shape": written(Exponential(sent.scale, sent.zero_count, sent.zero_threshold, *sides))}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _digest(*parts: str | bytes) -> str:
    made = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else part.encode()
        made.update(len(data).to_bytes(8, "little"))
        made.update(data)
    return made.hexdigest()[:16]
