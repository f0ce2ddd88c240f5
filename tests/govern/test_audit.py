"""The audit's chain breaks at whatever was changed, and holds when eight processes write it at once."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, create_engine, delete, select
from tests.doors.cli.conftest import Shell
from tests.doors.cli.conftest import shell as shell
from tests.racing import racer
from tests.stores import on_both

from windlass.core.actor import OWNER, Actor
from windlass.core.errors import Forbidden, Invalid, Unavailable
from windlass.core.operations.audit import AuditQuery, AuditVerify
from windlass.govern import audit
from windlass.store.anchors import FILE, Anchors
from windlass.store.meta import MIGRATIONS, open_meta, read, write
from windlass.store.tables import audit as table


def four(engine: Engine) -> Engine:
    for i in range(4):
        with write(engine) as c:
            audit.record(c, OWNER, "keys.create", "default", f"key/{i}", role="caller")
    return engine


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return four(open_meta(f"sqlite:///{tmp_path / 'm.db'}"))


@pytest.fixture
def either(tmp_path: Path, database_setting: str) -> Engine:
    return four(open_meta(database_setting or f"sqlite:///{tmp_path / 'm.db'}"))


@on_both
def test_an_untouched_chain_holds(either: Engine) -> None:
    with read(either) as c:
        assert audit.verify(c) is None


@on_both
def test_the_ledger_says_how_far_it_goes_and_when_it_was_verified(either: Engine, tmp_path: Path) -> None:
    empty = audit.Audit(open_meta(f"sqlite:///{tmp_path / 'empty.db'}")).ledger()
    assert (empty.entries, empty.head, empty.last_ns) == (0, audit.GENESIS, None)
    service, lite = audit.Audit(either), either.dialect.name == "sqlite"
    found = service.ledger()
    assert (found.entries, found.head, found.anchored) == (4, audit.check(either).head, lite)
    assert found.last_ns and found.verified_ns is None
    state = service.verify(OWNER, AuditVerify())
    found = service.ledger()
    assert found.verified_ns and (found.verified, found.problem) == (4, None)
    with pytest.raises(Forbidden):
        service.verify(Actor("key:v", "viewer"), AuditVerify())
    service.verify(OWNER, AuditVerify("4:sha256:" + "0" * 64))  # a head that somebody noted wrongly says nothing against the audit
    assert service.ledger().problem is None and state.problem is None
    with write(either) as c:
        c.exec_driver_sql("UPDATE audit SET actor = 'nobody' WHERE seq = 2")
    service.verify(OWNER, AuditVerify())
    assert (service.ledger().verified, service.ledger().problem) == (1, "entry 2 was changed")


@on_both
def test_what_rests_on_the_chain_alone_is_said(either: Engine) -> None:
    """In PostgreSQL there is no second place: that the end was cut off is told by a head noted elsewhere."""
    lite = either.dialect.name == "sqlite"
    found = audit.check(either)
    assert (found.problem, found.entries, found.anchored_from) == (None, 4, 0 if lite else 4)
    head = f"4:{found.head}"
    with write(either) as c:
        c.exec_driver_sql("DELETE FROM audit WHERE seq = 4")
    assert (audit.check(either).problem is not None) == lite
    assert audit.Audit(either).verify(OWNER, AuditVerify(head)).problem is not None


@on_both
def test_what_was_not_done_is_not_recorded(either: Engine) -> None:
    with pytest.raises(ZeroDivisionError), write(either) as c:
        audit.record(c, OWNER, "keys.create", "default", "key/9")
        _ = 1 / 0
    with read(either) as c:
        assert c.exec_driver_sql("SELECT count(*) FROM audit").scalar() == 4 and audit.verify(c) is None


@pytest.mark.parametrize("column", ["at_ns", "actor", "action", "project", "subject", "details", "previous", "hash"])
@on_both
def test_every_field_is_in_the_chain(either: Engine, column: str) -> None:
    with write(either) as c:
        c.exec_driver_sql(f"UPDATE audit SET {column} = {'1' if column == 'at_ns' else repr('x')} WHERE seq = 2")
    with read(either) as c:
        assert audit.verify(c) == "entry 2 was changed"


@on_both
def test_an_entry_that_was_taken_out_is_missed(either: Engine) -> None:
    with write(either) as c:
        c.exec_driver_sql("DELETE FROM audit WHERE seq = 3")
    with read(either) as c:
        assert audit.verify(c) == "entry 3 is missing"
    with write(either) as c:  # also when the rest moves up
        c.exec_driver_sql("UPDATE audit SET seq = 3 WHERE seq = 4")
    with read(either) as c:
        assert audit.verify(c) == "entry 3 was changed"


# what a chain alone does not tell: it is held against the anchors outside the table


def rechained(c: Connection, start: int = 1) -> None:
    """Number the entries again and make every hash fit, as somebody would who knows how it is done."""
    rows = [dict(row._mapping) for row in c.execute(select(table).order_by(table.c.seq))]
    c.execute(delete(table))
    previous = audit.GENESIS
    for seq, row in enumerate(rows, 1):
        row |= {"seq": seq, "previous": previous}
        row["hash"] = previous = audit._hash(
            seq, row["at_ns"], row["actor"], row["action"], row["project"], row["subject"], row["details"], previous
        )
        c.execute(table.insert().values(**row))


def sql(*statements: str, rechain: bool = False) -> Callable[[Engine], None]:
    def do(engine: Engine) -> None:
        with write(engine) as c:
            for statement in statements:
                c.exec_driver_sql(statement)
            if rechain:
                rechained(c)

    return do


def anchored(change: Callable[[list[str]], list[str]]) -> Callable[[Engine], None]:
    def do(engine: Engine) -> None:
        path = Path(engine.url.database or "").with_name(FILE)
        path.write_text("".join(change(path.read_text().splitlines(keepends=True))))

    return do


INSERT = "INSERT INTO audit SELECT {to}, at_ns, 'mallory', action, project, subject, details, previous, hash FROM audit WHERE seq = 4"
SWAP = ("UPDATE audit SET seq = -2 WHERE seq = 2", "UPDATE audit SET seq = 2 WHERE seq = 3", "UPDATE audit SET seq = 3 WHERE seq = -2")
SHIFT = ("UPDATE audit SET seq = -seq WHERE seq > 2", "UPDATE audit SET seq = 1 - seq WHERE seq < 0")
TAMPERINGS: dict[str, tuple[Callable[[Engine], None], str]] = {
    "edited": (sql("UPDATE audit SET subject = 'x' WHERE seq = 2"), "entry 2 was changed"),
    "edited, and every hash made to fit": (sql("UPDATE audit SET subject = 'x' WHERE seq = 2", rechain=True), "entry 2 is not the one"),
    "the last edited, and its hash made to fit": (sql("UPDATE audit SET subject = 'x' WHERE seq = 4", rechain=True), "entry 4 is not the"),
    "taken out": (sql("DELETE FROM audit WHERE seq = 2"), "entry 2 is missing"),
    "taken out, and the rest moved up": (sql("DELETE FROM audit WHERE seq = 2", rechain=True), "entry 2 is not the one"),
    "the first taken out": (sql("DELETE FROM audit WHERE seq = 1"), "entry 1 is missing"),
    "put in": (sql(*SHIFT, INSERT.format(to=3).replace("seq = 4", "seq = 5")), "entry 3 was changed"),
    "put in, and every hash made to fit": (sql(*SHIFT, INSERT.format(to=3).replace("seq = 4", "seq = 5"), rechain=True), "entry 3 is not"),
    "added at the end": (sql(INSERT.format(to=5)), "entry 5 was changed"),
    "added at the end, and its hash made to fit": (sql(INSERT.format(to=5), rechain=True), "entry 5 was added by another hand"),
    "two swapped": (sql(*SWAP), "entry 2 was changed"),
    "two swapped, and every hash made to fit": (sql(*SWAP, rechain=True), "entry 2 is not the one"),
    "the last cut off": (sql("DELETE FROM audit WHERE seq = 4"), "entry 4 was cut off"),
    "several cut off": (sql("DELETE FROM audit WHERE seq > 1"), "entries 2 to 4 were cut off"),
    "everything cut off": (sql("DELETE FROM audit"), "entries 1 to 4 were cut off"),
    "replaced by another's": (sql("UPDATE audit SET actor = 'mallory', at_ns = at_ns + 1", rechain=True), "entry 1 is not the one"),
    "the anchors cut off": (anchored(lambda lines: lines[:-2]), "entry 4 was added by another hand"),
    "an anchor changed": (
        anchored(lambda lines: [x.replace("= 2 sha256:", "= 2 sha256:0")[: len(x) - 1] + "\n" for x in lines]),
        "entry 2",
    ),
    "an anchor made unreadable": (anchored(lambda lines: [*lines[:3], "= 2 sha256:zz\n", *lines[4:]]), "line 4 of audit.anchors"),
    "the anchors begun again": (anchored(lambda lines: [*lines, lines[0]]), "begins a second time"),
}


@pytest.mark.parametrize("kind", TAMPERINGS)
@pytest.mark.parametrize("then", ["at once", "after more was written"])
def test_tampering_is_found(engine: Engine, kind: str, then: str) -> None:
    with read(engine) as c:
        assert audit.verify(c) is None
    tamper, said = TAMPERINGS[kind]
    tamper(engine)
    if then == "at once":
        with read(engine) as c:
            assert said in (audit.verify(c) or "")
        return
    for i in range(4):
        with write(engine) as c:
            audit.record(c, OWNER, "keys.create", "default", f"later/{i}")
    with read(engine) as c:
        assert audit.verify(c)  # told, and never healed, by what is written later


def test_the_file_of_anchors_taken_away_is_missed_and_what_follows_says_so(engine: Engine) -> None:
    Path(engine.url.database or "").with_name(FILE).unlink()
    with read(engine) as c:
        assert audit.verify(c) == "audit.anchors is missing: nothing says where the audit ended"
    with write(engine) as c:
        audit.record(c, OWNER, "keys.create", "default", "later")
    found = audit.check(engine)
    assert (found.problem, found.entries, found.anchored_from) == (None, 5, 4)


def test_an_older_copy_of_the_store_is_told(engine: Engine, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "m.db") as old:
        old.execute("VACUUM INTO ?", (str(tmp_path / "old.db"),))
    for i in range(3):
        with write(engine) as c:
            audit.record(c, OWNER, "keys.create", "default", f"later/{i}")
    engine.dispose()
    (tmp_path / "old.db").replace(tmp_path / "m.db")
    for name in ("m.db-wal", "m.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    with read(engine) as c:
        assert audit.verify(c) == "entries 5 to 7 were cut off at the end"


def test_a_head_noted_elsewhere_is_held_against_all_of_it(engine: Engine) -> None:
    """Whoever can write the table and the anchors can make both fit; not what somebody wrote down."""
    service = audit.Audit(engine)
    head = service.verify(OWNER, AuditVerify())
    noted = f"{head.entries}:{head.head}"
    with write(engine) as c:
        audit.record(c, OWNER, "keys.create", "default", "later")
    assert service.verify(OWNER, AuditVerify(noted)).problem is None
    with write(engine) as c:
        c.execute(delete(table))
        for i in range(9):
            audit.record(c, OWNER, "keys.create", "default", f"other/{i}")
    path = Path(engine.url.database or "").with_name(FILE)
    with read(engine) as c:
        rows = c.execute(select(table.c.seq, table.c.hash).order_by(table.c.seq)).all()
    path.write_text("".join([f"from 0 {audit.GENESIS}\n", *(f"= {r.seq} {r.hash}\n" for r in rows)]))
    assert service.verify(OWNER, AuditVerify()).problem is None
    assert service.verify(OWNER, AuditVerify(noted)).problem == "entry 4 is not the one you noted"
    with pytest.raises(Invalid):
        service.verify(OWNER, AuditVerify("latest"))


def test_what_was_undone_is_no_tampering(engine: Engine) -> None:
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), write(engine) as c:
            audit.record(c, OWNER, "keys.create", "default", "never")
            _ = 1 / 0
        with read(engine) as c:
            assert audit.verify(c) is None
        with write(engine) as c:
            audit.record(c, OWNER, "keys.create", "default", "done")
        with read(engine) as c:
            assert audit.verify(c) is None


def test_what_cannot_be_anchored_is_not_done(engine: Engine) -> None:
    path = Path(engine.url.database or "").with_name(FILE)
    path.rename(path.with_name("kept"))
    path.mkdir()
    with pytest.raises(Unavailable, match="the audit cannot be kept"), write(engine) as c:
        audit.record(c, OWNER, "keys.create", "default", "x")
    path.rmdir()
    path.with_name("kept").rename(path)
    assert audit.check(engine).entries == 4


WRITER = """
import sys
from windlass.core.actor import OWNER
from windlass.govern import audit
from windlass.store.meta import open_meta, write
engine = open_meta(sys.argv[1])
print("ready", flush=True)
for i in range(int(sys.argv[2])):
    with write(engine) as c:
        audit.record(c, OWNER, "keys.create", "default", f"key/{i}", text="x" * (i % 50) * 100)
        if i % 3 == 0:
            audit.record(c, OWNER, "keys.create", "default", f"again/{i}")
