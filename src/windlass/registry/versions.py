"""Versions: find one by ref, list them, show one with what surrounds it."""

from __future__ import annotations

import difflib
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Row, and_, func, or_, select

from windlass.core.actor import Actor
from windlass.core.artifacts import EFFECTS, Effects, Link, Version
from windlass.core.digest import TAG, short
from windlass.core.errors import Invalid, NotFound
from windlass.core.operations.registry import (
    ArtifactPage,
    ArtifactQuery,
    ArtifactSummary,
    RefQuery,
    VersionDetail,
    VersionPage,
    VersionQuery,
    VersionSummary,
)
from windlass.core.ref import ENVIRONMENTS, MAIN, ROWS, Ref, parse_ref
from windlass.govern.permissions import guard
from windlass.registry.content import content_of
from windlass.store.blobs import BlobStore
from windlass.store.meta import read
from windlass.store.tables import label_moves, labels, links, versions

MOST = 200


class Versions:
    """Reads versions. Exact versions never change, so whoever reads one may keep it."""

    def __init__(self, engine: Engine, blobs: BlobStore) -> None:
        self._engine = engine
        self._blobs = blobs

    def get(self, project: str, kind: str, name: str, digest: str) -> Version:
        """One version by its whole digest. Raises `NotFound`."""
        with read(self._engine) as c:
            return fetch(c, Ref(kind, name, digest, None, project))

    def resolve(self, ref: Ref) -> Ref:
        """The ref with its whole digest: by digest prefix, by label, or the newest. Raises `NotFound`, `Invalid` when ambiguous."""
        with read(self._engine) as c:
            return resolve(c, ref)

    def in_order(self, ref: Ref) -> tuple[list[str], tuple[str, ...]]:
        """Digests of all versions of a name, the oldest first, and the labels of the one that `ref` names exactly."""
        v = versions.c
        with read(self._engine) as c:
            found = select(v.digest).where(v.project == ref.project, v.kind == ref.kind, v.name == ref.name)
            digests = list(c.execute(found.order_by(v.created_ns, v.digest.desc())).scalars())
            return digests, tuple(labels_by_digest(c, ref).get(ref.digest or "", ()))

    def snapshot(self, project: str, kind: str, name: str, digest: str) -> str | None:
        """The digest of the first snapshot a version came in; None when it came without one."""
        with read(self._engine) as c:
            return c.execute(select(versions.c.snapshot).where(*_is(Ref(kind, name, digest, None, project)))).scalar()

    def effects(self, project: str, kind: str, name: str, digest: str) -> tuple[Effects, str]:
        """What a version's code does to the world; see `effects`."""
        with read(self._engine) as c:
            return effects(c, fetch(c, Ref(kind, name, digest, None, project)))

    def closure(self, ref: Ref) -> list[Version]:
        """A version and everything it uses, itself first, each once."""
        with read(self._engine) as c:
            return closure(c, resolve(c, ref))

    def list(self, actor: Actor, query: ArtifactQuery) -> ArtifactPage:
        """Operation `artifacts.list`: one entry for each name, by kind and name."""
        guard(actor, "read", query.project)
        limit = query.limit
        v = versions
        with read(self._engine) as c:
            found = select(v.c.kind, v.c.name, func.count().label("n"), func.max(v.c.created_ns).label("at")).where(
                v.c.project == query.project
            )
            if query.kind:
                found = found.where(v.c.kind == query.kind)
            if query.search:
                found = found.where(v.c.name.contains(query.search.lower(), autoescape=True))
            if query.cursor:
                kind, _, name = query.cursor.partition("/")
                found = found.where(or_(v.c.kind > kind, and_(v.c.kind == kind, v.c.name > name)))
            rows = c.execute(found.group_by(v.c.kind, v.c.name).order_by(v.c.kind, v.c.name).limit(limit + 1)).all()
            items = tuple(self._summary(c, query.project, r.kind, r.name, r.n, r.at) for r in rows[:limit])
            kinds = c.execute(
                select(v.c.kind, func.count(v.c.name.distinct())).where(v.c.project == query.project).group_by(v.c.kind)
            ).all()
        more = f"{items[-1].kind}/{items[-1].name}" if len(rows) > limit else None
        return ArtifactPage(items=items, next=more, kinds=dict(kinds))

    def _summary(self, c: Connection, project: str, kind: str, name: str, count: int, at: int) -> ArtifactSummary:
        ref = Ref(kind, name, None, None, project)
        digest = newest(c, ref) or ""
        found = c.execute(select(versions.c.neutral, versions.c.body).where(*_is(Ref(kind, name, digest, None, project)))).one()
        neutral, rows = msgspec.json.decode(found.neutral), msgspec.json.decode(found.body).get("count")
        mine = c.execute(
            select(labels.c.label, labels.c.digest).where(labels.c.project == project, labels.c.kind == kind, labels.c.name == name)
        ).all()
        said = str(neutral.get("description") or "")
        return ArtifactSummary(kind, name, digest, count, at, dict(mine), said, neutral.get("workspace"), rows)

    def versions(self, actor: Actor, query: VersionQuery) -> VersionPage:
        """Operation `versions.list`: versions of one name, newest first."""
        ref = parse_ref(query.ref, project=query.project)
        guard(actor, "read", ref.project)
        limit = query.limit
        v = versions
        with read(self._engine) as c:
            found = select(v).where(v.c.project == ref.project, v.c.kind == ref.kind, v.c.name == ref.name)
            if query.cursor:
                at, _, digest = query.cursor.partition("-")
                if not at.isdigit():
                    raise Invalid("this cursor is not one of ours", remedy="start from the first page")
                found = found.where(or_(v.c.created_ns < int(at), and_(v.c.created_ns == int(at), v.c.digest > digest)))
            rows = c.execute(found.order_by(v.c.created_ns.desc(), v.c.digest).limit(limit + 1)).all()
            if not rows and not query.cursor:
                raise _unknown(c, ref)
            named = labels_by_digest(c, ref)
        items = tuple(
            VersionSummary(r.kind, r.name, r.digest, r.created_ns, r.actor, tuple(named.get(r.digest, ())), _note(r)) for r in rows[:limit]
        )
        last = rows[limit - 1] if len(rows) > limit else None
        more = f"{last.created_ns}-{last.digest}" if last else None
        return VersionPage(items=items, next=more, labels={label: digest for digest, found in named.items() for label in found})

    def show(self, actor: Actor, query: RefQuery) -> VersionDetail:
        """Operation `versions.show`."""
        ref = parse_ref(query.ref, project=query.project)
        guard(actor, "read", ref.project)
        with read(self._engine) as c:
            ref = resolve(c, ref)
            version = fetch(c, ref)
            row = c.execute(select(versions.c.created_ns, versions.c.actor, versions.c.snapshot).where(*_is(ref))).one()
            above = c.execute(
                select(links.c.kind, links.c.name, links.c.digest)
                .where(
                    links.c.project == ref.project,
                    links.c.to_kind == ref.kind,
                    links.c.to_name == ref.name,
                    links.c.to_digest == ref.digest,
                )
                .distinct()
                .limit(MOST)
            ).all()
            named = labels_by_digest(c, ref).get(version.digest, [])
        used_by = tuple(sorted(str(Ref(k, n, d, None, ref.project)) for k, n, d in above))
        content = content_of(version, self._blobs)
        return VersionDetail(version, row.created_ns, row.actor, tuple(named), used_by, content, row.snapshot)


