"""Adding a file of rows to a dataset on the server: read, sent and forgotten a few at a time, and made one version at the end.

Until that one edit nothing is anybody's: who is killed on the way leaves the dataset as it was, and begins again. The rows that were sent
lie in packs by then, under what is in them, so that sending them again adds nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from windlass.core.digest import canonical
from windlass.core.errors import Invalid
from windlass.core.operations import datasets
from windlass.core.ref import parse_branch
from windlass.sdk.rowfile import RowFile, Tell
from windlass.sdk.upload import BATCH, Call

TOLD = 200  # rows left out that are told one by one
Progress = Callable[[str, int, int], None]


def add_file(
    call: Call,
    project: str,
    dataset: str,
    path: Path,
    *,
    expected: str | None = None,
    message: str = "",
    drift: bool = False,
    tell: Tell = lambda problem: None,
    progress: Progress = lambda step, done, total: None,
) -> datasets.Edited:
    """Set the rows of a JSONL or CSV file, all in one version or none. What cannot be taken is told as it is found, by its line, and stands
    in the result. Raises `Invalid` when nothing can be taken, `Conflict` naming rows that others changed since `expected`."""
    branch = parse_branch(dataset, project=project)  # so that a name that may not be is told before a million rows are sent
    problems = _Problems(tell)
    file = RowFile(path, problems.add)
    packs: list[tuple[str, int]] = []
    rows = 0
    for lines in _batches(_canonical(file, problems)):
        packs += call(datasets.PACK_ROWS, datasets.RowsPack(branch.project, tuple(lines))).packs
        rows += len(lines)
        progress(f"{rows:,} rows sent, kB", file.done >> 10, file.size >> 10)
    if not packs:
        said = "no row of it can be taken" if problems.said else "there is no row in it"
        raise Invalid(said, where=str(path), problems=problems.end())
    progress("making a version of them", 0, 0)
    asked = datasets.EditRequest(dataset, project=project, expected=expected, message=message, drift=drift, packs=tuple(packs))
    try:
        done: datasets.Edited = call(datasets.EDIT, asked)
    except Invalid as e:
        if not (left_out := e.details.get("left_out")):
            raise
        _leave(left_out, e.details.get("left", 0), file, problems)
        raise Invalid("no row of it can be taken", where=str(path), remedy=e.remedy, problems=problems.end()) from None
    _leave(done.left_out, done.left, file, problems)
    for problem in done.problems:
        problems.add(f"{path}: {problem}")
    return msgspec.structs.replace(done, problems=problems.end(), left_out={}, left=0)


class _Problems:
    """What is wrong with rows, told as it is found; of very many a count."""

    def __init__(self, tell: Tell) -> None:
        self.said: list[str] = []
        self.more = 0
        self._tell = tell

    def add(self, problem: str) -> None:
        if len(self.said) < TOLD:
            self.said.append(problem)
            self._tell(problem)
        else:
            self.more += 1

    def end(self) -> tuple[str, ...]:
        """All that is told of them."""
        if self.more:
            self.said.append(rest := f"and {self.more:,} more rows were left out")
            self._tell(rest)
        return tuple(self.said)


def _leave(left_out: dict[str, str], left: int, file: RowFile, problems: _Problems) -> None:
    """Tell by their lines the rows that the server left out, which names some of them."""
    for key, why in sorted(left_out.items(), key=lambda item: file.lines.get(item[0], 0)):
        problems.add(f"{file.path}:{file.lines.get(key, '?')}: {why}")
    problems.more += left - len(left_out)


def _canonical(file: RowFile, problems: _Problems) -> Iterator[bytes]:
    for row in file:
        try:
            yield canonical(row)
        except Invalid as e:
            problems.add(f"{file.path}:{file.lines[row['key']]}: {e.message}")


def _batches(lines: Iterable[bytes]) -> Iterator[list[str]]:
    some: list[str] = []
    size = 0
    for line in lines:
        some.append(line.decode())
        size += len(line)
        if size >= BATCH:
            yield some
            some, size = [], 0
    if some:
        yield some
