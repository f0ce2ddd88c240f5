"""What only a store in PostgreSQL does: it goes away and comes back, it orders text by rules of its own, it wants a password."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.exc import DBAPIError
from tests.racing import CONTEXT, racer
from tests.registry.sources.postgresql_server import OWNER, PASSWORD, READER, READERS, PostgreSqlServer, binaries

from windlass.core.actor import OWNER as ACTOR
from windlass.core.errors import Invalid, StoreAway, Unavailable
from windlass.govern import audit
from windlass.store import meta_postgres
from windlass.store.meta import open_meta, read, write
from windlass.store.tables import grants, judgements, tune_points


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[PostgreSqlServer]:
    """One of the test's own, to be stopped and killed."""
    folder = binaries()
    if folder is None:
        pytest.skip("there is no PostgreSQL server here: sh scripts/postgresql.sh installs one")
    monkeypatch.setenv(meta_postgres.PASSWORD, PASSWORD)
    made = PostgreSqlServer(folder, "-c fsync=on -c max_connections=40")
    try:
        yield made
    finally:
        made.close()


def _open(store: str, start: Any, said: Any) -> None:
    start.wait()
    with write(open_meta(store)) as c:
        n = c.exec_driver_sql("SELECT count(*) FROM judgements").scalar()
        c.exec_driver_sql("INSERT INTO judgements VALUES ('p', %s, 'e', '{}', 1)", (str(n),))
    said.put(n)


def test_who_open_an_empty_database_together_find_one_store(postgresql: PostgreSqlServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(meta_postgres.PASSWORD, PASSWORD)
    name = postgresql.empty_store(migrated=False)
    start, said = CONTEXT.Event(), CONTEXT.Queue()
    racers = [racer(_open, postgresql.store_url(name), start, said) for _ in range(6)]
    for r in racers:
        r.start()
    start.set()
    assert sorted(said.get(timeout=120) for _ in racers) == list(range(6))
    for r in racers:
        r.join()
    postgresql.drop(name)


class Writers:
    """Threads that write as fast as they can, as the threads of a door do, and keep what they were told."""

    def __init__(self, store: str, count: int) -> None:
        self.engine = open_meta(store)
        self.kept: list[str] = []
        self.refused: list[tuple[str, Unavailable]] = []
        self.defects: list[BaseException] = []
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(who,)) for who in range(count)]
        for thread in self._threads:
            thread.start()

    def _write(self, who: int) -> None:
        n = 0
        while not self._ended.is_set():
            n += 1
            subject = f"{who}-{n}"
            try:
                with write(self.engine) as c:
                    audit.record(c, ACTOR, "test", "p", subject)
                    c.execute(judgements.insert().values(project="p", key=subject, evaluator="e", score="", created_ns=n))
                self.kept.append(subject)
            except Unavailable as e:
                self.refused.append((subject, e))
                time.sleep(0.05)
            except BaseException as e:
                self.defects.append(e)

    def wait(self, more: int, seconds: float = 60) -> None:
        """Until so many more were kept."""
        until, there = time.monotonic() + seconds, len(self.kept)
        while len(self.kept) < there + more:
            assert time.monotonic() < until, f"{len(self.kept) - there} of {more} were kept; {self.refused[-1:]} {self.defects[-1:]}"
            time.sleep(0.02)

    def end(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join(60)


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_what_was_acknowledged_before_a_restart_is_there_after_it(server: PostgreSqlServer, mode: str) -> None:
    """Stopped and killed under load, three times. Nobody opens the store again, and nobody restarts what writes."""
    writers = Writers(server.store_url(server.empty_store()), 6)
    for _ in range(3):
        writers.wait(30)
        server.stop(mode)
        time.sleep(0.5)
        server.start()
    writers.wait(30)
    writers.end()
    assert not writers.defects
    assert writers.refused, "nobody noticed"
    assert {type(e) for _, e in writers.refused} == {StoreAway}
    for _, e in writers.refused:
        assert PASSWORD not in str(e) + repr(e.__cause__)
        assert e.message.startswith(("PostgreSQL does not answer", "the store went away while a change was made durable")), e
    with read(writers.engine) as c:
        there = set(c.execute(select(judgements.c.key)).scalars())
        assert audit.verify(c) is None
        assert {e.subject for e in c.execute(select(audit.audit))} == there
    assert set(writers.kept) <= there, "what was acknowledged was lost"
    uncertain = {subject for subject, e in writers.refused if "may or may not be there" in e.message}
    assert there - set(writers.kept) <= uncertain, "something was kept though its writer was told that it was not"


def test_a_store_that_goes_away_at_the_commit_says_that_nobody_knows(server: PostgreSqlServer) -> None:
    engine = open_meta(server.store_url(server.empty_store()))
    armed = [True]

    @event.listens_for(engine, "commit")
    def cut(_: Any) -> None:
        if armed:
            armed.clear()
            server.stop("immediate")

    with pytest.raises(Unavailable, match="may or may not be there"), write(engine) as c:
        c.execute(judgements.insert().values(project="p", key="k", evaluator="e", score="", created_ns=1))
    server.start()
    with write(engine) as c:
        assert c.execute(select(judgements)).all() == []


def test_a_server_that_is_not_there_is_a_sentence_without_a_secret(server: PostgreSqlServer) -> None:
    store = server.store_url(server.empty_store())
    server.stop()
    with pytest.raises(Unavailable, match="PostgreSQL does not answer") as told:
        open_meta(store)
    assert PASSWORD not in str(told.value) + repr(told.value.as_dict())
    server.start()


def test_who_may_not_come_in_is_told(postgresql: PostgreSqlServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(meta_postgres.PASSWORD, PASSWORD)
    name = postgresql.empty_store()
    monkeypatch.delenv(meta_postgres.PASSWORD)
    monkeypatch.setenv("PGPASSFILE", "/nonexistent")
    with pytest.raises(Unavailable, match="does not let us in"):
        open_meta(postgresql.store_url(name))
    monkeypatch.setenv(meta_postgres.PASSWORD, "a-wrong-one")
    with pytest.raises(Unavailable, match="does not let us in") as told:
        open_meta(postgresql.store_url(name))
    assert "a-wrong-one" not in str(told.value) + repr(told.value.as_dict()) + repr(told.value.__cause__)
    monkeypatch.setenv(meta_postgres.PASSWORD, READERS)
    with pytest.raises(Unavailable, match="cannot be written"):
        open_meta(postgresql.store_url(name).replace(OWNER, READER))
    monkeypatch.setenv(meta_postgres.PASSWORD, PASSWORD)
    with pytest.raises(Unavailable, match="does not let us in"):
        open_meta(postgresql.store_url("nowhere"))
    postgresql.drop(name)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("postgresql://me:hunter2@db/windlass", "a secret does not belong in a setting"),
        ("postgresql://db/windlass?password=hunter2", "a secret does not belong in a setting"),
        ("postgresql://db/windlass?passfile=hunter2", "a secret does not belong in a setting"),
        ("postgresql://db/windlass?options=-cfsync%3Doff", "no option of the database"),
        ("postgresql://me@db", "names no database"),
        ("postgresql+asyncpg://me@db/windlass", "no address of a PostgreSQL database"),
        ("mysql://me:hunter2@db/windlass", "no address of a PostgreSQL database"),
        ("hunter2", "no address of a database"),
        ("postgresql://me@db:hunter2/windlass", "no address of a database"),
    ],
)
def test_what_is_wrong_with_the_setting_is_said_without_repeating_it(setting: str, said: str) -> None:
    with pytest.raises(Invalid, match=said) as told:
        open_meta(setting)
    assert "hunter2" not in str(told.value) + repr(told.value.as_dict())


