"""Rows as the watch meets them, the numbers that belong to each row for good, and which of them count.

Rows of one session resemble one another. Counted each, they raise a false alarm in most sessions of three rows or more, so one row of
a session counts. Order is the order in which rows were received; a row's own time is only shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from hashlib import blake2b
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

REMEMBERED = 50_000  # sessions and row ids at least, and twice as many at most; what comes back later counts again
BURST = 20  # counted rows within which the same text of nobody's session is one row
TIES = 14  # scores a row has a tie-breaker for
Encode = Callable[[Sequence[str]], "NDArray[np.float32]"]
_DIGITS = re.compile(r"\d+")


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """One input of production. `id` is stable: a row that is sent again is not a new one. `event_ns` is when it says it happened."""

    id: str
    text: str
    session: str = ""
    event_ns: int | None = None


class EvaluationRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """One row of the evaluation dataset; `score` is what the target got on it, where it was measured."""

    key: str
    text: str
    session: str = ""
    score: float | None = None


def draws(seed: int, ids: Sequence[str]) -> NDArray[np.uint32]:
    """Sixteen uniform numbers a row, from the seed and the row's id alone."""
    import numpy as np  # 20 MB: only in a process that looks

    key = seed.to_bytes(8, "little", signed=True)
    data = b"".join(blake2b(i.encode(errors="surrogatepass"), digest_size=64, key=key).digest() for i in ids)
    return np.frombuffer(data, "<u4").reshape(len(ids), 16)


def ties(drawn: NDArray[np.uint32], score: int) -> NDArray[np.float64]:
    """The tie-breaker in [0, 1) of each row for one of the scores."""
    found: NDArray[np.float64] = drawn[:, score % TIES] / 2.0**32
    return found


def order(drawn: NDArray[np.uint32]) -> NDArray[np.float64]:
    """A number in [0, 1) of each row that decides whether it is kept in a sample."""
    found: NDArray[np.float64] = drawn[:, TIES] / 2.0**32 + drawn[:, TIES + 1] / 2.0**64
    return found


def half(drawn: NDArray[np.uint32]) -> NDArray[np.int64]:
    """0 or 1: the half a row belongs to, by a bit that nothing else depends on."""
    return (drawn[:, TIES + 1] & 1).astype("int64")


def alike(text: str) -> str:
    """What texts share that differ in case, space and numbers only."""
    return _DIGITS.sub("0", " ".join(text.casefold().split()))


def mark(text: str) -> int:
    """Eight bytes that stand for a text."""
    return int.from_bytes(blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest(), "little")


class ThinningState(msgspec.Struct):
    """What came before, oldest first, as marks; and how many rows were left out, by the reason."""

    ids: list[int] = []
    sessions: list[int] = []
    texts: list[int] = []
    dropped: dict[str, int] = {}


class Thinning:
    """Decides which rows count, in the order they come.

    A text that stands in the evaluation dataset is known to be frequent, so it is never taken for a burst.
    """

    def __init__(self, known: frozenset[int] = frozenset(), state: ThinningState | None = None) -> None:
        state = state or ThinningState()
        self._known = known
        self._ids = dict.fromkeys(state.ids)
        self._sessions = dict.fromkeys(state.sessions)
        self._texts = list(state.texts)
        self._dropped = dict(state.dropped)

    @property
    def dropped(self) -> dict[str, int]:
        return dict(self._dropped)

    @property
    def state(self) -> ThinningState:
        return ThinningState(list(self._ids), list(self._sessions), list(self._texts), dict(self._dropped))

    def copy(self) -> Thinning:
        """One that goes on from here by itself."""
        other = Thinning(self._known)
        other._ids, other._sessions = self._ids.copy(), self._sessions.copy()
        other._texts, other._dropped = list(self._texts), dict(self._dropped)
        return other

    def keep(self, rows: Sequence[Row]) -> list[Row]:
        """Those that count."""
        kept = []
        for row in rows:
            if reason := self._left_out(row):
                self._dropped[reason] = self._dropped.get(reason, 0) + 1
            else:
                kept.append(row)
        return kept

    def _left_out(self, row: Row) -> str:
        if not _new(self._ids, mark(row.id)):
            return "sent again"
        if not row.text.strip():
            return "empty"
        if not _is_text(row.text):
            return "not Unicode"
        if row.session:
            return "" if _new(self._sessions, mark(row.session)) else "same session"
        text = mark(alike(row.text))
        if text not in self._known and text in self._texts:
            return "burst of one text"
        self._texts.append(text)
        del self._texts[:-BURST]
        return ""


def _is_text(text: str) -> bool:
    """Whether it can be written as UTF-8: JSON can hold half of a character."""
    try:
        return bool(text.isascii() or text.encode())
    except UnicodeEncodeError:
        return False


def _new(seen: dict[int, None], what: int) -> bool:
    if what in seen:
        return False
    seen[what] = None
    if len(seen) >= 2 * REMEMBERED:  # many at once: one at a time, a dictionary looks for its first key ever longer
        for oldest in list(islice(seen, REMEMBERED)):
            del seen[oldest]
    return True
