"""Another platform's server, read by HTTP: retries, and errors that say what to mend. Nothing is ever written there.

Keys come from variables of the environment, those that the product's own client reads, and go to the address that was named alone: no
redirection is followed.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx2
import msgspec

from windlass.core.errors import Invalid, NotFound, Unauthenticated, Unavailable, WindlassError

TRIES = 6
FAILED_TRIES = 2  # where it says that it failed on what was asked
LONGEST_WAIT = 60.0  # seconds, also where it asks for more
WORTH_AGAIN = (408, 425, 429, 500, 502, 503, 504)
SECONDS = 120.0  # for one answer

Query = Sequence[tuple[str, str]]


class Foreign:
    """Args:
    product: what it is called, for errors.
    address: `http://host:port`, with a path where it is served below one.
    headers: with the key.
    variables: that the key is read from, for errors.
    sleep: waits so many seconds.
    """

    def __init__(
        self, product: str, address: str, headers: Mapping[str, str], variables: str, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Invalid(f"{address[:100]!r} is no address", where="address", remedy="write it as http://host:port")
        if parts.username or parts.password:
            raise Invalid("an address must hold no key", where="address", remedy=f"put it in {variables}, and leave it out of the address")
        self.product = product
        self.address = address.rstrip("/")
        self._variables = variables
        self._sleep = sleep
        self._client = httpx2.Client(headers={"accept": "application/json", **headers}, timeout=httpx2.Timeout(SECONDS, connect=10.0))

    def close(self) -> None:
        self._client.close()

    def get(self, path: str, query: Query = ()) -> Any:
        """What it answers, as JSON. Raises `NotFound`, `Unauthenticated`, `Unavailable`, `Invalid` for what it refuses."""
        return self._json(path, self._answer("GET", path, query, None))

    def text(self, path: str) -> str:
        """What it answers, as text. Raises as `get` does."""
        return self._answer("GET", path, (), None).text

    def post(self, path: str, asked: Any) -> Any:
        """What it answers to a question that has a body. Raises as `get` does."""
        return self._json(path, self._answer("POST", path, (), msgspec.json.encode(asked)))

    def _json(self, path: str, answer: httpx2.Response) -> Any:
        try:
            return msgspec.json.decode(answer.content)
        except msgspec.DecodeError:
            remedy = f"name the address that {self.product} answers at, with its port"
            raise NotFound(f"this is no {self.product}: what it answers is no JSON", where=self.address + path, remedy=remedy) from None

    def _answer(self, verb: str, path: str, query: Query, body: bytes | None) -> httpx2.Response:
        url = self.address + path
        headers = {"content-type": "application/json"} if body is not None else {}
        for tried in range(1, TRIES + 1):
            try:
                answer = self._client.request(verb, url, params=list(query), content=body, headers=headers)
            except httpx2.HTTPError as e:
                if tried == TRIES or (isinstance(e, httpx2.ConnectError) and tried > 1):
                    remedy = "is it running, and is this its address? What was brought stays; the same command goes on"
                    raise Unavailable(f"{self.product} does not answer: {e}", where=self.address, remedy=remedy) from e
                self._sleep(_wait(tried, None))
                continue
            if answer.status_code < 300:
                return answer
            last = FAILED_TRIES if answer.status_code == 500 else TRIES
            if answer.status_code not in WORTH_AGAIN or tried == last:
                raise self._refused(answer, url, tried)
            self._sleep(_wait(tried, answer.headers.get("retry-after")))
        raise AssertionError("the last try returns or raises")

    def _refused(self, answer: httpx2.Response, url: str, tried: int) -> WindlassError:
        code = answer.status_code
        said = " ".join(answer.text.split())[:200] if "html" not in answer.headers.get("content-type", "") else ""
        if code in (401, 403):
            return Unauthenticated(
                f"{self.product} refused this key ({code})", where=self.address, remedy=f"put one that may read in {self._variables}"
            )
        if code == 404:
            remedy = f"is this the address of {self.product}?"
            return NotFound(f"{self.product} has nothing there{f': {said}' if said else ''}", where=url, remedy=remedy)
        if 300 <= code < 400:
            to = answer.headers.get("location", "elsewhere")[:200]
            return Invalid(f"it is not here: it sends on to {to}", where=url, remedy="name that address, if it is to be given the key")
        if code in WORTH_AGAIN:
            remedy = "what was brought stays; the same command goes on"
            return Unavailable(f"{self.product} answered {code} {tried} times: {said}", where=url, remedy=remedy)
        return Invalid(f"{self.product} answered {code}: {said}", where=url, remedy="docs/moving-in.md names versions that were tried")


def _wait(tried: int, told: str | None) -> float:
    """Seconds until the next try: as it was told, else longer each time."""
    try:
        asked = float(told) if told is not None else 0.0
    except ValueError:  # a date
        asked = 0.0
    return min(LONGEST_WAIT, max(asked, 0.5 * float(2 ** (tried - 1)) * random.uniform(0.8, 1.2)))
