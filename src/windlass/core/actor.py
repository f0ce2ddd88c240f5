"""Who acts. `govern/actors` finds out who; every service method takes one and asks `govern/permissions`."""

from __future__ import annotations

from typing import Literal

import msgspec

Role = Literal["owner", "developer", "viewer", "caller", "run", "grant"]


class Actor(msgspec.Struct, frozen=True, omit_defaults=True):
    """`caller` may only call releases and models through the gateway and send traces; `run` only what its own run uses, `grant` only
    what the grant it names allows.
    Of a run, `payer` is who began it, for whose `user`, by which `release`: limits count its calls there.
    `scopes` narrow a key to `kind/name` refs; empty means the whole project."""

    id: str
    role: Role
    project: str = "default"
    scopes: tuple[str, ...] = ()
    run: str | None = None
    evaluation: str | None = None  # that the run belongs to
    grant: str | None = None
    payer: str | None = None
    user: str | None = None
    release: str | None = None


OWNER = Actor("owner", "owner")
