"""Erasure from datasets: rows leave every pack they lie in, and the branches of their datasets; versions stay what they are.

A version is named by the digests of its rows, so it still verifies without the rows themselves. What stays of one is its key and its
SHA-256.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from sqlalchemy import Engine, delete, insert, select, update

from windlass.core.actor import Actor
from windlass.core.errors import NotFound
from windlass.core.ids import now_ns
from windlass.core.operations.datasets import EditRequest
from windlass.core.operations.erasures import Affected, Left, Place
from windlass.core.ref import MAIN, ROWS, Ref
from windlass.govern.erasure import Subject
from windlass.registry import labels
from windlass.registry.edits import Edits
from windlass.registry.origins import FIELD
from windlass.registry.rows import Rows
from windlass.store.blobs import BlobStore
from windlass.store.meta import read, write
from windlass.store.packs import Line, Pack, Packs
from windlass.store.tables import erased_rows, layouts, links, origins, versions

PARQUET = b"PAR1"
LOOKED_INTO = 64_000_000  # bytes of a blob that a name is looked for in
AT_ONCE = 500
ACTOR = Actor("windlass", "owner")


class RowRoom:
    """`Room` of datasets."""

    def __init__(self, engine: Engine, blobs: BlobStore, packs: Packs, rows: Rows, edits: Edits) -> None:
        self._engine = engine
        self._blobs = blobs
        self._packs = packs
        self._rows = rows
        self._edits = edits

    async def find(self, subject: Subject) -> Sequence[Place]:
        count = await asyncio.to_thread(self._find, subject)
        return [Place("rows", count)] if count else []

    def _find(self, subject: Subject) -> int:
        """How many different rows lie in packs."""
        keys, found = self._made_of(subject), set[str]()
        for pack in self._of(subject.project)[0]:
            for key, line in self._packs.all([pack]):
                if key in keys or self._is_theirs(subject, line):
                    found.add(digest := hashlib.sha256(line).hexdigest())
                    subject.rows[digest] = (key, line)
                    subject.heard(line.decode())
        self._leave_common(subject)
        subject.datasets.update(ref.name for ref, _ in self._versions(subject) if ref.kind == "dataset")
        return len(found)

    def _leave_common(self, subject: Subject) -> None:
        """What another row says too is nobody's words."""
        for pack in self._of(subject.project)[0] if subject.texts else ():
            for _, line in self._packs.all([pack]):
                if hashlib.sha256(line).hexdigest() not in subject.rows:
                    subject.said_by_others(line.decode())

    def _made_of(self, subject: Subject) -> set[str]:
        """Keys of rows that were made of their traces, where a key says so itself: another is known by what the row says it was made of."""
        o, traces, found = origins.c, sorted(subject.traces), set[str]()
        with read(self._engine) as c:
            for start in range(0, len(traces), AT_ONCE):
                some = traces[start : start + AT_ONCE]
                made = c.execute(select(o.trace, o.key).where(o.project == subject.project, o.trace.in_(some)))
                found.update(row.key for row in made if row.trace[:16] in row.key)
        return found

    @staticmethod
    def _is_theirs(subject: Subject, line: bytes) -> bool:
        text = line.decode()
        named = any(name in text or msgspec.json.encode(name).decode()[1:-1] in text for name in subject.names)
        if named or f'"{FIELD}"' in text:  # else there is nothing to take apart
            row: dict[str, Any] = msgspec.json.decode(line)
            origin = row.get(FIELD)
            if isinstance(origin, dict) and subject.traces & {v for v in origin.values() if isinstance(v, str)}:
                return True
            if named and subject.is_theirs(row):
                return True
        return subject.mentions and subject.names_them(text)

    def _of(self, project: str) -> tuple[list[str], set[str]]:
        """Packs that rows of a project may lie in: those its layouts name, and those that none names, as what was sent and never kept.
        And those that another project names too."""
        mine, others = set[str](), set[str]()
        with read(self._engine) as c:
            for row in c.execute(select(layouts.c.project, layouts.c.packs)):
                (mine if row.project == project else others).update(p.digest for p in msgspec.json.decode(row.packs, type=list[Pack]))
        loose = [d for d in self._blobs.all() if d not in mine and d not in others and self._begins(d) == PARQUET]
        return [*sorted(mine), *loose], others

    def _begins(self, digest: str) -> bytes:
        try:
            with self._blobs.local(digest).open("rb") as file:
                return file.read(len(PARQUET))
        except (NotFound, FileNotFoundError):  # somebody dropped it meanwhile
            return b""

    def _versions(self, subject: Subject) -> Iterator[tuple[Ref, int]]:
        """Versions that have some of the rows, and how many."""
        wanted = {key: bytes.fromhex(digest) for digest, (key, _) in subject.rows.items()}
        v = versions.c
        if not wanted:
            return
        with read(self._engine) as c:
            found = c.execute(select(v.kind, v.name, v.digest, v.body).where(v.project == subject.project, v.kind.in_(ROWS))).all()
        for row in found:
            try:
                tree = self._rows.tree(subject.project, msgspec.json.decode(row.body)["rows"])
            except (NotFound, KeyError):
                continue
            digests = {bytes.fromhex(d) for d in subject.rows}
            if count := sum(tree.get(key) in digests for key in wanted):
                yield Ref(row.kind, row.name, row.digest, None, subject.project), count

    async def erase(self, subject: Subject) -> Sequence[Place]:
        if not subject.rows and not subject.traces:
            return []
        return await asyncio.to_thread(self._erase, subject)

    def _erase(self, subject: Subject) -> Sequence[Place]:
        self._leave_branches(subject)
        self._mark(subject)
        packs, others = self._of(subject.project)
        rewritten = sum(self._rewrite(subject, pack, pack in others) for pack in packs)
        o, traces = origins.c, sorted(subject.traces)
        with write(self._engine) as c:
            for start in range(0, len(traces), AT_ONCE):
                c.execute(delete(origins).where(o.project == subject.project, o.trace.in_(traces[start : start + AT_ONCE])))
        return [Place(name, n) for name, n in (("rows", len(subject.rows)), ("packs", rewritten)) if n]

    def _leave_branches(self, subject: Subject) -> None:
        """What is made of a dataset from now on has the rows no more."""
        keys = {key: bytes.fromhex(digest) for digest, (key, _) in subject.rows.items()}
        for name in sorted(subject.datasets):
            with read(self._engine) as c:
                digest = labels.current(c, Ref("dataset", name, None, MAIN, subject.project), MAIN)
                body = c.execute(select(versions.c.body).where(versions.c.project == subject.project, versions.c.digest == digest)).scalar()
            tree = self._rows.tree(subject.project, msgspec.json.decode(body)["rows"]) if body else None
            gone = tuple(key for key, d in keys.items() if tree is not None and tree.get(key) == d)
            if gone:
                edit = EditRequest(f"dataset/{name}", remove=gone, project=subject.project, message="rows were erased")
                self._edits.edit(ACTOR, edit)

    def _mark(self, subject: Subject) -> None:
        """From here on nobody takes the rows again, and whoever misses one knows why."""
        e, at = erased_rows.c, now_ns()
        with write(self._engine) as c:
            there = set(c.execute(select(e.row).where(e.project == subject.project)).scalars())
            new = [{"project": subject.project, "row": d, "erasure": subject.erasure, "at_ns": at} for d in subject.rows if d not in there]
            if new:
                c.execute(insert(erased_rows), new)

    def _rewrite(self, subject: Subject, pack: str, shared: bool) -> bool:
        """A pack without the rows in the place of one with them. One that another project names is kept for it."""
        kept, found = list[Line](), False
        for key, line in self._packs.all([pack]):
            if hashlib.sha256(line).hexdigest() in subject.rows:
                found = True
            else:
                kept.append((key, line))
        if not found:
            return False
        new = self._packs.write(kept)
        with write(self._engine) as c:
            for row in c.execute(select(layouts.c.rows, layouts.c.packs).where(layouts.c.project == subject.project)).all():
                named = msgspec.json.decode(row.packs, type=list[Pack])
                if any(p.digest == pack for p in named):
                    now = [q for p in named for q in (new if p.digest == pack else [p])]
                    values = {"packs": msgspec.json.encode(now).decode()}
                    c.execute(update(layouts).where(layouts.c.project == subject.project, layouts.c.rows == row.rows).values(**values))
        if not shared and all(p.digest != pack for p in new):
            self._blobs.drop(pack)
        return True

    async def left(self, subject: Subject) -> Sequence[Left]:
        return await asyncio.to_thread(self._left, subject) if subject.spelled else []

    def _left(self, subject: Subject) -> Sequence[Left]:
        packs, _ = self._of(subject.project)
        rows = sum(subject.names_them(line.decode()) for pack in packs for _, line in self._packs.all([pack]))
        told, blobs = set(packs), 0
        for digest in self._blobs.all():
            blobs += digest not in told and self._named_in(subject, digest)
        found = [Left("rows", rows, "rows of others in which a name stands: erase with mentions")] if rows else []
        why = "what was pushed from a folder, of any project, or keys of rows: change it there"
        return [*found, *([Left("other blobs", blobs, why)] if blobs else [])]

    def _named_in(self, subject: Subject, digest: str) -> bool:
        size, held = 0, ""
        for piece in self._blobs.pieces(digest):
            text = held + piece.decode("utf-8", "replace")
            if text.startswith("PAR1"):
                return False
            if subject.names_them(text):
                return True
            held, size = text[-400:], size + len(piece)
            if size > LOOKED_INTO:
                break
        return False

    async def affected(self, subject: Subject) -> Sequence[Affected]:
        return await asyncio.to_thread(self._affected, subject)

    def _affected(self, subject: Subject) -> Sequence[Affected]:
        found: dict[str, Affected] = {}
        t = links.c
        for ref, count in self._versions(subject):
            with read(self._engine) as c:
                same = (t.project == subject.project, t.to_kind == ref.kind, t.to_name == ref.name, t.to_digest == ref.digest)
                users = c.execute(select(t.kind, t.name, t.digest, t.relation).where(*same)).all()
            for user in users:
                by = Ref(user.kind, user.name, user.digest, None, subject.project)
                rows = f"{count} erased row{'s' if count > 1 else ''} of {ref.short}"
                if user.kind not in ROWS:
                    found.setdefault(str(by), Affected(str(by), f"trained on {rows}" if user.relation == "trained-on" else f"uses {rows}"))
        return tuple(found.values())