def _note(row: Row[Any]) -> str:
    neutral = msgspec.json.decode(row.neutral)
    return "for a bake-off" if "made_for" in neutral else str(neutral.get("message") or "")


def _is(ref: Ref) -> tuple[Any, ...]:
    v = versions.c
    return (v.project == ref.project, v.kind == ref.kind, v.name == ref.name, v.digest == ref.digest)


def newest(c: Connection, ref: Ref) -> str | None:
    """The version that a name alone means: the one that a branch was pointed to last, after a revert the one that was gone back to.
    Of rows, what `main` has: an edit of a name alone goes there, and who reads it is to see what it did. None for an unknown name."""
    m, v, on = label_moves.c, versions.c, labels.c
    if ref.kind in ROWS:
        main: str | None = c.execute(
            select(on.digest).where(on.project == ref.project, on.kind == ref.kind, on.name == ref.name, on.label == MAIN)
        ).scalar()
        if main is not None:
            return main
    moved: str | None = c.execute(
        select(m.after)
        .where(m.project == ref.project, m.kind == ref.kind, m.name == ref.name, m.how == "branch")
        .order_by(m.id.desc())
        .limit(1)
    ).scalar()
    if moved is not None:
        return moved
    made: str | None = c.execute(
        select(v.digest)
        .where(v.project == ref.project, v.kind == ref.kind, v.name == ref.name)
        .order_by(v.created_ns.desc(), v.digest)
        .limit(1)
    ).scalar()
    return made