def test_text_is_ordered_by_bytes_whatever_the_database_thinks(postgresql: PostgreSqlServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(meta_postgres.PASSWORD, PASSWORD)
    with postgresql.admin() as c:
        c.execute("CREATE DATABASE in_english TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER icu ICU_LOCALE 'en' LOCALE 'C'")
        with postgresql.admin("in_english") as english:
            assert english.execute("SELECT 'a' < 'B'").fetchone() == (True,), "this server cannot order by a language"
    engine = open_meta(postgresql.store_url("in_english"))
    with write(engine) as c:
        for name in ("a", "B", "_"):
            c.execute(judgements.insert().values(project="p", key=name, evaluator="e", score="", created_ns=1))
    with read(engine) as c:
        assert list(c.execute(select(judgements.c.key).order_by(judgements.c.key)).scalars()) == ["B", "_", "a"]
    engine.dispose()
    postgresql.drop("in_english")


def test_a_database_in_another_encoding_is_refused(postgresql: PostgreSqlServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(meta_postgres.PASSWORD, PASSWORD)
    with postgresql.admin() as c:
        c.execute("CREATE DATABASE in_latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    with pytest.raises(Invalid, match="keeps text as LATIN1; Windlass needs UTF8"):
        open_meta(postgresql.store_url("in_latin"))
    postgresql.drop("in_latin")


def test_a_write_is_durable_also_where_the_role_is_set_up_otherwise(postgresql: PostgreSqlServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(meta_postgres.PASSWORD, PASSWORD)
    name = postgresql.empty_store()
    for wanted, found in (("off", "on"), ("local", "local"), ("remote_apply", "remote_apply")):
        with postgresql.admin() as c:
            c.execute(f"ALTER DATABASE {name} SET synchronous_commit = {wanted}")
        engine = open_meta(postgresql.store_url(name))
        with write(engine) as c:
            assert c.exec_driver_sql("SHOW synchronous_commit").scalar() == found
        engine.dispose()
    postgresql.drop(name)


def test_a_key_that_no_index_takes_is_told(postgresql: PostgreSqlServer, monkeypatch: pytest.MonkeyPatch) -> None:
    import random

    monkeypatch.setenv(meta_postgres.PASSWORD, PASSWORD)
    name = postgresql.empty_store()
    engine = open_meta(postgresql.store_url(name))
    key = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=9000))
    with pytest.raises(Invalid, match="longer than PostgreSQL's indexes take"), write(engine) as c:
        c.execute(judgements.insert().values(project="p", key=key, evaluator="e", score="", created_ns=1))
    engine.dispose()
    postgresql.drop(name)


def test_what_nobody_could_have_meant_is_told_and_a_defect_stays_one(postgresql: PostgreSqlServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work that waited for a store because of its own mistake would wait for ever."""
    monkeypatch.setenv(meta_postgres.PASSWORD, PASSWORD)
    name = postgresql.empty_store()
    engine = open_meta(postgresql.store_url(name))
    for asked in (select(grants).where(grants.c.id == "a\0b"), select(tune_points).where(tune_points.c.step > 10**12)):
        with pytest.raises(Invalid, match="than PostgreSQL takes"), read(engine) as c:
            c.execute(asked).all()
    for broken in (text("SELECT nonsense"), select(grants).where(grants.c.id == object())):
        with pytest.raises(DBAPIError), read(engine) as c:
            c.execute(broken)
    with read(engine) as c:
        assert c.execute(select(grants)).all() == []
    engine.dispose()
    postgresql.drop(name)
