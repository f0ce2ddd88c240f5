"""Layouts: what a version costs, checkpoints, packs joined; identity never changes by it."""

import hashlib
import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from tests.racing import CONTEXT, racer
from tests.registry.application import Registry

from windlass.core.dataset import Tree
from windlass.core.digest import canonical
from windlass.core.errors import NotFound, Unavailable
from windlass.registry import rows as module
from windlass.store.meta import read, write
from windlass.store.tables import layouts


def lines_of(count: int, start: int = 0) -> dict[str, bytes]:
    return {f"k{i:06}": canonical({"key": f"k{i:06}", "text": f"question {i} {hashlib.sha256(bytes(i % 99)).hexdigest()}"})
            for i in range(start, start + count)}  # fmt: skip


def keep(registry: Registry, base: str | None, lines: dict[str, bytes], removed: list[str] | None = None) -> str:
    prepared = registry.rows.change("default", base, lines, removed or [])
    with write(registry.engine) as c:
        return registry.rows.keep(c, "default", prepared)


def size_of(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def test_a_hundred_scattered_edits_cost_their_rows_and_not_the_dataset(registry: Registry) -> None:
    lines = lines_of(20_000)
    root = keep(registry, None, lines)
    before = size_of(registry.home.path / "blobs")
    edited = {key: canonical({"key": key, "text": "edited"}) for key in random.Random(0).sample(sorted(lines), 100)}
    later = keep(registry, root, edited)
    assert size_of(registry.home.path / "blobs") - before < 15_000
    assert dict(registry.rows.all("default", later)) == lines | edited
    assert dict(registry.rows.all("default", root)) == lines
    assert registry.rows.lines("default", later, ["k000000", "none", *list(edited)[:3]]) == {
        k: (lines | edited)[k] for k in ["k000000", *list(edited)[:3]]
    }


def test_rows_are_what_a_dict_would_hold_through_many_versions(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against a dict: checkpoints, joined packs and packs written anew change nothing."""
    monkeypatch.setattr(module, "DEEPEST", 3)
    monkeypatch.setattr(module, "SMALL_PACKS", 4)
    monkeypatch.setattr(module, "SMALL", 200)
    chance = random.Random(7)
    held = lines_of(700)
    root = keep(registry, None, held)
    states = {root: dict(held)}
    for step in range(40):
        new = {k: canonical({"key": k, "step": step}) for k in chance.sample(sorted(held), 9)} | lines_of(3, 1000 + step * 3)
        gone = chance.sample(sorted(held.keys() - new.keys()), 8 if step % 7 else 40)
        root = keep(registry, root, new, gone)
        held = {k: v for k, v in (held | new).items() if k not in gone}
        states[root] = dict(held)
        assert root == Tree.of((k, hashlib.sha256(v).digest()) for k, v in sorted(held.items())).root
    fresh = Registry(registry.home.path)
    for root, held in states.items():
        assert dict(fresh.rows.all("default", root)) == held
    with read(registry.engine) as c:
        laid = c.execute(select(layouts)).all()
    assert {row.depth for row in laid} == {0, 1, 2, 3}


def test_what_was_reached_another_way_is_kept_once(registry: Registry) -> None:
    one = keep(registry, None, lines_of(50))
    two = keep(registry, one, lines_of(5, 100))
    assert keep(registry, two, {}, list(lines_of(5, 100))) == one
    with read(registry.engine) as c:
        assert len(c.execute(select(layouts)).all()) == 2


def test_one_row_through_many_versions_is_read_from_what_changed(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every version's tree was made to look one row up: two minutes for fifty versions of a million rows."""
    held = lines_of(3000)
    roots = [keep(registry, None, held)]
    states = [held]
    for number in range(8):
        key = "k000007" if number % 3 == 0 else f"k00{number}100"
        change = {key: canonical({"key": key, "n": number})}
        gone = ["k000009"] if number == 5 else []
        states.append({k: v for k, v in (states[-1] | change).items() if k not in gone})
        roots.append(keep(registry, roots[-1], change, gone))
    made: list[str] = []
    cold = module.Rows(registry.engine, registry.rows._blobs, registry.rows._packs)
    load = cold.tree
    monkeypatch.setattr(cold, "tree", lambda project, root: made.append(root) or load(project, root))
    for key in ("k000007", "k000009", "k000011", "none"):
        find = cold.through("default", key)
        assert [find(root) for root in reversed(roots)] == [state.get(key) for state in reversed(states)]
    assert set(made) == {roots[0]}  # the checkpoint alone
    with pytest.raises(NotFound):
        cold.through("default", "k000007")("sha256:" + "0" * 64)


def test_a_dataset_that_grows_in_large_parts_is_made_of_few(registry: Registry) -> None:
    """A million rows added in fifty parts took 17 s to read after a start: all but the first 80,000 lay in changes."""
    root, held = keep(registry, None, lines_of(2000)), 2000
    for _ in range(20):
        root, held = keep(registry, root, lines_of(900, held)), held + 900
        chain = registry.rows._chain("default", root)
        assert sum(p.rows for p in registry.rows._laid(chain[1:])) <= held // 2
    assert sum(1 for _ in registry.rows.all("default", root)) == held


def test_rows_of_another_project_are_not_there(registry: Registry) -> None:
    root = keep(registry, None, lines_of(5))
    with pytest.raises(NotFound, match="are not here"):
        registry.rows.tree("other", root)


def test_a_tree_that_is_not_what_its_name_says_is_refused(registry: Registry) -> None:
    root = keep(registry, None, lines_of(50))
    other = registry.blobs.put(Tree.of([("a", bytes([1]) * 32)]).encode())
    with write(registry.engine) as c:
        c.execute(layouts.update().values(blob=other))
    with pytest.raises(Unavailable, match="not what their name says"):
        Registry(registry.home.path).rows.tree("default", root)


def _keep_until_killed(path: Path, ready: Any) -> None:
    registry = Registry(path)
    root = keep(registry, None, lines_of(300))
    ready.set()
    for i in range(10_000):
        root = keep(registry, root, lines_of(7, 300 + 7 * i))


def test_what_a_killed_writer_kept_is_whole(registry: Registry) -> None:
    ready = CONTEXT.Event()
    child = racer(_keep_until_killed, registry.home.path, ready)
    child.start()
    ready.wait(30)
    child.join(0.4)
    assert child.pid
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    with read(registry.engine) as c:
        roots = list(c.execute(select(layouts.c.rows)).scalars())
    assert len(roots) > 1
    for root in roots:
        assert len(list(registry.rows.all("default", root))) == registry.rows.tree("default", root).count
