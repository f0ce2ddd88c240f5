"""Changing datasets on the server: rows set and removed, versions merged. Each makes a version and moves a branch, in one transaction.

An edit says what to do with rows, not what the dataset is to be: it is done again on whatever the branch points to by then, so that of
writers at once nobody's rows are lost.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, Engine

from windlass.core.actor import Actor
from windlass.core.artifacts import DatasetBody, Link, Version, make_version
from windlass.core.dataset import FORM
from windlass.core.digest import canonical
from windlass.core.errors import Conflict, Invalid
from windlass.core.operations.datasets import Edited, EditRequest, MergeConflict, Merged, MergeRequest, RowCounts
from windlass.core.ref import MAIN, Ref, parse_branch, parse_ref
from windlass.govern import audit
from windlass.govern.permissions import guard
from windlass.registry import labels, origins
from windlass.registry.ancestry import common_version
from windlass.registry.datasets import Datasets, read_row
from windlass.registry.incoming import TOLD, Sent, Taken, Types, take, take_sent, types_of
from windlass.registry.merge import Outcome, merge
from windlass.registry.registration import register
from windlass.registry.rows import NOTHING, Prepared, Rows
from windlass.registry.uploads import packs_of
from windlass.registry.versions import Versions, newest
from windlass.store.meta import read, write

ATTEMPTS = 4  # to make a version while others may move the branch; then they wait
LEARNT = 2000  # rows that a dataset's types are learnt from
REMEMBERED = 64  # datasets whose types are known
SHOWN = 200  # conflicts in one answer
KEPT = ("description", "metadata", "path", "source")  # of what is neutral, from version to version


Also = Callable[[Connection, Version], None]


class Made(NamedTuple):
    """A version to register, with its rows and where they came from."""

    version: Version
    rows: Prepared
    origins: dict[str, str] = {}  # key → trace


class Edits:
    """Service of changes to rows."""

    def __init__(self, engine: Engine, versions: Versions, datasets: Datasets, rows: Rows) -> None:
        self._engine = engine
        self._versions = versions
        self._datasets = datasets
        self._rows = rows
        self._types: dict[str, Types] = {}  # root of rows → types of their fields

    def edit(self, actor: Actor, request: EditRequest) -> Edited:
        """Operation `datasets.edit`. Raises `Invalid` when no row can be taken, `Conflict` naming the rows that others changed."""
        return self.edit_with(actor, request, None)

    def edit_with(self, actor: Actor, request: EditRequest, also: Also | None, links: tuple[Link, ...] = ()) -> Edited:
        """An edit, and in the same transaction what else must be so once it is done; where that raises, nothing was changed. It is not
        called when the rows are there already. `links` say what else the version is made of."""
        ref = parse_branch(request.ref, project=request.project)
        guard(actor, "write", ref.project)
        expected = self._exact(ref, request.expected) if request.expected else None
        if not request.set and not request.packs and not request.remove and request.about is None:
            raise Invalid("there is nothing to set or remove", where=str(ref))
        sent = self._rows.read(packs_of(request.packs)) if request.packs else NOTHING
        told: list[tuple[Taken, Made]] = []

        def change(now: Version | None) -> Made:
            if now and request.about is not None:
                raise Conflict(f"{now.ref.short} is there already", where="about", remedy="say what it is about when it is made")
            taken = self._take(request, sent, now)
            if expected and now and expected.digest != now.digest:
                self._refuse_overtaken(expected, now, taken, request.remove)
            told[:] = [(taken, made := self._changed(actor, ref, now, taken, request, links))]
            return made

        before, after = self._commit(actor, ref, change, "datasets.edit", also, message=request.message[:500])
        taken, made = told[0]
        difference = made.rows.difference
        counts = RowCounts(**difference.counts) if difference else RowCounts(added=after.body["count"])
        problems = (*taken.problems, *self._absent(request, before))
        return Edited(str(after.ref), before.digest if before else None, after.body["count"], counts, problems, taken.left_out, taken.left)

    def _take(self, request: EditRequest, sent: Sent, now: Version | None) -> Taken:
        types = self._types_of(now) if now and now.body["count"] else None
        taken = take(request.set, types, drift=request.drift)
        kept, left_out = take_sent(sent, types, drift=request.drift)
        some = dict(itertools.islice(left_out.items(), TOLD))
        problems = [*taken.problems, *sent.problems]
        if not taken.lines and not kept.digests and not request.remove and not _is_described(request):
            all_of_it = [*problems, *(f"row {key!r}: {why}" for key, why in some.items()), "there is no row in it"]
            raise Invalid(all_of_it[0], where="set", remedy="nothing was changed", problems=problems, left_out=some, left=len(left_out))
        return Taken(taken.lines, problems, kept, some, len(left_out))

    def _absent(self, request: EditRequest, now: Version | None) -> list[str]:
        """Keys to remove that no row has: one mistyped would else look removed."""
        tree = self._datasets.tree(now) if now and request.remove else None
        absent = [key for key in request.remove if tree is not None and tree.get(key) is None]
        told = [f"there is no row {key!r} to remove" for key in absent[:TOLD]]
        return told if len(absent) <= TOLD else [*told, f"and {len(absent) - TOLD:,} more"]

    def _types_of(self, version: Version) -> Types:
        """The types of a dataset's fields, learnt from its first rows; an edit rarely changes them."""
        root = version.body["rows"]
        if (known := self._types.get(root)) is None:
            known = self._types[root] = types_of(self._datasets.first(version, LEARNT))
        while len(self._types) > REMEMBERED:
            self._types.pop(next(iter(self._types)))
        return known

    def _changed(
        self, actor: Actor, ref: Ref, now: Version | None, taken: Taken, request: EditRequest, more: tuple[Link, ...] = ()
    ) -> Made:  # fmt: skip
        tree = self._datasets.tree(now) if now else None
        gone = [key for key in request.remove if tree is not None and tree.get(key) is not None]
        if now is None and not taken.lines and not taken.sent.digests and not _is_described(request):
            raise Invalid("there is nothing to set", where=f"{ref.kind}/{ref.name}", remedy="a new dataset needs rows")
        rows = self._rows.change(ref.project, self._datasets.root(now) if now else None, taken.lines, gone, taken.sent)
        links = (*((_derived(now),) if now else ()), *more)
        if now and tree is not None and tree.count > LEARNT and (known := self._types.get(now.body["rows"])):
            self._types[rows.tree.root] = known
        found = {key: origins.trace_of(read_row(line)) for key, line in taken.lines.items() if b'"origin"' in line}
        traces = {key: trace for key, trace in (taken.sent.traces | found).items() if trace and rows.tree.get(key)}
        about = msgspec.to_builtins(request.about) if request.about else {}
        return Made(_version(ref, rows, links, now, request.message, about), rows, traces)

    def _refuse_overtaken(self, expected: Version, now: Version, taken: Taken, removed: Sequence[str]) -> None:
        touched = {*taken.lines, *taken.sent.digests, *removed} & self._datasets.difference(expected, now).keys.keys()
        if touched:
            some = ", ".join(repr(k) for k in sorted(touched)[:5])
            raise Conflict(
                f"of these rows, {len(touched)} changed meanwhile by somebody else: {some}",
                where=now.ref.short, remedy="look at them, and edit again", current=now.digest, keys=sorted(touched)[:SHOWN],
            )  # fmt: skip

    def merge(self, actor: Actor, request: MergeRequest) -> Merged:
        """Operation `datasets.merge`. Raises `Invalid` where two versions have nothing in common and no base is given."""
        ref = parse_branch(request.ours, project=request.project)
        guard(actor, "write", ref.project)
        theirs = self._version(actor, request.theirs, request.project)
        told: list[Merged] = []

        def change(now: Version | None) -> Made | None:
            if now is None:
                raise Invalid(f"there is no {ref}", remedy="name a branch that exists; windlass label makes one")
            base = self._version(actor, request.base, request.project) if request.base else self._common(now, theirs)
            outcome = self._outcome(base, now, theirs)
            clashes = [c for c in outcome.clashes if (request.choose.get(c.key) or request.prefer) is None]
            lines, removed = _resolved(outcome, request)
            rows = self._rows.change(ref.project, self._datasets.root(now), lines, removed)
            counts = RowCounts(**self._datasets.tree(now).to(rows.tree).counts)
            shown = tuple(MergeConflict(c.key, c.base, c.ours, c.theirs, c.fields) for c in clashes[:SHOWN])
            version = _version(ref, rows, (_derived(now), _derived(theirs)), now, f"merged {theirs.ref.short}")
            told[:] = [Merged(str(version.ref), str(base.ref), str(theirs.ref), counts, outcome.joined, len(clashes), shown)]
            if clashes or request.dry:
                told[0].ref = str(now.ref)
                return None
            return Made(version, rows)

        self._commit(actor, ref, change, "datasets.merge", theirs=theirs.ref.short)
        return told[0]

    def _outcome(self, base: Version, ours: Version, theirs: Version) -> Outcome:
        tree, some = self._datasets.tree, self._datasets.some
        return merge(*((tree(v), partial(some, v)) for v in (base, ours, theirs)))

    def _common(self, ours: Version, theirs: Version) -> Version:
        with read(self._engine) as c:
            found = common_version(c, ours.ref, theirs.ref)
        if found is None:
            raise Invalid(f"{ours.ref.short} and {theirs.ref.short} have no version in common", remedy="say which to take for it: --base")
        return self._versions.get(found.project, found.kind, found.name, found.digest or "")

    def _commit(
        self, actor: Actor, ref: Ref, change: Callable[[Version | None], Made | None], action: str, also: Also | None = None, **details: Any
    ) -> tuple[Version | None, Version]:
        """Make a version of what the branch points to and move the branch there. Returns the version before and the one after."""
        label = ref.label or MAIN
        for attempt in range(1, ATTEMPTS + 1):
            points_to, now = self._now(ref, label)
            made = change(now)
            if made is None or (now and made.version.digest == now.digest):
                return now, _some(now)
            with write(self._engine) as c:
                if labels.current(c, ref, label) != points_to:
                    if attempt < ATTEMPTS:
                        continue
                    points_to, now = self._now(ref, label)  # nobody else writes from here on
                    made = change(now)
                    if made is None or (now and made.version.digest == now.digest):
                        return now, _some(now)
                self._register(c, actor, label, points_to, made)
                if also:
                    also(c, made.version)
                audit.record(c, actor, action, ref.project, f"{ref.kind}/{ref.name}:{label}", after=made.version.digest, **details)
            return now, made.version
        raise AssertionError("the last attempt returns")

    def _register(self, c: Connection, actor: Actor, label: str, points_to: str | None, made: Made) -> None:
        ref = made.version.ref
        self._rows.keep(c, ref.project, made.rows)
        register(c, actor, made.version)
        labels.move_label(c, actor, ref, label, points_to, how="branch")
        origins.keep(c, ref, made.origins)

    def _now(self, ref: Ref, label: str) -> tuple[str | None, Version | None]:
        """What a branch points to, and the version to change: that one, or for a new branch what `main` has."""
        with read(self._engine) as c:
            points_to = labels.current(c, ref, label)
            digest = points_to or labels.current(c, ref, MAIN) or newest(c, ref)
        return points_to, self._versions.get(ref.project, ref.kind, ref.name, digest) if digest else None

    def _exact(self, ref: Ref, digest: str) -> Version:
        found = self._versions.resolve(Ref(ref.kind, ref.name, digest.partition("@")[2] or digest, None, ref.project))
        return self._versions.get(found.project, found.kind, found.name, found.digest or "")

    def _version(self, actor: Actor, text: str, project: str) -> Version:
        ref = parse_ref(text, project=project, kind="dataset")
        guard(actor, "read", ref.project)
        found = self._versions.resolve(ref)
        return self._versions.get(found.project, found.kind, found.name, found.digest or "")


