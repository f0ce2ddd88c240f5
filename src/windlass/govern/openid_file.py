"""`oidc.toml` in the data folder: by which OpenID providers people and machines come, and what each may do. Whole or refused whole.

[[provider]]
name = "company"                              in the audit, for ever: oidc:company:…
title = "Example Inc."                        on the button
issuer = "https://id.example.com/realms/main"
client_id = "windlass"                        people log in
client_secret_env = "OIDC_SECRET"             the variable that holds it; or client_secret_file
audience = "https://windlass.example.com"     machines show tokens made for this
hours = 12                                    how long a log-in holds at most

[[provider.rule]]                             the first that fits counts; where none does, nobody comes in
claims = { groups = "ml-team" }
role = "developer"
project = "shop"
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec

from windlass.core.errors import Invalid, Unavailable
from windlass.core.ref import check_name

FILE = "oidc.toml"
SHOWN = "docs/governing.md shows its form"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whoever's claims say all of these has the role. A claim that is a list says each thing in it; `a.b` is `b` inside `a`."""

    claims: dict[str, str | bool]
    role: Literal["owner", "developer", "viewer", "caller"]
    project: str = "default"

    def fits(self, claims: Mapping[str, Any]) -> bool:
        return all(_says(claims, name, wanted) for name, wanted in self.claims.items())


class Provider(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One OpenID provider. With a `client_id` people log in by it, with a button that says its `title`; with an `audience` machines show
    its tokens."""

    name: str
    issuer: str
    title: str = ""
    rule: tuple[Rule, ...] = ()
    client_id: str = ""
    client_secret_env: str = ""
    client_secret_file: str = ""
    scopes: str = "openid profile email"
    audience: str = ""
    hours: Annotated[int, msgspec.Meta(ge=1, le=24 * 30)] = 12

    def looked_at(self) -> tuple[str, ...]:
        """The claims that its rules ask for, in order."""
        return tuple(dict.fromkeys(name for rule in self.rule for name in rule.claims))

    def kept(self, claims: Mapping[str, Any]) -> dict[str, Any]:
        """Of what a provider told, what the rules look at."""
        names = self.looked_at()
        found = {name: value for name in names if (value := claim(claims, name)) is not None}
        return found | ({"email_verified": claims["email_verified"]} if "email" in names and "email_verified" in claims else {})

    def ruled(self, claims: Mapping[str, Any]) -> Rule | None:
        """The rule that lets these claims in."""
        return next((rule for rule in self.rule if rule.fits(claims)), None)

    def secret(self, environ: Mapping[str, str], home: Path) -> str:
        """What it knows this server by; empty where none is named. Raises `Unavailable`, which names where it should be and no more."""
        if self.client_secret_env:
            if not (value := environ.get(self.client_secret_env, "").strip()):
                raise Unavailable(
                    f"the variable {self.client_secret_env} is empty", where=FILE, remedy="set it where the server is started"
                )
            return value
        if self.client_secret_file:
            path = home / self.client_secret_file
            try:
                value = path.read_text("utf-8").strip()
            except (OSError, UnicodeDecodeError):
                value = ""
            if not value:
                raise Unavailable("the file of the client's secret cannot be read, or is empty", where=str(path))
            return value
        return ""


class OpenIdFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    provider: tuple[Provider, ...] = ()


def claim(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its name, or by its way: names of claims may have dots of their own. None where nothing is told."""
    if name in claims:
        return claims[name]
    head, dot, rest = name.partition(".")
    inner = claims.get(head)
    return claim(inner, rest) if dot and isinstance(inner, dict) else None


def _says(claims: Mapping[str, Any], name: str, wanted: str | bool) -> bool:
    if name == "email" and claims.get("email_verified") not in (True, "true"):
        return False  # whoever may write any address into their profile is not thereby somebody else
    told = claim(claims, name)
    if isinstance(wanted, bool):
        return told is wanted or told == ("true" if wanted else "false")
    return any(isinstance(said, str) and said == wanted for said in (told if isinstance(told, list) else [told]))


def parse_openid_file(text: str, where: str) -> OpenIdFile:
    """What a TOML text says. Raises `Invalid` that says what, where and how to mend it; no value of it is repeated but names and roles."""
    try:
        found = msgspec.convert(tomllib.loads(text), OpenIdFile)
    except msgspec.ValidationError as e:
        remedy = SHOWN
        if "`client_secret`" in str(e):
            remedy = "a secret does not stand in the file: client_secret_env names a variable, client_secret_file a file"
        raise Invalid(f"log-in by OpenID Connect: {e}", where=where, remedy=remedy) from e
    except tomllib.TOMLDecodeError as e:
        raise Invalid(f"log-in by OpenID Connect: not TOML: {e}", where=where, remedy=SHOWN) from e
    for number, provider in enumerate(found.provider, 1):
        _check(provider, f"{where}: provider {number}")
    names = [p.name for p in found.provider]
    if double := next((n for n in names if names.count(n) > 1), None):
        raise Invalid(f"two providers are named {double!r}", where=where, remedy="who comes by which must be told apart: name them apart")
    people = {(p.issuer, p.client_id) for p in found.provider if p.client_id}
    if both := next((p for p in found.provider if p.audience and (p.issuer, p.audience) in people), None):
        raise Invalid(
            f"the audience of {both.name} is a client_id: what tells who logged in would open the API", where=where,
            remedy="name this server otherwise, such as by its address",
        )  # fmt: skip
    spoken = [(p.issuer, p.audience) for p in found.provider if p.audience]
    if len(spoken) > len(set(spoken)):
        raise Invalid("two providers have the same issuer and audience", where=where, remedy="put the rules of both under one of them")
    return found


def _check(provider: Provider, where: str) -> None:
    if not _NAME.fullmatch(provider.name):
        raise Invalid("a provider's name is of small letters, digits and -", where=where, remedy='such as name = "company"')
    if not secure(provider.issuer) or urlsplit(provider.issuer).query or urlsplit(provider.issuer).fragment:
        raise Invalid(
            f"the issuer of {provider.name} is no address of a provider", where=where,
            remedy="write it as the provider publishes it, with https://; http:// is for this machine only",
        )  # fmt: skip
    if not provider.client_id and not provider.audience:
        raise Invalid(
            f"{provider.name} is for nobody", where=where, remedy="give it a client_id for people, an audience for machines, or both"
        )
    if provider.client_secret_env and provider.client_secret_file:
        raise Invalid(f"{provider.name} has two secrets", where=where, remedy="keep client_secret_env or client_secret_file")
    if "openid" not in provider.scopes.split():
        raise Invalid(f"the scopes of {provider.name} have no openid", where=where, remedy='scopes = "openid profile email"')
    for number, rule in enumerate(provider.rule, 1):
        if not rule.claims or not all(name and (value or value is False) for name, value in rule.claims.items()):
            raise Invalid(
                f"rule {number} of {provider.name} asks for nothing: everybody would fit", where=where,
                remedy='name a claim and what it must say: claims = { groups = "ml-team" }',
            )  # fmt: skip
        try:
            check_name(rule.project, what="project")
        except Invalid as e:
            raise Invalid(f"rule {number} of {provider.name}: {e.message}", where=where, remedy=e.remedy or SHOWN) from None


def secure(url: str) -> bool:
    """Whether an address may be asked for what decides who somebody is."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    plain = parts.scheme == "http" and parts.hostname in _LOOPBACK
    return bool(parts.hostname) and parts.username is None and "@" not in parts.netloc and (parts.scheme == "https" or plain)
