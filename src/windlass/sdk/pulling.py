"""Bringing a file of the workspace to what the server has of its dataset: rows that did not change keep their line and their place."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from windlass.core.dataset import make_rows
from windlass.core.digest import canonical
from windlass.core.errors import Conflict, Invalid
from windlass.core.operations import datasets
from windlass.core.operations.datasets import RowCounts
from windlass.core.ref import parse_ref
from windlass.sdk.rowfile import Row, read_rows, write_csv
from windlass.sdk.workspace import Folder

if TYPE_CHECKING:
    from windlass.sdk.client import Client


class Pulled(msgspec.Struct):
    path: str
    ref: str
    count: int
    rows: RowCounts


def pull_rows(client: Client, folder: Path, dataset: str, *, to: str | None = None, force: bool = False) -> Pulled:
    """Write the rows of a dataset to the file it came from, or to another of the workspace. Raises `Conflict`
    where the file has rows that no version has, unless forced; `Invalid` for a dataset that came from no file."""
    workspace = Folder(folder)
    detail = client.versions.show(str(parse_ref(dataset, project=client.project, kind="dataset")))
    version = detail.version
    path = to or version.neutral.get("path")
    if not isinstance(path, str) or not (workspace.root / path).resolve().is_relative_to(workspace.root):
        what = f"{to} is not in the workspace" if to else f"{version.ref.short} came from no file of a workspace"
        raise Invalid(what, remedy=f"windlass data pull {version.name} --to data/{version.name}.jsonl")
    file = workspace.root / path
    text = file.read_bytes().decode("utf-8") if file.exists() else ""
    mine = read_rows(text, path).rows if text.strip() else []
    if mine and not force:
        made = make_rows(mine, where=path)
        asked = datasets.RowsCompare(version.project, version.kind, version.name, made.tree.root, ())  # type: ignore[arg-type]
        if not client.call(datasets.COMPARE_ROWS, asked).kept:
            raise Conflict(
                "the file has rows that were never pushed", where=path,
                remedy="windlass push --branch mine, then windlass data merge; or --force",
            )  # fmt: skip
    theirs = {row["key"]: row for row in client.datasets.all(str(version.ref))}
    data, counts = _written(path, text, mine, theirs)
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    file.parent.mkdir(parents=True, exist_ok=True)
    partial.write_bytes(data)
    partial.replace(file)
    return Pulled(path, str(version.ref), len(theirs), counts)


def _written(path: str, text: str, mine: list[Row], theirs: dict[str, Row]) -> tuple[bytes, RowCounts]:
    here = {row["key"]: row for row in mine}
    changed = {k for k in here.keys() & theirs.keys() if canonical(here[k]) != canonical(theirs[k])}
    new = [row for key, row in theirs.items() if key not in here]
    counts = RowCounts(len(new), len(here.keys() - theirs.keys()), len(changed))
    rows = [theirs[k] if k in changed else row for k, row in here.items() if k in theirs] + new
    if path.endswith(".csv"):
        return write_csv(rows).encode(), counts
    lines = {}
    for line in text.split("\n"):  # as it stands in the file, so that git shows only what changed
        if line.strip():
            try:
                lines[msgspec.json.decode(line)["key"]] = line
            except (msgspec.DecodeError, KeyError, TypeError):
                continue
    order = _order(mine)
    kept = [lines[row["key"]] if row["key"] in lines and row["key"] not in changed else _line(row, order) for row in rows]
    return "".join(line + "\n" for line in kept).encode(), counts


def _order(rows: list[Row]) -> list[str]:
    """The order in which the file's rows have their fields."""
    return list(dict.fromkeys(field for row in rows[:100] for field in row)) or ["key"]


def _line(row: Row, order: list[str]) -> str:
    ordered = {f: row[f] for f in order if f in row} | row
    return msgspec.json.format(msgspec.json.encode(ordered), indent=0).decode()
