"""What only a SQLite store does: a copy before an upgrade, and sentences about its disk."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from tests.store.newer import ROW, newer
from tests.store.tiny_disk import run_on_tiny_disk

from windlass.core.errors import Invalid, Unavailable
from windlass.store import meta
from windlass.store.meta import open_meta, read, write


def test_a_store_is_durable_and_waits_for_nobody_who_reads(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'm.db'}"
    engine = open_meta(url)
    with read(engine) as c:
        assert c.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert c.exec_driver_sql("PRAGMA synchronous").scalar() == 2


def test_an_upgrade_keeps_a_copy_of_the_store_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path / 'm.db'}"
    with write(open_meta(url)) as c:
        c.exec_driver_sql(ROW)
    monkeypatch.setattr(meta, "HEAD", "next")
    monkeypatch.setattr(meta, "MIGRATIONS", newer(tmp_path, "pass"))
    with read(open_meta(url)) as c:
        assert c.exec_driver_sql("SELECT count(*) FROM judgements, alembic_version WHERE version_num = 'next'").scalar() == 1
    monkeypatch.undo()
    with pytest.raises(Invalid, match="newer than this Windlass"):
        open_meta(url)
    with read(open_meta(f"sqlite:///{tmp_path / f'm.db.{meta.HEAD}.backup'}")) as c:
        assert c.exec_driver_sql("SELECT count(*) FROM judgements").scalar() == 1


def test_processes_that_open_an_older_store_at_once_upgrade_it_once_and_keep_the_old_one(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'm.db'}"
    open_meta(url)
    opens = (
        "import sys; from pathlib import Path; from windlass.store import meta\n"
        "meta.HEAD, meta.MIGRATIONS = 'next', Path(sys.argv[2])\n"
        "meta.open_meta(sys.argv[1])\n"
    )
    command = [sys.executable, "-c", opens, url, str(newer(tmp_path, "pass"))]
    started = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(8)]
    said = [process.communicate()[1] for process in started]
    assert [process.returncode for process in started] == [0] * 8, said
    with sqlite3.connect(tmp_path / f"m.db.{meta.HEAD}.backup") as copy:
        assert copy.execute("SELECT version_num FROM alembic_version").fetchone() == (meta.HEAD,)
    assert not list(tmp_path.glob("*.partial"))


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
