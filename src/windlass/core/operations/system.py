"""Operations on the installation itself: status, keys."""

from __future__ import annotations

from typing import Any

import msgspec

from windlass.core.actor import Role
from windlass.core.operations import Empty, Operation


class StoreState(msgspec.Struct, omit_defaults=True):
    """`state` is "ready", or a sentence. `version` is the engine's, or that of what speaks to it."""

    engine: str
    where: str
    state: str
    version: str = ""


class Status(msgspec.Struct, omit_defaults=True):
    """`processes` maps a process to its state and resident bytes; `ingest` counts spans received, projected and rejected; `stores` maps
    what is kept to who keeps it; `waiting` is work handed over that nobody has taken yet."""

    version: str
    home: str
    address: str | None
    uptime_s: float
    processes: dict[str, dict[str, Any]] = {}
    counts: dict[str, int] = {}
    ingest: dict[str, int] = {}
    stores: dict[str, StoreState] = {}
    waiting: int = 0
    providers: dict[str, str] = {}  # provider → "ready", "no key"…


class KeyRequest(msgspec.Struct, omit_defaults=True):
    name: str
    role: Role = "caller"
    project: str = "default"
    scopes: tuple[str, ...] = ()
    expires_ns: int | None = None


class KeyInfo(msgspec.Struct, omit_defaults=True):
    """`secret` is told once, when the key is made, and is stored only as a hash."""

    id: str
    name: str
    role: Role
    project: str
    created_ns: int
    expires_ns: int | None = None
    revoked_ns: int | None = None
    scopes: tuple[str, ...] = ()
    secret: str | None = None


class KeyList(msgspec.Struct):
    items: tuple[KeyInfo, ...]


class KeyQuery(msgspec.Struct):
    id: str


STATUS = Operation("system.status", "GET", Empty, Status, "read")
KEY_CREATE = Operation("keys.create", "POST", KeyRequest, KeyInfo, "admin")
KEYS = Operation("keys.list", "GET", Empty, KeyList, "admin")
KEY_REVOKE = Operation("keys.revoke", "POST", KeyQuery, KeyInfo, "admin")
