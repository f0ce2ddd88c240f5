"""Push: a bundle becomes versions, links and branch labels, all or nothing, in one transaction.

Everything is re-derived here: digests from bodies, dependencies from bodies against links, blobs from their bytes' names. What
a client says about identity is never believed.
"""

from __future__ import annotations

from sqlalchemy import Connection, Engine, insert, select

from windlass.core.actor import Actor
from windlass.core.artifacts import Version, body_digest, check_body
from windlass.core.digest import canonical, is_digest, short
from windlass.core.errors import Conflict, Invalid
from windlass.core.ids import now_ns
from windlass.core.operations.registry import BlobQuery, BlobsMissing, Bundle, Change, PushReport
from windlass.core.ref import ENVIRONMENTS, Ref, check_label, check_name
from windlass.govern import audit
from windlass.govern.permissions import guard
from windlass.registry import labels
from windlass.registry.changes import why
from windlass.registry.datasets import ROWS, disagreements
from windlass.registry.references import Key, check_cycles, check_names, check_references
from windlass.registry.snapshots import read_files, read_snapshot
from windlass.registry.versions import fetch, newest
from windlass.store.blobs import BlobStore
from windlass.store.meta import read, write
from windlass.store.tables import links, versions

MAIN = "main"  # what a new branch is compared with


class Push:
    """Service of registration."""

    def __init__(self, engine: Engine, blobs: BlobStore) -> None:
        self._engine = engine
        self._blobs = blobs

    def missing(self, actor: Actor, query: BlobQuery) -> BlobsMissing:
        """Operation `blobs.missing`: which of these the server has not."""
        guard(actor, "write", actor.project)
        return BlobsMissing(tuple(self._blobs.missing(query.digests)))

    def push(self, actor: Actor, bundle: Bundle) -> PushReport:
        """Operation `registry.push`.

        Raises `Invalid` naming the version that is wrong; then nothing was registered. Raises `Conflict` when somebody pushed since
        the dry run that `expected` comes from; then the versions are there and no label was moved.
        """
        guard(actor, "write", bundle.project)
        check_name(bundle.project, what="project")
        if bundle.branch in ENVIRONMENTS:
            raise Invalid(f"{bundle.branch!r} is an environment, not a branch", remedy="name another branch")
        check_label(bundle.branch)
        given = {(v.kind, v.name, v.digest): v for v in bundle.versions}
        for version in given.values():
            _check(version, bundle.project)
        check_names(given)
        check_cycles(given)
        if bundle.dry:
            with read(self._engine) as c:
                return self._report(c, bundle, given)
        self._check_blobs(bundle)
        with write(self._engine) as c:
            report = self._report(c, bundle, given)
            lost = [x for x in report.changes if x.status != "unchanged" and _overtaken(x, bundle)]
            self._register(c, actor, bundle, given, labels_too=not lost)
            changed = [f"{x.kind}/{x.name}@{short(x.digest)}" for x in report.changes if x.status != "unchanged"]
            seen = {"branch": bundle.branch, "snapshot": bundle.snapshot, "changed": changed, "overtaken": bool(lost)}
            audit.record(c, actor, "registry.push", bundle.project, bundle.workspace, **seen)
        if lost:
            raise _conflict(lost[0], bundle)
        return report

    def _check_blobs(self, bundle: Bundle) -> None:
        wanted = {bundle.snapshot: "the snapshot"}
        for v in bundle.versions:
            for blob in blobs_of(v):
                wanted.setdefault(blob, v.ref.short)
        for digest, whose in wanted.items():
            if not is_digest(digest):
                raise Invalid(f"{digest!r} is not a whole digest", where=whose)
        if gone := self._blobs.missing(wanted):
            raise Invalid(f"the bytes of {wanted[gone[0]]} were not uploaded", remedy="upload what blobs.missing names, then push")
        files = read_snapshot(self._blobs.get(bundle.snapshot))
        if gone := self._blobs.missing(files.values()):
            path = next(p for p, d in files.items() if d == gone[0])
            raise Invalid(f"the bytes of {path} were not uploaded", where="the snapshot")
        with read(self._engine) as c:
            known = {(v.kind, v.name, v.digest) for v in bundle.versions if _exists(c, bundle.project, (v.kind, v.name, v.digest))}
        for v in bundle.versions:  # what is known was checked when it came, against the snapshot it came in
            if (v.kind, v.name, v.digest) not in known:
                wrong = read_files(v, files) + (disagreements(v, self._blobs) if v.kind in ROWS else [])
                if wrong:
                    raise Invalid(wrong[0], where=f"{v.kind}/{v.name}")

    def _report(self, c: Connection, bundle: Bundle, given: dict[Key, Version]) -> PushReport:
        for version in given.values():
            for link in version.links:
                target = (link.kind, link.name, link.digest)
                if target not in given and not _exists(c, bundle.project, target):
                    raise Invalid(
                        f"it links to {link.kind}/{link.name}@{short(link.digest)}, which is nowhere",
                        where=f"{version.kind}/{version.name}",
                    )
        changes = tuple(self._change(c, bundle, v) for _, v in sorted(given.items(), key=lambda i: i[0]))
        releases = tuple(str(v.ref) for v in given.values() if v.kind == "release")
        return PushReport(bundle.project, bundle.workspace, bundle.branch, changes, releases)

    def _change(self, c: Connection, bundle: Bundle, version: Version) -> Change:
        before = labels.current(c, version.ref, bundle.branch) or labels.current(c, version.ref, MAIN) or newest(c, version.ref)
        production = labels.current(c, version.ref, "production") if version.kind == "release" else None
        change = Change(version.kind, version.name, version.digest, "unchanged", before)
        change.candidate = version.kind == "release" and production != version.digest
        if before is None:
            change.status = "new"
        elif before != version.digest:
            change.status = "changed"
            change.why = why(fetch(c, Ref(version.kind, version.name, before, None, bundle.project)), version, self._blobs)
        return change

    def _register(self, c: Connection, actor: Actor, bundle: Bundle, given: dict[Key, Version], *, labels_too: bool) -> None:
        for key, version in sorted(given.items(), key=lambda i: i[0]):
            if not _exists(c, bundle.project, key):
                _insert(c, actor, version, bundle)
            points_to = labels.current(c, version.ref, bundle.branch)
            if labels_too and points_to != version.digest:
                labels.move_label(c, actor, version.ref, bundle.branch, points_to, how="branch")


