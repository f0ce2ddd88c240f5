"""Operations on the audit: what was done, by whom, to what, and whether the record of it still is what was written."""

from __future__ import annotations

from typing import Any

import msgspec

from windlass.core.operations import Limit, Operation, Page


class AuditQuery(msgspec.Struct, omit_defaults=True):
    """Newest first; filters combine with and. `action` and `actor` whole, or `releases.` and `key:` for all that begin so; `subject`: a
    part of it. Times are UTC nanoseconds."""

    project: str = "default"
    actor: str | None = None
    action: str | None = None
    subject: str | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    cursor: str | None = None
    limit: Limit = 50


class AuditEntry(msgspec.Struct, omit_defaults=True):
    """What was done. `hash` is over it and over `previous`, the hash of the entry before, which may be of another project. `name` is what
    the actor is called now, where a provider says it."""

    seq: int
    at_ns: int
    actor: str
    action: str
    project: str
    subject: str
    details: dict[str, Any]
    hash: str
    previous: str
    name: str = ""


class AuditPage(Page):
    items: tuple[AuditEntry, ...]


class AuditVerify(msgspec.Struct, omit_defaults=True):
    """`head`: one that was noted elsewhere, as `SEQ:HASH`; the audit must still hold it."""

    head: str | None = None


class AuditState(msgspec.Struct, omit_defaults=True):
    """How many `entries` agree and the `head` they end with, or the first `problem` and the entry it is `at`. Entries up to
    `anchored_from` rest on the chain alone: all of them where the store is no file of the data folder."""

    entries: int
    head: str
    problem: str | None = None
    at: int | None = None
    anchored_from: int = 0


AUDIT = Operation("audit.list", "GET", AuditQuery, AuditPage, "read")
VERIFY_AUDIT = Operation("audit.verify", "POST", AuditVerify, AuditState, "admin")
