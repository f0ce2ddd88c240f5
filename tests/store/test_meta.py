"""The relational store, whichever engine has it: one state for a reader, all or nothing for a writer, who has it for itself."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, inspect, select
from sqlalchemy.exc import DBAPIError
from tests.racing import CONTEXT, racer
from tests.store.newer import ROW, newer
from tests.stores import on_both

from windlass.core.errors import Invalid, Unavailable
from windlass.store import meta, meta_postgres, meta_sqlite
from windlass.store.meta import open_meta, read, write
from windlass.store.tables import draws, judgements, stops

pytestmark = on_both


@pytest.fixture
def store(tmp_path: Path, database_setting: str) -> str:
    return database_setting or f"sqlite:///{tmp_path / 'm.db'}"


def test_a_store_is_opened_again_and_a_newer_one_is_refused(store: str) -> None:
    engine = open_meta(store)
    open_meta(store)
    with write(engine) as c:
        c.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(Invalid, match="newer than this Windlass"):
        open_meta(store)


def test_a_write_that_raises_leaves_nothing(store: str) -> None:
    engine = open_meta(store)
    with pytest.raises(ZeroDivisionError), write(engine) as c:
        c.exec_driver_sql(ROW)
        _ = 1 / 0
    with read(engine) as c:
        assert c.exec_driver_sql("SELECT count(*) FROM judgements").scalar() == 0


def test_tables_and_migrations_agree(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    from windlass.store.tables import metadata

    with _migrated(store, monkeypatch).connect() as c:
        assert compare_metadata(MigrationContext.configure(c), metadata) == []


def test_a_new_store_is_what_all_upgrades_come_to(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Columns with their types, keys and indexes: of one that is made as it is now, and of one that was upgraded from the first."""

    def shape(engine: Engine) -> dict[str, Any]:
        seen = inspect(engine)
        return {
            table: (
                [(c["name"], str(c["type"]), c["nullable"], c.get("collation")) for c in seen.get_columns(table)],
                seen.get_pk_constraint(table)["constrained_columns"],
                sorted((str(i["name"]), tuple(i["column_names"]), bool(i["unique"])) for i in seen.get_indexes(table)),
            )
            for table in sorted(seen.get_table_names())
        }

    upgraded = _migrated(store, monkeypatch)
    found = shape(upgraded)
    with write(upgraded) as c:
        for table in found:
            c.exec_driver_sql(f'DROP TABLE "{table}"')
    upgraded.dispose()
    made = shape(open_meta(store))
    assert {table: sorted(columns) for table, (columns, *_) in made.items()} == {t: sorted(c) for t, (c, *_) in found.items()}
    assert {table: rest for table, (_, *rest) in made.items()} == {table: rest for table, (_, *rest) in found.items()}


def _migrated(store: str, monkeypatch: pytest.MonkeyPatch) -> Engine:
    with monkeypatch.context() as patched:
        patched.setattr(meta, "_make", lambda engine: False)
        return open_meta(store)


