"""Rows that are sent: only what the server lacks, and never another root than was said."""

from pathlib import Path
from typing import Any

import pytest
from tests.registry.application import Registry

from windlass.core.actor import OWNER, Actor
from windlass.core.artifacts import DatasetBody, Version, make_version
from windlass.core.dataset import FORM, make_rows
from windlass.core.digest import TAG, canonical
from windlass.core.errors import Forbidden, Invalid, NotFound
from windlass.core.operations import Operation
from windlass.core.operations.datasets import PACK_ROWS, RowsCompare, RowsKeep, RowsPack
from windlass.sdk import upload
from windlass.sdk.upload import send_rows


class Wire:
    """Calls services as the API does; remembers what was sent."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.sent: list[str] = []

    def __call__(self, operation: Operation[Any, Any], params: Any) -> Any:
        if operation is PACK_ROWS:
            self.sent += params.lines
        return getattr(self.registry.uploads, operation.name.partition(".")[2])(OWNER, params)


def written(folder: Path, rows: list[dict[str, Any]]) -> Version:
    made = make_rows(rows)
    path = folder / made.tree.root.removeprefix(TAG)
    path.with_suffix(".tree").write_bytes(made.tree.encode())
    path.with_suffix(".lines").write_bytes(b"".join(line + b"\n" for line in made.lines.values()))
    return make_version("dataset", "questions", DatasetBody(made.tree.root, made.tree.count, FORM))


def test_only_rows_that_changed_are_sent(registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "BATCH", 5_000)
    rows = [{"key": f"k{i:05}", "n": i, "line": "\u2028\n" * (i % 2)} for i in range(3000)]
    wire, told = Wire(registry), []
    first = written(tmp_path, rows)
    send_rows(wire, first, tmp_path, lambda done, total: told.append((done, total)))
    registry.push(first)
    assert len(wire.sent) == 3000 and told[-1] == (3000, 3000) and len(told) > 5
    wire.sent.clear()
    changed = written(tmp_path, [{**r, "n": -1} if r["n"] % 500 == 7 else r for r in rows if r["n"] % 400 != 3] + [{"key": "new"}])
    send_rows(wire, changed, tmp_path, lambda done, total: None)
    registry.push(changed)
    assert len(wire.sent) == 7
    assert registry.datasets.difference(first, changed).counts == {"added": 1, "removed": 8, "changed": 6}
    assert list(registry.datasets.rows(changed)) == sorted(
        [{**r, "n": -1} if r["n"] % 500 == 7 else r for r in rows if r["n"] % 400 != 3] + [{"key": "new"}], key=lambda r: r["key"]
    )
    wire.sent.clear()
    send_rows(wire, first, tmp_path, lambda done, total: None)
    assert wire.sent == []


def test_what_is_sent_is_held_against_what_was_said(registry: Registry) -> None:
    row = canonical({"key": "a", "n": 1}).decode()
    for line in ('{"n":1,"key":"a"}', '{"key":"a", "n":1}', '{"key":1}', "[]", "x", '{"n":1}', '{"key":"\ud800"}'):
        with pytest.raises(Invalid, match="line 2: it is no row in canonical JSON"):
            registry.uploads.pack(OWNER, RowsPack("default", (row, line)))
    packs = registry.uploads.pack(OWNER, RowsPack("default", (row,))).packs
    root = make_rows([{"key": "a", "n": 1}]).tree.root
    with pytest.raises(Invalid, match="these rows are"):
        registry.uploads.keep(OWNER, RowsKeep("default", "sha256:" + "0" * 64, None, packs))
    with pytest.raises(NotFound):
        registry.rows.tree("default", root)
    for wrong in ("x", "sha256:" + "0" * 64):
        with pytest.raises((Invalid, NotFound)):
            registry.uploads.keep(OWNER, RowsKeep("default", root, None, ((wrong, 1),)))
    with pytest.raises(NotFound):
        registry.uploads.keep(OWNER, RowsKeep("default", root, "sha256:" + "1" * 64, packs))
    assert registry.uploads.keep(OWNER, RowsKeep("default", root, None, packs)).count == 1


def test_who_may_not_write_may_not(registry: Registry) -> None:
    actor = Actor("x", "viewer")
    for call, params in (
        (registry.uploads.compare, RowsCompare("default", "dataset", "x", "y", ())), (registry.uploads.pack, RowsPack("default", ())),
        (registry.uploads.keep, RowsKeep("default", "x")),
    ):  # fmt: skip
        with pytest.raises(Forbidden):
            call(actor, params)  # type: ignore[operator]
