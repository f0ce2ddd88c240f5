"""The data folder: made once, locked by one, refused when it is something else or newer."""

import subprocess
import sys
from pathlib import Path

import pytest

from windlass.core.errors import Conflict, Invalid, NotFound, Unavailable
from windlass.settings import Settings, load_settings, page
from windlass.store.blobs_folder import FolderBlobs
from windlass.store.home import Home
from windlass.store.meta import open_meta, read, write


def test_a_folder_is_made_private_and_found_again(tmp_path: Path) -> None:
    home = Home(tmp_path / "h")
    token = home.token()
    assert (home.path / "token").stat().st_mode & 0o777 == 0o600 and home.path.stat().st_mode & 0o777 == 0o700
    assert Home(tmp_path / "h").token() == token and len(home.signing_key()) == 32


def test_a_newer_or_foreign_folder_is_refused(tmp_path: Path) -> None:
    Home(tmp_path / "h")
    (tmp_path / "h" / "FORMAT").write_text("99\n")
    with pytest.raises(Invalid, match="newer than this Windlass"):
        Home(tmp_path / "h")
    (tmp_path / "f").mkdir()
    (tmp_path / "f" / "thesis.txt").write_text("mine")
    with pytest.raises(Invalid, match="not a Windlass data folder"):
        Home(tmp_path / "f")
    assert [p.name for p in (tmp_path / "f").iterdir()] == ["thesis.txt"]


def test_one_process_holds_the_lock_and_says_where(tmp_path: Path) -> None:
    home = Home(tmp_path / "h")
    assert home.holder() is None
    code = "import sys; from pathlib import Path; from windlass.store.home import Home\n"
    code += "h = Home(Path(sys.argv[1])); h.lock('http://127.0.0.1:1'); print('locked', flush=True); sys.stdin.read()"
    child = subprocess.Popen([sys.executable, "-c", code, str(home.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdout and child.stdout.readline() == b"locked\n"
    holder = home.holder()
    assert holder and (holder.pid, holder.address) == (child.pid, "http://127.0.0.1:1")
    with pytest.raises(Conflict, match=r"at http://127.0.0.1:1"):
        home.lock()
    child.kill()
    child.wait()
    home.lock()
    home.unlock()


def test_blobs_are_whole_or_not_there(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    digest = blobs.put(b"hello")
    assert blobs.get(digest) == b"hello" and blobs.put(b"hello") == digest and list(blobs.all()) == [digest]
    absent = "sha256:" + "0" * 64
    assert blobs.missing([digest, absent, absent]) == [absent]
    with pytest.raises(NotFound):
        blobs.get(absent)
    (tmp_path / digest[7:9] / digest[9:]).write_bytes(b"hullo")
    with pytest.raises(Unavailable, match="damaged"):
        blobs.get(digest)
    with pytest.raises(Invalid):
        blobs.get("../../etc/passwd")


def test_a_full_disk_is_a_sentence_and_leaves_no_half_blob(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys; from pathlib import Path; from windlass.store.blobs_folder import FolderBlobs\n"
        "from windlass.core.errors import Unavailable\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: FolderBlobs(Path(sys.argv[1])).put(b'x' * 5000)\n"
        "except Unavailable as e: print(e)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "the disk is full" in done.stdout
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


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
        c.exec_driver_sql("INSERT INTO judgements VALUES ('p', 'k', 'e', '{}', 1)")
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


def test_settings_by_precedence(tmp_path: Path) -> None:
    assert load_settings(environ={}) == Settings()
    (tmp_path / "settings.toml").write_text("port = 5000\nworkers = 3\n")
    found = load_settings(tmp_path, {"port": 7000, "host": None}, {"WINDLASS_PORT": "6000", "WINDLASS_WORKERS": "2"})
    assert (found.port, found.workers, found.host) == (7000, 2, "127.0.0.1")


def test_a_wrong_setting_says_where_and_what(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("prot = 5000\n")
    with pytest.raises(Invalid, match=r"did you mean 'port'\?"):
        load_settings(tmp_path, environ={})
    with pytest.raises(Invalid, match="WINDLASS_PORT"):
        load_settings(environ={"WINDLASS_PORT": "many"})


def test_the_settings_page_is_current() -> None:
    assert (Path(__file__).parents[2] / "docs" / "settings.md").read_text() == page(), "see the docstring of `page`"