def test_an_upgrade_that_fails_changes_nothing(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with write(open_meta(store)) as c:
        c.exec_driver_sql(ROW)
    with monkeypatch.context() as m, pytest.raises(DBAPIError, match="already exists"):
        m.setattr(meta, "HEAD", "next")
        m.setattr(meta, "MIGRATIONS", newer(tmp_path, "op.execute('CREATE TABLE fresh (n INTEGER)')"))
        open_meta(store)
    with read(open_meta(store)) as c:
        assert not inspect(c).has_table("fresh")
        assert c.exec_driver_sql("SELECT count(*) FROM judgements").scalar() == 1


def test_a_reader_sees_one_state_and_waits_for_nobody(store: str) -> None:
    engine = open_meta(store)
    with read(engine) as before:
        assert before.exec_driver_sql("SELECT count(*) FROM judgements").scalar() == 0
        with write(engine) as c:
            c.exec_driver_sql(ROW)
            with read(engine) as beside:  # while somebody writes
                assert beside.exec_driver_sql("SELECT count(*) FROM judgements").scalar() == 0
        assert before.exec_driver_sql("SELECT count(*) FROM judgements").scalar() == 0, "still the state it began with"
    with read(engine) as after:
        assert after.exec_driver_sql("SELECT count(*) FROM judgements").scalar() == 1


def test_who_waits_too_long_for_a_writer_is_told(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who never ends does not hold the others up for ever."""
    monkeypatch.setattr(meta_postgres, "WRITE", meta_postgres.WRITE.replace("'10s'", "'300ms'"))
    monkeypatch.setattr(meta_sqlite, "BUSY_MS", 300)
    engine = open_meta(store)
    with write(engine) as c:
        c.exec_driver_sql(ROW)
        began = time.monotonic()
        with pytest.raises(Unavailable, match="the store is busy; nothing was changed"), write(engine) as second:
            second.exec_driver_sql(ROW)
        assert 0.2 < time.monotonic() - began < 8
    with write(engine) as c:
        assert c.exec_driver_sql("SELECT count(*) FROM judgements").scalar() == 1


def test_a_writer_reads_what_the_one_before_it_left(store: str) -> None:
    """Also one that began to wait before that one ended."""
    engine, order = open_meta(store), list[str]()
    waits = threading.Event()

    def second() -> None:
        waits.set()
        with write(engine) as c:
            order.append(f"second saw {c.execute(select(stops.c.subject)).scalars().all()}")

    with write(engine) as c:
        thread = threading.Thread(target=second)
        thread.start()
        waits.wait()
        time.sleep(0.3)
        c.execute(stops.insert().values(project="p", subject="all", reason="", actor="a", at_ns=1))
        order.append("first wrote")
    thread.join()
    assert order == ["first wrote", "second saw ['all']"]


def _add(store: str, who: int, times: int, gate: Any) -> None:
    engine = open_meta(store)
    gate.wait(60)
    for _ in range(times):
        with write(engine) as c:
            there = c.execute(select(judgements.c.score).where(judgements.c.key == "sum")).scalar_one()
            c.execute(judgements.update().where(judgements.c.key == "sum").values(score=str(int(there) + 1)))


def test_eight_processes_that_read_and_then_write_lose_nothing(store: str) -> None:
    engine = open_meta(store)
    with write(engine) as c:
        c.execute(judgements.insert().values(project="p", key="sum", evaluator="e", score="0", created_ns=1))
    gate = CONTEXT.Barrier(8)
    writers = [racer(_add, store, who, 25, gate) for who in range(8)]
    for w in writers:
        w.start()
    for w in writers:
        w.join(120)
    assert [w.exitcode for w in writers] == [0] * 8
    with read(engine) as c:
        assert c.execute(select(judgements.c.score)).scalar_one() == "200"


def test_every_text_comes_back_as_it_was(store: str) -> None:
    """NUL, which PostgreSQL does not take, and what stands for it there."""
    engine = open_meta(store)
    texts = ["a\0b", "\0", "\U0010fffe", "\U0010fffe0\0\U0010fffe1", "'\"\\%s ?:x", "é́\u2028😀", "", " "]
    with write(engine) as c:
        for n, text in enumerate(texts):
            c.execute(judgements.insert().values(project="p", key=text, evaluator=str(n), score=text, created_ns=n))
    with read(engine) as c:
        found = c.execute(select(judgements).order_by(judgements.c.created_ns)).all()
        assert [row.key for row in found] == [row.score for row in found] == texts
        for n, text in enumerate(texts):
            assert c.execute(select(judgements.c.created_ns).where(judgements.c.key == text)).scalar_one() == n


def test_text_is_ordered_by_its_bytes(store: str) -> None:
    """As cursors of lists are compared; an order by a language's rules would skip rows between two pages."""
    engine = open_meta(store)
    names = ["Z", "a", "B", "_", "a-b", "ab", "a b", "é", "e", "É", "10", "9", "-"]
    with write(engine) as c:
        for name in names:
            c.execute(judgements.insert().values(project="p", key=name, evaluator="e", score="", created_ns=1))
    with read(engine) as c:
        assert list(c.execute(select(judgements.c.key).order_by(judgements.c.key)).scalars()) == sorted(names, key=str.encode)
        later = select(judgements.c.key).where(judgements.c.key > "a")
        assert set(c.execute(later).scalars()) == {name for name in names if name.encode() > b"a"}


def test_numbers_of_64_bits_and_bytes_come_back(store: str) -> None:
    engine = open_meta(store)
    row = {"project": "p", "key": "k", "request": "", "model": "", "row": "", "repeat": 0, "occurrence": 0}
    with write(engine) as c:
        c.execute(draws.insert().values(**row, reply=bytes(range(256)), created_ns=2**63 - 1))
    with read(engine) as c:
        found = c.execute(select(draws)).one()
    assert (bytes(found.reply), found.created_ns) == (bytes(range(256)), 2**63 - 1)
