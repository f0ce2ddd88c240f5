"""Pins: recorded reads of data we do not own. Each reading is a version of `pin/NAME` that says what was asked, of which state, and
what came; where its rows are kept, they are a version of `dataset/NAME` derived from it. Which state a pin is in now is
`core/pin.py`'s to say, of that record, the newest look at the source, and the time.

The rows of a dataset that comes of a pin stand on its branch `pinned`. `main` follows it as long as nobody edits `main`.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Row, insert, select

from windlass.core.actor import Actor
from windlass.core.artifacts import DatasetBody, Link, PinBody, Version, make_version
from windlass.core.dataset import FORM, Tree
from windlass.core.errors import Conflict, Invalid, NotFound, WindlassError
from windlass.core.ids import now_ns, uuid7
from windlass.core.operations.datasets import RowCounts, RowDifference
from windlass.core.operations.pins import (
    PinAdd,
    PinCompare,
    PinDetail,
    PinDifference,
    PinKeep,
    PinLook,
    PinPage,
    PinQuery,
    PinRead,
    PinRows,
    PinShow,
    PinState,
)
from windlass.core.pin import Observed, Outcome, Record, Snapshot, Spec, clock, fingerprint, says, schema_changes
from windlass.core.ref import MAIN, Ref, check_name
from windlass.govern import audit
from windlass.govern.permissions import guard
from windlass.registry import labels
from windlass.registry.datasets import Datasets, changed_fields, read_row
from windlass.registry.readings import Progress, Reading, read_rows
from windlass.registry.registration import is_registered, register
from windlass.registry.rows import Prepared, Rows
from windlass.registry.sources import Sources
from windlass.registry.sources.source import Gone, Incoming
from windlass.registry.versions import Versions
from windlass.store.blobs import BlobStore
from windlass.store.meta import read, write
from windlass.store.tables import pin_looks, versions

PINNED = "pinned"
HISTORY = 200
SHOWN = 50  # keys that differ
STORED = 50  # sentences about rows that were left out
CLOCKWORK = Actor("clock", "owner")  # who keeps rows before a deadline


def silent(rows: int) -> None:
    """Progress that nobody wants to know of."""


class Pins:
    """Pins as they are recorded, read and kept. What reads a source from beginning to end is asked for by `PinJobs`.

    Args:
        now: the time, in nanoseconds since 1970.
    """

    def __init__(
        self, engine: Engine, found: Versions, datasets: Datasets, rows: Rows, blobs: BlobStore, sources: Sources,
        now: Callable[[], int] = now_ns,
    ) -> None:  # fmt: skip
        self._engine = engine
        self._versions = found
        self._datasets = datasets
        self._rows = rows
        self._blobs = blobs
        self._sources = sources
        self._now = now

    def check(self, asked: PinAdd) -> tuple[Ref, Spec]:
        """What is to be read under which name. Raises `Invalid`, `NotFound` for a source that nobody named, `Conflict` for a name that
        something else has."""
        spec, ref = self._sources.parse(asked), Ref("pin", check_name(asked.name), None, None, asked.project)
        with read(self._engine) as c:
            self._check_free(c, ref, spec)
        return ref, spec

    def add(self, actor: Actor, asked: PinAdd, progress: Progress = silent) -> PinDetail:
        """Read something and record it. Raises what the source raises and as `check`; then nothing was recorded."""
        ref, spec = self.check(asked)
        return self._new(actor, ref, spec, asked.keep, "first", progress)

    def keep(self, actor: Actor, asked: PinKeep, progress: Progress = silent) -> PinDetail:
        """Keep the rows of a pin. Raises `Conflict` where the source has something else now, unless `now` takes that."""
        version = self.newest(asked.name, asked.project)
        if asked.now:
            return self._new(actor, version.ref, _body(version).spec, True, "kept", progress)
        if self._is_kept(version):
            return self._detail(version, "the rows are kept already")
        self._keep(actor, version, progress)
        return self._detail(version)

    def list(self, actor: Actor, query: PinQuery) -> PinPage:
        """Operation `pins.list`: by name."""
        guard(actor, "read", query.project)
        v = versions.c
        with read(self._engine) as c:
            found = select(v.name).where(v.project == query.project, v.kind == "pin", v.name > (query.cursor or "")).distinct()
            names = c.execute(found.order_by(v.name).limit(query.limit + 1)).scalars().all()
        items = tuple(self._state(self.newest(name, query.project)) for name in names[: query.limit])
        return PinPage(items=items, next=items[-1].name if len(names) > query.limit else None)

    def show(self, actor: Actor, query: PinShow) -> PinDetail:
        """Operation `pins.show`."""
        guard(actor, "read", query.project)
        return self._detail(self.newest(query.name, query.project))

    def read(self, actor: Actor, asked: PinRead) -> PinRows:
        """Operation `pins.read`. Raises `Invalid` for rows that are nowhere any more, and what the source raises."""
        guard(actor, "read", asked.project)
        version = self.newest(asked.name, asked.project)
        body = _body(version)
        kept = self._is_kept(version)
        if not kept:  # the server asks for it elsewhere
            guard(actor, "write", asked.project)
        if not kept and not body.repeatable:
            raise Invalid(
                f"nothing of it was kept, and {_a(body.spec.engine)} cannot be read as it was", where=version.ref.short,
                remedy=f"windlass pin read {version.name} --again says whether it is the same now",
            )  # fmt: skip
        rows = self._kept_rows(version) if kept else self._asked_rows(version)
        return PinRows(self._state(version), tuple(itertools.islice(rows, asked.limit)))

    def keep_before_the_end(self, project: str, ref: str) -> None:
        """Keep the rows of a pin that its source will forget soon. What came of it is in the history."""
        name, _, digest = ref.partition("@")
        version = self.newest(name, project)
        if version.digest == digest and not self._is_kept(version):
            self._keep(CLOCKWORK, version, silent)

    def _new(self, actor: Actor, ref: Ref, spec: Spec, keep: bool | None, outcome: Outcome, progress: Progress) -> PinDetail:
        """Read what the source has now."""
        with read(self._engine) as c:
            points_to = labels.current(c, ref, MAIN)
        before = self._versions.get(ref.project, "pin", ref.name, points_to) if points_to else None
        base = _body(before).rows if before and self._rows.has(ref.project, _body(before).rows) else None
        kept = dict(self._rows.tree(ref.project, base)) if base else {}
        with self._sources.read(spec) as incoming:
            wanted = not incoming.snapshot.repeatable if keep is None else keep
            found = read_rows(incoming, spec.key, kept=kept, into=self._rows if wanted else None, show=0, progress=progress)
        version = self._version(ref, spec, incoming, found, before, kept=wanted)
        prepared = self._prepared(ref.project, base, kept, found) if wanted else None
        with write(self._engine) as c:
            self._check_free(c, ref, spec)
            self._register(c, actor, version, prepared)
            audit.record(c, actor, "pins.add", ref.project, f"pin/{ref.name}", digest=version.digest, rows=found.tree.count, kept=wanted)
            self._look(c, actor, version, outcome, "", found, deadline_ns=incoming.snapshot.deadline_ns)
        return self._detail(version, "" if found.tree.count else "it has no rows")

    def _version(self, ref: Ref, spec: Spec, incoming: Incoming, found: Reading, before: Version | None, *, kept: bool) -> Version:
        at = incoming.snapshot
        body = PinBody(
            spec, at.at_ns // 1000, incoming.columns, found.tree.count, found.tree.root, at.token, at.repeatable,
            at.deadline_ns // 1000 if at.deadline_ns is not None else None, incoming.tables, incoming.principal,
        )  # fmt: skip
        links = (Link("derived-from", "pin", ref.name, before.digest, "the reading before"),) if before else ()
        neutral: dict[str, Any] = {"problems": list(found.problems[:STORED])} if found.problems else {}
        if not kept:
            neutral["tree"] = self._blobs.put(found.tree.encode())
        return make_version("pin", ref.name, body, links=links, neutral=neutral, project=ref.project)

    def _prepared(self, project: str, base: str | None, kept: dict[str, bytes], found: Reading) -> Prepared:
        changed: dict[str, bytes | None] = {k: d for k, d in found.digests.items() if kept.get(k) != d}
        return self._rows.prepare(project, base, changed | dict.fromkeys(kept.keys() - found.digests.keys()), found.packs, found.splits)

    def _keep(self, actor: Actor, version: Version, progress: Progress) -> None:
        """Read the rows of a pin once more, now to keep them. Raises `Conflict` where other rows came, and what the source raises."""
        body = _body(version)
        if self._rows.has(version.project, body.rows):  # another pin or dataset has the very same
            with write(self._engine) as c:
                self._name_rows(c, actor, version)
                self._look(c, actor, version, "kept", "")
            return
        with self._observing(actor, version), self._sources.read(body.spec, _snapshot(body) if body.repeatable else None) as incoming:
            found = read_rows(incoming, body.spec.key, kept={}, into=self._rows, show=0, progress=progress)
        if found.tree.root != body.rows:
            why = self._differs(version, found)
            with write(self._engine) as c:
                self._look(c, actor, version, "changed", why, found)
            raise Conflict(
                f"the source has other rows now: {why}", where=version.ref.short,
                remedy=f"windlass pin keep {version.name} --now keeps what it has now, as a new reading",
            )  # fmt: skip
        prepared = self._prepared(version.project, None, {}, found)
        with write(self._engine) as c:
            self._register(c, actor, version, prepared)
            audit.record(c, actor, "pins.keep", version.project, f"pin/{version.name}", digest=version.digest, rows=found.tree.count)
            self._look(c, actor, version, "kept", "", found)

    def compare(self, actor: Actor, asked: PinCompare, progress: Progress = silent) -> PinDifference:
        """Read the source once more and compare. Raises what the source raises when it cannot be asked; that it changed or is gone is
        an answer."""
        version = self.newest(asked.name, asked.project)
        body, before = _body(version), self._tree(version)
        known = dict(before)
        try:
            with self._observing(actor, version), self._sources.read(body.spec, _snapshot(body) if body.repeatable else None) as incoming:
                found = read_rows(incoming, body.spec.key, kept=known, into=None, show=SHOWN, progress=progress)
        except (Gone, Invalid) as e:
            return PinDifference(self._state(version), "gone" if isinstance(e, Gone) else "changed", e.message)
        columns = schema_changes(body.columns, incoming.columns)
        same = found.tree.root == body.rows and not columns
        why = "" if same else self._differs(version, found, columns)
        with write(self._engine) as c:
            self._look(c, actor, version, "same" if same else "changed", why, found)
        difference = before.to(found.tree)
        return PinDifference(
            self._state(version), "same" if same else "changed", why, found.tree.count, found.tree.root, columns,
            RowCounts(**difference.counts), self._examples(version, difference.keys, found),
            found.problems,
        )  # fmt: skip

    def _examples(
        self, version: Version, differing: dict[str, tuple[bytes | None, bytes | None]], found: Reading
    ) -> tuple[RowDifference, ...]:
        """Rows that differ, those of one kind before those of the next; of new and changed ones, those that were shown."""
        told = [k for k, (_, after) in differing.items() if after is None or k in found.shown]
        ordered = sorted(told, key=lambda k: ((differing[k][0] is None) * 2 + (differing[k][1] is None), k))[:SHOWN]
        old: dict[str, Any] = {}
        if self._rows.has(version.project, _body(version).rows):
            lines = self._rows.lines(version.project, _body(version).rows, [k for k in ordered if differing[k][0] is not None])
            old = {k: read_row(line) for k, line in lines.items()}
        new = {k: read_row(found.shown[k]) for k in ordered if k in found.shown}
        return tuple(RowDifference(k, old.get(k), new.get(k), changed_fields(old.get(k), new.get(k))) for k in ordered)

    def _differs(self, version: Version, found: Reading, columns: tuple[str, ...] = ()) -> str:
        counts = self._tree(version).to(found.tree).counts
        rows = [f"{n:,} row{'' if n == 1 else 's'} {what}" for what, n in counts.items() if n]
        return "; ".join([*columns, *([", ".join(rows)] if rows else [])])

    @contextlib.contextmanager
    def _observing(self, actor: Actor, version: Version) -> Iterator[None]:
        """What goes wrong in a look at the source goes into the history too."""
        try:
            yield
        except WindlassError as e:
            outcome: Outcome = "gone" if isinstance(e, Gone) else "changed" if isinstance(e, Invalid) else "failed"
            with write(self._engine) as c:
                self._look(c, actor, version, outcome, e.message)
            raise

    def _register(self, c: Connection, actor: Actor, version: Version, prepared: Prepared | None) -> None:
        register(c, actor, version)
        self._move(c, actor, version.ref, MAIN)
        if prepared is None:
            return
        self._rows.keep(c, version.project, prepared)
        self._name_rows(c, actor, version)

    def _name_rows(self, c: Connection, actor: Actor, version: Version) -> None:
        """Make the kept rows of a reading a version of its dataset."""
        rows = _dataset(version)
        register(c, actor, rows)
        before = labels.current(c, rows.ref, PINNED)
        self._move(c, actor, rows.ref, PINNED)
        if labels.current(c, rows.ref, MAIN) == before:  # nobody edited it
            self._move(c, actor, rows.ref, MAIN)

    def _is_kept(self, version: Version) -> bool:
        with read(self._engine) as c:
            return is_registered(c, version.project, ("dataset", version.name, _dataset(version).digest))

    @staticmethod
    def _move(c: Connection, actor: Actor, to: Ref, label: str) -> None:
        points_to = labels.current(c, to, label)
        if points_to != to.digest:
            labels.move_label(c, actor, to, label, points_to, how="branch")

    def _look(
        self, c: Connection, actor: Actor, version: Version, outcome: Outcome, why: str, found: Reading | None = None,
        deadline_ns: int | None = None,
    ) -> None:  # fmt: skip
        values = {"counted": found.tree.count, "rows": found.tree.root} if found else {}
        c.execute(
            insert(pin_looks).values(
                id=uuid7(), project=version.project, name=version.name, digest=version.digest, at_ns=self._now(), actor=actor.id,
                outcome=outcome, why=why[:500], deadline_ns=deadline_ns, **values,
            )
        )  # fmt: skip

    def _check_free(self, c: Connection, ref: Ref, spec: Spec) -> None:
        """Raises `Conflict` where the name has another source, or a dataset of that name comes from elsewhere."""
        points_to = labels.current(c, ref, MAIN)
        known = _body(self._versions.get(ref.project, "pin", ref.name, points_to)).spec if points_to else spec
        if other := [field for field in Spec.__struct_fields__ if getattr(known, field) != getattr(spec, field)]:
            raise Conflict(
                f"pin/{ref.name} reads something else: its {', '.join(other)} differs", where=f"pin/{ref.name}",
                remedy=f"take another name; or windlass pin keep {ref.name} --now reads again what it reads",
            )  # fmt: skip
        rows = Ref("dataset", ref.name, None, None, ref.project)
        if labels.current(c, rows, PINNED) is None and labels.current(c, rows, MAIN) is not None:
            raise Conflict(f"dataset/{ref.name} is there, and comes from elsewhere", remedy="take another name for the pin")

    def newest(self, name: str, project: str) -> Version:
        """Raises `NotFound`."""
        ref = self._versions.resolve(Ref("pin", name.removeprefix("pin/"), None, None, project))
        return self._versions.get(ref.project, ref.kind, ref.name, ref.digest or "")

    def _tree(self, version: Version) -> Tree:
        root = _body(version).rows
        return (
            self._rows.tree(version.project, root)
            if self._rows.has(version.project, root)
            else Tree.decode(self._blobs.get(version.neutral["tree"]))
        )

    def _kept_rows(self, version: Version) -> Iterator[dict[str, Any]]:
        return (read_row(line) for _, line in self._rows.all(version.project, _body(version).rows))

    def _asked_rows(self, version: Version) -> Iterator[dict[str, Any]]:
        """Rows from the source, at the recorded state."""
        body = _body(version)
        with self._sources.read(body.spec, _snapshot(body)) as incoming:
            yield from incoming.rows

    def _state(self, version: Version) -> PinState:
        body, now = _body(version), self._now()
        kept = self._is_kept(version)
        looks = self._looks(version)
        observed = next(
            (Observed(k.at_ns, k.outcome, k.why) for k in looks if k.digest == version.digest and k.outcome in ("same", "changed", "gone")),
            None,
        )
        told = clock(now, _snapshot(body), kept=kept, observed=observed)
        first = next((k for k in reversed(looks) if k.digest == version.digest), None)
        record = Record(
            _snapshot(body), body.columns, body.count, body.rows, fingerprint(body.columns), body.tables, body.principal,
            tuple(version.neutral.get("problems", ())),
        )  # fmt: skip
        rows = str(_dataset(version).ref) if kept else None
        at, by = (first.at_ns, first.actor) if first else (body.at_us * 1000, "")
        return PinState(version.name, body.spec, record, told, says(told, now, observed), at, by, str(version.ref), rows, observed)

    def _detail(self, version: Version, message: str = "") -> PinDetail:
        looks = self._looks(version)
        history = tuple(PinLook(k.at_ns, k.actor, k.outcome, k.why, k.counted, k.rows, k.digest) for k in looks)
        return PinDetail(self._state(version), history, message)

    def _looks(self, version: Version) -> Sequence[Row[Any]]:
        k = pin_looks.c
        with read(self._engine) as c:
            found = select(pin_looks).where(k.project == version.project, k.name == version.name).order_by(k.id.desc()).limit(HISTORY)
            return c.execute(found).all()


def _dataset(version: Version) -> Version:
    """The version that the rows of a reading are, where they are kept."""
    body = _body(version)
    links = (Link("derived-from", "pin", version.name, version.digest, "rows"),)
    said = {"description": f"Rows of {body.spec.table or body.spec.source or body.spec.endpoint}"}
    return make_version(
        "dataset", version.name, DatasetBody(body.rows, body.count, FORM), links=links, neutral=said, project=version.project
    )


def _body(version: Version) -> PinBody:
    if version.kind != "pin":
        raise NotFound(f"{version.ref.short} is no pin")
    return msgspec.convert(version.body, PinBody)


def _snapshot(body: PinBody) -> Snapshot:
    return Snapshot(body.at_us * 1000, body.token, body.repeatable, body.deadline_us * 1000 if body.deadline_us is not None else None)


def _a(engine: str) -> str:
    return {"postgresql": "PostgreSQL", "bigquery": "BigQuery", "url": "a URL", "folder": "a folder"}[engine]
