"""Retrieval over an index version. Engine `fts5@1`: its chunk blob in a SQLite FTS5 file, ranked by BM25. Engine `hybrid@1`: that, and
exact search among vectors of the index's encoder, joined by rank. Engine `lance@1`: the same with vectors in a graph.

The file `indexes/<digest>.db` is made on first use, whole or not at all, and can be made again from the blob at any time;
a file of another make, or that SQLite finds damaged, is made again. Any text is a query: words become quoted terms, so
no query is a syntax error. Equal scores are ordered by key. Knows chunks, not what they are about.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from windlass.core.artifacts import IndexBody, Version
from windlass.core.digest import TAG, digest_json, short
from windlass.core.encoding import HYBRID, LANCE, WORDS
from windlass.core.errors import Invalid, Unavailable
from windlass.runtime.encoders import Encoder
from windlass.runtime.vectors import Progress, Vectors, VectorStore, quiet
from windlass.runtime.vectors_lance import LanceVectors

MOST = 200  # passages of one search
TERMS = 48  # of one query; the rest of a long text is left out
LAYOUT = "3"  # of the file; another one is made again
CANDIDATES = 50  # of each half, before they are joined
FUSION = 60
WEIGHTS = (1.0, 2.0, 0.3)  # of text, symbol, parts of identifiers
PLAIN = ("key", "document", "symbol")  # fields that `where` may name beside those a chunk carries in `fields`

_STOP = """a about after all also am an and any are as at be been being but by can could did do does doing for from get had has have
    having he her here him his how i if in into is it its itself just let make me more most my no not of on one only or our out over
    own s same should so some such t than that the their them then there these they this those to too under until up use used using
    very was way we were what when where which while who whom why will with would you your"""
How = Literal["words", "meaning", "both"]
Filters = Sequence[tuple[str, Sequence[Any]]]  # fields, and the values each may have

STOP_WORDS = frozenset(_STOP.split())

_WORD = re.compile(r"\w+")
_HUMPS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+|[^\W\d_a-zA-Z]+")


class Chunk(msgspec.Struct, omit_defaults=True):
    """One line of a chunk blob. `span` is where the text stands in its document; `fields` what `where` may filter by."""

    key: str
    document: str
    text: str
    symbol: str | None = None
    span: tuple[int, int] | None = None
    untrusted: str | None = None
    fields: dict[str, Any] = {}


class Blobs(Protocol):
    def get(self, digest: str) -> bytes: ...


class Recorded(Protocol):
    """Gives the encoder of an identity, and no other."""

    def recorded(self, identity: dict[str, Any]) -> Encoder: ...


class Retrieval:
    """Searches indexes; keeps their files open. Safe to call from many threads."""

    def __init__(self, folder: Path, blobs: Blobs, encoders: Recorded | None = None) -> None:
        self._folder = folder
        self._blobs = blobs
        self._encoders = encoders
        self._stores: dict[str, VectorStore] = {HYBRID: Vectors(folder), LANCE: LanceVectors(folder)}
        self._open: dict[str, sqlite3.Connection] = {}
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}

    def search(
        self, index: Version, query: str, k: int = 5, where: dict[str, Any] | None = None, *, how: How | None = None,
        vector: Sequence[float] | None = None, encoder: str | None = None,
    ) -> list[dict[str, Any]]:  # fmt: skip
        """The best `k` passages as `{key, text, score, document, symbol?, span?, …}`, best first; a higher score is better. An index
        with an encoder is searched by words and by meaning, joined by rank, unless `how` says which alone. `vector` is the question
        encoded already, by the `encoder` of that digest.

        Raises `Invalid` for a `k` outside 1 to 200, a filter on a field that chunks do not have, or a vector of another encoder than
        the index's; `Unavailable` where the encoder is not installed.
        """
        body = msgspec.convert(index.body, IndexBody)
        self._check_engine(index, body)
        if not 1 <= k <= MOST:
            raise Invalid(f"k is {k}; it must be 1 to {MOST}", where=f"index/{index.name}")
        _check_encoder(index, body, how, vector, encoder)
        how = how or ("both" if body.encoder else "words")
        filters = _filters(where or {})
        if how == "words":
            with self._connection(index.digest, body.chunks) as connection:
                _check_fields(index, connection, filters)
                found = _by_words(connection, query, filters, k)
                return _passages(connection, found)
        self.prepare(index)
        asked = self._asked(body, query, vector)
        with self._connection(index.digest, body.chunks) as connection:
            _check_fields(index, connection, filters)
            allowed = _allowed(connection, filters) if filters else None
            near = [] if asked is None else self._stores[body.engine].nearest(index, asked, k if how == "meaning" else CANDIDATES, allowed)
            meant = [(place + 1, cosine) for place, cosine in near]
            if how == "both":
                meant = fuse(_by_words(connection, query, filters, CANDIDATES), meant)[:k]
            return _passages(connection, meant)

    def prepare(self, index: Version, progress: Progress = quiet) -> int:
        """Have the vectors of an index, where it has an encoder; how many texts had to be encoded."""
        body = msgspec.convert(index.body, IndexBody)
        self._check_engine(index, body)
        if not body.encoder or self._stores[body.engine].built(index):
            return 0
        chunks = sorted(read_chunks(self._blobs.get(body.chunks)), key=lambda c: c.key)
        return self._stores[body.engine].build(index, self._encoder(body), [encoded_text(c) for c in chunks], progress)

    def ready(self, index: Version) -> bool:
        """Whether a search finds everything made: an index with an encoder needs its vectors."""
        body = msgspec.convert(index.body, IndexBody)
        return not body.encoder or (body.engine in self._stores and self._stores[body.engine].built(index))

    def _check_engine(self, index: Version, body: IndexBody) -> None:
        if body.engine not in (self._stores if body.encoder else (WORDS, *self._stores)):
            remedy = f"this Windlass has {', '.join((WORDS, *self._stores))}"
            raise Unavailable(f"index/{index.name} needs the engine {body.engine}", remedy=remedy)

    def _encoder(self, body: IndexBody) -> Encoder:
        if self._encoders is None:
            raise Unavailable("this process has no encoders")
        return self._encoders.recorded(body.encoder)

    def _asked(self, body: IndexBody, query: str, vector: Sequence[float] | None) -> Any:
        """The question as a vector of length 1; None for one that has nothing to encode."""
        if vector is not None:
            import numpy as np

            given = np.asarray(vector, np.float32)
            length = float(np.linalg.norm(given))
            if not np.isfinite(length) or length == 0:
                raise Invalid("the question's vector has no length", where="vector")
            return given / length
        return self._encoder(body).encode_query(query) if query.strip() else None

    def close(self) -> None:
        with self._lock:
            for connection in self._open.values():
                connection.close()
            self._open.clear()
        for store in self._stores.values():
            store.close()

    @contextlib.contextmanager
    def _connection(self, digest: str, chunks: str) -> Iterator[sqlite3.Connection]:
        with self._lock:
            lock = self._locks.setdefault(digest, threading.Lock())
        with lock:
            if digest not in self._open:
                self._open[digest] = self._ensure(digest, chunks)
            try:
                yield self._open[digest]
            except sqlite3.DatabaseError as e:
                self._open.pop(digest).close()
                self._path(digest).unlink(missing_ok=True)
                raise Unavailable(f"the index file was damaged and is made again at the next search: {e}", where=digest) from e

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest.removeprefix(TAG)}.db"

    def _ensure(self, digest: str, chunks: str) -> sqlite3.Connection:
        path = self._path(digest)
        if path.exists():
            connection = _open(path)
            if _is_of(connection, chunks):
                return connection
            connection.close()
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            build(partial, chunks, read_chunks(self._blobs.get(chunks)))
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        return _open(path)


def encoded_text(chunk: Chunk) -> str:
    """What an encoder is given of a chunk: its text, after the symbol it is about."""
    return f"{chunk.symbol}: {chunk.text}" if chunk.symbol else chunk.text


def fuse(*rankings: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Rankings joined by reciprocal rank (Cormack, Clarke and Büttcher 2009, k = 60), best first; equal ones by id."""
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, (id, _) in enumerate(ranking, 1):
            scores[id] = scores.get(id, 0.0) + 1 / (FUSION + rank)
    return sorted(scores.items(), key=lambda s: (-s[1], s[0]))


