"""Edits and merges: what is left out and named, what is merged, and that writers at once lose nothing."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.racing import racer
from tests.registry.application import Registry
from tests.stores import on_both

from windlass.core.actor import OWNER, Actor
from windlass.core.dataset import make_rows
from windlass.core.errors import Conflict, Forbidden, Invalid, NotFound
from windlass.core.operations.datasets import About, Edited, EditRequest, Merged, MergeRequest, RowsDiffQuery, RowsQuery
from windlass.core.operations.registry import ArtifactQuery, LineageQuery, VerifyQuery
from windlass.core.ref import parse_ref
from windlass.registry import origins
from windlass.registry.merge import join, merge
from windlass.store.meta import read


def edit(registry: Registry, *rows: Any, remove: tuple[str, ...] = (), ref: str = "questions", **more: Any) -> Edited:
    return registry.edits.edit(OWNER, EditRequest(ref, rows, remove, **more))


def rows_of(registry: Registry, ref: str = "questions") -> dict[str, Any]:
    return {r["key"]: r for r in registry.datasets.list(OWNER, RowsQuery(ref, limit=200)).items}


def test_rows_are_set_and_removed_and_the_version_says_what_it_came_from(registry: Registry) -> None:
    first = edit(registry, {"key": "a", "n": 1}, {"key": "b", "n": 2})
    assert (first.before, first.count, first.rows.added) == (None, 2, 2)
    second = edit(registry, {"key": "b", "n": 3}, {"key": "c", "n": 4}, remove=("a", "not there"), message="better")
    assert (second.rows.added, second.rows.removed, second.rows.changed) == (1, 1, 1)
    assert rows_of(registry) == {"b": {"key": "b", "n": 3}, "c": {"key": "c", "n": 4}}
    (edge,) = registry.lineage.walk(OWNER, LineageQuery(second.ref, "up")).edges
    assert (edge.target, edge.relation) == (first.ref, "derived-from")
    assert registry.versions.get(*_key(registry, "questions")).neutral["message"] == "better"
    again = edit(registry, {"key": "b", "n": 3})
    assert again.ref == second.ref and again.rows.changed == 0
    back = edit(registry, {"key": "a", "n": 1}, {"key": "b", "n": 2}, remove=("c",))
    assert back.ref == first.ref
    assert registry.verify.verify(OWNER, VerifyQuery()).problems == ()


def test_a_dataset_that_says_what_it_is_about_needs_no_rows_yet(registry: Registry) -> None:
    with pytest.raises(Invalid):
        edit(registry)
    made = edit(registry, about=About("Of countries", {"by": "ann"}))
    assert (made.before, made.count) == (None, 0)
    filled = edit(registry, {"key": "a", "n": 1})
    assert (filled.before, filled.count) == (made.ref.partition("@")[2], 1)
    assert rows_of(registry) == {"a": {"key": "a", "n": 1}}
    told = registry.versions.get(*_key(registry, "questions")).neutral
    assert (told["description"], told["metadata"]) == ("Of countries", {"by": "ann"})
    with pytest.raises(Conflict):
        edit(registry, {"key": "b"}, about=About("Another"))
    with pytest.raises(Invalid):
        edit(registry, "no object", ref="others", about=About())
    assert rows_of(registry).keys() == {"a"}
    assert registry.verify.verify(OWNER, VerifyQuery()).problems == ()


def test_a_row_by_its_key(registry: Registry) -> None:
    edit(registry, *({"key": f"k{i}", "n": i} for i in range(300)))
    found = registry.datasets.list(OWNER, RowsQuery("questions", key="k7"))
    assert (found.items, found.count, found.next) == (({"key": "k7", "n": 7},), 1, None)
    assert registry.datasets.list(OWNER, RowsQuery("questions", key="k")).items == ()


def _key(registry: Registry, name: str) -> tuple[str, str, str, str]:
    ref = registry.versions.resolve(parse_ref(f"dataset/{name}"))
    return ref.project, ref.kind, ref.name, ref.digest or ""


def test_what_is_wrong_with_rows_is_said_and_the_rest_is_kept(registry: Registry) -> None:
    edit(registry, *({"key": f"k{i}", "n": i, "q": "text", "symbols": ["a"]} for i in range(20)))
    done = edit(
        registry, "no object", 7, None, {"q": "no key"}, {"key": ""}, {"key": "good", "n": 1, "extra": True}, {"key": "good", "n": 2},
        {"key": "drifts", "n": "seven"}, {"key": "null is fine", "n": None}, {"key": "huge", "n": 2**60}, {"key": "nan", "n": float("nan")},
    )  # fmt: skip
    assert done.problems == (
        "row 1 is text, not an object", "row 2 is a number, not an object", "row 3 is null, not an object", 'row 4 has no text field "key"',
        'row 5 has no text field "key"', "row 7 has the key 'good' again; the first counts",
        "row 'drifts': n is text, and in this dataset it is a number",
        *done.problems[7:],
    )  # fmt: skip
    said = [p.split(":")[:2] for p in done.problems[7:]]
    assert said == [["row 'huge'", " not a canonical JSON value"], ["row 'nan'", " not a canonical JSON value"]]
    assert rows_of(registry).keys() - {f"k{i}" for i in range(20)} == {"good", "null is fine"}
    assert edit(registry, {"key": "drifts", "n": "seven"}, drift=True).rows.added == 1
    with pytest.raises(Invalid, match="row 1 is a number") as e:
        edit(registry, 7)
    assert e.value.details["problems"] == ["row 1 is a number, not an object"]
    with pytest.raises(Invalid, match="nothing to set or remove"):
        edit(registry)
    with pytest.raises(Invalid, match="a new dataset needs rows"):
        edit(registry, remove=("a",), ref="unknown")


def test_a_name_alone_is_main_whatever_branch_changed_last(registry: Registry) -> None:
    edit(registry, {"key": "a", "n": 1})
    edit(registry, {"key": "b", "n": 2}, ref="questions:more")
    assert list(rows_of(registry)) == ["a"]
    found = registry.datasets.diff(OWNER, RowsDiffQuery("questions", "questions:more"))
    assert [change.key for change in found.items] == ["b"]
    assert registry.versions.list(OWNER, ArtifactQuery()).items[0].rows == 1
    edit(registry, {"key": "z"}, ref="branched:more")  # a dataset that has no main yet
    assert list(rows_of(registry, "branched")) == ["z"]


def test_a_key_to_remove_that_no_row_has_is_told(registry: Registry) -> None:
    edit(registry, {"key": "a"}, {"key": "b"})
    done = edit(registry, remove=("a", "q-0017"))
    assert done.rows.removed == 1 and done.problems == ("there is no row 'q-0017' to remove",)


def test_types_are_learnt_without_reading_a_whole_dataset(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(registry, *({"key": f"k{i}", "n": i} for i in range(20)))
    cold = Registry(registry.home.path)
    monkeypatch.setattr(cold.rows, "all", lambda *_: pytest.fail("every row was read"))
    assert "n is text, and in this dataset it is a number" in edit(cold, {"key": "a", "n": "x"}, {"key": "b", "n": 1}).problems[0]


def test_where_an_edit_may_go(registry: Registry) -> None:
    first = edit(registry, {"key": "a"})
    with pytest.raises(Invalid, match="a version never changes"):
        edit(registry, {"key": "b"}, ref=first.ref)
    with pytest.raises(Forbidden, match="is an environment"):
        edit(registry, {"key": "b"}, ref="questions:production")
    with pytest.raises(Invalid, match="a prompt has no rows"):
        edit(registry, {"key": "b"}, ref="prompt/x")
    with pytest.raises(Forbidden):
        registry.edits.edit(Actor("x", "viewer"), EditRequest("questions", ({"key": "b"},)))
    branched = edit(registry, {"key": "b"}, ref="questions:more")
    assert set(rows_of(registry, "questions:more")) == {"a", "b"} and set(rows_of(registry, "questions:main")) == {"a"}
    assert branched.before == first.ref.partition("@")[2]


def test_an_edit_of_an_older_version_is_done_on_the_newest_unless_they_touch_one_row(registry: Registry) -> None:
    first = edit(registry, {"key": "a", "n": 1}, {"key": "b", "n": 1})
    edit(registry, {"key": "a", "n": 2})
    edit(registry, {"key": "b", "n": 2}, expected=first.ref)
    assert {k: r["n"] for k, r in rows_of(registry).items()} == {"a": 2, "b": 2}
    with pytest.raises(Conflict, match="of these rows, 1 changed meanwhile by somebody else: 'a'") as e:
        edit(registry, {"key": "a", "n": 3}, {"key": "c", "n": 1}, expected=first.ref)
    assert e.value.details["keys"] == ["a"]
    with pytest.raises(Conflict):
        edit(registry, remove=("b",), expected=first.ref)
    assert {k: r["n"] for k, r in rows_of(registry).items()} == {"a": 2, "b": 2}


def _write(path: Path, database: str, writer: int) -> None:
    registry = Registry(path, database)
    for i in range(25):
        edit(registry, {"key": f"w{writer}-{i:02}", "n": i}, {"key": f"shared-{i % 5}", f"by-{writer}": i}, drift=True)


@on_both
def test_writers_at_once_lose_nothing(registry: Registry) -> None:
    """Four processes, 100 edits of one branch: every row is there, every version verifies, every move follows the one before."""
    edit(registry, {"key": "first"})
    writers = [racer(_write, registry.home.path, registry.database, w) for w in range(4)]
    for w in writers:
        w.start()
    for w in writers:
        w.join(120)
    assert [w.exitcode for w in writers] == [0, 0, 0, 0]
    found = rows_of(registry)
    assert {f"w{w}-{i:02}" for w in range(4) for i in range(25)} | {f"shared-{i}" for i in range(5)} | {"first"} == set(found)
    assert registry.verify.verify(OWNER, VerifyQuery()).problems == ()


def merged(registry: Registry, **more: Any) -> Merged:
    return registry.edits.merge(OWNER, MergeRequest("questions:main", "questions:other", **more))


def test_two_branches_are_merged_row_by_row_and_field_by_field(registry: Registry) -> None:
    base = edit(registry, *({"key": k, "q": "?", "label": "no"} for k in "abcde"))
    edit(
        registry,
        {"key": "a", "q": "changed there", "label": "no"},
        {"key": "new", "q": "!", "label": "no"},
        remove=("e",),
        ref="questions:other",
    )
    edit(registry, {"key": "a", "q": "?", "label": "yes"}, {"key": "b", "q": "changed here", "label": "no"}, remove=("d",))
    tried = merged(registry, dry=True)
    assert (tried.base, tried.joined, tried.conflicting) == (base.ref, 1, 0) and set(rows_of(registry)) == {"a", "b", "c", "e"}
    done = merged(registry)
    assert (done.rows.added, done.rows.removed, done.rows.changed) == (1, 1, 1)
    assert rows_of(registry) == {
        "a": {"key": "a", "q": "changed there", "label": "yes"}, "b": {"key": "b", "q": "changed here", "label": "no"},
        "c": {"key": "c", "q": "?", "label": "no"}, "new": {"key": "new", "q": "!", "label": "no"},
    }  # fmt: skip
    up = registry.lineage.walk(OWNER, LineageQuery(done.ref, "up", depth=1))
    assert len(up.edges) == 2 and {e.relation for e in up.edges} == {"derived-from"}
    again = merged(registry)
    assert again.ref == done.ref and again.rows.changed == 0


def test_conflicts_are_shown_and_decided_one_by_one(registry: Registry) -> None:
    edit(registry, {"key": "a", "q": "?"}, {"key": "b", "q": "?"}, {"key": "c", "q": "?"})
    edit(registry, {"key": "a", "q": "theirs"}, {"key": "c", "q": "theirs"}, remove=("b",), ref="questions:other")
    edit(registry, {"key": "a", "q": "ours"}, {"key": "b", "q": "ours"}, {"key": "c", "q": "theirs"})
    before = rows_of(registry)
    found = merged(registry)
    assert [(c.key, c.fields, c.base, c.ours, c.theirs) for c in found.conflicts] == [
        ("a", ("q",), {"key": "a", "q": "?"}, {"key": "a", "q": "ours"}, {"key": "a", "q": "theirs"}),
        ("b", ("key",), {"key": "b", "q": "?"}, {"key": "b", "q": "ours"}, None),
    ]
    assert rows_of(registry) == before
    assert merged(registry, choose={"a": "theirs"}).conflicting == 1
    done = merged(registry, choose={"a": "theirs"}, prefer="ours")
    assert done.conflicting == 0 and {k: r["q"] for k, r in rows_of(registry).items()} == {"a": "theirs", "b": "ours", "c": "theirs"}
    merged(registry, prefer="theirs")
    assert set(rows_of(registry)) == {"a", "b", "c"}  # what was decided stays decided: the merge is an ancestor now


def test_versions_without_a_common_one_need_a_base(registry: Registry) -> None:
    edit(registry, {"key": "a"})
    edit(registry, {"key": "b"}, ref="strangers")
    with pytest.raises(Invalid, match="no version in common"):
        registry.edits.merge(OWNER, MergeRequest("questions", "strangers"))
    with pytest.raises(NotFound):
        registry.edits.merge(OWNER, MergeRequest("questions", "nobody"))
    base = edit(registry, {"key": "x"}, ref="base")
    done = registry.edits.merge(OWNER, MergeRequest("questions", "strangers", base=base.ref))
    assert set(rows_of(registry)) == {"a", "b"} and done.rows.added == 1


def test_rows_from_traces_are_found_from_the_trace(registry: Registry) -> None:
    edit(registry, {"key": "a", "origin": {"trace": "4bf92f"}}, {"key": "b", "origin": "no object"}, {"key": "c"})
    edit(registry, {"key": "a", "origin": {"trace": "4bf92f"}, "n": 1})
    with read(registry.engine) as c:
        assert origins.rows_of(c, "default", "4bf92f") == [("questions", "a")]
        assert origins.rows_of(c, "default", "none") == origins.rows_of(c, "other", "4bf92f") == []


VALUE = st.sampled_from([None, True, 1, 0, "x", [1]])
ROW = st.dictionaries(st.sampled_from("pqr"), VALUE, max_size=3)
STATE = st.dictionaries(st.sampled_from("abcdef"), ROW, max_size=6)


def side(state: dict[str, dict[str, Any]]) -> Any:
    rows = {k: {**row, "key": k} for k, row in state.items()}
    return make_rows(rows.values()).tree, lambda keys: {k: rows[k] for k in keys if k in rows}


def applied(state: dict[str, Any], outcome: Any) -> dict[str, bytes]:
    _, some = side(state)
    lines = dict(make_rows(some(list(state)).values()).lines)
    return {k: v for k, v in (lines | outcome.lines).items() if k not in outcome.removed}


@given(STATE, STATE, STATE)
def test_a_merge_takes_both_sides_or_names_the_clash(base: Any, ours: Any, theirs: Any) -> None:
    """Laws of a three-way merge: nothing new from an unchanged side; the same from either side; clashes are the same rows."""
    b, o, t = side(base), side(ours), side(theirs)
    whole = lambda s: make_rows({**row, "key": k} for k, row in s.items()).lines  # noqa: E731
    assert applied(ours, merge(b, o, b)) == whole(ours)
    assert applied(base, merge(b, b, t)) == whole(theirs)
    assert applied(ours, merge(b, o, o)) == whole(ours)
    there, back = merge(b, o, t), merge(b, t, o)
    assert {(c.key, c.fields) for c in there.clashes} == {(c.key, c.fields) for c in back.clashes}
    clashing = {c.key for c in there.clashes}
    one, other = applied(ours, there), applied(theirs, back)
    assert {k: v for k, v in one.items() if k not in clashing} == {k: v for k, v in other.items() if k not in clashing}


def test_a_field_that_one_side_dropped_is_dropped() -> None:
    assert join({"key": "a", "x": 1, "y": 1}, {"key": "a", "y": 1}, {"key": "a", "x": 1, "y": 2}) == ({"key": "a", "y": 2}, ())
    assert join({"key": "a", "x": 1}, {"key": "a"}, {"key": "a", "x": 2}) == ({"key": "a"}, ("x",))
    assert join(None, {"key": "a", "x": 1}, {"key": "a", "x": True}) == ({"key": "a", "x": 1}, ("x",))