"""


def writer(engine: Engine, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", WRITER, str(engine.url), str(count)], stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_process_that_is_killed_at_any_moment_leaves_no_false_alarm(engine: Engine) -> None:
    path = Path(engine.url.database or "").with_name(FILE)
    for turn in range(12):
        process, size = writer(engine, 100_000), path.stat().st_size
        while path.stat().st_size < size + 500:
            time.sleep(0.001)
        time.sleep(0.0037 * turn)
        process.kill()
        process.wait()
        assert audit.check(engine).problem is None


@pytest.mark.slow
def test_processes_that_write_at_once_leave_one_chain_also_for_whoever_verifies_meanwhile(engine: Engine) -> None:
    processes = [writer(engine, 60) for _ in range(4)]
    seen = 0
    while any(p.poll() is None for p in processes):
        found = audit.check(engine)
        assert found.problem is None, found
        seen += 1
    assert seen > 3 and audit.check(engine).entries == 4 + 4 * 80


def test_an_audit_from_before_anchors_is_anchored_where_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an upgrade finds it: the file begins after the last entry."""
    from alembic import command
    from alembic.config import Config

    path = tmp_path / "old.db"
    engine = create_engine(f"sqlite:///{path}")
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.begin() as c:
        config.attributes["connection"] = c
        command.upgrade(config, "0011")
        monkeypatch.setattr(Anchors, "beside", lambda connection: None)
        for i in range(3):
            audit.record(c, OWNER, "keys.create", "default", f"key/{i}")
    monkeypatch.undo()
    engine.dispose()
    assert not path.with_name(FILE).exists()
    upgraded = open_meta(f"sqlite:///{path}")
    assert audit.check(upgraded).problem is None and audit.check(upgraded).anchored_from == 3
    with write(upgraded) as c:
        c.execute(delete(table).where(table.c.seq == 3))
    assert audit.check(upgraded).problem == "entry 3 was cut off at the end"


