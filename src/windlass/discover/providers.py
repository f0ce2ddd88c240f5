"""Model providers as data, and which of them this installation can call.

The table is `providers.toml` beside this file; a user's own table (`providers.toml` in the data folder) adds to it and
overrides field by field. Knows addresses and names of environment variables; knows no wire format. `probe` is the only
function that touches the network, and only the loopback addresses of local servers.
"""

from __future__ import annotations

import asyncio
import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from windlass.core.errors import Invalid, NotFound, Unavailable

if TYPE_CHECKING:
    import aiohttp  # loaded when somebody is called: a seventh of a small command's time

Dialect = Literal["openai", "anthropic"]
Auth = Literal["bearer", "x-api-key", "api-key", "none"]
Quirk = Literal["max_completion_tokens", "no_json_schema", "no_stream_usage", "no_responses"]


class Provider(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One row of the table; `providers.toml` says what the fields mean. `models` are ids to offer in lists."""

    base_url: str
    dialect: Dialect = "openai"
    auth: Auth = "bearer"
    keys: tuple[str, ...] = ()
    base_env: str | None = None
    headers: dict[str, str] = {}
    quirks: tuple[Quirk, ...] = ()
    local: bool = False
    models: tuple[str, ...] = ()
    name: str = ""


class Endpoint(msgspec.Struct, frozen=True):
    """A provider with its address and credentials filled in. Never logged: `headers` hold the key."""

    provider: Provider
    base_url: str
    headers: dict[str, str]
    key: str | None

    def __repr__(self) -> str:
        return f"Endpoint({self.provider.name!r}, {self.base_url!r})"

    def redact(self, text: str) -> str:
        """`text` without the key, should a provider echo it."""
        return text.replace(self.key, "[key]") if self.key else text


class Providers:
    """The table and the environment keys come from. Tests pass their own `environ`."""

    def __init__(self, table: Mapping[str, Provider], environ: Mapping[str, str]) -> None:
        self.table = dict(table)
        self._environ = environ

    def get(self, name: str) -> Provider:
        """Raises `NotFound` with a near miss."""
        if name in self.table:
            return self.table[name]
        near = difflib.get_close_matches(name, [*self.table, "baseline"], 1)
        raise NotFound(
            f"there is no model provider {name!r}",
            remedy=f"did you mean {near[0]!r}?"
            if near
            else "providers: " + ", ".join(sorted(self.table)) + "; or add it to providers.toml",
        )

    def why_not(self, provider: Provider) -> str:
        """Why this provider cannot be called now, naming the variable that is missing; empty when it can."""
        if not self._base_url(provider):
            return f"{provider.base_env or 'base_url'} is not set"
        if provider.auth != "none" and provider.keys and self._key(provider) is None:
            return f"{' or '.join(provider.keys)} is not set"
        return ""

    def endpoint(self, name: str) -> Endpoint:
        """Where and how to call a provider. Raises `NotFound`; `Unavailable` when its key or address is not set."""
        provider = self.get(name)
        if missing := self.why_not(provider):
            variable = missing.split(" ")[0]
            raise Unavailable(f"{name} cannot be called: {missing}", remedy=f"set {variable} in the server's environment and restart it")
        key = self._key(provider)
        return Endpoint(provider, self._base_url(provider), {**provider.headers, **_authorization(provider.auth, key)}, key)

    def detected(self) -> dict[str, str]:
        """Provider → `ready` or why not, for every provider that is not local. Asks nobody."""
        return {name: self.why_not(p) or "ready" for name, p in sorted(self.table.items()) if not p.local}

    def _key(self, provider: Provider) -> str | None:
        return next((self._environ[k] for k in provider.keys if self._environ.get(k)), None)

    def _base_url(self, provider: Provider) -> str:
        chosen = self._environ.get(provider.base_env or "") or provider.base_url
        return chosen.rstrip("/")


def _authorization(auth: Auth, key: str | None) -> dict[str, str]:
    if key is None or auth == "none":
        return {}
    return {"Authorization": f"Bearer {key}"} if auth == "bearer" else {auth: key}


def load_providers(user_file: Path | None, environ: Mapping[str, str]) -> Providers:
    """The shipped table, overlaid with the user's file where there is one. Raises `Invalid` naming file and provider."""
    rows: dict[str, dict[str, Any]] = _read(Path(__file__).with_name("providers.toml"))
    if user_file is not None and user_file.exists():
        for name, row in _read(user_file).items():
            rows[name] = {**rows.get(name, {}), **row}
    table: dict[str, Provider] = {}
    for name, row in rows.items():
        try:
            table[name] = msgspec.convert({**row, "name": name}, Provider)
        except msgspec.ValidationError as e:
            raise Invalid(
                f"provider {name!r}: {e}", where=str(user_file), remedy="see providers.toml in windlass/discover for the fields"
            ) from e
    return Providers(table, environ)


def _read(path: Path) -> dict[str, dict[str, Any]]:
    try:
        rows = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise Invalid(f"not readable as TOML: {e}", where=str(path)) from e
    for name, row in rows.items():
        if not isinstance(row, dict):
            raise Invalid(f"{name!r} is not a table", where=str(path), remedy=f"write [{name}] and its fields below")
    return rows


class Probed(msgspec.Struct, frozen=True):
    """What a local server answered: the ids of its models, or why it could not be asked."""

    provider: str
    models: tuple[str, ...]
    why_not: str = ""


async def probe(providers: Providers, *, timeout_s: float = 0.5) -> list[Probed]:
    """Ask every local provider for its models, at once, each within `timeout_s` seconds. Never raises for one that is away."""
    import aiohttp

    names = [name for name, p in sorted(providers.table.items()) if p.local]
    limits = aiohttp.ClientTimeout(total=timeout_s)
    async with aiohttp.ClientSession(timeout=limits, trust_env=False) as session:
        return list(await asyncio.gather(*(_ask(session, providers, name) for name in names)))


async def _ask(session: aiohttp.ClientSession, providers: Providers, name: str) -> Probed:
    import aiohttp

    endpoint = providers.endpoint(name)
    try:
        async with session.get(endpoint.base_url + "/models", headers=endpoint.headers) as response:
            listed = msgspec.json.decode(await response.read(), type=_Listing)
            return Probed(name, tuple(sorted(m.id for m in listed.data)))
    except (TimeoutError, aiohttp.ClientError):
        return Probed(name, (), f"nothing answers at {endpoint.base_url}")
    except msgspec.DecodeError:
        return Probed(name, (), f"{endpoint.base_url} answers, but not as a model server")


class _Model(msgspec.Struct):
    id: str


class _Listing(msgspec.Struct):
    data: list[_Model]
