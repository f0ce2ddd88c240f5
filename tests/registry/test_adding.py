"""Files of rows: read a few at a time, sent in packs, and one version at the end or none."""

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.registry.application import Registry

from windlass.core.actor import OWNER, Actor
from windlass.core.digest import canonical
from windlass.core.errors import Conflict, Forbidden, Invalid, NotFound
from windlass.core.operations import Operation
from windlass.core.operations.datasets import EDIT, Edited, EditRequest, RowsPack, RowsQuery
from windlass.core.operations.registry import VerifyQuery, VersionQuery
from windlass.core.ref import parse_ref
from windlass.registry import incoming, origins, splits
from windlass.registry import rows as rows_module
from windlass.sdk import adding
from windlass.store.meta import read


def sent(registry: Registry, *rows: dict[str, Any]) -> tuple[tuple[str, int], ...]:
    return registry.uploads.pack(OWNER, RowsPack("default", tuple(canonical(r).decode() for r in rows))).packs


def edit(registry: Registry, *rows: Any, remove: tuple[str, ...] = (), ref: str = "questions", **more: Any) -> Edited:
    return registry.edits.edit(OWNER, EditRequest(ref, rows, remove, **more))


def add(registry: Registry, path: Path, ref: str = "questions", **more: Any) -> Edited:
    def call(operation: Operation[Any, Any], params: Any) -> Any:
        return registry.edits.edit(OWNER, params) if operation is EDIT else registry.uploads.pack(OWNER, params)

    return adding.add_file(call, "default", ref, path, **more)


def written(path: Path, *rows: Any) -> Path:
    path.write_bytes(b"".join((r if isinstance(r, bytes) else msgspec.json.encode(r)) + b"\n" for r in rows))
    return path


def rows_of(registry: Registry, ref: str = "questions") -> dict[str, Any]:
    return {r["key"]: r for r in registry.datasets.list(OWNER, RowsQuery(ref, limit=200)).items}


def test_a_file_is_one_version_however_often_it_is_sent(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adding, "BATCH", 900)
    rows = [{"key": f"k{i * 7 % 500:03}", "n": i, "split": "test" if i % 5 else "dev"} for i in range(500)]
    steps: list[tuple[str, int, int]] = []
    done = add(registry, written(tmp_path / "a.jsonl", *rows), message="all", progress=lambda *step: steps.append(step))
    assert (done.before, done.count, done.rows.added, done.problems) == (None, 500, 500, ())
    assert len(steps) > 10 and [s[1] for s in steps] == [*sorted(s[1] for s in steps[:-1]), 0]
    assert len(registry.versions.versions(OWNER, VersionQuery("dataset/questions")).items) == 1
    assert add(registry, tmp_path / "a.jsonl").ref == done.ref == edit(registry, *rows, ref="other").ref.replace("other", "questions")
    assert registry.verify.verify(OWNER, VerifyQuery()).problems == ()
    assert rows_of(registry)["k007"] == {"key": "k007", "n": 1, "split": "test"}


FRESH = itertools.count()
ROW = st.fixed_dictionaries({}, optional={"q": st.sampled_from(["x", "y"]), "split": st.sampled_from(["dev", "test", "", 7, None])})
CHANGE = st.tuples(st.dictionaries(st.sampled_from("abcdefgh"), ROW, max_size=6), st.sets(st.sampled_from("abcdefgh"), max_size=3))


