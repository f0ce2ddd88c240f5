"""The tree that names rows: fixtures that must never change, and what identity depends on."""

import hashlib
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.core.dataset import Tree, listed_root, make_rows, rank, read_changes, write_changes
from windlass.core.digest import TAG
from windlass.core.errors import Invalid

# Written on 2026-11-23 and never again: a root that changes renames every dataset there is.
FIXTURES = {
    0: "sha256:4a9071e32a0ad341978040f7aa8beb2db505e8a9cf620e898e9425e44f4098a0",
    1: "sha256:5bb1a6c6692d563bf18c76e231d751241f25cbcb02445b5f94a141c81f50d7a8",
    1000: "sha256:92c1a6b6800e36982bcfe577454f696945bb232d8d4e8b3f9a5b849a4b20fb4b",
    30000: "sha256:cde7d707f264b2b63c761d7eba2e408da97ad0b0259b915e8c903639c6e6fb95",
}


def rows(count: int) -> list[dict[str, Any]]:
    return [{"key": f"row-{i:05}", "question": f"What is {i}?", "symbols": [str(i)], "split": "test"} for i in range(count)]


@pytest.mark.parametrize("count", FIXTURES)
def test_roots_of_these_rows_are_what_they_were(count: int) -> None:
    assert make_rows(rows(count)).tree.root == FIXTURES[count]


def test_a_leaf_and_a_node_are_hashed_as_the_docstring_says() -> None:
    """An independent reading of the docstring, over as many rows as give two levels."""
    made = make_rows(rows(1000))
    leaves: list[tuple[bytes, int]] = []
    data, count = b"", 0
    for key in sorted(made.lines):
        data += hashlib.sha256(made.lines[key]).digest() + len(key.encode()).to_bytes(4, "big") + key.encode()
        count += 1
        if int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") % 128 == 0:
            leaves.append((hashlib.sha256(b"windlass leaf 1\n" + data).digest(), count))
            data, count = b"", 0
    leaves.append((hashlib.sha256(b"windlass leaf 1\n" + data).digest(), count))
    assert len(leaves) > 3 and max(rank(key) for key in made.lines) == 1
    node = b"windlass node 1\n" + b"".join(digest + n.to_bytes(8, "big") for digest, n in leaves)
    assert made.tree.root == TAG + hashlib.sha256(node).hexdigest()


def test_rows_without_a_key_or_with_the_same_are_named() -> None:
    with pytest.raises(Invalid, match="row 2 has no key"):
        make_rows([{"key": "a"}, {"q": 1}])
    with pytest.raises(Invalid, match="two rows have the key 'a'"):
        make_rows([{"key": "a"}, {"key": "a"}])
    with pytest.raises(Invalid, match="'a' comes after 'b'"):
        Tree.of([("b", bytes(32)), ("a", bytes(32))])


TEXT = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=8)
DIGEST = st.binary(min_size=32, max_size=32).filter(any)
ENTRIES = st.dictionaries(TEXT, DIGEST, max_size=40)


@given(st.dictionaries(TEXT, st.dictionaries(TEXT.filter(lambda k: k != "key"), st.integers(-9, 9) | TEXT | st.none(), max_size=3)),
       st.randoms())  # fmt: skip
def test_identity_depends_on_rows_and_not_on_their_order(given: dict[str, dict[str, Any]], random: Any) -> None:
    made = [{"key": key, **row} for key, row in given.items()]
    shuffled = [dict(random.sample(list(r.items()), len(r))) for r in random.sample(made, len(made))]
    first, other = make_rows(made), make_rows(shuffled)
    assert (first.tree.root, first.lines) == (other.tree.root, other.lines)
    assert [key for key, _ in first.tree] == sorted(given)
    if made:
        assert len({first.tree.root, make_rows([{**made[0], "another field": 1}, *made[1:]]).tree.root, make_rows(made[1:]).tree.root}) == 3


@given(ENTRIES, st.dictionaries(TEXT, st.none() | DIGEST, max_size=20), st.integers(0, 2**32))
def test_history_leaves_no_trace(entries: dict[str, bytes], changes: dict[str, bytes | None], seed: int) -> None:
    """Whatever way leads to a set of rows, its root, leaves and bytes are the same."""
    many = {hashlib.sha256(f"{seed}-{i}".encode()).hexdigest()[:10]: bytes([i % 255 + 1]) * 32 for i in range(500)}
    before = Tree.of(sorted((many | entries).items()))
    after = {k: d for k, d in (many | entries | changes).items() if d is not None}
    direct = Tree.of(sorted(after.items()))
    stepwise = before
    for key in random.Random(seed).sample(sorted(changes), len(changes)):
        stepwise = stepwise.apply({key: changes[key]}).tree
    applied = before.apply(changes)
    for tree in (applied.tree, stepwise, Tree.decode(direct.encode()), Tree([]).apply(after).tree):
        assert (tree.root, tree.count, tree.leaves) == (direct.root, len(after), direct.leaves)
    difference = before.to(direct)
    assert (applied.difference, list(applied.difference.keys)) == (difference, list(difference.keys))
    assert before.apply({k: new for k, (_, new) in difference.keys.items()}).tree.root == direct.root
    assert set(difference.keys) == {k for k in (many | entries).keys() | after.keys() if (many | entries).get(k) != after.get(k)}
    assert read_changes(write_changes(changes)) == changes


def test_rows_are_found_by_key_and_from_a_key_on() -> None:
    entries = sorted((f"k{i:04}", hashlib.sha256(bytes([i % 256])).digest()) for i in range(2000))
    tree = Tree.of(entries)
    assert len(tree.leaves) > 5
    assert [tree.get(k) for k, _ in entries] == [d for _, d in entries] and tree.get("k0") is None and tree.get("z") is None
    for key in (None, "", "k0000", "k0777", "k0777x", "k1999", "z"):
        assert list(tree.after(key)) == [e for e in entries if key is None or e[0] > key]


def test_what_changed_touches_its_own_leaf_only() -> None:
    tree = Tree.of(sorted((f"k{i:05}", bytes([1]) * 32) for i in range(20_000)))
    changed = tree.apply({"k00007": bytes([2]) * 32, "k11111": None, "k11111x": bytes([3]) * 32}).tree
    assert len({leaf.digest for leaf in changed.leaves} - {leaf.digest for leaf in tree.leaves}) <= 3
    assert tree.to(changed).counts == {"added": 1, "removed": 1, "changed": 1}


def test_other_bytes_are_no_tree() -> None:
    for read in (Tree.decode, read_changes):
        with pytest.raises(Invalid, match="these bytes are no"):
            read(b"[]")


def test_rows_named_before_there_were_trees_keep_their_name() -> None:
    made = make_rows([{"key": "b", "n": 2}, {"key": "a"}])
    assert listed_root(made.tree) == "sha256:e1e5433783cb8689b43d62870266af54d8b5a6071632eba8a146383fb72ebb5c"
