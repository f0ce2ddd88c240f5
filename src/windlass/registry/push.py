"""Push: a bundle becomes versions, links and branch labels, all or nothing, in one transaction.

Everything is re-derived here: digests from bodies, dependencies from bodies against links, blobs from their bytes' names. What
a client says about identity is never believed.
"""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, Engine

from windlass.core.actor import Actor
from windlass.core.artifacts import Version, body_digest, check_body
from windlass.core.dataset import FORM, Tree
from windlass.core.digest import is_digest, short
from windlass.core.errors import Conflict, Invalid, NotFound
from windlass.core.operations.registry import BlobQuery, BlobsMissing, Bundle, Change, PushReport
from windlass.core.ref import ENVIRONMENTS, ROWS, Ref, check_label, check_name
from windlass.govern import audit
from windlass.govern.permissions import guard
from windlass.jobs.work import Jobs
from windlass.registry import labels
from windlass.registry.ancestry import last_pushed
from windlass.registry.changes import why
from windlass.registry.datasets import Datasets
from windlass.registry.lookalikes import check_looks
from windlass.registry.references import Key, check_cycles, check_names, check_references
from windlass.registry.registration import is_registered, register
from windlass.registry.snapshots import read_files, read_snapshot
from windlass.registry.versions import fetch, newest
from windlass.registry.weights import manifest_of
from windlass.store.blobs import BlobStore
from windlass.store.meta import read, write

MAIN = "main"  # what a new branch is compared with


class Push:
    """Service of registration."""

    def __init__(self, engine: Engine, blobs: BlobStore, datasets: Datasets, jobs: Jobs) -> None:
        self._engine = engine
        self._blobs = blobs
        self._datasets = datasets
        self._jobs = jobs

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
                check_looks(c, bundle.project, given)
                return self._report(c, bundle, given)
        self._check_blobs(bundle)
        with write(self._engine) as c:
            check_looks(c, bundle.project, given)
            report = self._report(c, bundle, given)
            lost = [x for x in report.changes if x.status != "unchanged" and _overtaken(x, bundle)]
            if not bundle.over:
                self._check_curated(c, bundle, given)
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
                if v.kind == "model" and not self._blobs.has(blob):
                    raise NotFound(f"there are no weights {v.body['model']} here", where=v.ref.short, remedy="windlass weights list")
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
            known = {(v.kind, v.name, v.digest) for v in bundle.versions if is_registered(c, bundle.project, (v.kind, v.name, v.digest))}
        for v in bundle.versions:  # what is known was checked when it came, against the snapshot it came in
            if (v.kind, v.name, v.digest) not in known:
                if wrong := read_files(v, files):
                    raise Invalid(wrong[0], where=f"{v.kind}/{v.name}")
                if v.kind in ROWS:
                    self._check_rows(v)

    def _check_rows(self, version: Version) -> None:
        """Rows were held against their root when they were kept."""
        where = f"{version.kind}/{version.name}"
        if version.body.get("form") != FORM:
            raise Invalid("its rows are named as they no longer are", where=where, remedy="push with the same Windlass as the server's")
        try:
            count = self._datasets.tree(version).count
        except NotFound:
            raise Invalid("its rows were not sent", where=where, remedy="send what rows.compare asks for, then push") from None
        if count != version.body["count"]:
            raise Invalid(f"it says {version.body['count']} rows, and has {count}", where=where)

    def _check_curated(self, c: Connection, bundle: Bundle, given: dict[Key, Version]) -> None:
        """What was changed on the server must not get lost by a push of an older file. Raises `Conflict` naming the rows."""
        for version in (v for v in given.values() if v.kind in ROWS):
            points_to = labels.current(c, version.ref, bundle.branch)
            if points_to is None or points_to == version.digest:
                continue
            now = fetch(c, Ref(version.kind, version.name, points_to, None, bundle.project))
            if "workspace" in now.neutral:
                continue
            pushed = last_pushed(c, now.ref)
            before = self._datasets.tree(pushed) if pushed else Tree([])
            mine = self._datasets.tree(version)
            lost = [key for key, (_, new) in before.to(self._datasets.tree(now)).keys.items() if mine.get(key) != new]
            if lost:
                some, one = ", ".join(repr(key) for key in lost[:3]), len(lost) == 1
                said = (
                    "1 row of the server's is not in the workspace as it is there"
                    if one
                    else (f"{len(lost)} rows of the server's are not in the workspace as they are there")
                )
                raise Conflict(
                    f"{said}: {some}",
                    where=f"{version.kind}/{version.name}:{bundle.branch}", current=points_to, keys=lost[:200],
                    remedy=f"windlass data pull {version.name}, then push; or push --over, which leaves them behind",
                )  # fmt: skip

    def _report(self, c: Connection, bundle: Bundle, given: dict[Key, Version]) -> PushReport:
        for version in given.values():
            for link in version.links:
                target = (link.kind, link.name, link.digest)
                if target not in given and not is_registered(c, bundle.project, target):
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
            change.why = why(fetch(c, Ref(version.kind, version.name, before, None, bundle.project)), version, self._datasets)
        return change

    def _register(self, c: Connection, actor: Actor, bundle: Bundle, given: dict[Key, Version], *, labels_too: bool) -> None:
        for key, version in sorted(given.items(), key=lambda i: i[0]):
            if not is_registered(c, bundle.project, key):
                kept = {**version.neutral, "workspace": bundle.workspace}
                register(c, actor, msgspec.structs.replace(version, neutral=kept), snapshot=bundle.snapshot)
                if version.body.get("encoder"):  # its vectors are made before somebody waits for them
                    self._jobs.hand_over(c, "index", bundle.project, f"{bundle.project}/index/{version.name}@{version.digest}")
            points_to = labels.current(c, version.ref, bundle.branch)
            if labels_too and points_to != version.digest:
                labels.move_label(c, actor, version.ref, bundle.branch, points_to, how="branch")


def _check(version: Version, project: str) -> None:
    """One version by itself: its names, its body, its digest, its links. Raises `Invalid`."""
    where = f"{version.kind}/{version.name}"
    if version.kind == "pin":
        raise Invalid("a pin is what the server itself read", where=where, remedy="windlass pin add")
    if version.kind == "alert":  # it makes the server reach outward, which is not for everybody to say
        raise Invalid("an alert is set on the server", where=where, remedy="windlass alert set")
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
    """The blobs a version's bytes lie in, beside its rows."""
    body = version.body
    if version.kind == "index":
        return [body["chunks"]]
    if version.kind == "pin":
        return [tree] if (tree := version.neutral.get("tree")) else []
    return [manifest] if (manifest := manifest_of(version)) else []
