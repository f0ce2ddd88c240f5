"""What an erasure takes out of logs and metrics. A log record of a trace, or of a coding agent's turn, goes as spans do: when the trace is
theirs, which it is when the record carries their name as its user. Any other, and a point of a metric, is one statement, as a row of a
table is: it goes when it carries their name as its user, a session of theirs and nobody else as its user, is about one of their traces,
names them, or quotes them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

from windlass.govern.erasure import Subject
from windlass.traces.conventions.tables import tables
from windlass.traces.envelope import LOGS, METRICS
from windlass.traces.log_records import alone_of, said_by
from windlass.traces.otlp_values import around_of, attributes_of

STATEMENTS = {LOGS: "log records", METRICS: "points of metrics"}


def theirs(kind: int, data: bytes, subject: Subject) -> Iterator[Any]:
    """The log records, or points, of a record of the journal that are theirs."""
    for items, around in _lists(kind, _parsed(kind, data)):
        yield from (item for item in items if _is_theirs(item, around, subject))


def their_trace(item: Any, subject: Subject) -> str | None:
    """The trace of a log record that says that it was theirs."""
    return _trace(item, subject) if _names(item, subject) else None


def alone(data: bytes, subject: Subject) -> Iterator[str]:
    """What stands for the trace of log records that are theirs, and of no trace."""
    for of in _parsed(LOGS, data).resource_logs:
        for process, scope in around_of(of):
            for record in scope.log_records:
                if _is_theirs(record, (of.resource, scope.scope), subject) and _trace(record, subject) is None:
                    yield alone_of(said_by(record), process)


def sessions_of(kind: int, data: bytes, subject: Subject) -> Iterator[tuple[str, bool]]:
    """Each session that one names together with a user, and whether the user is theirs."""
    for items, around in _lists(kind, _parsed(kind, data)):
        for item in items:
            holders = (item, *around[:2])
            if (session := _told("session", holders)) is not None and (user := _told("user", holders)) is not None:
                yield session, user in subject.names


def without(kind: int, data: bytes, subject: Subject) -> bytes | None:
    """Logs or metrics without what is theirs, and without what held nothing else, since it may name them; None where nothing is."""
    request, gone = _parsed(kind, data), False
    for items, around in _lists(kind, request):
        whose = [_is_theirs(item, around, subject) for item in items]
        if any(whose):
            gone = True
            kept = [type(i).FromString(i.SerializeToString()) for i, his in zip(items, whose, strict=True) if not his]
            del items[:]
            items.extend(kept)
    if not gone:
        return None
    _prune(kind, request)
    return request.SerializeToString()  # type: ignore[no-any-return]


def _lists(kind: int, request: Any) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Each list of records or points, and what it stands in."""
    if kind == LOGS:
        for resource in request.resource_logs:
            for scope in resource.scope_logs:
                yield scope.log_records, (resource.resource, scope.scope)
        return
    for resource in request.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                around = (resource.resource, scope.scope, metric.name, metric.description, metric.metadata)
                yield _points(metric), around


def _points(metric: Any) -> Any:
    kind = metric.WhichOneof("data")
    return getattr(metric, kind).data_points if kind else []


def _prune(kind: int, request: Any) -> None:
    outer, inner, many = (
        ("resource_logs", "scope_logs", "log_records") if kind == LOGS else ("resource_metrics", "scope_metrics", "metrics")
    )
    resources = getattr(request, outer)
    for resource in list(resources):
        scopes = getattr(resource, inner)
        for scope in list(scopes):
            items = getattr(scope, many)
            for metric in list(items) if kind == METRICS else ():
                if not _points(metric):
                    items.remove(metric)
            if not items:
                scopes.remove(scope)
        if not scopes:
            resources.remove(resource)


def _is_theirs(item: Any, around: tuple[Any, ...], subject: Subject) -> bool:
    """Whether a record or point is theirs, by itself or by what it stands in."""
    holders = (item, *around[:2])
    if any(_names(held, subject) for held in holders):
        return True
    if own := _trace(item, subject):
        return own in subject.traces
    session = _told("session", holders)
    if session is not None and (session in subject.sessions or session in subject.names) and _told("user", holders) is None:
        return True
    traces = [e.trace_id for e in getattr(item, "exemplars", ())]
    return any(t.hex() in subject.traces for t in traces) or any(subject.touches(text) for text in _texts((item, *around)))


def _trace(item: Any, subject: Subject) -> str | None:
    """The trace a log record is of; None for one of none, and for a point."""
    return said_by(item).told_trace(subject.project) if hasattr(item, "severity_number") else None


def _names(held: Any, subject: Subject) -> bool:
    """Whether a record, a point or what it stands in carries one of their names as its user."""
    if hasattr(held, "severity_number") and (agent := said_by(held).agent):
        return any(a.value.string_value in subject.names for a in held.attributes if a.key in agent.user)
    return _told("user", (held,)) in subject.names


def _told(column: str, holders: Sequence[Any]) -> str | None:
    """The user or session that the first of these tells which tells one."""
    for held in holders:
        if hasattr(held, "severity_number") and (agent := said_by(held).agent):
            found = agent.who(attributes_of(held.attributes)).get(column)
        else:
            told = attributes_of(a for a in held.attributes if a.key in _attributes(column))
            found = tables().read(told).get(column) if told else None
        if found is not None and not found.startswith(tables().nothing):
            return found
    return None


@functools.cache
def _attributes(column: str) -> frozenset[str]:
    return tables().of(column)


def _texts(held: Any) -> Iterator[str]:
    """Every text in a message, or in a list of them."""
    if isinstance(held, str):
        yield held
    elif isinstance(held, bytes):
        yield held.decode("utf-8", "replace")
    elif hasattr(held, "ListFields"):
        for _, value in held.ListFields():
            yield from _texts(value)
    elif hasattr(held, "__iter__"):
        for value in held:
            yield from _texts(value)


def _parsed(kind: int, data: bytes) -> Any:
    from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    return (ExportLogsServiceRequest if kind == LOGS else ExportMetricsServiceRequest).FromString(data)