def _derived(version: Version) -> Link:
    return Link("derived-from", version.kind, version.name, version.digest)


def _is_described(request: EditRequest) -> bool:
    """Whether this makes a dataset that has no rows yet. What was sent for rows and is none is still told."""
    return request.about is not None and not request.set and not request.packs


def _version(
    ref: Ref, rows: Prepared, links: tuple[Link, ...], now: Version | None, message: str, about: dict[str, Any] | None = None
) -> Version:
    body = DatasetBody(rows.tree.root, rows.tree.count, FORM)
    kept = {k: v for k, v in (now.neutral if now else {}).items() if k in KEPT}
    made = make_version(
        ref.kind,
        ref.name,
        body,
        links=links,
        neutral={**kept, **(about or {}), **({"message": message} if message else {})},
        project=ref.project,
    )
    own = tuple(link for link in made.links if link.digest != made.digest)  # what comes to the same rows is not made of itself
    return made if len(own) == len(made.links) else msgspec.structs.replace(made, links=own)


def _resolved(outcome: Outcome, request: MergeRequest) -> tuple[dict[str, bytes], list[str]]:
    """What to change in ours, with the conflicts that were decided."""
    lines, removed = dict(outcome.lines), list(outcome.removed)
    for clash in outcome.clashes:
        if (request.choose.get(clash.key) or request.prefer) == "theirs":
            if clash.theirs is None:
                removed.append(clash.key)
            else:
                lines[clash.key] = canonical(clash.theirs)
    return lines, removed


def _some(version: Version | None) -> Version:
    assert version is not None, "a change of nothing makes something, or raises"
    return version
