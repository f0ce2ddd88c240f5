"""Which encoder a name means, and which one a recorded identity means."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from windlass.core.digest import digest_json
from windlass.core.encoding import HASHED_NAME
from windlass.core.errors import Invalid, NotFound, Unavailable
from windlass.discover.providers import Providers
from windlass.runtime.encoders.encoder import Encoder
from windlass.runtime.encoders.endpoint import ENGINE, EndpointEncoder, Loop, Price
from windlass.runtime.encoders.minilm import IDENTITY, NAME, MiniLM
from windlass.runtime.encoders.words import Words
from windlass.runtime.models.http import Http


class Encoders:
    """Finds encoders, and keeps one of each. One per process.

    Args:
        folder: where the files of encoders on this machine lie.
        providers: the table and the environment its keys come from.
        http: the shared way out.
        threads: processor threads of one encoding on this machine.
        price: what a call of a provider's cost.
    """

    def __init__(
        self, folder: Path, providers: Providers, http: Http, threads: int = 1,
        price: Price = lambda provider, model, usage, at_ns: None,
    ) -> None:  # fmt: skip
        self._price = price
        self._providers = providers
        self._http = http
        self._loop = Loop()
        self._minilm = MiniLM(folder, threads)
        self._words = Words()
        self._found: dict[str, Encoder] = {}
        self._lock = threading.Lock()

    def find(self, name: str, *, dimensions: int | None = None, document: str = "", query: str = "") -> Encoder:
        """The encoder `minilm` or `words`, or a provider's, such as `openai/text-embedding-3-small`; the rest is for a provider's only.

        A provider's is asked once how long its vectors are when `dimensions` is not given. Raises `NotFound` with a near miss,
        `Invalid` for what is no name, `Unavailable` naming the variable that would hold the provider's key; MiniLM says only when
        it is used that it is not installed.
        """
        if name == NAME:
            if dimensions not in (None, self._minilm.dimensions) or document or query:
                raise Invalid(f"minilm has {self._minilm.dimensions} dimensions and no prefixes")
            return self._minilm
        if name == HASHED_NAME:
            if dimensions not in (None, self._words.dimensions) or document or query:
                raise Invalid(f"words has {self._words.dimensions} dimensions and no prefixes")
            return self._words
        provider, slash, model = name.partition("/")
        if not slash and provider not in self._providers.table:
            raise NotFound(f"there is no encoder {name!r}", remedy="write minilm, words or <provider>/<model>")
        if not model:
            raise Invalid(f"{name!r} names no model", remedy=f"write {provider}/<model>")
        more = {"dimensions": dimensions, "document": document, "query": query, "price": self._price}
        return EndpointEncoder(name, lambda: self._providers.endpoint(provider), self._http, self._loop, **more)  # type: ignore[arg-type]

    @property
    def minilm_installed(self) -> bool:
        return self._minilm.installed

    def recorded(self, identity: dict[str, Any]) -> Encoder:
        """The encoder of this identity, and no other. Asks nobody. Raises `Unavailable` when this Windlass has it no more."""
        digest = digest_json(identity)
        with self._lock:
            if digest not in self._found:
                self._found[digest] = self._again(identity, digest)
            return self._found[digest]

    def _again(self, identity: dict[str, Any], digest: str) -> Encoder:
        name, dimensions, prefix = str(identity.get("name")), identity.get("dimensions"), identity.get("prefix")
        found: Encoder | None = None
        if identity.get("name") == IDENTITY["name"]:
            found = self._minilm
        elif identity.get("name") == HASHED_NAME:
            found = self._words
        elif identity.get("engine") == ENGINE and isinstance(dimensions, int) and dimensions > 0 and isinstance(prefix, dict):
            found = self.find(name, dimensions=dimensions, document=prefix.get("document", ""), query=prefix.get("query", ""))
        if found is None or found.digest != digest:
            raise Unavailable(f"this Windlass has no encoder {name} as it was recorded", remedy="build the index again with one it has")
        return found

    def close(self) -> None:
        """Close connections. What was found cannot be used afterwards."""
        self._loop.close(self._http.close())
