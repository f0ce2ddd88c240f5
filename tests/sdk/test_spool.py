"""What waits on disk is found by whoever may send it, whatever version and clock wrote it, and is nobody else's."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from typing import Any

import pytest
from tests.sdk.test_tracing import AWAY, Collector, run

from windlass.sdk.sending import default_spool
from windlass.sdk.spool import LEFT_SECONDS, Spool


def test_files_of_an_earlier_version_are_taken(tmp_path: Path) -> None:
    """They had no count, and lay in a folder for all keys."""
    before, folder = tmp_path / "before", tmp_path / "now"
    before.mkdir()
    (before / "1700000000000000000-0123abcd.otlp").write_bytes(b"old")
    (before / "1700000000000000001-7-0123abcd.otlp").write_bytes(b"newer")
    (before / "notes.otlp").write_bytes(b"of somebody else")
    spool = Spool(folder, 1_000, before)
    assert [(path.read_bytes(), spans) for path, spans in spool.take()] == [(b"old", 0), (b"newer", 7)]
    assert Spool(folder, 1_000, before).take() == [], "they are this one's now"


def test_a_clock_that_was_wrong_makes_no_file_wait_for_years(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1_000)
    path = spool.keep(b"x", 3)
    assert path is not None and Spool(tmp_path, 1_000).take() == []
    os.utime(path, (time.time() + 10 * LEFT_SECONDS,) * 2)
    assert [spans for _, spans in Spool(tmp_path, 1_000).take()] == [3]


def test_what_could_not_be_written_leaves_nothing(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 10_000_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))  # as of a disk that is full in the middle
    try:
        with pytest.raises(OSError):
            spool.keep(b"x" * 1_000_000, 3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".0123").write_bytes(b"half")
    os.utime(tmp_path / ".0123", (1, 1))
    assert spool.take() == [] and list(tmp_path.iterdir()) == []


def test_what_a_key_has_left_no_other_key_sends(tmp_path: Path) -> None:
    """A key says which project spans belong to."""
    gone = Collector()
    gone.close()
    assert run(AWAY.format(url=gone.url, count=3).replace('"k"', "'wlk_one'"), tmp_path).returncode == 0
    back = Collector(gone.port)
    run(AWAY.format(url=gone.url, count=5).replace('"k"', "'wlk_two'"), tmp_path)
    assert len(back.spans) == 5
    run(AWAY.format(url=gone.url, count=0).replace('"k"', "'wlk_one'"), tmp_path)
    back.close()
    assert len(back.spans) == 8


@pytest.mark.parametrize("key", ["wlk_SECRET\\nwlk_x", "wlk_SECR\\u00e9T"])
def test_a_key_that_cannot_be_sent_is_told_to_nobody(tmp_path: Path, key: str) -> None:
    collector = Collector()
    done = run(AWAY.format(url=collector.url, count=3).replace('"k"', f"'{key}'"), tmp_path)
    collector.close()
    assert done.returncode == 0 and "SECR" not in done.stderr and "Traceback" not in done.stderr
    assert done.stderr.count("is away") == 1


def test_a_user_without_a_home_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> Any:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", none)
    assert str(default_spool()).startswith("/nonexistent")
