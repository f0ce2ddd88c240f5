"""Push: a bundle becomes versions, links and branch labels, all or nothing, in one transaction.

Everything is re-derived here: digests from bodies, dependencies from bodies against links, blobs from their bytes' names. What
a client says about identity is never believed.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from sqlalchemy import Connection, Engine, insert, select

from windlass.core.actor import Actor
from windlass.core.artifacts import Version, body_digest, check_body, dependencies
from windlass.core.digest import canonical, is_digest, short
from windlass.core.errors import Invalid
from windlass.core.ids import now_ns
from windlass.core.operations.registry import BlobQuery, BlobsMissing, Bundle, Change, PushReport
from windlass.core.ref import ENVIRONMENTS, Ref, check_label, check_name
from windlass.govern import audit
from windlass.govern.permissions import guard
from windlass.registry import labels
from windlass.registry.changes import why
from windlass.registry.versions import fetch
from windlass.store.blobs import BlobStore
from windlass.store.meta import read, write
from windlass.store.tables import links, versions

Key = tuple[str, str, str]  # kind, name, digest


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
        """Operation `registry.push`. Raises `Invalid` naming the version that is wrong; then nothing was registered."""
        guard(actor, "write", bundle.project)
        check_name(bundle.project, what="project")
        if bundle.branch in ENVIRONMENTS:
            raise Invalid(f"{bundle.branch!r} is an environment, not a branch", remedy="name another branch")
        check_label(bundle.branch)
        given = {(v.kind, v.name, v.digest): v for v in bundle.versions}
        for version in given.values():
            self._check(version, bundle.project)
        self._check_blobs(bundle)
        _check_cycles(given)
        if bundle.dry:
            with read(self._engine) as c:
                return self._register(c, actor, bundle, given)
        with write(self._engine) as c:
            report = self._register(c, actor, bundle, given)
            changed = [f"{x.kind}/{x.name}@{short(x.digest)}" for x in report.changes if x.status != "unchanged"]
            audit.record(c, actor, "registry.push", bundle.project, bundle.workspace, branch=bundle.branch, changed=changed)
        return report

    def _check(self, version: Version, project: str) -> None:
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
        linked = {k.digest for k in version.links if k.relation == "uses"}
        if loose := dependencies(version.kind, version.body) - linked:
            raise Invalid(f"it uses {short(min(loose), 12)} without a link that names it", where=where)

    def _check_blobs(self, bundle: Bundle) -> None:
        wanted = {bundle.snapshot: "the snapshot"}
        for v in bundle.versions:
            for blob in blobs_of(v):
                wanted[blob] = v.ref.short
        for digest, whose in wanted.items():
            if not is_digest(digest):
                raise Invalid(f"{digest!r} is not a whole digest", where=whose)
        if gone := self._blobs.missing(wanted):
            raise Invalid(f"the bytes of {wanted[gone[0]]} were not uploaded", remedy="upload what blobs.missing names, then push")
        files = msgspec.json.decode(self._blobs.get(bundle.snapshot), type=dict[str, str])
        if gone := self._blobs.missing(files.values()):
            path = next(p for p, d in files.items() if d == gone[0])
            raise Invalid(f"the bytes of {path} were not uploaded", where="the snapshot")

    def _register(self, c: Connection, actor: Actor, bundle: Bundle, given: dict[Key, Version]) -> PushReport:
        known = _known(c, bundle.project, given)
        for version in given.values():
            for link in version.links:
                target = (link.kind, link.name, link.digest)
                if target not in given and target not in known and not _exists(c, bundle.project, target):
                    raise Invalid(
                        f"it links to {link.kind}/{link.name}@{short(link.digest)}, which is nowhere",
                        where=f"{version.kind}/{version.name}",
                    )
        changes = tuple(self._one(c, actor, bundle, v, v_key in known) for v_key, v in sorted(given.items()))
        releases = tuple(str(v.ref) for v in given.values() if v.kind == "release")
        return PushReport(bundle.project, bundle.workspace, bundle.branch, changes, releases)

    def _one(self, c: Connection, actor: Actor, bundle: Bundle, version: Version, known: bool) -> Change:
        before = labels.current(c, version.ref, bundle.branch)
        production = labels.current(c, version.ref, "production") if version.kind == "release" else None
        change = Change(version.kind, version.name, version.digest, "unchanged", before)
        change.candidate = version.kind == "release" and production != version.digest
        if before is None:
            change.status = "unchanged" if known else "new"
        elif before != version.digest:
            change.status = "changed"
            change.why = why(fetch(c, Ref(version.kind, version.name, before, None, bundle.project)), version)
        if bundle.dry:
            return change
        if not known:
            _insert(c, actor, version, bundle.snapshot)
        if before != version.digest:
            labels.move_label(c, actor, version.ref, bundle.branch, before, how="branch")
        return change


def blobs_of(version: Version) -> list[str]:
    """The blobs a version's bytes lie in."""
    body = version.body
    if version.kind in ("dataset", "fewshot"):
        return [body["rows"], *version.neutral.get("packs", ())]
    if version.kind == "index":
        return [body["chunks"]]
    return [body["weights"]] if version.kind == "adapter" else []


def _known(c: Connection, project: str, given: Iterable[Key]) -> set[Key]:
    return {key for key in given if _exists(c, project, key)}


def _exists(c: Connection, project: str, key: Key) -> bool:
    v = versions.c
    found = select(v.digest).where(v.project == project, v.kind == key[0], v.name == key[1], v.digest == key[2])
    return c.execute(found).first() is not None


def _insert(c: Connection, actor: Actor, version: Version, snapshot: str) -> None:
    key = {"project": version.project, "kind": version.kind, "name": version.name, "digest": version.digest}
    c.execute(
        insert(versions).values(
            **key,
            body=canonical(version.body).decode(),
            neutral=canonical(version.neutral).decode(),
            snapshot=snapshot,
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


def _check_cycles(given: dict[Key, Version]) -> None:
    """Digests cannot form a cycle; names can, and a cycle of names means a malformed bundle. Raises `Invalid` naming it."""
    state: dict[Key, int] = {}
    for start in given:
        path: list[Key] = []
        stack: list[tuple[Key, bool]] = [(start, False)]
        while stack:
            key, done = stack.pop()
            if done:
                state[key] = 2
                path.pop()
                continue
            if state.get(key) == 2 or key not in given:
                continue
            if state.get(key) == 1:
                names = [f"{k}/{n}" for k, n, _ in [*path[path.index(key) :], key]]
                raise Invalid("these refer to each other in a circle: " + " → ".join(names))
            state[key] = 1
            path.append(key)
            stack.append((key, True))
            stack += [((k.kind, k.name, k.digest), False) for k in given[key].links]
