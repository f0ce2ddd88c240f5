"""The record of what was done, by whom, to what: a hash chain, appended in the transaction that does it.

Each entry's hash is SHA-256 over the canonical JSON of the entry and the hash before it, so a changed or missing entry breaks every later
one. A chain alone does not know where it ended: so each hash stands a second time outside the table, in `store/anchors`.
"""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Row, Select, select

from windlass.core.actor import Actor
from windlass.core.digest import canonical, digest_json
from windlass.core.errors import Invalid
from windlass.core.ids import now_ns
from windlass.core.operations.audit import AuditEntry, AuditPage, AuditQuery, AuditState, AuditVerify
from windlass.core.operations.system import Ledger
from windlass.govern.permissions import guard
from windlass.store.anchors import FILE, Anchors
from windlass.store.meta import afterwards, read
from windlass.store.tables import audit, people

GENESIS = "sha256:" + "0" * 64


def _hash(seq: int, at_ns: int, actor: str, action: str, project: str, subject: str, details: str, previous: str) -> str:
    return digest_json([seq, str(at_ns), actor, action, project, subject, details, previous])


def record(connection: Connection, actor: Actor, action: str, project: str, subject: str, **details: Any) -> int:
    """Append one entry; returns its number. `connection` must be a write transaction; no secrets in `details`. Raises `Unavailable`."""
    last = connection.execute(select(audit.c.seq, audit.c.hash).order_by(audit.c.seq.desc()).limit(1)).first()
    seq, previous = (last.seq + 1, last.hash) if last else (1, GENESIS)
    at, text = now_ns(), canonical(details).decode()
    digest = _hash(seq, at, actor.id, action, project, subject, text, previous)
    connection.execute(
        audit.insert().values(
            seq=seq, at_ns=at, actor=actor.id, action=action, project=project, subject=subject, details=text, previous=previous, hash=digest
        )
    )
    if anchors := Anchors.beside(connection):
        if not anchors.begun():
            anchors.begin(seq - 1, previous)
        anchors.intend(seq, digest)
        afterwards(connection, lambda: anchors.confirm(seq, digest))
    return seq


def verify(connection: Connection) -> str | None:
    """The first disagreement of the chain, or of the chain with its anchors, in a sentence; None when all agree."""
    return check(connection.engine).problem


def check(engine: Engine) -> AuditState:
    """Re-derive every hash, and hold it against its anchor. Others may write meanwhile."""
    with read(engine) as c:
        anchors = Anchors.beside(c)
        size = anchors.size() if anchors else 0  # before the first look at the table: what is confirmed by then must be in it
        state, hashes = _chain(c)
    if anchors is None:
        state.anchored_from = state.entries
    elif state.problem is None:
        _against(state, hashes, anchors, size)
    return state


def _chain(connection: Connection) -> tuple[AuditState, list[str]]:
    """How far the chain holds, and the hash of each entry; that at 0 is what the first builds on."""
    hashes = [GENESIS]
    for e in connection.execution_options(yield_per=1000).execute(select(audit).order_by(audit.c.seq)):
        expected, previous = len(hashes), hashes[-1]
        if e.seq != expected:
            return AuditState(expected - 1, previous, f"entry {expected} is missing", expected), hashes
        if e.previous != previous or e.hash != _hash(e.seq, e.at_ns, e.actor, e.action, e.project, e.subject, e.details, e.previous):
            return AuditState(expected - 1, previous, f"entry {e.seq} was changed", expected), hashes
        hashes.append(e.hash)
    return AuditState(len(hashes) - 1, hashes[-1]), hashes


def _against(state: AuditState, hashes: list[str], anchors: Anchors, size: int) -> None:
    """Hold the chain against the file, of which `size` bytes were there before the table was read."""
    intended: dict[int, set[str]] = {}
    confirmed: dict[int, str] = {}
    begun: int | None = None

    def wrong(at: int, problem: str) -> None:
        if state.problem is None or at < (state.at or 0):
            state.problem, state.at = problem, at

    try:
        for line in anchors.lines():
            if not line.word:
                wrong(line.seq, f"line {line.number} of {FILE} cannot be read")
            elif line.word == "from":
                if begun is not None:
                    wrong(line.seq, f"{FILE} begins a second time, in line {line.number}")
                begun = line.seq
                confirmed[line.seq] = line.hash
            elif line.word == "?":
                intended.setdefault(line.seq, set()).add(line.hash)
            elif line.end <= size and confirmed.setdefault(line.seq, line.hash) != line.hash:
                wrong(line.seq, f"{FILE} names two entries {line.seq}")
    except FileNotFoundError:
        if state.entries:
            wrong(0, f"{FILE} is missing: nothing says where the audit ended")
        return
    state.anchored_from = begun or 0
    for seq in sorted(confirmed):
        if seq > state.entries:
            cut = f"entry {seq} was" if seq == max(confirmed) else f"entries {seq} to {max(confirmed)} were"
            wrong(seq, f"{cut} cut off at the end")
            break
        if hashes[seq] != confirmed[seq]:
            wrong(seq, f"entry {seq} is not the one that was written: the table was replaced")
            break
    for seq in range(state.anchored_from + 1, state.entries + 1):
        if seq not in confirmed and hashes[seq] not in intended.get(seq, ()):
            wrong(seq, f"entry {seq} was added by another hand: Windlass did not write it")
            break


