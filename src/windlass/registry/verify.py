"""Verify: re-derive every digest and link from the bytes, and say what disagrees."""

from __future__ import annotations

import msgspec
from sqlalchemy import Engine, select

from windlass.core.actor import Actor
from windlass.core.artifacts import Version, body_digest, check_body, dependencies
from windlass.core.dataset import read_manifest, read_pack
from windlass.core.digest import canonical, digest_json, short
from windlass.core.errors import WindlassError
from windlass.core.operations.registry import Disagreement, VerifyQuery, VerifyReport
from windlass.core.ref import Ref
from windlass.govern import audit
from windlass.govern.permissions import guard
from windlass.registry.push import blobs_of
from windlass.registry.versions import fetch
from windlass.store.blobs import BlobStore
from windlass.store.meta import read
from windlass.store.tables import labels, links, versions


class Verify:
    """Service of integrity."""

    def __init__(self, engine: Engine, blobs: BlobStore) -> None:
        self._engine = engine
        self._blobs = blobs

    def verify(self, actor: Actor, query: VerifyQuery) -> VerifyReport:
        """Operation `registry.verify`, of one project or of all (an owner only)."""
        guard(actor, "read" if query.project else "admin", query.project or actor.project)
        problems: list[Disagreement] = []
        known: set[tuple[str, str, str, str]] = set()
        needed: dict[str, str] = {}
        with read(self._engine) as c:
            rows = select(versions)
            if query.project:
                rows = rows.where(versions.c.project == query.project)
            count = 0
            for row in c.execute(rows):
                count += 1
                known.add((row.project, row.kind, row.name, row.digest))
                version = fetch(c, Ref(row.kind, row.name, row.digest, None, row.project))
                problems += [Disagreement(str(version.ref), p) for p in self._version(version, row.body, needed)]
                if row.snapshot:
                    needed.setdefault(row.snapshot, str(version.ref))
            edges = c.execute(select(links).where(*([links.c.project == query.project] if query.project else []))).all()
            for e in edges:
                if (e.project, e.to_kind, e.to_name, e.to_digest) not in known:
                    problems.append(
                        Disagreement(
                            f"{e.kind}/{e.name}@{e.digest}", f"links to {e.to_kind}/{e.to_name}@{short(e.to_digest)}, which is not there"
                        )
                    )
            for label in c.execute(select(labels).where(*([labels.c.project == query.project] if query.project else []))):
                if (label.project, label.kind, label.name, label.digest) not in known:
                    problems.append(
                        Disagreement(f"{label.kind}/{label.name}:{label.label}", f"points to {short(label.digest)}, which is not there")
                    )
            if broken := audit.verify(c):
                problems.append(Disagreement("audit", broken))
        problems += self._blobs_of(needed)
        return VerifyReport(count, len(edges), len(needed), tuple(problems))

    def _version(self, version: Version, stored: str, needed: dict[str, str]) -> list[str]:
        found = []
        if canonical(version.body).decode() != stored:
            found.append("its stored body is not canonical")
        if body_digest(version.kind, version.body) != version.digest:
            found.append(f"its body gives {short(body_digest(version.kind, version.body), 12)}")
            return found
        try:
            check_body(version.kind, version.body)
        except WindlassError as e:
            return [*found, str(e)]
        linked = {k.digest for k in version.links if k.relation == "uses"}
        found += [f"uses {short(d, 12)} without a link" for d in sorted(dependencies(version.kind, version.body) - linked)]
        needed.update({blob: str(version.ref) for blob in blobs_of(version)})
        try:
            found += self._rows(version)
        except WindlassError:
            pass  # the blob itself is reported once, below
        return found

    def _rows(self, version: Version) -> list[str]:
        if version.kind not in ("dataset", "fewshot"):
            return []
        rows = {r["key"]: digest_json(r) for pack in version.neutral.get("packs", ()) for r in read_pack(self._blobs.get(pack))}
        manifest = read_manifest(self._blobs.get(version.body["rows"]))
        wrong = [key for key, digest in manifest if rows.get(key) != digest]
        found = [f"row {key!r} is not what its digest says" for key in wrong[:20]]
        if len(manifest) != version.body["count"]:
            found.append(f"it says {version.body['count']} rows, and has {len(manifest)}")
        return found

    def _blobs_of(self, needed: dict[str, str]) -> list[Disagreement]:
        found, files = [], dict(needed)
        for digest, whose in list(needed.items()):
            try:
                data = self._blobs.get(digest)
            except WindlassError as e:
                found.append(Disagreement(digest, f"{e.message} (of {whose})"))
                continue
            if data.startswith(b"{"):
                try:
                    snapshot = msgspec.json.decode(data, type=dict[str, str])
                except msgspec.DecodeError:
                    continue
                files.update({d: f"{path} of {whose}" for path, d in snapshot.items() if d.startswith("sha256:")})
        for digest, whose in files.items():
            if digest in needed:
                continue
            try:
                self._blobs.get(digest)
            except WindlassError as e:
                found.append(Disagreement(digest, f"{e.message} ({whose})"))
        needed.update(files)
        return found
