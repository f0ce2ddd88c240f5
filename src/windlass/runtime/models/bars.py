"""The built-in models: the baseline, and three that stand beside it as further bars.

- `baseline`: the reader of `baseline`, by words;
- `baseline/silent`: never answers. A suite it does well in rewards saying nothing;
- `baseline/lead`: copies the first sentences of the first passages. A model that is no better takes what retrieval put first;
- `baseline/minilm`: the passage nearest to the question in meaning, by all-MiniLM-L6-v2 on this machine (22 million parameters).

All read prompts in the same way, and say only what stands in their context. Each is frozen under its number.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Protocol

from windlass.core.encoding import MINILM_NAME
from windlass.core.errors import NotFound, Unavailable
from windlass.core.message import Delta, ModelReply, ModelRequest
from windlass.core.models import BARS, BASELINE, bar_id
from windlass.runtime.encoders.encoder import Encoder
from windlass.runtime.models.baseline import VERSION, answer, pieces
from windlass.runtime.models.baseline_prompt import Brief, Passage
from windlass.runtime.models.baseline_reader import Extract, read
from windlass.runtime.models.baseline_text import sentences

if TYPE_CHECKING:
    from windlass.runtime.encoders.encoder import Vectors

Reader = Callable[[Brief], Extract]
NEAR, STRICT = 0.25, 0.4  # cosine a passage must reach: free to guess, or told to say when nothing fits
KEEP = 0.9  # further passages must reach this share of the best one's cosine


class Encoders(Protocol):
    """The part of `runtime.encoders.Encoders` that the reader by meaning needs."""

    def find(self, name: str) -> Encoder: ...


class Bar:
    """`Model` over one reader. Holds no state."""

    provider = BASELINE

    def __init__(self, version: str, reader: Reader, *, slow: bool = False) -> None:
        self.id = f"{BASELINE}/{version}" if version != VERSION else BASELINE
        self._version = version
        self._reader = reader
        self._slow = slow

    async def complete(self, request: ModelRequest, *, timeout_s: float | None = None) -> ModelReply:
        """The answer. Raises `ModelFailed` where the output schema cannot be filled, `Unavailable` without its weights."""
        if self._slow:  # it must not hold the event loop up
            return await asyncio.to_thread(answer, request, self._reader, self._version)
        return answer(request, self._reader, self._version)

    async def stream(self, request: ModelRequest, *, timeout_s: float | None = None) -> AsyncIterator[Delta]:
        """The same answer, word by word, then whole."""
        reply = await self.complete(request)
        for piece in pieces(reply.message.text):
            yield Delta(piece)
        yield Delta(reply=reply)


class Bars:
    """Finds the built-in models.

    Args:
        encoders: where MiniLM is; without it `baseline/minilm` cannot be called.
    """

    def __init__(self, encoders: Encoders | None = None) -> None:
        self._encoders = encoders
        self._readers: dict[str, Reader] = {VERSION: read, "silent@1": silent, "lead@1": lead, "minilm@1": self._by_meaning}

    def find(self, name: str) -> Bar:
        """One by what follows `baseline/`, with its number or without. Raises `NotFound`."""
        version = BARS.get(name, name)
        if version not in self._readers:
            raise NotFound(f"there is no built-in model {BASELINE}/{name}", remedy="there are " + ", ".join(map(bar_id, BARS)))
        return Bar(version, self._readers[version], slow=version == BARS["minilm"])

    def _by_meaning(self, brief: Brief) -> Extract:
        if self._encoders is None:
            raise Unavailable("no encoder was given to this process")
        return by_meaning(brief, self._encoders.find(MINILM_NAME))


def silent(brief: Brief) -> Extract:
    """Says that the passages do not answer it."""
    return Extract(False, (), 0.0, had_context=bool(_passages(brief)))


def lead(brief: Brief) -> Extract:
    """The first sentences of the first passages, as many of each as the prompt lets it use."""
    found, left = [], brief.sentences
    for passage in _passages(brief)[: brief.keys]:
        taken = tuple(_sentences(passage)[:left])
        left -= len(taken)
        found.append((passage, taken))
    return Extract(bool(found), tuple(found), 1.0 if found else 0.0, had_context=bool(found))


def by_meaning(brief: Brief, encoder: Encoder) -> Extract:
    """The passages nearest to the question, and the sentences of the nearest that are."""
    passages = _passages(brief)
    if not passages:
        return Extract(False, (), 0.0, had_context=False)
    question = encoder.encode_query(brief.question)
    likeness = _cosines(encoder, question, [f"{p.key}: {p.text}" if p.key else p.text for p in passages])
    order = sorted(range(len(passages)), key=lambda i: (-likeness[i], i))
    best = likeness[order[0]]
    if best < (STRICT if brief.strict else NEAR):
        return Extract(False, (), round(max(best, 0.0), 3))
    kept = [i for i in order if likeness[i] >= KEEP * best][: brief.keys]
    choice = [(i, s) for i in kept for s in _sentences(passages[i])]
    near = _cosines(encoder, question, [s for _, s in choice])
    first = max(range(len(choice)), key=lambda n: (choice[n][0] == kept[0], near[n], -n))
    rest = sorted((n for n in range(len(choice)) if n != first and near[n] >= KEEP * near[first]), key=lambda n: (-near[n], n))
    taken: dict[int, list[str]] = {}
    for n in [first, *rest][: brief.sentences]:
        taken.setdefault(choice[n][0], []).append(choice[n][1])
    return Extract(True, tuple((passages[i], tuple(taken[i])) for i in kept if i in taken), round(min(best, 1.0), 3))


def _cosines(encoder: Encoder, question: Vectors, texts: list[str]) -> list[float]:
    return [float(x) for x in encoder.encode(texts) @ question]


def _passages(brief: Brief) -> list[Passage]:
    return [p for p in brief.passages if p.text.strip() or p.key]


def _sentences(passage: Passage) -> list[str]:
    return [s for s in sentences(passage.text) if s] or [passage.text.strip() or passage.key]
