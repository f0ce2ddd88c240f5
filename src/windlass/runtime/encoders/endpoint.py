"""An encoder at a provider: OpenAI's `/embeddings`, as OpenAI and many others speak it.

What identifies it is the provider and the model's name: a provider that puts another network behind the name is not noticed,
unless its vectors have another length. Ways out, timeouts and retries are those of models.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from windlass.core.digest import digest_json
from windlass.core.encoding import ENDPOINT, endpoint_identity, prefixes
from windlass.core.errors import Invalid, ModelFailed
from windlass.core.ids import now_ns
from windlass.core.message import Usage
from windlass.discover.providers import Endpoint
from windlass.runtime.encoders.encoder import Encoded, checked, needs, told
from windlass.runtime.models.http import Http

if TYPE_CHECKING:
    from windlass.runtime.encoders.encoder import Vectors

T = TypeVar("T")
Price = Callable[[str, str, Usage, int], float | None]
ENGINE = ENDPOINT
PATH = "/embeddings"
MOST_TEXTS = 64  # of one request
MOST_CHARACTERS = 100_000  # of one request, unless one text alone has more
AT_ONCE = 4  # requests of one call


class Loop:
    """An event loop on a thread of its own, so that whoever asks need not have one. It begins with the first call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What the work gives, or raises. Blocks."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="encoders", daemon=True)
                self._thread.start()
            loop = self._loop
        future = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self, last: Coroutine[Any, Any, None]) -> None:
        """Do the last work, where there was any before, and end."""
        if self._loop is None or self._thread is None:
            last.close()
            return
        self.run(last)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._loop = self._thread = None


