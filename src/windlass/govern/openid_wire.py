"""What is asked of a provider over the network: what it publishes, its keys, and what a code stands for.

An owner named the provider, so it may lie inside; where it says its other parts are is checked as with anything somebody else names. It
may hang, drip or answer for ever: what it can take is `SECONDS` and `MOST` bytes. Keys are read again when a token names one that is not
there, and not more often than every `AGAIN_SECONDS`, whoever sends what; a failure is remembered as long.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2
import jwt
import msgspec

from windlass.core.errors import Forbidden, Unauthenticated, Unavailable, WindlassError
from windlass.govern.openid_file import Provider, secure
from windlass.govern.outward import Address, addresses_of, is_private, meant_by, parsed, refuse_machines

ALGORITHMS = ("RS256", "ES256", "EdDSA")
SECONDS = 8.0
WAIT_SECONDS = 3.0  # for somebody else who is asking
MOST = 512_000  # bytes of one answer
KEPT_SECONDS = 3600.0  # how long what a provider published is believed
AGAIN_SECONDS = 10.0
ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint")


class Published(msgspec.Struct, frozen=True):
    """A provider's discovery document, as far as it is used."""

    issuer: str
    jwks_uri: str
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    userinfo_endpoint: str = ""
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class _Known:
    """What is known of one issuer: read at `read`, last tried at `tried`, when `problem` came of it where one did."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.published: Published | None = None
        self.keys: dict[str | None, jwt.PyJWK] = {}
        self.read = self.tried = -KEPT_SECONDS
        self.problem: WindlassError | None = None

    def fresh(self) -> bool:
        return self.published is not None and time.monotonic() - self.read < KEPT_SECONDS

    def tried_just_now(self) -> bool:
        return time.monotonic() - self.tried < AGAIN_SECONDS


class Wire:
    """One per process; knows what it read of each issuer."""

    def __init__(self) -> None:
        self._issuers: dict[str, _Known] = {}

    def published(self, provider: Provider) -> Published:
        """What it publishes. Raises `Unavailable`, `Forbidden`."""
        known = self._issuers.setdefault(provider.issuer, _Known())
        with _held(known, provider):
            if not known.fresh():
                _read(known, provider)
            assert known.published
            return known.published

    def key(self, provider: Provider, kid: str | None) -> jwt.PyJWK:
        """The key a token says it is signed with. Raises `Unauthenticated` where the provider has none such, else as `published`."""
        known = self._issuers.setdefault(provider.issuer, _Known())
        if known.fresh() and (found := _chosen(known.keys, kid)):
            return found
        with _held(known, provider):
            if not known.fresh() or (_chosen(known.keys, kid) is None and not known.tried_just_now()):
                _read(known, provider)
            if found := _chosen(known.keys, kid):
                return found
        raise Unauthenticated(f"this token is signed with a key that {provider.name} does not have")

    def tokens_of(self, provider: Provider, secret: str, code: str, verifier: str, redirect: str) -> dict[str, Any]:
        """What a code stands for. Raises `Unauthenticated` where the provider refuses it, `Unavailable`."""
        published = self.published(provider)
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect, "code_verifier": verifier}
        auth = None
        if secret and "client_secret_basic" in published.token_endpoint_auth_methods_supported:
            auth = (quote(provider.client_id, safe=""), quote(secret, safe=""))  # as OAuth has it, each encoded first
        else:
            form |= {"client_id": provider.client_id} | ({"client_secret": secret} if secret else {})
        status, body = _send(provider, "POST", published.token_endpoint, data=form, auth=auth)
        if status == 401 or body.get("error") == "invalid_client":
            raise Unavailable(
                f"{provider.name} does not know this server by its client_id and secret", where=provider.issuer,
                remedy="are they those of the provider? does a secret belong there at all?",
            )  # fmt: skip
        if 400 <= status < 500:
            raise Unauthenticated(f"{provider.name} refused what it had sent: it was used already, or is too old", remedy="begin again")
        return _good(status, body, provider)

    def userinfo(self, provider: Provider, access_token: str) -> dict[str, Any]:
        """What the provider tells of somebody beyond the token; nothing where it has no such place. Raises `Unavailable`."""
        published = self.published(provider)
        if not published.userinfo_endpoint or not access_token:
            return {}
        headers = {"authorization": f"Bearer {access_token}"}
        return _good(*_send(provider, "GET", published.userinfo_endpoint, headers=headers), provider)


def _chosen(keys: Mapping[str | None, jwt.PyJWK], kid: str | None) -> jwt.PyJWK | None:
    """The key of that name; the only one, where the token names none."""
    if kid is None and len(keys) == 1:
        return next(iter(keys.values()))
    return keys.get(kid)


@contextmanager
def _held(known: _Known, provider: Provider) -> Iterator[None]:
    """Nobody else reads meanwhile. Whoever would wait long is told so: a provider that hangs must not hold everybody else up."""
    if not known.lock.acquire(timeout=WAIT_SECONDS):
        raise _away(provider, "it is being asked, and has not answered yet")
    try:
        yield
    finally:
        known.lock.release()


def _read(known: _Known, provider: Provider) -> None:
    """Read document and keys; what was known is kept until both are there. The caller holds the lock."""
    if known.tried_just_now() and known.problem:
        raise type(known.problem)(known.problem.message, where=known.problem.where, remedy=known.problem.remedy)
    try:
        address = provider.issuer.rstrip("/") + "/.well-known/openid-configuration"
        published = _document(_good(*_send(provider, "GET", address), provider), provider)
        keys = _keys(_good(*_send(provider, "GET", published.jwks_uri), provider))
        if not keys:
            raise _away(provider, f"it has no key for {', '.join(ALGORITHMS)}")
        known.published, known.keys, known.read, known.problem = published, keys, time.monotonic(), None
    except WindlassError as e:
        known.problem = e
        raise
    finally:
        known.tried = time.monotonic()


def _document(body: dict[str, Any], provider: Provider) -> Published:
    try:
        published = msgspec.convert(body, Published)
    except msgspec.ValidationError as e:
        raise _away(provider, f"what it publishes is no OpenID configuration: {e}") from e
    if published.issuer != provider.issuer:
        raise _away(provider, f"it calls itself {published.issuer[:200]!r}, and not as oidc.toml has it")
    if provider.client_id and not (published.authorization_endpoint and published.token_endpoint):
        raise _away(provider, "it publishes no place to log in")
    for name in ENDPOINTS:
        if (address := getattr(published, name)) and not secure(address):
            raise _away(provider, f"its {name} is no https address")
    return published


def _keys(body: dict[str, Any]) -> dict[str | None, jwt.PyJWK]:
    """Those that sign with a public key we understand; what else is among them is none of ours."""
    found: dict[str | None, jwt.PyJWK] = {}
    entries = body.get("keys")
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
            continue
        try:
            key = jwt.PyJWK(entry)
        except (jwt.PyJWTError, ValueError, TypeError):
            continue
        if key.algorithm_name in ALGORITHMS:
            found[key.key_id] = key
    return found


def _send(provider: Provider, method: str, url: str, **given: Any) -> tuple[int, dict[str, Any]]:
    """Status and JSON of one answer. Redirects are not followed: nothing here has a reason to lead elsewhere. Raises `Unavailable`,
    `Forbidden`."""
    inside = _inside(provider)
    parts = urlsplit(url)
    for address in addresses_of(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80), provider.issuer):
        _check(address, url, inside)

    def connected(event: str, info: dict[str, Any]) -> None:
        # by name it may lead elsewhere than when it was looked up; nothing was sent yet
        if event == "connection.connect_tcp.complete":
            _check(parsed(str(info["return_value"].get_extra_info("server_addr")[0])), url, inside)

    given["extensions"] = {"trace": connected}
    end = time.monotonic() + SECONDS
    body = bytearray()
    given["headers"] = {"accept": "application/json", "accept-encoding": "identity", **given.get("headers", {})}
    try:
        with _client() as client, client.stream(method, url, **given) as answer:
            for piece in answer.iter_raw():
                body += piece
                if len(body) > MOST:
                    raise _away(provider, f"it answers more than {MOST:,} bytes")
                if time.monotonic() > end:
                    raise _away(provider, f"it took more than {SECONDS:.0f} seconds")
            status = answer.status_code
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as e:
        raise _away(provider, str(e) or type(e).__name__) from None
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        said = {}
    return status, said if isinstance(said, dict) else {}


def _client() -> httpx2.Client:
    """The machine's own certificate authorities count, also those that SSL_CERT_FILE names."""
    timeout = httpx2.Timeout(SECONDS, connect=4.0)
    return httpx2.Client(timeout=timeout, follow_redirects=False, trust_env=False, verify=httpx2.create_ssl_context())


def _inside(provider: Provider) -> bool:
    """Whether the issuer itself is at a private address, as an owner may name one."""
    parts = urlsplit(provider.issuer)
    return any(map(is_private, addresses_of(parts.hostname or "", parts.port or 443, provider.issuer)))


def _check(address: Address, url: str, inside: bool) -> None:
    refuse_machines(address, url, who="provider", remedy="name the provider's own address")
    if is_private(address) and not inside:
        raise Forbidden(f"a public provider leads to {meant_by(address)}, which is private", where=url, remedy="is it the right provider?")


def _good(status: int, body: dict[str, Any], provider: Provider) -> dict[str, Any]:
    if status != 200 or not body:
        raise _away(provider, f"it answered status {status}" if status != 200 else "what it answered is no JSON object")
    return body


def _away(provider: Provider, why: str) -> Unavailable:
    return Unavailable(
        f"the provider {provider.name} cannot be asked: {why}", where=provider.issuer, remedy="try again; a key of Windlass works meanwhile"
    )
