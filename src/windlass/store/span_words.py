"""Which words stand where in the texts of a day's file, so that a search reads the few places at which its words are.

What is looked for may stand inside a word, in whatever case, so an index of whole words alone would miss some. `words` says of every word
of a block of rows, in small letters, in which of the block's chunks it stands; a search looks through the words first, which are a
fiftieth of the text. A word is a run of letters, digits and `_`, and of whatever ASCII has not; a run longer than `LONGEST` bytes, as of a
language without blanks or of base64, stands there as its pairs of letters. A chunk that cannot have what is looked for is left out; the
others are read, so an answer never depends on the index.

It is made of rows that are in the file, while nobody waits, and goes with the file: one that is written anew has none yet. What is not
in it is read.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from windlass.core.filter import Node, Or, Term, spellings
from windlass.store.span_filters import cases
from windlass.store.span_places import PIECE, File

if TYPE_CHECKING:
    import duckdb

CHUNK = 2_048  # rows; DuckDB unpacks so many texts at once
CHUNKS = PIECE // CHUNK
LONGEST = 80  # bytes of a word
RUNS = 4  # of what is looked for, the longest
PAIR = "\x01"  # before two letters of a longer run: no word has it
ALL = (1 << CHUNKS) - 1
_LOOKED_AT = "name, input, output, status_message"
_FOLD = bytes(b + 32 if 65 <= b < 91 else b if 48 <= b < 58 or 97 <= b < 123 or b == 95 or b >= 128 else 32 for b in range(256))


class Run(NamedTuple):
    """A run of letters of what is looked for. Where it does not begin or end what is looked for, a word does there."""

    text: str
    begins: bool
    ends: bool

    def fits(self) -> str:
        """The condition on a word, with a mark for the run."""
        if self.begins and self.ends:
            return "word = ?"
        return "starts_with(word, ?)" if self.begins else "suffix(word, ?)" if self.ends else "contains(word, ?)"

    def pairs(self) -> list[str]:
        return pairs_of(self.text)


Sought = list[list[Run]]  # one of these, of which each run must be there


def sought(node: Node) -> Sought | None:
    """What a chunk must have for one of its spans to meet a condition; None where words cannot tell."""
    if isinstance(node, Or):
        parts = [sought(part) for part in node.parts]
        return None if any(p is None for p in parts) else [runs for p in parts if p for runs in p]
    if not isinstance(node, Term) or node.field not in ("", "input", "output", "error"):
        return None
    found = [_runs(text) for text in dict.fromkeys([str(node.value), *spellings(str(node.value))])]
    return None if any(not runs for runs in found) else [runs for runs in found if runs]


def _runs(text: str) -> list[Run] | None:
    """The longest runs of a text; None where a letter's cases differ in small letters, as those of ſ do."""
    if any(len({_fold(case) for case in cases(letter)}) > 1 for letter in text):
        return None
    folded = _fold(text)
    runs, words = list[Run](), folded.split(b" ")
    for number, word in enumerate(words):
        if word:
            runs.append(Run(word.decode(), number > 0, number < len(words) - 1))
    return sorted(runs, key=lambda r: -len(r.text))[:RUNS]


def _fold(text: str) -> bytes:
    """In small letters, with blanks for what is between words."""
    small = text if text.isascii() else text.lower().replace("ς", "σ")
    return small.encode().translate(_FOLD)


def pairs_of(text: str) -> list[str]:
    return [PAIR + text[n : n + 2] for n in range(len(text) - 1)]


def words_of(texts: Sequence[str]) -> set[str]:
    """The words of some texts."""
    found = set(_fold("\0".join(texts)).split())
    long = [word for word in found if len(word) > LONGEST]
    if not long:
        return {word.decode() for word in found}
    found.difference_update(long)
    return {word.decode() for word in found}.union(*(pairs_of(word.decode()) for word in long))


class Indexing:
    """Makes the index of a file, a chunk at a time; what it has read of a block is in memory until the block is whole."""

    def __init__(self, db: duckdb.DuckDBPyConnection, name: str, block: int, until: int) -> None:
        self._db, self.name, self.block, self.until = db, name, block, until
        self._chunks = dict[str, int]()
        self._next = 0

    def step(self) -> bool:
        """Read one chunk. Returns whether that was all, and the index has the block."""
        first = self.block * PIECE + self._next * CHUNK
        rows = self._db.execute(
            f"SELECT {_LOOKED_AT} FROM {self.name}.spans WHERE rowid >= ? AND rowid < ?", [first, min(first + CHUNK, self.until)]
        ).fetchall()
        bit, known = 1 << self._next, self._chunks
        for word in words_of([text for row in rows for text in row if text]):
            known[word] = known.get(word, 0) | bit
        self._next += 1
        if first + CHUNK < self.until:
            return False
        self._put()
        return True

    def _put(self) -> None:
        import numpy as np

        from windlass.store.arrays import objects

        words = sorted(self._chunks)
        batch = {"word": objects(words), "chunks": np.array([self._chunks[w] for w in words], dtype=np.uint16)}
        self._db.execute("BEGIN")
        try:
            for table in ("words", "worded"):
                self._db.execute(f"DELETE FROM {self.name}.{table} WHERE block = ?", [self.block])
            self._db.register("batch", batch)
            self._db.execute(f"INSERT INTO {self.name}.words SELECT {self.block}, word, chunks FROM batch")
            self._db.unregister("batch")
            self._db.execute(f"INSERT INTO {self.name}.worded VALUES (?, ?)", [self.block, self.until])
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise


