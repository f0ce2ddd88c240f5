"""Verify: re-derive every digest and link from the bytes, and say what disagrees.

Believes nothing that is stored: bodies are hashed again, code is held against its snapshot, links against bodies, labels against
their history, rows against manifests, blobs against their names, the audit against its chain. Reports each disagreement; mends
nothing.
"""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Row, Select, Table, select

from windlass.core.actor import Actor
from windlass.core.artifacts import Version, body_digest, check_body
from windlass.core.digest import canonical, short
from windlass.core.errors import Invalid, WindlassError
from windlass.core.operations.registry import Disagreement, VerifyQuery, VerifyReport
from windlass.core.ref import ENVIRONMENTS, ROWS, Ref
from windlass.core.weights import decode_weights
from windlass.govern import audit
from windlass.govern.permissions import guard
from windlass.registry.datasets import Datasets
from windlass.registry.push import blobs_of
from windlass.registry.references import check_references
from windlass.registry.snapshots import read_code, read_files, read_snapshot
from windlass.registry.versions import fetch
from windlass.registry.weights import manifest_of
from windlass.store.blobs import BlobStore
from windlass.store.meta import read
from windlass.store.tables import label_moves, labels, links, verdicts, versions

Known = set[tuple[str, str, str, str]]  # project, kind, name, digest


class Verify:
    """Service of integrity."""

    def __init__(self, engine: Engine, blobs: BlobStore, datasets: Datasets) -> None:
        self._engine = engine
        self._blobs = blobs
        self._datasets = datasets

    def verify(self, actor: Actor, query: VerifyQuery) -> VerifyReport:
        """Operation `registry.verify`, of one project or of all (an owner only; then of every blob too, wanted or not)."""
        guard(actor, "read" if query.project else "admin", query.project or actor.project)
        return _Check(self._blobs, self._datasets, query.project).run(self._engine)

    def of(self, version: Version) -> list[str]:
        """What is wrong with one version, a sentence each."""
        check = _Check(self._blobs, self._datasets, version.project)
        v = versions.c
        same = (v.project == version.project, v.kind == version.kind, v.name == version.name, v.digest == version.digest)
        with read(self._engine) as c:
            check._version(c, c.execute(select(versions).where(*same)).one())
        check._blobs_themselves()
        return [p.problem for p in check._problems]


