"""Operations on the installation itself: status, keys."""

from __future__ import annotations

from typing import Any

import msgspec

from windlass.core.actor import Role
from windlass.core.operations import Empty, Operation


class StoreState(msgspec.Struct, omit_defaults=True):
    """`state` is "ready", or a sentence. `version` is the engine's, or that of what speaks to it; `schema` that of its tables. `bytes` is
    None where nobody counts them."""

    engine: str
    where: str
    state: str
    version: str = ""
    bytes: int | None = None
    schema: str = ""


class Queue(msgspec.Struct, omit_defaults=True):
    """What waits to be done, and what is being done. `due`: of what waits, what could be done by now."""

    waiting: int = 0
    running: int = 0
    due: int = 0


class Ledger(msgspec.Struct, omit_defaults=True):
    """The audit: how many `entries`, the `head` they end with, and when the newest was made. `anchored`: each hash stands a second time
    outside the table. `verified_ns` is when this process last re-derived all of it, up to `verified`; `problem` what disagreed then."""

    entries: int
    head: str
    last_ns: int | None = None
    anchored: bool = False
    verified_ns: int | None = None
    verified: int = 0
    problem: str | None = None


class Forwarding(msgspec.Struct, omit_defaults=True):
    """OTLP on its way to another endpoint, since `began_ns`: bodies that were `sent`, `refused` for good by code, and `skipped` since they
    had waited too long. `behind_bytes` of the journal are not read yet; `oldest_ns` is when what waits first was received, `last_ns` when
    it last took one, `problem` why it takes none."""

    began_ns: int = 0
    sent: int = 0
    sent_bytes: int = 0
    refused: dict[str, int] = {}
    skipped: int = 0
    behind_bytes: int = 0
    oldest_ns: int | None = None
    last_ns: int | None = None
    problem: str = ""


class Status(msgspec.Struct, omit_defaults=True):
    """`processes` maps a process to its state and resident bytes; `ingest` counts spans received, projected and rejected, and bytes of the
    journal, with those not projected yet; `stores` maps what is kept to who keeps it; `waiting` is work handed over that nobody has taken
    yet, `queues` each kind of work; `libraries` are what it runs on, with their versions; `grpc` is where OTLP is taken by gRPC, or why
    nowhere; `forwarding` how each endpoint does that OTLP is mirrored to; `serving` what calls go by while the tables are away, empty while
    they are there."""

    version: str
    home: str
    address: str | None
    uptime_s: float
    processes: dict[str, dict[str, Any]] = {}
    counts: dict[str, int] = {}
    ingest: dict[str, int] = {}
    stores: dict[str, StoreState] = {}
    waiting: int = 0
    queues: dict[str, Queue] = {}
    ledger: Ledger | None = None
    libraries: dict[str, str] = {}
    providers: dict[str, str] = {}  # provider → "ready", "no key"…
    grpc: str = ""
    forwarding: dict[str, Forwarding] = {}
    serving: str = ""


class KeyRequest(msgspec.Struct, omit_defaults=True):
    name: str
    role: Role = "caller"
    project: str = "default"
    scopes: tuple[str, ...] = ()
    expires_ns: int | None = None


class KeyInfo(msgspec.Struct, omit_defaults=True):
    """`secret` is told once, when the key is made, and is stored only as a hash. `acted_ns` is when its holder last changed anything, by
    the audit."""

    id: str
    name: str
    role: Role
    project: str
    created_ns: int
    expires_ns: int | None = None
    revoked_ns: int | None = None
    scopes: tuple[str, ...] = ()
    secret: str | None = None
    made_by: str = ""
    acted_ns: int | None = None


class KeyList(msgspec.Struct, omit_defaults=True):
    """Newest first. `owner_acted_ns`: when somebody last did so with the token of the data folder, or the owner's key."""

    items: tuple[KeyInfo, ...]
    owner_acted_ns: int | None = None


class KeyChange(msgspec.Struct, omit_defaults=True):
    """What is given is changed; `forever` takes away an end."""

    id: str
    role: Role | None = None
    expires_ns: int | None = None
    forever: bool = False


class KeyQuery(msgspec.Struct):
    id: str


STATUS = Operation("system.status", "GET", Empty, Status, "read")
KEY_CREATE = Operation("keys.create", "POST", KeyRequest, KeyInfo, "admin")
KEYS = Operation("keys.list", "GET", Empty, KeyList, "admin")
KEY_CHANGE = Operation("keys.change", "POST", KeyChange, KeyInfo, "admin", also="of the last owner's key: the token of the data folder")
KEY_REVOKE = Operation("keys.revoke", "POST", KeyQuery, KeyInfo, "admin", also="of the last owner's key: the token of the data folder")