def _by_words(connection: sqlite3.Connection, query: str, filters: Filters, k: int) -> list[tuple[int, float]]:
    match = expression(query)
    if match is None:
        return []
    fits = "".join(f" AND EXISTS ({_fitting(options)} AND id = chunks.rowid)" for _, options in filters)
    sql = f"SELECT rowid AS found, bm25(chunks, ?, ?, ?) AS badness FROM chunks WHERE chunks MATCH ?{fits} ORDER BY badness, found LIMIT ?"
    return [(id, -badness) for id, badness in connection.execute(sql, (*WEIGHTS, match, *_values(filters), k))]


def _allowed(connection: sqlite3.Connection, filters: Filters) -> list[int]:
    """Places (from 0) of the chunks that all filters let through."""
    fits = " INTERSECT ".join(_fitting(options) for _, options in filters)
    return [id - 1 for (id,) in connection.execute(f"{fits} ORDER BY id", _values(filters))]


def _fitting(options: Sequence[Any]) -> str:
    return f"SELECT id FROM fields WHERE field = ? AND value IN ({', '.join('?' * len(options))})"


def _values(filters: Filters) -> list[Any]:
    return [value for field, options in filters for value in (field, *options)]


def _check_fields(index: Version, connection: sqlite3.Connection, filters: Filters) -> None:
    """A field misspelt finds nothing, and nothing would say so."""
    for field, _ in filters:
        if field not in PLAIN and connection.execute("SELECT 1 FROM fields WHERE field = ? LIMIT 1", (field,)).fetchone() is None:
            there = dict.fromkeys((*PLAIN, *(name for (name,) in connection.execute("SELECT DISTINCT field FROM fields ORDER BY field"))))
            remedy = f"there are {', '.join(there)}"
            raise Invalid(f"no passage has the field {field!r} to filter by", where=f"index/{index.name}", remedy=remedy)


