"""Operations on log records: what applications say beside their spans."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from windlass.core.operations import Limit, Operation, Page

Severity = Literal["trace", "debug", "info", "warn", "error", "fatal"]
LEAST: dict[str, int] = {"trace": 1, "debug": 5, "info": 9, "warn": 13, "error": 17, "fatal": 21}  # as OpenTelemetry counts


class LogQuery(msgspec.Struct, omit_defaults=True):
    """Records that are all of this. `severity` and worse; of a `service` and a `name`, at the end of which * stands for anything; with
    `search` in their name or body, in whatever case. `filter` is in the language of traces, and each of its terms asks the record itself;
    what only a whole trace has, as its state, cannot be asked."""

    project: str = "default"
    filter: str = ""
    severity: Severity | None = None
    service: str | None = None
    name: str | None = None
    search: str | None = None
    since_ns: int | None = None
    until_ns: int | None = None  # before this
    cursor: str | None = None
    limit: Limit = 50


class LogRecord(msgspec.Struct, omit_defaults=True):
    """One record. `level` is OpenTelemetry's number of its severity, 0 where it told none; `severity` as it was told. `body` is text, or
    what it says as JSON. `trace_id` is the trace that shows it, as the step `span_id`; None where it is of none. `cut`: texts that are
    shortened here, and how many characters they are."""

    at_ns: int
    name: str
    service: str
    severity: str = ""
    level: int = 0
    body: Any = None
    attributes: dict[str, Any] = {}
    resource: dict[str, Any] = {}
    trace_id: str | None = None
    span_id: str | None = None
    cut: dict[str, int] = {}


class LogPage(Page):
    """The newest first."""

    items: tuple[LogRecord, ...]


LOGS = Operation("logs.list", "GET", LogQuery, LogPage, "read")
