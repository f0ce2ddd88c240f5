"""Rows on their way in: made durable in packs, which an edit or a push then names. A push compares the leaves of its tree with those of
the server first, so that only rows that changed are sent and kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec
from sqlalchemy import Engine

from windlass.core.actor import Actor
from windlass.core.dataset import read_entries
from windlass.core.digest import canonical, is_digest, short
from windlass.core.errors import Invalid, NotFound
from windlass.core.operations.datasets import Kept, Packed, RowsBase, RowsCompare, RowsKeep, RowsPack
from windlass.core.ref import Ref, check_name
from windlass.govern.permissions import guard
from windlass.registry.datasets import Datasets
from windlass.registry.rows import Rows
from windlass.registry.versions import Versions
from windlass.store.meta import write
from windlass.store.packs import Pack


def packs_of(said: Iterable[tuple[str, int]]) -> list[Pack]:
    """Packs as a client names them. Raises `Invalid`."""
    packs = [Pack(digest, count) for digest, count in said]
    if wrong := [p.digest for p in packs if not is_digest(p.digest)]:
        raise Invalid(f"{wrong[0]!r} is not a whole digest", where="packs")
    return packs


class Uploads:
    """Service of rows that are sent."""

    def __init__(self, engine: Engine, versions: Versions, datasets: Datasets, rows: Rows) -> None:
        self._engine = engine
        self._versions = versions
        self._datasets = datasets
        self._rows = rows

    def compare(self, actor: Actor, params: RowsCompare) -> RowsBase:
        """Operation `rows.compare`."""
        guard(actor, "write", params.project)
        if self._rows.has(params.project, params.rows):
            return RowsBase(True)
        try:
            ref = self._versions.resolve(Ref(params.kind, check_name(params.name), None, None, params.project))
        except NotFound:
            return RowsBase(False)
        root = self._datasets.root(self._versions.get(ref.project, ref.kind, ref.name, ref.digest or ""))
        here = {leaf.digest.hex(): leaf for leaf in self._rows.tree(params.project, root).leaves}
        lacking = tuple(number for number, leaf in enumerate(params.leaves) if leaf not in here)
        other = [here[leaf] for leaf in here.keys() - set(params.leaves)]
        entries = tuple((key, digest.hex()) for leaf in other for key, digest in read_entries(leaf.data))
        return RowsBase(False, root, lacking, entries)

    def pack(self, actor: Actor, params: RowsPack) -> Packed:
        """Operation `rows.pack`. Raises `Invalid` naming the line that is no row in canonical JSON, or the row that was erased."""
        guard(actor, "write", params.project)
        lines = []
        for number, text in enumerate(params.lines, 1):
            line = text.encode("utf-8", "surrogatepass")
            try:
                row = msgspec.json.decode(line, type=dict[str, object])
                key = row.get("key")
                fits = isinstance(key, str) and key != "" and canonical(row) == line
            except (msgspec.DecodeError, UnicodeDecodeError):
                fits = False
            if not fits:
                raise Invalid("it is no row in canonical JSON with a key", where=f"line {number}", remedy="push with the same Windlass")
            lines.append((str(key), line))
        self._rows.refuse_erased(params.project, {key: hashlib.sha256(line).digest() for key, line in lines})
        return Packed(tuple((p.digest, p.rows) for p in self._rows.write(lines)))

    def keep(self, actor: Actor, params: RowsKeep) -> Kept:
        """Operation `rows.keep`. Raises `Invalid` when the rows do not have the root they are said to have; then nothing is kept."""
        guard(actor, "write", params.project)
        sent = self._rows.read(packs_of(params.packs))
        prepared = self._rows.change(params.project, params.base, {}, params.removed, sent)
        if prepared.tree.root != params.rows:
            raise Invalid(
                f"these rows are {short(prepared.tree.root, 12)}, not {short(params.rows, 12)}", remedy="push again with the same Windlass"
            )
        with write(self._engine) as c:
            self._rows.keep(c, params.project, prepared)
        return Kept(prepared.tree.root, prepared.tree.count)
