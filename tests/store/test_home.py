"""The data folder: made once, locked by one, refused when it is something else or newer."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from windlass.core.errors import Conflict, Invalid, Unavailable
from windlass.store.home import Home


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


def test_who_was_given_the_folders_parts_keeps_the_next_waiting(tmp_path: Path) -> None:
    """A server that was killed leaves processes behind; nobody else begins before they have ended."""
    home = Home(tmp_path / "h")
    code = (
        "import os, subprocess, sys; from pathlib import Path; from windlass.store.home import Home\n"
        "h = Home(Path(sys.argv[1])); h.lock()\n"
        "part = subprocess.Popen(['cat'], stdin=0, stdout=subprocess.DEVNULL, pass_fds=(h.parts,))\n"
        "print(part.pid, flush=True); os._exit(9)"
    )
    killed = subprocess.Popen([sys.executable, "-c", code, str(home.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert killed.stdin and killed.stdout
    killed.stdout.readline()
    killed.wait()
    taken = threading.Event()

    def take() -> None:
        home.lock()
        taken.set()

    waiting = threading.Thread(target=take)
    waiting.start()
    assert not taken.wait(0.3)
    killed.stdin.close()  # the part ends
    waiting.join(10)
    assert taken.is_set()
    home.unlock()


def test_parts_that_do_not_end_are_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path / "h")
    home.lock()
    assert home.parts is not None
    left = os.dup(home.parts)
    home.unlock()
    monkeypatch.setattr("windlass.store.home.PARTS_SECONDS", 0.1)
    with pytest.raises(Conflict, match="have not ended"):
        home.lock()
    assert home.holder() is None
    os.close(left)
    home.lock()
    home.unlock()


def test_settings_may_lie_there_before_and_a_cut_off_start_is_no_obstacle(tmp_path: Path) -> None:
    folder = tmp_path / "h"
    folder.mkdir(mode=0o755)
    (folder / "settings.toml").write_text("port = 5000\n")
    (folder / "FORMAT.123").write_text("")
    home = Home(folder)
    assert (folder / "FORMAT").read_text() == "1\n" and home.path.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("content", [b"", b"one\n", b"\xff\xfe", "²".encode(), b"-1"])
def test_a_format_that_cannot_be_read_is_an_error(tmp_path: Path, content: bytes) -> None:
    Home(tmp_path / "h")
    (tmp_path / "h" / "FORMAT").write_bytes(content)
    with pytest.raises(Invalid, match="cannot be read"):
        Home(tmp_path / "h")


def test_a_folder_that_cannot_be_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(Unavailable, match="the data folder cannot be used"):
        Home(tmp_path / "file" / "h")


def test_who_come_together_get_one_token(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        tokens = set(pool.map(lambda _: Home(tmp_path / "h").token(), range(32)))
    assert len(tokens) == 1
    assert not [p for p in (tmp_path / "h").iterdir() if p.name.startswith(".")]
    (tmp_path / "h" / "token").write_text("")
    with pytest.raises(Unavailable, match="delete the file"):
        Home(tmp_path / "h").token()


def test_who_only_looks_does_not_keep_the_lock_from_a_server(tmp_path: Path) -> None:
    home, stop = Home(tmp_path / "h"), threading.Event()

    def look() -> None:
        while not stop.is_set():
            Home(home.path).holder()

    with ThreadPoolExecutor(2) as pool:
        for _ in range(2):
            pool.submit(look)
        try:
            for _ in range(50):
                home.lock("http://127.0.0.1:1")
                assert Home(home.path).server_address() == "http://127.0.0.1:1"
                home.unlock()
        finally:
            stop.set()
    assert home.server_address() is None