def labels_by_digest(c: Connection, ref: Ref) -> dict[str, list[str]]:
    """Labels of a name, by the digest they point to, sorted."""
    found: dict[str, list[str]] = {}
    t = labels.c
    for label, digest in c.execute(
        select(t.label, t.digest).where(t.project == ref.project, t.kind == ref.kind, t.name == ref.name).order_by(t.label)
    ):
        found.setdefault(digest, []).append(label)
    return found


def fetch(c: Connection, ref: Ref) -> Version:
    """The version of an exact ref with its links. Raises `NotFound`."""
    row = c.execute(select(versions).where(*_is(ref))).first()
    if row is None:
        raise _unknown(c, ref)
    found = c.execute(
        select(links).where(
            links.c.project == ref.project, links.c.kind == ref.kind, links.c.name == ref.name, links.c.digest == ref.digest
        )
    ).all()
    edges = tuple(sorted(Link(k.relation, k.to_kind, k.to_name, k.to_digest, k.role) for k in found))
    return Version(row.kind, row.name, row.digest, msgspec.json.decode(row.body), edges, msgspec.json.decode(row.neutral), row.project)


def resolve(c: Connection, ref: Ref) -> Ref:
    """See `Versions.resolve`."""
    if ref.exact:
        if c.execute(select(versions.c.digest).where(*_is(ref))).first() is None:
            raise _unknown(c, ref)
        return ref
    if ref.digest:
        return _by_prefix(c, ref)
    if ref.label:
        return _by_label(c, ref)
    if (digest := newest(c, ref)) is None:
        raise _unknown(c, ref)
    return Ref(ref.kind, ref.name, digest, None, ref.project)


def _by_prefix(c: Connection, ref: Ref) -> Ref:
    v = versions.c
    prefix = TAG + (ref.digest or "").removeprefix(TAG)
    digests = c.execute(
        select(v.digest).where(v.project == ref.project, v.kind == ref.kind, v.name == ref.name, v.digest.startswith(prefix)).limit(6)
    ).scalars()
    found = list(digests)
    if not found:
        raise _unknown(c, ref)
    if len(found) > 1:
        raise Invalid(f"{ref} fits several versions", remedy="give more digits: " + ", ".join(short(d, 12) for d in found[:5]))
    return Ref(ref.kind, ref.name, found[0], None, ref.project)


def _by_label(c: Connection, ref: Ref) -> Ref:
    t = labels.c
    digest = c.execute(
        select(t.digest).where(t.project == ref.project, t.kind == ref.kind, t.name == ref.name, t.label == ref.label)
    ).scalar()
    if digest is not None:
        return Ref(ref.kind, ref.name, digest, None, ref.project)
    if ref.label in ENVIRONMENTS and ref.kind != "release":
        return _through_release(c, ref)
    known = sorted({name for names in labels_by_digest(c, ref).values() for name in names})
    if newest(c, ref) is None:
        raise _unknown(c, ref)
    raise NotFound(
        f"{ref.kind}/{ref.name} has no label {ref.label!r}",
        remedy=f"it has {', '.join(known)}" if known else "it has no labels; name a version by digest",
    )