def _check(version: Version, project: str) -> None:
    """One version by itself: its names, its body, its digest, its links. Raises `Invalid`."""
    where = f"{version.kind}/{version.name}"
    check_name(version.name)
    check_body(version.kind, version.body)
    if version.project != project:
        raise Invalid(f"it belongs to project {version.project}, not {project}", where=where)
    if (derived := body_digest(version.kind, version.body)) != version.digest:
        raise Invalid(
            f"its digest is {short(derived, 12)}, not {short(version.digest, 12)}",
            where=where,
            remedy="push again with the same Windlass",
        )
    packs = version.neutral.get("packs", [])
    if not isinstance(packs, (list, tuple)) or not all(isinstance(p, str) for p in packs):
        raise Invalid("its packs are not a list of digests", where=where)
    check_references(version)


def _overtaken(change: Change, bundle: Bundle) -> bool:
    name = f"{change.kind}/{change.name}"
    return name in bundle.expected and bundle.expected[name] != change.before


def _conflict(change: Change, bundle: Bundle) -> Conflict:
    return Conflict(
        f"somebody pushed {change.kind}/{change.name} meanwhile: {bundle.branch} has {short(change.before) if change.before else 'none'}",
        where=f"branch {bundle.branch}",
        remedy=f"your versions are kept ({change.kind}/{change.name}@{short(change.digest)}); look at the difference, then push again",
        current=change.before,
        pushed=change.digest,
    )


def blobs_of(version: Version) -> list[str]:
    """The blobs a version's bytes lie in."""
    body = version.body
    if version.kind in ROWS:
        return [body["rows"], *version.neutral.get("packs", ())]
    if version.kind == "index":
        return [body["chunks"]]
    return [body["weights"]] if version.kind == "adapter" else []


def _exists(c: Connection, project: str, key: Key) -> bool:
    v = versions.c
    found = select(v.digest).where(v.project == project, v.kind == key[0], v.name == key[1], v.digest == key[2])
    return c.execute(found).first() is not None


def _insert(c: Connection, actor: Actor, version: Version, bundle: Bundle) -> None:
    key = {"project": version.project, "kind": version.kind, "name": version.name, "digest": version.digest}
    c.execute(
        insert(versions).values(
            **key,
            body=canonical(version.body).decode(),
            neutral=canonical({**version.neutral, "workspace": bundle.workspace}).decode(),
            snapshot=bundle.snapshot,
            created_ns=now_ns(),
            actor=actor.id,
        )
    )
    rows = [
        {**key, "relation": k.relation, "role": k.role, "to_kind": k.kind, "to_name": k.name, "to_digest": k.digest}
        for k in sorted(set(version.links))
    ]
    if rows:
        c.execute(insert(links), rows)