@given(st.lists(CHANGE, min_size=1, max_size=6), st.integers(1, 4), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
def test_sent_in_parts_or_at_once_rows_have_the_same_name_and_counts(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, changes: list[tuple[dict[str, Any], set[str]]], parts: int, whole: bool
) -> None:
    """Of any history: rows of packs, and rows given in the edit, are the same rows; and each split has as many as one finds reading."""
    monkeypatch.setattr(rows_module, "FOUND", 0 if whole else 5000)
    number = next(FRESH)
    one, other = f"one-{number}", f"other-{number}"
    held: dict[str, Any] = {}
    for set_, gone in changes:
        rows = [{**row, "key": key} for key, row in set_.items()]
        if not (rows if not held else rows or gone):
            continue
        removed = tuple(gone) if held else ()
        packs = [pack for at in range(0, len(rows), parts) for pack in sent(registry, *rows[at : at + parts])]
        a = edit(registry, *rows, remove=removed, ref=one, drift=True)
        b = edit(registry, packs=tuple(packs), remove=removed, ref=other, drift=True)
        lost = held.keys() & set(removed)  # a row that is new is not also removed
        held = {key: row for key, row in (held | {row["key"]: row for row in rows}).items() if key not in lost}
        assert a.ref.partition("@")[2] == b.ref.partition("@")[2] and rows_of(registry, other) == held
        if rows_of(registry, one):
            page = registry.datasets.list(OWNER, RowsQuery(other))
            counted = Counter(s if isinstance(s := row.get("split"), str) else "" for row in held.values())
            assert page.splits == dict(sorted(counted.items()))


def test_no_page_of_a_version_reads_every_row(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first page of each new version of a million rows took 19 s."""
    edit(registry, *({"key": f"k{i:02}", "split": "test" if i % 3 else "dev"} for i in range(60)))
    edit(registry, {"key": "k01", "split": "dev"}, remove=("k00",))
    cold = Registry(registry.home.path)
    monkeypatch.setattr(cold.rows, "all", lambda *_: pytest.fail("every row was read"))
    page = cold.datasets.list(OWNER, RowsQuery("questions", limit=20))
    assert (page.count, page.splits, page.next) == (59, {"dev": 20, "test": 39}, "k20")
    pages = [page.items]
    while page.next:
        page = cold.datasets.list(OWNER, RowsQuery("questions", limit=20, cursor=page.next))
        pages.append(page.items)
    assert [r["key"] for some in pages for r in some] == [f"k{i:02}" for i in range(1, 60)]


def test_rows_kept_before_splits_were_counted_are_counted_when_somebody_looks(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as m:
        m.setattr(splits, "MOST", 1)
        edit(registry, {"key": "a", "split": "dev"}, {"key": "b", "split": "test"})
    ref = registry.versions.resolve(parse_ref("dataset/questions"))
    root = registry.datasets.root(registry.versions.get(ref.project, ref.kind, ref.name, ref.digest or ""))
    assert registry.rows.splits("default", root) is None
    assert registry.datasets.list(OWNER, RowsQuery("questions")).splits == {"dev": 1, "test": 1}
    edit(registry, {"key": "b", "split": "dev"})
    assert Registry(registry.home.path).datasets.list(OWNER, RowsQuery("questions")).splits == {"dev": 2}


def test_broken_rows_are_named_by_their_line_and_the_rest_is_kept(registry: Registry, tmp_path: Path) -> None:
    edit(registry, *({"key": f"k{i}", "n": i} for i in range(20)))
    file = written(
        tmp_path / "a.jsonl", {"key": "good", "n": 1}, b"not json", b"[]", {"n": 7}, {"key": "drifts", "n": "seven"}, b"",
        {"key": "good", "n": 2}, {"key": "huge", "n": 2**60}, {"key": "also", "n": [1]}, {"key": "fine", "n": None},
    )  # fmt: skip
    told: list[str] = []
    done = add(registry, file, tell=told.append)
    assert (
        tuple(told)
        == done.problems
        == (
            f"{file}:2: not JSON: JSON is malformed: invalid character (byte 4)",
            f"{file}:3: a row must be an object, not list",
            f"{file}: line 4 has no key",
            f"{file}: lines 1 and 7 have the same key 'good'",
            f"{file}:8: not a canonical JSON value: 1152921504606846976 exceeds safe integer domain for JSON floats",
            f"{file}:5: n is text, and in this dataset it is a number",
            f"{file}:9: n is a list, and in this dataset it is a number",
        )
    )
    assert rows_of(registry).keys() - {f"k{i}" for i in range(20)} == {"good", "fine"} and rows_of(registry)["good"]["n"] == 1
    assert add(registry, file, drift=True).rows.added == 2


def test_very_many_broken_rows_are_counted(registry: Registry, tmp_path: Path) -> None:
    edit(registry, *({"key": f"k{i}", "n": i} for i in range(20)))
    file = written(tmp_path / "a.jsonl", {"key": "good"}, *([b"x"] * 150), *({"key": f"d{i}", "n": "x"} for i in range(300)))
    told: list[str] = []
    done = add(registry, file, tell=told.append)
    assert len(told) == 201 and done.rows.added == 1 and tuple(told) == done.problems
    assert told[-1] == "and 250 more rows were left out" and told[150].startswith(f"{file}:152: n is text")


def test_where_nothing_can_be_taken_nothing_is_changed(registry: Registry, tmp_path: Path) -> None:
    before = edit(registry, *({"key": f"k{i}", "n": i} for i in range(20)))
    for name, rows, said in (
        ("a.jsonl", [{"key": "x", "n": "one"}, b"broken"], "no row of it can be taken"),
        ("b.jsonl", [b"broken"], "no row of it can be taken"),
        ("c.jsonl", [], "there is no row in it"),
        ("d.jsonl", [{"key": "x", "n": 1}, b'{"key": "\xff"}'], "byte 0xff at offset 27 is not UTF-8"),
    ):
        with pytest.raises(Invalid, match=said) as e:
            add(registry, written(tmp_path / name, *rows))
        assert e.value.where == str(tmp_path / name)
    with pytest.raises(Invalid) as e:
        add(registry, tmp_path / "a.jsonl")
    assert [p.removeprefix(str(tmp_path)) for p in e.value.details["problems"]][1:] == [
        "/a.jsonl:1: n is text, and in this dataset it is a number"
    ]
    assert registry.versions.resolve(parse_ref("dataset/questions:main")).digest == before.ref.partition("@")[2]
    with pytest.raises(Invalid, match="no such file"):
        add(registry, tmp_path / "none.jsonl")


def test_what_may_not_be_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    file = written(tmp_path / "a.jsonl", {"key": "a"})
    for ref, error in (("questions:production", Forbidden), ("questions@abcdef", Invalid), ("prompt/x", Invalid), ("Not A Name", Invalid)):
        with pytest.raises(error):
            adding.add_file(lambda *_: pytest.fail("it was sent"), "default", ref, file)


def test_rows_that_others_changed_since_are_refused_whole(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adding, "BATCH", 1)
    first = edit(registry, *({"key": f"k{i}", "n": i} for i in range(5)))
    edit(registry, {"key": "k4", "n": 7})
    file = written(tmp_path / "a.jsonl", *({"key": f"k{i}", "n": -i} for i in range(5)))
    with pytest.raises(Conflict, match="of these rows, 1 changed meanwhile by somebody else: 'k4'"):
        add(registry, file, expected=first.ref)
    assert {k: r["n"] for k, r in rows_of(registry).items()} == {"k0": 0, "k1": 1, "k2": 2, "k3": 3, "k4": 7}
    others = written(tmp_path / "b.jsonl", {"key": "k0", "n": -1}, {"key": "new", "n": 1})
    assert add(registry, others, expected=first.ref).rows.added == 1


def test_types_of_a_new_dataset_are_those_most_rows_of_the_file_have(registry: Registry, tmp_path: Path) -> None:
    rows = [{"key": f"k{i:02}", "n": i, **({"extra": None} if i % 2 else {})} for i in range(40)]
    done = add(registry, written(tmp_path / "a.jsonl", {"key": "odd", "n": "text"}, *rows))
    assert done.count == 40 and done.problems == (f"{tmp_path / 'a.jsonl'}:1: n is text, and in this dataset it is a number",)


def test_of_rows_sent_twice_the_first_counts_and_rows_of_the_edit_come_last(registry: Registry) -> None:
    packs = (*sent(registry, {"key": "a", "n": 1}), *sent(registry, {"key": "a", "n": 2}, {"key": "b", "n": 2}, {"key": "c", "n": 2}))
    done = edit(registry, {"key": "b", "n": 3}, packs=packs)
    assert done.problems == ("row 'a' came again; the first counts",)
    assert {k: r["n"] for k, r in rows_of(registry).items()} == {"a": 1, "b": 3, "c": 2}
    with pytest.raises(Invalid, match="there is no row in it"):
        edit(registry, packs=tuple((p.digest, p.rows) for p in [registry.rows._packs._write([])]))
    with pytest.raises(NotFound):
        edit(registry, packs=(("sha256:" + "0" * 64, 1),))
    with pytest.raises(Invalid, match="is not a whole digest"):
        edit(registry, packs=(("x", 1),))
    with pytest.raises(Forbidden):
        registry.edits.edit(Actor("x", "viewer"), EditRequest("questions", packs=packs))


def test_a_pack_that_says_another_key_than_its_row_is_refused(registry: Registry) -> None:
    forged = registry.rows.write([("b", canonical({"key": "a"}))])
    with pytest.raises(Invalid, match="of a row with another key"):
        edit(registry, packs=tuple((p.digest, p.rows) for p in forged))


def test_rows_from_traces_are_found_also_when_they_came_in_a_file(registry: Registry, tmp_path: Path) -> None:
    add(registry, written(tmp_path / "a.jsonl", {"key": "a", "origin": {"trace": "4bf92f"}}, {"key": "b", "origin": "no object"}))
    with read(registry.engine) as c:
        assert origins.rows_of(c, "default", "4bf92f") == [("questions", "a")]


def test_shapes_say_what_rows_say() -> None:
    """Types of a million rows are judged by the few shapes they have: as `take` judges them one by one."""
    rows = [{"key": f"k{i}", "n": value} for i, value in enumerate([1, 2.5, True, None, "x", [1], {}, 3, *range(60)])]
    lines = sorted((r["key"], canonical(r)) for r in rows)
    kept, left_out = incoming.take_sent(incoming.read_sent((), lines), None, drift=False)
    taken = incoming.take(rows, None)
    assert kept.digests.keys() == taken.lines.keys() and {f"row {k!r}: {w}" for k, w in left_out.items()} == set(taken.problems)