def _passages(connection: sqlite3.Connection, found: Sequence[tuple[int, float]]) -> list[dict[str, Any]]:
    marks = ", ".join("?" * len(found))
    records = dict(connection.execute(f"SELECT id, record FROM records WHERE id IN ({marks})", [id for id, _ in found]))
    return [_passage(records[id], score) for id, score in found]


def _check_encoder(index: Version, body: IndexBody, how: How | None, vector: Sequence[float] | None, encoder: str | None) -> None:
    """Vectors of two encoders do not compare: of the same length they find nothing, without an error."""
    where = f"index/{index.name}"
    if not body.encoder:
        if how in ("meaning", "both") or vector is not None or encoder is not None:
            remedy = 'give it one: w.index(…, encoder="minilm")'
            raise Invalid("this index has no encoder: it is searched by words", where=where, remedy=remedy)
        return
    own = digest_json(body.encoder)
    if (vector is not None or encoder is not None) and encoder != own:
        said = f"{short(encoder)} encoded" if encoder else "it is not said what encoded"
        raise Invalid(
            f"{said} the question, and {body.encoder['name']} ({short(own)}) the index: their vectors do not compare", where=where,
            remedy="encode the question with the index's encoder, or send its text",
        )  # fmt: skip
    if vector is not None and len(vector) != body.encoder["dimensions"]:
        raise Invalid(f"the question has {len(vector)} dimensions, and the index {body.encoder['dimensions']}", where=where)


def read_chunks(data: bytes) -> list[Chunk]:
    """The chunks of a blob. Raises `Invalid` naming the line that is malformed."""
    decoder = msgspec.json.Decoder(Chunk)
    chunks = []
    for number, line in enumerate(data.splitlines(), 1):
        try:
            chunks.append(decoder.decode(line))
        except msgspec.DecodeError as e:
            raise Invalid(f"line {number} of a chunk blob is malformed: {e}") from e
    return chunks


