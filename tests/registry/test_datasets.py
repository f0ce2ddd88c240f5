"""Rows by key, by split, by page; and rows that came before there were trees."""

import itertools
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.registry.application import MODEL, Registry

from windlass.core.actor import OWNER
from windlass.core.artifacts import DatasetBody, make_version
from windlass.core.digest import canonical, digest_bytes
from windlass.core.errors import Invalid, Unavailable
from windlass.core.operations.datasets import RowsDiffQuery, RowsQuery
from windlass.core.operations.registry import DiffQuery, VerifyQuery
from windlass.core.ref import parse_ref
from windlass.registry.registration import register
from windlass.store.meta import read, write
from windlass.store.tables import layouts


def test_rows_come_by_key_by_split_and_by_what_stands_in_them(registry: Registry) -> None:
    rows = [{"key": f"k{i}", "split": "dev" if i % 2 else "test", "n": i, "city": "Köln" if i > 4 else "Bonn"} for i in range(7)]
    registry.push(registry.dataset(*reversed(rows)))
    page = registry.datasets.list(OWNER, RowsQuery("dataset/questions", split="test", limit=2))
    assert ([r["key"] for r in page.items], page.count, page.next, page.splits) == (["k0", "k2"], 4, "k2", {"dev": 3, "test": 4})
    rest = registry.datasets.list(OWNER, RowsQuery("questions", split="test", cursor=page.next))
    assert ([r["key"] for r in rest.items], rest.next) == (["k4", "k6"], None)
    assert [r["key"] for r in registry.datasets.list(OWNER, RowsQuery("questions", search="KÖLN")).items] == ["k5", "k6"]
    assert registry.datasets.list(OWNER, RowsQuery("questions", split="none")).count == 0


def test_a_page_from_the_middle(registry: Registry) -> None:
    rows = [{"key": f"k{i:03}", "n": i} for i in range(300)]
    d = registry.dataset(*rows)
    registry.push(d)
    assert list(registry.datasets.rows(d)) == rows
    assert registry.datasets.some(d, ["k007", "no", "k299"]) == {"k007": rows[7], "k299": rows[299]}
    seen, cursor = [], None
    while True:
        page = registry.datasets.list(OWNER, RowsQuery("questions", cursor=cursor, limit=77))
        seen += page.items
        if (cursor := page.next) is None:
            break
    assert seen == rows and page.count == 300
    with pytest.raises(Invalid, match="has no rows"):
        registry.datasets.rows(MODEL)


def test_differences_row_by_row(registry: Registry) -> None:
    registry.push(registry.dataset({"key": "a"}, {"key": "b"}, {"key": "c"}))
    before = str(registry.versions.resolve(parse_ref("dataset/questions")))
    registry.push(registry.dataset({"key": "a", "n": None}, {"key": "c"}, {"key": "d"}, {"key": "e"}))
    assert registry.diffs.diff(OWNER, DiffQuery(before, "dataset/questions")).rows == {"added": 2, "removed": 1, "changed": 1}
    found = registry.datasets.diff(OWNER, RowsDiffQuery(before, "questions", limit=3))
    assert [(c.key, c.before, c.after, c.fields) for c in found.items] == [
        ("a", {"key": "a"}, {"key": "a", "n": None}, ("n",)), ("b", {"key": "b"}, None, ()), ("d", None, {"key": "d"}, ()),
    ]  # fmt: skip
    assert (found.rows.added, found.rows.removed, found.rows.changed, found.next) == (2, 1, 1, "d")
    assert [c.key for c in registry.datasets.diff(OWNER, RowsDiffQuery(before, "questions", cursor="d")).items] == ["e"]
    assert [c.key for c in registry.datasets.diff(OWNER, RowsDiffQuery(before, "questions", only="removed")).items] == ["b"]


def test_rows_that_came_before_trees_are_read_for_ever(registry: Registry) -> None:
    """A dataset as the versions before this wrote it: a manifest of keys and digests, and packs of lines."""
    rows = [{"key": f"k{i:03}", "n": i} for i in range(300)]
    lines = [canonical(row) for row in rows]
    manifest = registry.blobs.put(canonical([[row["key"], digest_bytes(line)] for row, line in zip(rows, lines, strict=True)]))
    packs = [registry.blobs.put(b"".join(line + b"\n" for line in lines[i::3])) for i in range(3)]
    old = make_version("dataset", "questions", DatasetBody(manifest, 300), neutral={"packs": packs})
    assert "form" not in old.body  # its digest is what it was
    with write(registry.engine) as c:
        register(c, OWNER, old)
    assert list(registry.datasets.rows(old)) == rows
    assert registry.datasets.list(OWNER, RowsQuery("questions", search='"n":7}')).count == 1
    newer = registry.dataset(*rows[1:], {"key": "new"})
    registry.push(newer)
    assert registry.datasets.difference(old, newer).counts == {"added": 1, "removed": 1, "changed": 0}
    assert registry.verify.verify(OWNER, VerifyQuery()).problems == ()
    with pytest.raises(Invalid, match="named as they no longer are"):
        registry.push(make_version("dataset", "other", DatasetBody(manifest, 300), neutral={"packs": packs}))


def packs_of(registry: Registry) -> list[Path]:
    with read(registry.engine) as c:
        found = [pack for row in c.execute(select(layouts)) for pack in __import__("json").loads(row.packs)]
    return [registry.blobs.local(digest) for digest, _ in found]


def test_a_damaged_or_missing_pack_is_said_and_harms_nothing_else(registry: Registry) -> None:
    d = registry.dataset(*({"key": f"k{i:03}", "n": i} for i in range(300)))
    registry.push(d, registry.dataset({"key": "z"}, name="other"))
    damaged, _ = packs_of(registry)
    data = bytearray(damaged.read_bytes())
    data[len(data) // 3] ^= 0xFF
    damaged.write_bytes(data)
    registry.datasets = type(registry.datasets)(registry.engine, registry.versions, registry.rows, registry.blobs)
    with pytest.raises(Unavailable, match=r"a pack cannot be read|is in none of its packs"):
        list(registry.datasets.rows(d))
    damaged.unlink()
    with pytest.raises(Exception, match="is not here"):
        list(registry.datasets.rows(d))
    said = [p.problem for p in registry.verify.verify(OWNER, VerifyQuery()).problems]
    assert any("is not here" in s for s in said)
    assert registry.datasets.list(OWNER, RowsQuery("other")).items == ({"key": "z"},)
    assert list(itertools.islice(registry.datasets.tree(d), 1))
