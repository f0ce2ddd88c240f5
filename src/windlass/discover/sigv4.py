"""AWS Signature Version 4, by the published algorithm. Knows no service; signs what it is given, as it is sent."""

from __future__ import annotations

import hashlib
import hmac
import urllib.parse
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache

ALGORITHM = "AWS4-HMAC-SHA256"
_UNRESERVED = "-_.~"


def signed(
    method: str, url: str, headers: Mapping[str, str], body: bytes, *, access_key_id: str, secret_access_key: str, region: str,
    service: str, session_token: str = "", at: datetime | None = None,
) -> dict[str, str]:  # fmt: skip
    """The headers to send besides `headers`, all of which are signed, with `Host`: `X-Amz-Date`, `Authorization`, and for temporary
    credentials `X-Amz-Security-Token`. `url` stands as it goes out, its path quoted once."""
    stamp = (at or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    address = urllib.parse.urlsplit(url)
    added = {"X-Amz-Date": stamp} | ({"X-Amz-Security-Token": session_token} if session_token else {})
    all_headers = {k.lower(): " ".join(v.split()) for k, v in {"Host": address.netloc, **headers, **added}.items()}
    names = ";".join(sorted(all_headers))
    asked = "\n".join(
        (
            method,
            urllib.parse.quote(address.path or "/", safe="/" + _UNRESERVED),  # quoted again: only S3 signs a path as it is sent
            _query(address.query),
            *(f"{name}:{all_headers[name]}" for name in sorted(all_headers)),
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        )
    )
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    to_sign = f"{ALGORITHM}\n{stamp}\n{scope}\n{hashlib.sha256(asked.encode()).hexdigest()}"
    signature = hmac.new(_key(secret_access_key, stamp[:8], region, service), to_sign.encode(), hashlib.sha256).hexdigest()
    return {**added, "Authorization": f"{ALGORITHM} Credential={access_key_id}/{scope}, SignedHeaders={names}, Signature={signature}"}


def _query(query: str) -> str:
    """Parameters by name and value, quoted the strict way."""
    pairs = [part.partition("=")[::2] for part in query.split("&") if part]
    strict = [tuple(urllib.parse.quote(urllib.parse.unquote(text), safe=_UNRESERVED) for text in pair) for pair in pairs]
    return "&".join(f"{name}={value}" for name, value in sorted(strict))


@lru_cache(maxsize=64)
def _key(secret: str, day: str, region: str, service: str) -> bytes:
    """What a day's requests are signed with."""
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key