class Words:
    """The index of all files: what is made of it next."""

    def __init__(self, db: duckdb.DuckDBPyConnection) -> None:
        self._db = db
        self._made: Indexing | None = None
        self._done: dict[str, dict[int, int]] = {}  # by file: up to which row a block is in the index

    def step(self, files: Sequence[tuple[str, int, bool]], seconds: float) -> bool:
        """Go on for about so long with what is not in the index: files by name, with how many rows they have, and whether they are
        complete; of others only whole blocks are taken. Returns whether there was something to do."""
        end, worked = time.monotonic() + seconds, False
        while time.monotonic() < end:
            if self._made is None:
                if (following := self._following(files)) is None:
                    return worked
                self._made = Indexing(self._db, *following)
            worked, made = True, self._made
            if made.step():
                self._made = None
                self._done[made.name][made.block] = made.until
        return worked

    def _following(self, files: Sequence[tuple[str, int, bool]]) -> tuple[str, int, int] | None:
        for name, rows, complete in reversed(files):  # the newest first: it is searched first
            if (done := self._done.get(name)) is None:
                done = self._done[name] = dict(self._db.execute(f"SELECT block, until FROM {name}.worded").fetchall())
            for block in range((rows + PIECE - 1) // PIECE):
                until = min(rows, (block + 1) * PIECE)
                if done.get(block, 0) < until and (complete or until % PIECE == 0):
                    return name, block, until
        return None


class Search:
    """One search: which parts of a piece can have what it looks for. Of a file the index is asked once, when the search comes to it."""

    def __init__(self, db: duckdb.DuckDBPyConnection, wanted: Sought) -> None:
        self._db, self._wanted = db, wanted
        self._found: dict[str, tuple[dict[int, int], dict[int, int]]] = {}  # by file: chunks by block, and up to which row they are known

    def parts(self, piece: File) -> list[File]:
        """A piece without the chunks that cannot have it."""
        if piece.first is None:
            return [piece]
        chunks, known = self._found.get(piece.name) or self._look(piece.name)
        block = piece.first // PIECE
        if block not in known:
            return [piece]
        if (mask := chunks.get(block, 0)) == ALL:
            return [piece]
        parts = list[File]()
        for number in range(CHUNKS):
            first = piece.first + number * CHUNK
            if first + CHUNK <= known[block] and not mask >> number & 1:
                continue
            if parts and parts[-1].end == first:
                parts[-1] = parts[-1]._replace(end=first + CHUNK)
            else:
                parts.append(piece._replace(first=first, end=first + CHUNK))
        return parts

    def _look(self, name: str) -> tuple[dict[int, int], dict[int, int]]:
        known = dict(self._db.execute(f"SELECT block, until FROM {name}.worded").fetchall())
        runs = list(dict.fromkeys(run for alternative in self._wanted for run in alternative))
        found = self._chunks(name, [run.fits() for run in runs], [run.text for run in runs]) if known else {}
        (paired,) = self._db.execute(f"SELECT count(*) FROM {name}.words WHERE word > ? AND word < ?", [PAIR, "\x02"]).fetchone() or (0,)
        if paired:
            pairs = list(dict.fromkeys(pair for run in runs for pair in run.pairs()))
            there = self._chunks(name, ["word = ?"] * len(pairs), pairs)
            for block, masks in there.items():
                of = dict(zip(pairs, masks, strict=True))
                whole = [_all(of[pair] for pair in run.pairs()) for run in runs]
                found[block] = [a | b for a, b in zip(found.get(block, [0] * len(runs)), whole, strict=True)]
        chunks = {}
        for block, masks in found.items():
            of_run = dict(zip(runs, masks, strict=True))
            chunks[block] = _any(_all(of_run[run] for run in alternative) for alternative in self._wanted)
        self._found[name] = chunks, known
        return chunks, known

    def _chunks(self, name: str, conditions: list[str], values: list[str]) -> dict[int, list[int]]:
        """By block, for each condition on a word: in which chunks one that meets it stands."""
        if not conditions:
            return {}
        asked = ", ".join(f"coalesce(bit_or(chunks) FILTER ({condition}), 0)" for condition in conditions)
        rows = self._db.execute(
            f"SELECT block, {asked} FROM {name}.words WHERE {' OR '.join(conditions)} GROUP BY block", [*values, *values]
        ).fetchall()
        return {block: list(masks) for block, *masks in rows}


def _all(masks: Iterable[int]) -> int:
    found = ALL
    for mask in masks:
        found &= mask
    return found


def _any(masks: Iterable[int]) -> int:
    found = 0
    for mask in masks:
        found |= mask
    return found
