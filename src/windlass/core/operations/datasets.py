"""Operations on rows: what a push sends of them, and how they are read, changed, compared and merged on the server."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from windlass.core.operations import Limit, Operation, Page

Row = dict[str, Any]
Kind = Literal["dataset", "fewshot"]


class RowsQuery(msgspec.Struct, omit_defaults=True):
    """`split` and `search` narrow; `search` is text that stands somewhere in the row, in any case. With `key` it is the row of that key
    alone, or none."""

    ref: str  # dataset/name…
    project: str = "default"
    split: str | None = None
    search: str | None = None
    cursor: str | None = None
    limit: Limit = 50
    key: str | None = None


class RowsPage(Page):
    ref: str
    count: int  # of what was asked for
    items: tuple[Row, ...]
    splits: dict[str, int] = {}  # split → rows; "" for rows without one


class RowsCompare(msgspec.Struct, omit_defaults=True):
    """What a push has of a dataset: the root of its rows, and the digest of each leaf of their tree (hex, in order)."""

    project: str
    kind: Kind
    name: str
    rows: str
    leaves: tuple[str, ...]


class RowsBase(msgspec.Struct, omit_defaults=True):
    """`kept`: these rows lie here already. Else `base` is the root of what the server has under this name, `lacking` the numbers of
    the leaves that it does not share, and `entries` the keys and row digests (hex) of the leaves that it has instead; without a base
    everything is to be sent."""

    kept: bool
    base: str | None = None
    lacking: tuple[int, ...] = ()
    entries: tuple[tuple[str, str], ...] = ()


class RowsPack(msgspec.Struct, omit_defaults=True):
    """Rows to keep, each in canonical JSON."""

    project: str
    lines: tuple[str, ...]


class Packed(msgspec.Struct, omit_defaults=True):
    packs: tuple[tuple[str, int], ...]  # digest, rows


class RowsKeep(msgspec.Struct, omit_defaults=True):
    """Name rows that were sent: those of `base`, with what lies in `packs` set and `removed` taken out, have the root `rows`."""

    project: str
    rows: str
    base: str | None = None
    packs: tuple[tuple[str, int], ...] = ()
    removed: tuple[str, ...] = ()


class Kept(msgspec.Struct, omit_defaults=True):
    rows: str
    count: int


class About(msgspec.Struct, omit_defaults=True):
    """What a dataset is, for people and for whoever made it elsewhere."""

    description: str = ""
    metadata: Any = None


class EditRequest(msgspec.Struct, omit_defaults=True):
    """Set and remove rows of `dataset/name:branch` (`main` unless told; a new name makes a dataset). `packs` are further rows to set,
    as many as one likes, which `rows.pack` took before: however they came, it is one version or none.

    Rows that are broken, said twice, or of another type than a field has in the dataset are left out and named; the rest is kept.
    `expected` is the version the edit was made on: where the branch has moved since, the edit is merged, and conflicts refused.
    `about` is kept beside a new dataset and its later versions, and counts for nothing: a `description`, and `metadata`. A new dataset
    that says what it is about needs no rows yet.
    """

    ref: str
    set: tuple[Any, ...] = ()
    remove: tuple[str, ...] = ()
    project: str = "default"
    expected: str | None = None
    message: str = ""
    drift: bool = False  # take rows whose fields have other types
    packs: tuple[tuple[str, int], ...] = ()  # digest, rows
    about: About | None = None


class RowCounts(msgspec.Struct, omit_defaults=True):
    added: int = 0
    removed: int = 0
    changed: int = 0


class Edited(msgspec.Struct, omit_defaults=True):
    """`ref` is the version there is now; the one before it, where there was one, is `before`. Of the rows of packs `left` were left out;
    `left_out` says by key why, of at most 200."""

    ref: str
    before: str | None
    count: int
    rows: RowCounts
    problems: tuple[str, ...] = ()
    left_out: dict[str, str] = {}
    left: int = 0


class RowsDiffQuery(msgspec.Struct, omit_defaults=True):
    """Rows that differ from `a` to `b`, by key."""

    a: str
    b: str
    project: str = "default"
    only: Literal["all", "added", "removed", "changed"] = "all"
    cursor: str | None = None
    limit: Limit = 50


class RowDifference(msgspec.Struct, omit_defaults=True):
    """`fields` are the names of those that differ in a changed row."""

    key: str
    before: Row | None = None
    after: Row | None = None
    fields: tuple[str, ...] = ()


class RowsDiff(Page):
    a: str
    b: str
    rows: RowCounts
    items: tuple[RowDifference, ...]


class MergeRequest(msgspec.Struct, omit_defaults=True):
    """Merge what `theirs` changed since `base` into `ours`, a branch of a dataset. `base` is their nearest common version unless
    told. Rows that both changed are merged field by field; where both changed one field, `choose` says whose row counts
    (key → ours | theirs), or `prefer` for all. A dry merge changes nothing."""

    ours: str
    theirs: str
    project: str = "default"
    base: str | None = None
    choose: dict[str, Literal["ours", "theirs"]] = {}
    prefer: Literal["ours", "theirs"] | None = None
    dry: bool = False


class MergeConflict(msgspec.Struct, omit_defaults=True):
    """A row that both sides changed in ways that exclude each other; None where a side removed it."""

    key: str
    base: Row | None
    ours: Row | None
    theirs: Row | None
    fields: tuple[str, ...] = ()


class Merged(msgspec.Struct, omit_defaults=True):
    """`ref` is what `ours` points to now; with `conflicts` (at most 200 of `conflicting`) nothing was changed."""

    ref: str
    base: str
    theirs: str
    rows: RowCounts  # against ours
    joined: int = 0  # rows merged field by field
    conflicting: int = 0
    conflicts: tuple[MergeConflict, ...] = ()


class DuplicatesQuery(msgspec.Struct, omit_defaults=True):
    """Rows of `ref` that say what others of it say, or with `against` what rows of another dataset say. Compared by `fields`, else by
    all their text (against another dataset: by the fields that both have)."""

    ref: str
    project: str = "default"
    against: str | None = None
    fields: tuple[str, ...] = ()
    near: Annotated[float, msgspec.Meta(ge=0.5, le=1.0)] = 0.8
    cursor: str | None = None
    limit: Limit = 50


class DuplicateRow(msgspec.Struct, omit_defaults=True):
    key: str
    text: str  # shortened
    split: str | None = None


class Duplicate(msgspec.Struct, omit_defaults=True):
    """Two rows; `likeness` is 1.0 for the same text. `leak`: they stand in different splits, or in different datasets."""

    row: DuplicateRow
    other: DuplicateRow
    likeness: float
    leak: bool = False


class Duplicates(Page):
    ref: str
    against: str
    count: int
    exact: int
    leaks: int
    items: tuple[Duplicate, ...]


class HarvestRequest(msgspec.Struct, omit_defaults=True):
    """Make rows of `dataset/name:branch` from traces: what was asked becomes the row's fields, `fields` are set in each (what is
    right, a split), and `origin` says which trace it was. A trace that is in the dataset already is left out and named."""

    ref: str
    traces: tuple[str, ...]
    fields: dict[str, Any] = {}
    project: str = "default"
    message: str = ""


ROWS = Operation("datasets.rows", "GET", RowsQuery, RowsPage, "read")
COMPARE_ROWS = Operation("rows.compare", "POST", RowsCompare, RowsBase, "write")
PACK_ROWS = Operation("rows.pack", "POST", RowsPack, Packed, "write")
KEEP_ROWS = Operation("rows.keep", "POST", RowsKeep, Kept, "write")
EDIT = Operation("datasets.edit", "POST", EditRequest, Edited, "write")
ROWS_DIFF = Operation("datasets.diff", "GET", RowsDiffQuery, RowsDiff, "read")
MERGE = Operation("datasets.merge", "POST", MergeRequest, Merged, "write")
DUPLICATES = Operation("datasets.duplicates", "GET", DuplicatesQuery, Duplicates, "read")
HARVEST = Operation("datasets.harvest", "POST", HarvestRequest, Edited, "write")
