"""The relational store: one state for a reader, all or nothing for a writer, upgrades that back up, newer ones refused."""

import multiprocessing
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError
from tests.store.tiny_disk import run_on_tiny_disk

from windlass.core.errors import Invalid, Unavailable
from windlass.store import meta
from windlass.store.meta import open_meta, read, write

ROW = "INSERT INTO judgements VALUES ('p', 'k', 'e', '{}', 1)"


def test_the_store_upgrades_once_and_refuses_a_newer_one(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'm.db'}"
    engine = open_meta(url)
    with read(engine) as c:
        assert c.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert c.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    open_meta(url)
    with write(engine) as c:
        c.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(Invalid, match="newer than this Windlass"):
        open_meta(url)


def test_a_write_that_raises_leaves_nothing(tmp_path: Path) -> None:
    engine = open_meta(f"sqlite:///{tmp_path / 'm.db'}")
    with pytest.raises(ZeroDivisionError), write(engine) as c:
        c.exec_driver_sql(ROW)
        _ = 1 / 0
    with read(engine) as c:
        assert c.exec_driver_sql("SELECT count(*) FROM judgements").scalar() == 0


def test_tables_and_migrations_agree(tmp_path: Path) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    from windlass.store.tables import metadata

    engine = open_meta(f"sqlite:///{tmp_path / 'm.db'}")
    with engine.connect() as c:
        found = compare_metadata(MigrationContext.configure(c), metadata)
    assert found == []


HEAD = meta.HEAD
NEXT = """
from alembic import op
revision = "next"
down_revision = "{head}"


def upgrade():
    op.execute("CREATE TABLE fresh (n INTEGER)")
    {last}
"""


def _newer(folder: Path, last: str) -> Path:
    copy = folder / "migrations"
    shutil.copytree(meta.MIGRATIONS, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "versions" / "next.py").write_text(NEXT.format(last=last, head=HEAD))
    return copy


def test_an_upgrade_keeps_a_copy_of_the_store_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path / 'm.db'}"
    with write(open_meta(url)) as c:
        c.exec_driver_sql(ROW)
    monkeypatch.setattr(meta, "HEAD", "next")
    monkeypatch.setattr(meta, "MIGRATIONS", _newer(tmp_path, "pass"))
    with read(open_meta(url)) as c:
        assert c.exec_driver_sql("SELECT count(*) FROM judgements, alembic_version WHERE version_num = 'next'").scalar() == 1
    monkeypatch.undo()
    with pytest.raises(Invalid, match="newer than this Windlass"):
        open_meta(url)
    with read(open_meta(f"sqlite:///{tmp_path / f'm.db.{HEAD}.backup'}")) as c:
        assert c.exec_driver_sql("SELECT count(*) FROM judgements").scalar() == 1


def test_processes_that_open_an_older_store_at_once_upgrade_it_once_and_keep_the_old_one(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'm.db'}"
    open_meta(url)
    opens = (
        "import sys; from pathlib import Path; from windlass.store import meta\n"
        "meta.HEAD, meta.MIGRATIONS = 'next', Path(sys.argv[2])\n"
        "meta.open_meta(sys.argv[1])\n"
    )
    command = [sys.executable, "-c", opens, url, str(_newer(tmp_path, "pass"))]
    started = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(8)]
    said = [process.communicate()[1] for process in started]
    assert [process.returncode for process in started] == [0] * 8, said
    with sqlite3.connect(tmp_path / f"m.db.{HEAD}.backup") as copy:
        assert copy.execute("SELECT version_num FROM alembic_version").fetchone() == (HEAD,)
    assert not list(tmp_path.glob("*.partial"))


def test_an_upgrade_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path / 'm.db'}"
    open_meta(url)
    monkeypatch.setattr(meta, "HEAD", "next")
    monkeypatch.setattr(meta, "MIGRATIONS", _newer(tmp_path, "op.execute('CREATE TABLE fresh (n INTEGER)')"))
    with pytest.raises(OperationalError, match="already exists"):
        open_meta(url)
    monkeypatch.undo()
    with read(open_meta(url)) as c:
        assert c.exec_driver_sql("SELECT count(*) FROM sqlite_master WHERE name = 'fresh'").scalar() == 0


def test_a_full_disk_is_a_sentence_and_what_was_written_stays(tmp_path: Path) -> None:
    said = run_on_tiny_disk(
        tmp_path,
        "import sys; from windlass.store.meta import open_meta, read, write\n"
        "from windlass.core.errors import Unavailable\n"
        "url, kept = f'sqlite:///{sys.argv[1]}/m.db', 0\n"
        "engine = open_meta(url)\n"
        "try:\n"
        "    while True:\n"
        "        with write(engine) as c:\n"
        "            c.exec_driver_sql('INSERT INTO judgements VALUES (?, ?, ?, ?, 1)', ('p', str(kept), 'e', 'x' * 20_000))\n"
        "        kept += 1\n"
        "except Unavailable as e: print(e.message)\n"
        "engine.dispose()\n"
        "with read(open_meta(url)) as c: print(kept > 5, c.exec_driver_sql('SELECT count(*) FROM judgements').scalar() == kept)",
    )
    assert said == "the disk is full; nothing was changed\nTrue True\n"


def test_a_file_that_is_no_store_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "m.db").write_text("dear diary, " * 100)
    with pytest.raises(Unavailable, match="damaged"):
        open_meta(f"sqlite:///{tmp_path / 'm.db'}")
    with pytest.raises(Unavailable, match="cannot be used"):
        open_meta(f"sqlite:///{tmp_path / 'nowhere' / 'm.db'}")


def _open(path: Path, start: Any, said: Any) -> None:
    start.wait()
    with write(open_meta(f"sqlite:///{path}")) as c:
        n = c.exec_driver_sql("SELECT count(*) FROM judgements").scalar()
        c.exec_driver_sql("INSERT INTO judgements VALUES ('p', ?, 'e', '{}', 1)", (str(n),))
    said.put(n)


def test_who_open_a_new_store_together_find_one(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start, said = context.Event(), context.Queue()
    racers = [context.Process(target=_open, args=(tmp_path / "m.db", start, said)) for _ in range(6)]
    for r in racers:
        r.start()
    start.set()
    assert sorted(said.get(timeout=60) for _ in racers) == list(range(6))
    for r in racers:
        r.join()


def test_the_newest_revision_is_the_one_that_is_expected() -> None:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    from windlass.store.meta import HEAD, MIGRATIONS

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD
