"""Rows by key, by split, by page; what a dataset's identity depends on."""

import pytest
from tests.registry.application import Registry

from windlass.core.actor import OWNER
from windlass.core.artifacts import (
    make_version,
)
from windlass.core.dataset import pack_rows
from windlass.core.errors import Invalid
from windlass.core.operations.registry import (
    RowsQuery,
)


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