class _Check:
    """One verification: what it found so far, and which blobs somebody needs."""

    def __init__(self, blobs: BlobStore, datasets: Datasets, project: str | None) -> None:
        self._blobs = blobs
        self._datasets = datasets
        self._project = project
        self._problems: list[Disagreement] = []
        self._needed: dict[str, str] = {}  # blob → whose
        self._snapshots: dict[str, dict[str, str] | None] = {}

    def run(self, engine: Engine) -> VerifyReport:
        known: Known = set()
        with read(engine) as c:
            for row in c.execute(self._of(versions)):
                known.add((row.project, row.kind, row.name, row.digest))
                self._version(c, row)
            count = self._links(c, known)
            self._labels(c, known)
            if broken := audit.verify(c):
                self._say("audit", broken)
        checked = self._blobs_themselves()
        return VerifyReport(len(known), count, checked, tuple(self._problems))

    def _of(self, table: Table) -> Select[Any]:
        chosen = select(table)
        return chosen.where(table.c.project == self._project) if self._project else chosen

    def _say(self, what: str, problem: str) -> None:
        self._problems.append(Disagreement(what, problem))

    def _version(self, c: Connection, row: Row[Any]) -> None:
        ref = Ref(row.kind, row.name, row.digest, None, row.project)
        what = str(ref)
        try:
            version = fetch(c, ref)
            derived = body_digest(version.kind, version.body)
            if canonical(version.body).decode() != row.body:
                self._say(what, "its stored body is not canonical")
        except (msgspec.DecodeError, UnicodeDecodeError, WindlassError) as e:
            self._say(what, f"it cannot be read: {e}")
            return
        if derived != version.digest:
            self._say(what, f"its body gives {short(derived, 12)}")
            return
        try:
            check_body(version.kind, version.body)
            check_references(version)
        except WindlassError as e:
            self._say(what, e.message)
        for blob in blobs_of(version):
            self._needed.setdefault(blob, what)
        self._weights(version, what)
        if row.snapshot:
            self._needed.setdefault(row.snapshot, what)
            if (files := self._snapshot(row.snapshot, what)) is not None:
                for problem in [*read_files(version, files), *read_code(version, files, self._blobs)]:
                    self._say(what, problem)
        self._rows(version, what)

    def _weights(self, version: Version, what: str) -> None:
        """Every file that a manifest names is needed; that the manifest itself is there is said among the blobs."""
        if (manifest := manifest_of(version)) is None or not self._whole(manifest):
            return
        try:
            weights = decode_weights(self._blobs.get(manifest))
        except WindlassError as e:
            self._say(what, e.message)
            return
        for path, digest in weights.files.items():
            self._needed.setdefault(digest, f"{path} of {what}")
        if weights.base:
            self._needed.setdefault(weights.base, f"the base of {what}")

    def _rows(self, version: Version, what: str) -> None:
        if version.kind in ROWS:
            try:
                blobs = self._datasets.blobs(version)
                for blob in blobs:
                    self._needed.setdefault(blob, what)
                if all(self._whole(blob) for blob in blobs):  # one that is not is reported once, among the blobs
                    for problem in self._datasets.disagreements(version):
                        self._say(what, problem)
            except WindlassError as e:
                self._say(what, e.message)

    def _whole(self, blob: str) -> bool:
        try:
            for _ in self._blobs.pieces(blob):
                pass
        except WindlassError:
            return False
        return True

    def _snapshot(self, digest: str, what: str) -> dict[str, str] | None:
        """The files of a snapshot, which are needed too. None when it cannot be read."""
        if digest not in self._snapshots:
            self._snapshots[digest] = None
            try:
                files = self._snapshots[digest] = read_snapshot(self._blobs.get(digest))
                for path, file in files.items():
                    self._needed.setdefault(file, f"{path} of {what}")
            except Invalid as e:
                self._say(what, f"its snapshot is none: {e.message}")
            except WindlassError:
                pass  # the blob itself is reported once, among the blobs
        return self._snapshots[digest]

    def _links(self, c: Connection, known: Known) -> int:
        count = 0
        for e in c.execute(self._of(links)):
            count += 1
            if (e.project, e.kind, e.name, e.digest) not in known:
                self._say(f"{e.kind}/{e.name}@{e.digest}", "it has links, and is not there")
            if (e.project, e.to_kind, e.to_name, e.to_digest) not in known:
                self._say(f"{e.kind}/{e.name}@{e.digest}", f"links to {e.to_kind}/{e.to_name}@{short(e.to_digest)}, which is not there")
        return count

    def _labels(self, c: Connection, known: Known) -> None:
        """Every label points where its last move left it, and every move starts where the one before ended."""
        at: dict[tuple[str, str, str, str], str] = {}
        proven = set(c.execute(select(verdicts.c.id)).scalars())
        for m in c.execute(self._of(label_moves).order_by(label_moves.c.id)):
            label, what = (m.project, m.kind, m.name, m.label), f"{m.kind}/{m.name}:{m.label}"
            if at.get(label) != m.before:
                self._say(what, f"its history breaks at {short(m.after)}: it did not point to what the move says")
            if m.label in ENVIRONMENTS and m.verdict is not None and m.verdict not in proven:
                self._say(what, f"it was moved by verdict {m.verdict}, which is not there")
            at[label] = m.after
        for row in c.execute(self._of(labels)):
            what = f"{row.kind}/{row.name}:{row.label}"
            if (row.project, row.kind, row.name, row.digest) not in known:
                self._say(what, f"points to {short(row.digest)}, which is not there")
            if at.pop((row.project, row.kind, row.name, row.label), None) != row.digest:
                self._say(what, f"points to {short(row.digest)}, and its history does not")
        for _, kind, name, gone in at:
            self._say(f"{kind}/{name}:{gone}", "it has a history, and is not there")

    def _blobs_themselves(self) -> int:
        everything = dict(self._needed)
        if self._project is None:
            for digest in self._blobs.all():
                everything.setdefault(digest, "nobody")
        for digest, whose in everything.items():
            try:
                for _ in self._blobs.pieces(digest):
                    pass
            except WindlassError as e:
                self._say(digest, f"{e.message} (of {whose})")
        return len(everything)