class EndpointEncoder:
    """A model at a provider, by the name `provider/model`.

    Args:
        name: as one writes it, `openai/text-embedding-3-small`.
        endpoint: where the provider answers, and with which key; asked for each time, since keys change.
        dimensions: what its vectors must have, as it was recorded; when not given, the provider is asked once.
        document, query: words put before a text of either kind, where the model was trained with such.
        price: what a call cost, by provider, model, usage and time.

    Raises `Invalid` for a provider that has no such endpoint; what `encode` raises when the provider has to be asked.
    """

    def __init__(
        self, name: str, endpoint: Callable[[], Endpoint], http: Http, loop: Loop, *, dimensions: int | None = None, document: str = "",
        query: str = "", price: Price = lambda provider, model, usage, at_ns: None,
    ) -> None:  # fmt: skip
        if (provider := endpoint().provider).dialect != "openai":
            raise Invalid(f"{provider.name} has no embeddings in OpenAI's dialect", remedy="name a model of another provider")
        self._name = name
        self._model = name.partition("/")[2]
        self._where = endpoint
        self._http = http
        self._loop = loop
        self._price = price
        self._prefix = prefixes(document, query)
        self.dimensions = dimensions or len(self._ask([document + "dimensions"])[0])
        self.identity = endpoint_identity(name, self.dimensions, document, query)
        self.digest = digest_json(self.identity)

    @property
    def _endpoint(self) -> Endpoint:
        return self._where()

    def encode(self, texts: Sequence[str]) -> Vectors:
        return self._vectors(texts, self._prefix["document"])

    def encode_query(self, text: str) -> Vectors:
        found: Vectors = self._vectors([text], self._prefix["query"])[0]
        return found

    def _vectors(self, texts: Sequence[str], prefix: str) -> Vectors:
        needs("numpy")
        import numpy as np

        if not (given := checked(texts)):
            return np.zeros((0, self.dimensions), np.float32)
        rows = self._ask([prefix + text for text in given])
        for row in rows:
            if len(row) != self.dimensions:
                raise Invalid(
                    f"{self._name} answered with vectors of {len(row)} dimensions, where {self.dimensions} were recorded",
                    where=self._endpoint.base_url,
                    remedy="build the index again with this encoder, or name the one it was built with",
                )
        found = np.array(rows, np.float32)
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        if not np.isfinite(lengths).all() or not lengths.all():
            raise self._failed("sent a vector without a length")
        normalised: Vectors = found / lengths
        return normalised

    def _ask(self, texts: list[str]) -> list[Sequence[float]]:
        """The texts' vectors. Whoever watches is told what that took, also when it failed: what was answered until then is paid."""
        start, used, error = now_ns(), _Used(), ""
        try:
            return self._loop.run(self._asked(texts, used))
        except BaseException as e:
            error = str(e) or type(e).__name__
            raise
        finally:
            provider = self._endpoint.provider.name
            tokens = used.tokens if used.known and used.answers else None
            cost = self._price(provider, self._model, Usage(tokens, 0), start) if tokens is not None else None
            told(Encoded(provider, self._model, len(texts), start, now_ns(), tokens, cost, error[:500]))

    async def _asked(self, texts: list[str], used: _Used) -> list[Sequence[float]]:
        gate = asyncio.Semaphore(AT_ONCE)

        async def ask(batch: list[str]) -> list[Sequence[float]]:
            async with gate:
                return await self._batch(batch, used)

        tasks = [asyncio.ensure_future(ask(batch)) for batch in batches(texts)]
        try:
            return [row for rows in await asyncio.gather(*tasks) for row in rows]
        finally:
            for task in tasks:
                task.cancel()

    async def _batch(self, texts: list[str], used: _Used) -> list[Sequence[float]]:
        body = msgspec.json.encode({"model": self._model, "input": texts, "encoding_format": "float"})
        data = await self._http.fetch(self._endpoint, PATH, body)
        try:
            reply = _decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as e:
            raise self._failed(f"sent something that is not a list of embeddings: {e}") from None
        if reply.error:
            told = reply.error.get("message") if isinstance(reply.error, dict) else reply.error
            raise self._failed(f"failed: {str(told)[:400]}")
        used.enter(reply.usage)
        places = [place if row.index is None else row.index for place, row in enumerate(reply.data)]
        if sorted(places) != list(range(len(texts))):
            raise self._failed(f"was asked for {len(texts)} embeddings and did not send one for each ({len(reply.data)} in all)")
        ordered = sorted(zip(places, reply.data, strict=True), key=lambda pair: pair[0])
        return [self._numbers(row.embedding) for _, row in ordered]

    def _numbers(self, told: list[float] | str) -> Sequence[float]:
        """A vector, sent as numbers or as base64 of little-endian float32."""
        if isinstance(told, list):
            return told
        needs("numpy")
        import numpy as np

        try:
            numbers: Sequence[float] = np.frombuffer(base64.b64decode(told, validate=True), "<f4")  # type: ignore[assignment]
        except (binascii.Error, ValueError) as e:
            raise self._failed(f"sent an embedding that is no base64 of float32: {e}") from None
        return numbers

    def _failed(self, what: str) -> ModelFailed:
        provider = self._endpoint.provider.name
        return ModelFailed(self._endpoint.redact(f"{provider} {what}"), where=self._endpoint.base_url, provider=provider)


def batches(texts: list[str]) -> list[list[str]]:
    """The texts in requests of a size that providers take."""
    found: list[list[str]] = []
    size = 0
    for text in texts:
        if not found or len(found[-1]) == MOST_TEXTS or size + len(text) > MOST_CHARACTERS:
            found.append([])
            size = 0
        found[-1].append(text)
        size += len(text)
    return found


class _Used:
    """Tokens of the answers of one call. Not known as soon as one answer does not tell."""

    def __init__(self) -> None:
        self.answers = 0
        self.tokens = 0
        self.known = True

    def enter(self, usage: Any) -> None:
        tokens = usage.get("prompt_tokens") if isinstance(usage, dict) else None
        self.answers += 1
        self.known = self.known and isinstance(tokens, int)
        self.tokens += tokens if isinstance(tokens, int) else 0


class _Row(msgspec.Struct):
    embedding: list[float] | str
    index: int | None = None


class _Reply(msgspec.Struct):
    data: list[_Row] = []
    error: Any = None
    usage: Any = None


_decoder = msgspec.json.Decoder(_Reply)
