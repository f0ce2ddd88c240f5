"""Sending the rows of a dataset: only those that the server lacks, found by the leaves of the tree (`core/dataset.py`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from windlass.core.artifacts import Version
from windlass.core.dataset import Tree, read_entries
from windlass.core.digest import TAG
from windlass.core.operations import Operation, datasets

Call = Callable[[Operation[Any, Any], Any], Any]

BATCH = 4_000_000  # bytes of rows in one request


def send_rows(call: Call, version: Version, folder: Path, progress: Callable[[int, int], None]) -> None:
    """Send what the server lacks of a dataset version, whose tree and lines `sdk.collect` wrote to `folder`. `progress` is told the rows
    sent, and how many there are to send."""
    path = folder / version.body["rows"].removeprefix(TAG)
    tree = Tree.decode(path.with_suffix(".tree").read_bytes())
    leaves = tuple(leaf.digest.hex() for leaf in tree.leaves)
    asked = datasets.RowsCompare(version.project, version.kind, version.name, tree.root, leaves)  # type: ignore[arg-type]
    base: datasets.RowsBase = call(datasets.COMPARE_ROWS, asked)
    if base.kept:
        return
    there = {key: bytes.fromhex(digest) for key, digest in base.entries}
    numbers = range(len(leaves)) if base.base is None else base.lacking
    mine = {key: digest for n in numbers for key, digest in read_entries(tree.leaves[n].data)}
    wanted = {key for key, digest in mine.items() if there.get(key) != digest}
    packs: list[tuple[str, int]] = []
    sent = 0
    for lines in _batches(path.with_suffix(".lines"), tree, wanted):
        packs += call(datasets.PACK_ROWS, datasets.RowsPack(version.project, tuple(lines))).packs
        sent += len(lines)
        progress(sent, len(wanted))
    removed = tuple(key for key in there if key not in mine)
    call(datasets.KEEP_ROWS, datasets.RowsKeep(version.project, tree.root, base.base, tuple(packs), removed))


def _batches(path: Path, tree: Tree, wanted: set[str]) -> Iterator[list[str]]:
    """The wanted rows of a file that has one a line, in the order of the tree."""
    lines: list[str] = []
    size = 0
    with path.open("rb") as file:
        for (key, _), line in zip(tree, file, strict=True):
            if key not in wanted:
                continue
            lines.append(line[:-1].decode())
            size += len(line)
            if size >= BATCH:
                yield lines
                lines, size = [], 0
    if lines:
        yield lines
