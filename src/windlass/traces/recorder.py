"""Windlass's own spans on their way to the journal, as OTLP like everybody's. Does not wait: a span is no acknowledgement."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList

from windlass.core.errors import Unavailable
from windlass.core.span import Span
from windlass.store.journal import Journal, Position
from windlass.traces.envelope import seal

_log = logging.getLogger("windlass.traces")
_STATUS = {"unset": 0, "ok": 1, "error": 2}


class Recorder:
    """`Records` over a journal. Spans that come within its lazy moment are encoded together, on its thread."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self._pending: dict[str, list[Span]] = {}

    def record(self, spans: Sequence[Span]) -> None:
        """Hand spans to the journal. A journal that cannot keep them says so in the log; the run goes on."""
        for span in spans:
            with self._lock:
                pending = self._pending.setdefault(span.project, [])
                pending.append(span)
                first = len(pending) == 1
            if first:
                self._submit(span.project)

    def _submit(self, project: str) -> None:
        try:
            self._journal.submit(functools.partial(self._sealed, project), urgent=False).add_done_callback(_complain)
        except Unavailable as e:  # it is being closed
            _log.error("spans were lost: %s", e)

    def _sealed(self, project: str) -> bytes:
        with self._lock:
            spans = self._pending.pop(project)
        return seal(project, encode(spans))


def _complain(future: Future[Position]) -> None:
    if error := future.exception():
        _log.error("spans were lost: %s", error)


def encode(spans: Iterable[Span]) -> bytes:
    """Spans as an OTLP request, one resource for each service."""
    request = ExportTraceServiceRequest()
    scopes: dict[str, Any] = {}
    for span in spans:
        if span.service not in scopes:
            resource = request.resource_spans.add()
            resource.resource.attributes.append(KeyValue(key="service.name", value=AnyValue(string_value=span.service)))
            scopes[span.service] = resource.scope_spans.add()
            scopes[span.service].scope.name = "windlass"
        made = scopes[span.service].spans.add(
            trace_id=bytes.fromhex(span.trace_id),
            span_id=bytes.fromhex(span.span_id),
            parent_span_id=bytes.fromhex(span.parent) if span.parent else b"",
            name=span.name,
            start_time_unix_nano=span.start_ns,
            end_time_unix_nano=span.end_ns,
            attributes=_pairs(span.attributes),
        )
        made.status.code = _STATUS[span.status]
        made.status.message = span.status_message
        for event in span.events:
            made.events.add(name=event.name, time_unix_nano=event.time_ns, attributes=_pairs(event.attributes))
    return request.SerializeToString()


def _pairs(attributes: dict[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=k, value=any_value(v)) for k, v in attributes.items() if v is not None]


def any_value(value: Any) -> AnyValue:
    """A JSON value as OTLP's AnyValue."""
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, (list, tuple)):
        return AnyValue(array_value=ArrayValue(values=[any_value(v) for v in value]))
    if isinstance(value, dict):
        return AnyValue(kvlist_value=KeyValueList(values=_pairs(value)))
    return AnyValue(string_value=str(value))