def build(path: Path, source: str, chunks: Iterable[Chunk]) -> None:
    """Make an index file. `source` is the digest of the chunk blob, which the file remembers."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.executescript(
            """PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
            CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
            CREATE TABLE records (id INTEGER PRIMARY KEY, record TEXT NOT NULL);
            CREATE TABLE fields (field TEXT, value, id INTEGER, PRIMARY KEY (field, value, id)) WITHOUT ROWID;
            CREATE VIRTUAL TABLE chunks USING fts5(text, symbol, parts, content = '', tokenize = 'porter unicode61 remove_diacritics 2');
            BEGIN;"""
        )
        count = 0
        fields: list[tuple[str, Any, int]] = []
        for count, chunk in enumerate(sorted(chunks, key=lambda c: c.key), 1):  # so that equal scores come by key
            connection.execute("INSERT INTO records VALUES (?, ?)", (count, msgspec.json.encode(chunk).decode()))
            symbol = chunk.symbol or ""
            connection.execute(
                "INSERT INTO chunks (rowid, text, symbol, parts) VALUES (?, ?, ?, ?)",
                (count, chunk.text, symbol, " ".join(parts(f"{symbol} {chunk.text}"))),
            )
            fields += [(field, value, count) for field, value in _fields(chunk)]
        fields.sort(key=lambda f: (f[0], isinstance(f[1], str), f[1]))
        connection.executemany("INSERT INTO fields VALUES (?, ?, ?)", fields)
        connection.execute("INSERT INTO chunks (chunks) VALUES ('optimize')")
        meta = {"engine": WORDS, "source": source, "chunks": str(count), "layout": LAYOUT}
        connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
        connection.execute("COMMIT")
    finally:
        connection.close()
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _fields(chunk: Chunk) -> Iterator[tuple[str, Any]]:
    """What one can filter a chunk by: the value of a field, or each that its list holds."""
    for field, held in (chunk.fields | {f: getattr(chunk, f) for f in PLAIN}).items():
        values: Sequence[Any] = held if isinstance(held, list) else [held]
        yield from ((field, value) for value in dict.fromkeys(v for v in values if _comparable(v)))


def _comparable(value: Any) -> bool:
    return isinstance(value, str | float) or (isinstance(value, int) and -(2**63) <= value < 2**63)  # as wide as SQLite's


def parts(text: str) -> list[str]:
    """What identifiers in a text are made of, where that is not the identifier itself: `readInto` gives `read into`, and
    `timeout_at` also `timeoutat`, so that either spelling finds the other."""
    found: list[str] = []
    for word in _WORD.findall(text):
        humps = [h.lower() for h in _HUMPS.findall(word)]
        if len(humps) > 1:
            if "_" not in word:
                found.extend(humps)
            else:
                found.append("".join(humps))
    return found


def expression(query: str) -> str | None:
    """An FTS5 expression that any of the query's words fits; None when the query has no word worth looking for. Stop words
    are left out unless there is nothing else."""
    words = [piece for word in _WORD.findall(query) for piece in _pieces(word)]
    wanted = list(dict.fromkeys(w for w in words if w not in STOP_WORDS)) or list(dict.fromkeys(words))
    return " OR ".join(f'"{w}"' for w in wanted[:TERMS]) or None


def _pieces(word: str) -> Iterator[str]:
    """A word of a query as FTS5 would split it, and what an identifier is made of."""
    yield from (p.lower() for p in word.split("_") if p)
    yield from parts(word)


def _filters(where: dict[str, Any]) -> Filters:
    """`where` as fields and the values each may have: one, or any of a list. A field that holds a list has each value of it."""
    filters = []
    for field, wanted in where.items():
        options: Sequence[Any] = wanted if isinstance(wanted, list) else [wanted]
        if not options or not all(_comparable(o) for o in options):
            raise Invalid(f"the filter on {field!r} needs a value, or a list of values")
        filters.append((field, options))
    return filters


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True, check_same_thread=False)


def _is_of(connection: sqlite3.Connection, source: str) -> bool:
    try:
        meta = dict(connection.execute("SELECT name, value FROM meta").fetchall())
    except sqlite3.DatabaseError:
        return False
    return (meta.get("engine"), meta.get("source"), meta.get("layout")) == (WORDS, source, LAYOUT)


def _passage(record: str, score: float) -> dict[str, Any]:
    chunk = msgspec.json.decode(record)
    fields = chunk.pop("fields", {})
    return {**fields, **chunk, "score": round(score, 6)}
