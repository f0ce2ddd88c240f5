"""Operations on people who come by OpenID Connect: who they are, who is blocked, and by which providers and rules they come."""

from __future__ import annotations

import msgspec

from windlass.core.actor import Role
from windlass.core.operations import Empty, Operation


class PersonSession(msgspec.Struct):
    """One browser in which somebody is logged in."""

    began_ns: int
    expires_ns: int


class Person(msgspec.Struct, omit_defaults=True):
    """Somebody a provider vouched for: a person who logged in, or a `machine` that showed a token. `role` and `project` are what the
    rules give by what the provider told last; without them, `why` says what is against it. `acted_ns`: when they last changed anything."""

    id: str
    name: str
    provider: str
    first_ns: int
    last_ns: int
    role: Role | None = None
    project: str = ""
    why: str = ""
    machine: bool = False
    blocked_ns: int | None = None
    blocked_by: str = ""
    sessions: tuple[PersonSession, ...] = ()
    acted_ns: int | None = None


class PersonList(msgspec.Struct):
    """Who came last stands first."""

    items: tuple[Person, ...]


class PersonQuery(msgspec.Struct):
    """Their id, or the end of it where only one ends so."""

    id: str


class ProviderRule(msgspec.Struct, omit_defaults=True):
    """Whoever's claims say all this has the role in the project."""

    claims: dict[str, str | bool]
    role: Role
    project: str


class ProviderState(msgspec.Struct, omit_defaults=True):
    """A provider as `oidc.toml` has it, without its secret. `redirect` is where it must send people back to; `problem` what keeps it from
    working, as far as was looked."""

    name: str
    issuer: str
    rules: tuple[ProviderRule, ...]
    hours: int
    client_id: str = ""
    secret: str = ""
    redirect: str = ""
    audience: str = ""
    problem: str = ""


class ProviderQuery(msgspec.Struct, omit_defaults=True):
    """`reach`: ask each provider for what it publishes."""

    reach: bool = False


class ProviderList(msgspec.Struct):
    items: tuple[ProviderState, ...]


PEOPLE = Operation("people.list", "GET", Empty, PersonList, "admin")
PEOPLE_BLOCK = Operation("people.block", "POST", PersonQuery, Person, "admin")
PEOPLE_ADMIT = Operation("people.admit", "POST", PersonQuery, Person, "admin")
PROVIDERS = Operation("people.providers", "GET", ProviderQuery, ProviderList, "admin")
