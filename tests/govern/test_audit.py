"""The audit's chain breaks at whatever was changed, and holds when eight processes write it at once."""

import multiprocessing
from pathlib import Path

import pytest
from sqlalchemy import Engine
from tests.stores import on_both

from windlass.core.actor import OWNER
from windlass.govern import audit
from windlass.store.meta import open_meta, read, write

pytestmark = on_both


@pytest.fixture
def engine(tmp_path: Path, database_setting: str) -> Engine:
    engine = open_meta(database_setting or f"sqlite:///{tmp_path / 'm.db'}")
    for i in range(4):
        with write(engine) as c:
            audit.record(c, OWNER, "keys.create", "default", f"key/{i}", role="caller")
    return engine


def test_an_untouched_chain_holds(engine: Engine) -> None:
    with read(engine) as c:
        assert audit.verify(c) is None


def test_what_was_not_done_is_not_recorded(engine: Engine) -> None:
    with pytest.raises(ZeroDivisionError), write(engine) as c:
        audit.record(c, OWNER, "keys.create", "default", "key/9")
        _ = 1 / 0
    with read(engine) as c:
        assert c.exec_driver_sql("SELECT count(*) FROM audit").scalar() == 4 and audit.verify(c) is None


@pytest.mark.parametrize("column", ["at_ns", "actor", "action", "project", "subject", "details", "previous", "hash"])
def test_every_field_is_in_the_chain(engine: Engine, column: str) -> None:
    with write(engine) as c:
        c.exec_driver_sql(f"UPDATE audit SET {column} = {'1' if column == 'at_ns' else repr('x')} WHERE seq = 2")
    with read(engine) as c:
        assert audit.verify(c) == "entry 2 was changed"


def test_an_entry_that_was_taken_out_is_missed(engine: Engine) -> None:
    with write(engine) as c:
        c.exec_driver_sql("DELETE FROM audit WHERE seq = 3")
    with read(engine) as c:
        assert audit.verify(c) == "entry 3 is missing"
    with write(engine) as c:  # also when the rest moves up
        c.exec_driver_sql("UPDATE audit SET seq = 3 WHERE seq = 4")
    with read(engine) as c:
        assert audit.verify(c) == "entry 3 was changed"


def _append(store: str, who: int, times: int) -> None:
    engine = open_meta(store)
    for i in range(times):
        with write(engine) as c:
            audit.record(c, OWNER, "keys.create", "default", f"key/{who}-{i}")


def test_eight_processes_that_append_at_once_make_one_chain(tmp_path: Path, database_setting: str) -> None:
    store = database_setting or f"sqlite:///{tmp_path / 'm.db'}"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_append, args=(store, who, 20)) for who in range(8)]
    for w in writers:
        w.start()
    for w in writers:
        w.join(120)
    assert [w.exitcode for w in writers] == [0] * 8
    with read(open_meta(store)) as c:
        assert audit.verify(c) is None
        found = set(c.exec_driver_sql("SELECT subject FROM audit").scalars())
    assert found == {f"key/{who}-{i}" for who in range(8) for i in range(20)}
