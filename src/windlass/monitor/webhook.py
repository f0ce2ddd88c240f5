"""Webhooks as https://www.standardwebhooks.com says: one signed POST, by a peer that is not trusted with anything.

It may hang, drip, answer for ever or lead elsewhere; what it can take is `SECONDS`, `MOST` bytes, and a sentence in the record. Every
address is looked up and checked here, and those are connected to: no name leads inward, whatever it says a moment later. A private
address is asked only where the alert names it itself.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import ipaddress
import socket
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from windlass.core.errors import Forbidden, Invalid, WindlassError
from windlass.govern.outward import Address, addresses_of, is_private, meant_by, parsed, refuse_machines
from windlass.monitor.receipt import Receipt, retry_after, shown
from windlass.monitor.variables import value_of
from windlass.registry.sources.url import SECRETS

if TYPE_CHECKING:
    import aiohttp  # loaded when something is sent

SECONDS = 10.0
READ_SECONDS = 2.0  # for what comes after the head of the answer
MOST = 65_536  # bytes of the answer that are read
LONGEST_URL = 2_000
PREFIX = "whsec_"


def check_url(url: str) -> None:
    """Raises `Invalid` or `Forbidden` for what no alert may send to. No message repeats a secret."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Invalid("the webhook is no address", where="webhook", remedy="write https://host/path") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or len(url) > LONGEST_URL or not _printable(url):
        raise Invalid("the webhook is no address", where="webhook", remedy="write https://host/path")
    if parts.username is not None or "@" in parts.netloc or any(SECRETS.search(k) for k, _ in parse_qsl(parts.query)):
        raise Invalid(
            "the webhook's address holds what looks like a secret, which would be kept and shown with the alert", where="webhook",
            remedy="leave it out: the receiver knows us by the signature",
        )  # fmt: skip
    if (literal := _literal(parts.hostname)) is not None:
        _check(literal, url, named=True)


def signing_key(secret: str, name: str) -> bytes:
    """The key that a secret stands for: base64 after `whsec_`, else its own bytes. Raises `Invalid`, which names the variable only."""
    if not secret.startswith(PREFIX):
        return secret.encode()
    try:
        key = base64.b64decode(secret[len(PREFIX) :] + "==", validate=False)
    except (binascii.Error, ValueError):
        key = b""
    if not key:
        raise Invalid(f"what {name} holds begins with {PREFIX} and is not base64 after it", remedy=f"set {name} as the receiver shows it")
    return key


def signature(key: bytes, id: str, at: int, body: bytes) -> str:
    digest = hmac.new(key, f"{id}.{at}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


async def send(url: str, key: bytes, id: str, body: bytes) -> Receipt:
    """One attempt. Whatever the peer does, this returns within `SECONDS` and a moment."""
    import aiohttp

    at = int(time.time())
    headers = {
        "content-type": "application/json", "user-agent": "Windlass", "webhook-id": id, "webhook-timestamp": str(at),
        "webhook-signature": signature(key, id, at, body),
    }  # fmt: skip
    try:
        async with asyncio.timeout(SECONDS):
            return await _post(url, headers, body)
    except TimeoutError:
        return Receipt(False, f"no answer within {SECONDS:g} s")
    except WindlassError as e:
        return Receipt(False, e.message)
    except (aiohttp.ClientError, ValueError, OSError) as e:
        return Receipt(False, f"it could not be reached: {shown(str(e)) or type(e).__name__}")


async def _post(url: str, headers: Mapping[str, str], body: bytes) -> Receipt:
    import aiohttp

    check_url(url)
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or {"http": 80, "https": 443}[parts.scheme]
    found = await asyncio.to_thread(addresses_of, host, port, url)
    named = _literal(host) is not None or host == "localhost"
    for address in found:
        _check(address, url, named=named)
    connector = aiohttp.TCPConnector(resolver=_checked(found), use_dns_cache=False, limit=1)
    # an answer that is packed stays packed, so that what is read is what came
    async with aiohttp.ClientSession(
        connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
    ) as session:
        response = await session.post(url, data=body, headers=headers, allow_redirects=False)
        try:
            return _receipt(response, await _some(response))
        finally:
            response.close()  # whatever else it would still say


async def _some(response: aiohttp.ClientResponse) -> bytes:
    """The beginning of an answer. A status is an answer: what breaks off or drips after it does not undo it."""
    import aiohttp

    said = b""
    try:
        async with asyncio.timeout(READ_SECONDS):
            while len(said) < MOST and (piece := await response.content.read(MOST - len(said))):
                said += piece
    except (TimeoutError, aiohttp.ClientError):
        pass
    return said


def _receipt(response: aiohttp.ClientResponse, body: bytes) -> Receipt:
    status = response.status
    if 200 <= status < 300:
        return Receipt(True, f"status {status}", status)
    if 300 <= status < 400:
        to = _without_query(response.headers.get("Location", ""))
        where = f"it points to {to}" if to else "it points nowhere"
        return Receipt(False, f"status {status}: {where}, and no alert follows; set the address it should go to", status)
    if status == 410:
        return Receipt(False, "status 410: the receiver is gone for good; give the alert another webhook", status, final=True)
    told = shown(body.decode("utf-8", "replace")) if not body.lstrip().startswith(b"<") else ""
    wait = retry_after(response.headers.get("Retry-After")) if status in (429, 503) else None
    return Receipt(False, f"status {status}" + (f": {told}" if told else ""), status, wait_s=wait)


def _without_query(location: str) -> str:
    try:
        parts = urlsplit(location)
    except ValueError:
        return "what is no address"
    return shown(urlunsplit(parts._replace(query="", fragment="", netloc=parts.netloc.rpartition("@")[2])))


def _literal(host: str) -> Address | None:
    try:
        return parsed(host)
    except ValueError:
        return None


def _check(address: Address, url: str, *, named: bool) -> None:
    refuse_machines(address, url, who="alert", remedy="send to an ordinary server")
    if is_private(address) and not named:
        raise Forbidden(
            f"{urlsplit(url).hostname} leads to {meant_by(address)}, which is private", where=url,
            remedy="write the private address itself, if it is meant",
        )  # fmt: skip


def _printable(url: str) -> bool:
    return url.isascii() and url.isprintable() and " " not in url


def _checked(addresses: list[Address]) -> Any:
    """A resolver that gives what was looked up and checked, and looks nothing up again."""
    from aiohttp.abc import AbstractResolver, ResolveResult

    class Checked(AbstractResolver):
        async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
            return [
                ResolveResult(
                    hostname=host, host=str(a), port=port, proto=0, flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
                    family=socket.AF_INET if isinstance(a, ipaddress.IPv4Address) else socket.AF_INET6,
                )
                for a in addresses
            ]  # fmt: skip

        async def close(self) -> None:
            pass

    return Checked()


def problem(url: str, secret: str, environ: Mapping[str, str]) -> str:
    """What keeps a webhook from being sent now; empty where nothing does."""
    try:
        signing_key(value_of(secret, environ), secret)
        check_url(url)
    except WindlassError as e:
        return str(e)
    return ""
