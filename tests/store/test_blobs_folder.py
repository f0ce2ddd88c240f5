"""Blobs are whole or not there, whatever the disk does."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.racing import CONTEXT, racer
from tests.store.tiny_disk import run_on_tiny_disk

from windlass.core.errors import Invalid, NotFound, Unavailable
from windlass.store.blobs_folder import FolderBlobs


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


def test_a_disk_that_fills_up_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    said = run_on_tiny_disk(
        tmp_path,
        "import os, sys; from pathlib import Path; from windlass.store.blobs_folder import FolderBlobs\n"
        "from windlass.core.errors import Unavailable\n"
        "blobs, kept = FolderBlobs(Path(sys.argv[1]) / 'blobs'), []\n"
        "try:\n"
        "    while True: kept.append(blobs.put(os.urandom(50_000)))\n"
        "except Unavailable as e: print(e.message)\n"
        "assert len(kept) > 5 and sorted(kept) == list(blobs.all())\n"
        "print(sum(len(blobs.get(d)) for d in kept) == 50_000 * len(kept))",
    )
    assert said == "the disk is full; the blob was not kept\nTrue\n"


def _put(folder: Path, start: Any, digests: Any) -> None:
    blobs = FolderBlobs(folder)
    start.wait()
    digests.put([blobs.put(bytes([i]) * 10_000) for i in range(30)])


def test_who_put_the_same_blobs_together_all_succeed(tmp_path: Path) -> None:
    start, digests = CONTEXT.Event(), CONTEXT.Queue()
    racers = [racer(_put, tmp_path, start, digests) for _ in range(4)]
    for r in racers:
        r.start()
    start.set()
    got = [digests.get(timeout=60) for _ in racers]
    for r in racers:
        r.join()
    blobs = FolderBlobs(tmp_path)
    assert got == [got[0]] * 4 and sorted(got[0]) == list(blobs.all())
    assert [blobs.get(d)[:1] for d in got[0]] == [bytes([i]) for i in range(30)]
    assert len([p for p in tmp_path.rglob("*") if p.is_file()]) == 30