# what was done, as people look at it


def test_the_audit_is_filtered_and_paged(engine: Engine) -> None:
    service = audit.Audit(engine)
    with write(engine) as c:
        audit.record(c, Actor("key:ab", "developer"), "releases.promote", "default", "release/100%", verdict="v")
        audit.record(c, OWNER, "releases.rollback", "shop", "release/answer")
    assert [e.seq for e in service.list(OWNER, AuditQuery()).items] == [5, 4, 3, 2, 1]
    assert [e.seq for e in service.list(OWNER, AuditQuery("shop")).items] == [6]
    (only,) = service.list(OWNER, AuditQuery(actor="key:")).items
    assert (only.seq, only.details) == (5, {"verdict": "v"})
    for query in ({"action": "releases."}, {"action": "releases.promote"}, {"actor": "key:ab"}, {"subject": "100%"}):
        assert [e.seq for e in service.list(OWNER, AuditQuery(**query)).items] == [5], query
    for query in ({"action": "releases"}, {"subject": "1%0"}, {"actor": "ke"}, {"until_ns": 1}, {"since_ns": 2**62}):
        assert service.list(OWNER, AuditQuery(**query)).items == (), query
    first = service.list(OWNER, AuditQuery(limit=2))
    second = service.list(OWNER, AuditQuery(limit=2, cursor=first.next))
    third = service.list(OWNER, AuditQuery(limit=2, cursor=second.next))
    assert [e.seq for e in (*first.items, *second.items, *third.items)] == [5, 4, 3, 2, 1] and third.next is None
    with pytest.raises(Invalid):
        service.list(OWNER, AuditQuery(cursor="x"))
    with pytest.raises(Forbidden):
        service.list(Actor("key:ab", "developer"), AuditQuery("shop"))
    with pytest.raises(Forbidden):
        service.verify(Actor("key:ab", "developer"), AuditVerify())


