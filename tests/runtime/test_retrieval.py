"""Search over FTS5: any text is a query, identifiers are found by their parts, ties are stable, files heal."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.runtime.runners import MemoryBlobs

from windlass.core.artifacts import IndexBody, Version, make_version
from windlass.core.errors import Invalid, Unavailable
from windlass.runtime.retrieval import Chunk, Retrieval, expression, parts

CHUNKS = [
    Chunk("asyncio.timeout#1", "asyncio.timeout", "Limit the time spent waiting on something.", "asyncio.timeout", (0, 42)),
    Chunk("asyncio.timeout_at#1", "asyncio.timeout_at", "Like the other, but an absolute deadline.", "asyncio.timeout_at"),
    Chunk("http.BaseHTTPRequestHandler#1", "http", "Handles requests that arrive.", "http.BaseHTTPRequestHandler", fields={"level": 2}),
    Chunk("str.split#1", "str.split", "Splitting a string into words by a separator.", "str.split", fields={"level": 1}),
    Chunk("twin#b", "twin", "identical twins", None),
    Chunk("twin#a", "twin", "identical twins", None),
    Chunk("café#1", "café", "Crème brûlée 北京 naïve", None),
]


def index(blobs: MemoryBlobs, chunks: list[Chunk], engine: str = "fts5@1") -> Version:
    digest = blobs.put(b"\n".join(msgspec.json.encode(c) for c in chunks))
    body = IndexBody(documents="sha256:" + "0" * 64, chunks=digest, chunker={"name": "x"}, engine=engine)
    return make_version("index", "docs", body)


@pytest.fixture
def blobs() -> MemoryBlobs:
    return MemoryBlobs()


@pytest.fixture
def retrieval(tmp_path: Path, blobs: MemoryBlobs) -> Retrieval:
    return Retrieval(tmp_path, blobs)


def keys(found: list[dict[str, Any]]) -> list[str]:
    return [p["key"] for p in found]


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("how do I limit waiting time?", "asyncio.timeout#1"),
        ("asyncio.timeout_at", "asyncio.timeout_at#1"),
        ("timeoutAt", "asyncio.timeout_at#1"),
        ("request handler", "http.BaseHTTPRequestHandler#1"),
        ("basehttprequesthandler", "http.BaseHTTPRequestHandler#1"),
        ("splits strings", "str.split#1"),
        ("creme brulee", "café#1"),
        ("北京", "café#1"),
    ],
)
def test_what_is_meant_comes_first(retrieval: Retrieval, blobs: MemoryBlobs, query: str, first: str) -> None:
    assert keys(retrieval.search(index(blobs, CHUNKS), query))[0] == first


def test_a_passage_says_where_it_stands(retrieval: Retrieval, blobs: MemoryBlobs) -> None:
    (best, *_) = retrieval.search(index(blobs, CHUNKS), "limit waiting", k=1)
    assert best.pop("score") > 0
    assert best == {
        "key": "asyncio.timeout#1", "document": "asyncio.timeout", "symbol": "asyncio.timeout", "span": [0, 42],
        "text": "Limit the time spent waiting on something.",
    }  # fmt: skip


def test_equal_scores_are_ordered_by_key(retrieval: Retrieval, blobs: MemoryBlobs) -> None:
    assert keys(retrieval.search(index(blobs, CHUNKS), "identical twins")) == ["twin#a", "twin#b"]


def test_filters(retrieval: Retrieval, blobs: MemoryBlobs) -> None:
    version = index(blobs, CHUNKS)
    both = "split a string, handle a request"
    assert keys(retrieval.search(version, both, where={"level": 2})) == ["http.BaseHTTPRequestHandler#1"]
    assert keys(retrieval.search(version, both, where={"symbol": ["str.split", "nothing"]})) == ["str.split#1"]
    assert retrieval.search(version, both, where={"level": 3}) == []
    assert keys(retrieval.search(version, both, where={"level": [1, 2], "document": "http"})) == ["http.BaseHTTPRequestHandler#1"]
    for bad in ({"level": []}, {"level": {"gt": 1}}, {"level": 2**63}, {'a"b': 1}):
        with pytest.raises(Invalid, match="filter"):
            retrieval.search(version, both, where=bad)


def test_a_field_that_holds_a_list_has_each_of_its_values(retrieval: Retrieval, blobs: MemoryBlobs) -> None:
    held = [["de", "at", "de"], ["at", 1, True, None, {"x": 1}, ["fr"]], "de", []]
    version = index(blobs, [Chunk(f"c{i}", "d", "word", fields={"country": value}) for i, value in enumerate(held)])
    for wanted, found in (("de", "02"), ("at", "01"), (["de", "fr"], "02"), (1, "1"), ("fr", ""), ("d", "")):
        assert sorted(keys(retrieval.search(version, "word", where={"country": wanted}))) == [f"c{i}" for i in found]


def test_a_field_misspelt_is_told_from_a_value_that_none_has(retrieval: Retrieval, blobs: MemoryBlobs) -> None:
    with pytest.raises(Invalid, match="no passage has the field 'levle'") as e:
        retrieval.search(index(blobs, CHUNKS), "split a string", where={"levle": 1})
    assert e.value.remedy == "there are key, document, symbol, level"
    nameless = [Chunk("a#1", "a", "split a string")]
    assert retrieval.search(index(blobs, nameless), "split a string", where={"symbol": "str.split"}) == []


VALUES = st.one_of(
    st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=3), st.sampled_from(["1", 1, 1.0])
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(["a", "b", "document"]), VALUES), min_size=1, max_size=6), VALUES, VALUES)
def test_a_filter_lets_through_what_is_equal(
    tmp_path_factory: pytest.TempPathFactory, carried: list[dict[str, Any]], a: Any, b: Any
) -> None:
    blobs = MemoryBlobs()
    chunks = [Chunk(str(i), "d", "word", fields=f) for i, f in enumerate([{"a": 0, "b": 0}, *carried])]

    def like(one: Any, other: Any) -> bool:  # 1, 1.0 and true are one value; "1" is another
        return isinstance(one, str) == isinstance(other, str) and one == other

    wide = [v for v in (a, b) if isinstance(v, int) and not -(2**63) <= v < 2**63]
    search = Retrieval(tmp_path_factory.mktemp("filters"), blobs).search
    if wide:
        with pytest.raises(Invalid, match="filter"):
            search(index(blobs, chunks), "word", where={"a": a, "b": b})
        return
    found = keys(search(index(blobs, chunks), "word", 200, where={"a": [a, b], "b": b, "document": "d"}))
    fits = [
        c.key
        for c in chunks
        if "a" in c.fields and "b" in c.fields and any(like(c.fields["a"], v) for v in (a, b)) and like(c.fields["b"], b)
    ]
    assert found == sorted(fits)


@pytest.mark.parametrize("k", [0, -1, 201])
def test_k_has_bounds(retrieval: Retrieval, blobs: MemoryBlobs, k: int) -> None:
    with pytest.raises(Invalid, match="1 to 200"):
        retrieval.search(index(blobs, CHUNKS), "x", k=k)


def test_another_engine_is_refused(retrieval: Retrieval, blobs: MemoryBlobs) -> None:
    with pytest.raises(Unavailable, match="needs the engine graph@9"):
        retrieval.search(index(blobs, CHUNKS, "graph@9"), "x")


_shared: dict[str, Any] = {}


@settings(max_examples=400, deadline=None)
@given(
    st.one_of(
        st.text(max_size=80),
        st.lists(st.sampled_from(['"', "*", "NEAR(", "AND", "OR", "NOT", "text:", "-", "^", "(", ")", "a", "é", "\0"])).map(" ".join),
    )
)
def test_any_text_is_a_query(tmp_path_factory: pytest.TempPathFactory, query: str) -> None:
    if not _shared:
        blobs = MemoryBlobs()
        _shared["index"], _shared["retrieval"] = index(blobs, CHUNKS), Retrieval(tmp_path_factory.mktemp("any"), blobs)
    _shared["retrieval"].search(_shared["index"], query)


@given(st.sampled_from(CHUNKS))
def test_a_chunk_is_found_by_its_own_words(tmp_path_factory: pytest.TempPathFactory, chunk: Chunk) -> None:
    blobs = MemoryBlobs()
    found = Retrieval(tmp_path_factory.mktemp("own"), blobs).search(index(blobs, CHUNKS), f"{chunk.symbol or ''} {chunk.text}")
    assert found[0]["text"] == chunk.text


def test_stop_words_are_left_out_unless_there_is_nothing_else() -> None:
    assert expression("how do I split it") == '"split"'
    assert expression("what is it") == '"what" OR "is" OR "it"'
    assert expression(" ?!… ") is None


def test_parts_of_identifiers() -> None:
    assert parts("readInto HTTPServer timeout_at plain") == ["read", "into", "http", "server", "timeoutat"]


def test_a_damaged_file_is_made_again(tmp_path: Path, blobs: MemoryBlobs) -> None:
    version = index(blobs, CHUNKS)
    Retrieval(tmp_path, blobs).search(version, "split")
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    for damaged in (b"", b"not a database at all" * 100, whole[: len(whole) // 2]):
        file.write_bytes(damaged)
        again = Retrieval(tmp_path, blobs)
        try:
            found = again.search(version, "split")
        except Unavailable as e:  # seen only in the middle of a search: told, and mended at the next
            assert "made again" in e.message
            found = again.search(version, "split")
        assert keys(found) == ["str.split#1"]


def test_a_file_of_other_chunks_is_made_again(tmp_path: Path, blobs: MemoryBlobs) -> None:
    first, second = index(blobs, CHUNKS[:2]), index(blobs, CHUNKS[3:])
    Retrieval(tmp_path, blobs).search(first, "split")
    (file,) = tmp_path.iterdir()
    file.rename(tmp_path / (second.digest.removeprefix("sha256:") + ".db"))
    assert keys(Retrieval(tmp_path, blobs).search(second, "split")) == ["str.split#1"]


def test_a_file_of_an_older_layout_is_made_again(tmp_path: Path, blobs: MemoryBlobs) -> None:
    version = index(blobs, CHUNKS)
    Retrieval(tmp_path, blobs).search(version, "split")
    (file,) = tmp_path.iterdir()
    with closing(sqlite3.connect(file)) as older, older:
        older.executescript("UPDATE meta SET value = '1' WHERE name = 'layout'; DROP TABLE fields")
    assert keys(Retrieval(tmp_path, blobs).search(version, "split", where={"level": 1})) == ["str.split#1"]


def test_a_broken_chunk_is_named(retrieval: Retrieval, blobs: MemoryBlobs, tmp_path: Path) -> None:
    body = IndexBody(documents="sha256:" + "0" * 64, chunks=blobs.put(b'{"key":"a","document":"d","text":"t"}\n{"key":1}'), chunker={})
    with pytest.raises(Invalid, match="line 2"):
        retrieval.search(make_version("index", "broken", body), "t")
    assert list(tmp_path.iterdir()) == []


def test_many_threads_search_at_once(retrieval: Retrieval, blobs: MemoryBlobs) -> None:
    version = index(blobs, CHUNKS)
    found: list[list[str]] = []
    threads = [threading.Thread(target=lambda: found.append(keys(retrieval.search(version, "identical twins")))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [["twin#a", "twin#b"]] * 16