def _through_release(c: Connection, ref: Ref) -> Ref:
    """`prompt/x:production`: the one that production's release uses."""
    t = labels.c
    releases = c.execute(
        select(t.name, t.digest).where(t.project == ref.project, t.kind == "release", t.label == ref.label).order_by(t.name)
    ).all()
    found: dict[str, list[str]] = {}
    for name, digest in releases:
        for part in closure(c, Ref("release", name, digest, None, ref.project)):
            if (part.kind, part.name) == (ref.kind, ref.name):
                found.setdefault(part.digest, []).append(name)
    if not found:
        raise NotFound(f"no release in {ref.label} uses {ref.kind}/{ref.name}", remedy="windlass history shows what runs where")
    if len(found) > 1:
        said = "; ".join(f"{', '.join(names)} uses {short(digest)}" for digest, names in found.items())
        raise Invalid(f"releases in {ref.label} use different versions of {ref.kind}/{ref.name}: {said}", remedy="name a version by digest")
    return Ref(ref.kind, ref.name, next(iter(found)), None, ref.project)


def closure(c: Connection, ref: Ref) -> list[Version]:
    """A version and all it uses, breadth first."""
    seen = {ref}
    order = [fetch(c, ref)]
    for version in order:
        for link in version.links:
            part = Ref(link.kind, link.name, link.digest, None, ref.project)
            if link.relation == "uses" and part not in seen:
                seen.add(part)
                order.append(fetch(c, part))
    return order


def effects(c: Connection, version: Version) -> tuple[Effects, str]:
    """The most that a version's code can do to the world: what it declares, or what it calls does; and which `kind/name` does it, where
    that is another. What an agent calls is not counted to whoever calls the agent: each of its calls is decided about by itself."""
    widest: Effects = version.body.get("effects", "read" if version.kind == "index" else "none")
    by, todo, seen = "", [version], {version.ref}
    for each in todo:
        for link in each.links:
            ref = Ref(link.kind, link.name, link.digest, None, version.project)
            if link.relation == "uses" and link.kind in ("tool", "chain", "index") and ref not in seen:
                seen.add(ref)
                todo.append(fetch(c, ref))
                declared: Effects = todo[-1].body.get("effects", "read" if link.kind == "index" else "none")
                if EFFECTS.index(declared) > EFFECTS.index(widest):
                    widest, by = declared, f"{link.kind}/{link.name}"
    return widest, by


_MADE = {  # how to come by what no push makes
    "pin": "windlass pin list says what there is, windlass pin add makes one",
    "alert": "windlass alert list says what there is, windlass alert set makes one",
}


def _unknown(c: Connection, ref: Ref) -> NotFound:
    """No such version, with the nearest name that is there."""
    v = versions.c
    names = list(c.execute(select(v.name).where(v.project == ref.project, v.kind == ref.kind).distinct()).scalars())
    if ref.name in names:
        return NotFound(f"{ref.kind}/{ref.name} has no version {short(ref.digest or '', 12)}", remedy="windlass show lists its versions")
    near = difflib.get_close_matches(ref.name, names, 1)
    if near:
        return NotFound(f"there is no {ref.kind}/{ref.name}", remedy=f"did you mean {ref.kind}/{near[0]}?")
    if ref.kind in _MADE:
        return NotFound(f"there is no {ref.kind}/{ref.name}", remedy=_MADE[ref.kind])
    if names:
        return NotFound(f"there is no {ref.kind}/{ref.name}", remedy=f"there are {', '.join(sorted(names)[:8])}")
    kinds = list(c.execute(select(v.kind).where(v.project == ref.project, v.name == ref.name).distinct()).scalars())
    remedy = f"there is {kinds[0]}/{ref.name}" if kinds else "push a workspace that has one"
    return NotFound(
        f"there is no {ref.kind} in project {ref.project}" if not kinds else f"there is no {ref.kind}/{ref.name}", remedy=remedy
    )