class Audit:
    """Service of the audit."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._verified: tuple[int, AuditState] | None = None  # when, and what it came to

    def ledger(self) -> Ledger:
        """How far the audit goes, and what is known of it without reading it. Raises `Unavailable`."""
        with read(self._engine) as c:
            last = c.execute(select(audit.c.seq, audit.c.hash, audit.c.at_ns).order_by(audit.c.seq.desc()).limit(1)).first()
            anchors = Anchors.beside(c)
        found = Ledger(0, GENESIS) if last is None else Ledger(last.seq, last.hash, last.at_ns)
        found.anchored = anchors is not None and (last is None or anchors.begun())  # the first entry begins them
        if self._verified is not None:
            found.verified_ns, state = self._verified
            found.verified, found.problem = state.entries, state.problem
        return found

    def list(self, actor: Actor, query: AuditQuery) -> AuditPage:
        """Operation `audit.list`: newest first. Raises `Forbidden`, `Invalid`."""
        guard(actor, "read", query.project)
        with read(self._engine) as c:
            rows = list(c.execute(_wanted(query).order_by(audit.c.seq.desc()).limit(query.limit + 1)))
            wanted = {row.actor for row in rows}
            names = {row.id: row.name for row in c.execute(select(people.c.id, people.c.name).where(people.c.id.in_(wanted)))}
        items = tuple(entry_of(row) for row in rows[: query.limit])
        for entry in items:
            entry.name = names.get(entry.actor, "")
        return AuditPage(items=items, next=str(items[-1].seq) if len(rows) > query.limit else None)

    def verify(self, actor: Actor, asked: AuditVerify) -> AuditState:
        """Operation `audit.verify`, of the whole audit: it is one chain for all projects. Raises `Forbidden`, `Invalid`."""
        guard(actor, "admin", actor.project)
        state = check(self._engine)
        self._verified = now_ns(), msgspec.structs.replace(state)
        if asked.head and state.problem is None:
            with read(self._engine) as c:
                _hold(c, state, asked.head)
        return state


def _hold(connection: Connection, state: AuditState, head: str) -> None:
    """Hold the chain against a head that somebody noted elsewhere."""
    seq, _, digest = head.partition(":")
    if not seq.isdigit() or not digest:
        raise Invalid(f"{head!r} is no head", where="head", remedy="write SEQ:HASH, as `windlass audit verify` prints it")
    found = connection.execute(select(audit.c.hash).where(audit.c.seq == int(seq))).scalar()
    if found != digest:
        state.at = int(seq)
        state.problem = f"entry {seq} is not the one you noted" if found else f"entry {seq}, which you noted, is not there"


def _wanted(query: AuditQuery) -> Select[Any]:
    a = audit.c
    wanted = select(audit).where(a.project == query.project)
    for column, given in ((a.actor, query.actor), (a.action, query.action)):
        if given:  # `releases.` is everything that begins so
            wanted = wanted.where(column.startswith(given, autoescape=True) if given.endswith((".", ":")) else column == given)
    if query.subject:
        wanted = wanted.where(a.subject.contains(query.subject, autoescape=True))
    if query.since_ns is not None:
        wanted = wanted.where(a.at_ns >= query.since_ns)
    if query.until_ns is not None:
        wanted = wanted.where(a.at_ns < query.until_ns)
    if query.cursor:
        if not query.cursor.isdigit():
            raise Invalid("this cursor is not one of ours", where="cursor", remedy="begin without one")
        wanted = wanted.where(a.seq < int(query.cursor))
    return wanted


def entry_of(row: Row[Any]) -> AuditEntry:
    """A row of the table."""
    details = msgspec.json.decode(row.details, type=dict[str, Any])
    return AuditEntry(row.seq, row.at_ns, row.actor, row.action, row.project, row.subject, details, row.hash, row.previous)
