"""Rows by key, by split, by page; what a dataset's identity depends on."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.registry.application import MODEL, Registry

from windlass.core.actor import OWNER
from windlass.core.artifacts import (
    make_version,
)
from windlass.core.dataset import pack_rows, read_manifest, read_pack
from windlass.core.errors import Invalid
from windlass.core.operations.registry import (
    DiffQuery,
    RowsQuery,
)
from windlass.core.ref import parse_ref


def test_rows_come_by_key_and_by_split_whatever_their_order(registry: Registry) -> None:
    rows = [{"key": f"k{i}", "split": "dev" if i % 2 else "test", "n": i} for i in range(7)]
    one, other = pack_rows(rows), pack_rows(reversed(rows))
    assert one == other
    for data in one[1:]:
        registry.blobs.put(data)
    d = make_version("dataset", "questions", one.body, neutral={"packs": [registry.blobs.put(one.pack)]})
    registry.push(d)
    page = registry.datasets.list(OWNER, RowsQuery("dataset/questions", split="test", limit=2))
    assert ([r["key"] for r in page.items], page.count, page.next) == (["k0", "k2"], 4, "k2")
    rest = registry.datasets.list(OWNER, RowsQuery("questions", split="test", cursor=page.next))
    assert ([r["key"] for r in rest.items], rest.next) == (["k4", "k6"], None)


def test_rows_without_a_key_or_with_the_same_are_named() -> None:
    with pytest.raises(Invalid, match="row 2 has no key"):
        pack_rows([{"key": "a"}, {"q": 1}])
    with pytest.raises(Invalid, match="two rows have the key 'a'"):
        pack_rows([{"key": "a"}, {"key": "a"}])


TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
ROWS = st.dictionaries(
    TEXT.filter(bool), st.dictionaries(TEXT.filter(lambda k: k != "key"), st.integers(-9, 9) | TEXT | st.none(), max_size=3)
)


@given(ROWS, st.randoms())
def test_identity_depends_on_rows_and_not_on_their_order(rows: dict[str, dict[str, Any]], random: Any) -> None:
    made = [{"key": key, **row} for key, row in rows.items()]
    shuffled = [dict(random.sample(list(r.items()), len(r))) for r in random.sample(made, len(made))]
    packed = pack_rows(made)
    assert packed == pack_rows(shuffled)
    assert sorted(read_pack(packed.pack), key=lambda r: r["key"]) == sorted(made, key=lambda r: r["key"])
    assert [k for k, _ in read_manifest(packed.manifest)] == sorted(rows)
    if made:
        changed = [{**made[0], "another field": 1}, *made[1:]]
        assert pack_rows(changed).body.rows != packed.body.rows != pack_rows(made[1:]).body.rows


def test_rows_of_several_packs_and_a_page_from_the_middle(registry: Registry) -> None:
    rows = [{"key": f"k{i:03}", "n": i} for i in range(300)]
    whole, packs = pack_rows(rows), [pack_rows(rows[i::3]).pack for i in range(3)]
    registry.blobs.put(whole.manifest)
    d = make_version("dataset", "questions", whole.body, neutral={"packs": [registry.blobs.put(p) for p in packs]})
    registry.push(d)
    assert list(registry.datasets.rows(d)) == rows
    seen, cursor = [], None
    while True:
        page = registry.datasets.list(OWNER, RowsQuery("questions", cursor=cursor, limit=77))
        seen += page.items
        if (cursor := page.next) is None:
            break
    assert seen == rows and page.count == 300
    with pytest.raises(Invalid, match="has no rows"):
        registry.datasets.rows(MODEL)


def test_differences_count_rows(registry: Registry) -> None:
    registry.push(registry.dataset({"key": "a"}, {"key": "b"}, {"key": "c"}))
    before = str(registry.versions.resolve(parse_ref("dataset/questions")))
    registry.push(registry.dataset({"key": "a", "n": 1}, {"key": "c"}, {"key": "d"}, {"key": "e"}))
    assert registry.diffs.diff(OWNER, DiffQuery(before, "dataset/questions")).rows == {"added": 2, "removed": 1, "changed": 1}