def test_the_commands(shell: Shell) -> None:
    key = shell.json("keys", "create", "ci")
    shell("keys", "revoke", key["id"])
    said = shell("audit", "list").stdout
    assert said.index("keys.revoke") < said.index("keys.create") and f"key:{key['id']}" in said
    assert [e["action"] for e in shell.json("audit", "list", "--action", "keys.create")["items"]] == ["keys.create"]
    assert "nothing of this was done" in shell("audit", "list", "--actor", "nobody", "--since", "1h").stdout
    agrees = shell("audit", "verify").stdout
    head = re.search(r"head (\S+)", agrees)
    assert agrees.startswith("agrees  2 entries") and head
    shell("audit", "verify", "--head", head[1])
    with sqlite3.connect(shell.folder / "home" / "windlass.db") as c:
        c.execute("DELETE FROM audit WHERE seq = 2")
    assert "entry 2 was cut off at the end" in shell("audit", "verify", code=1).stdout
    assert shell.json("audit", "verify", code=1)["at"] == 2


def _append(store: str, who: int, times: int) -> None:
    engine = open_meta(store)
    for i in range(times):
        with write(engine) as c:
            audit.record(c, OWNER, "keys.create", "default", f"key/{who}-{i}")


@on_both
def test_eight_processes_that_append_at_once_make_one_chain(tmp_path: Path, database_setting: str) -> None:
    store = database_setting or f"sqlite:///{tmp_path / 'm.db'}"
    writers = [racer(_append, store, who, 20) for who in range(8)]
    for w in writers:
        w.start()
    for w in writers:
        w.join(120)
    assert [w.exitcode for w in writers] == [0] * 8
    with read(open_meta(store)) as c:
        assert audit.verify(c) is None
        found = set(c.exec_driver_sql("SELECT subject FROM audit").scalars())
    assert found == {f"key/{who}-{i}" for who in range(8) for i in range(20)}
