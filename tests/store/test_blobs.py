"""Blobs, whichever engine keeps them: under their digest, whole or not there, read as they were written or not at all."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import pytest
from tests.racing import CONTEXT, racer

from windlass.core.errors import Invalid, NotFound, Unavailable
from windlass.store.blobs import BlobStore, open_blobs
from windlass.store.home import Home
from windlass.store.packs import Packs

ABSENT = "sha256:" + "0" * 64


@pytest.fixture(params=["folder", "s3"])
def setting(request: pytest.FixtureRequest) -> str:
    return "" if request.param == "folder" else str(request.getfixturevalue("bucket"))


@pytest.fixture
def blobs(setting: str, tmp_path: Path) -> BlobStore:
    return open_blobs(Home(tmp_path / "home"), setting)


def elsewhere(setting: str, tmp_path: Path) -> BlobStore:
    """The same blobs as another process sees them; of a bucket, one that has read none of them yet."""
    return open_blobs(Home(tmp_path / ("another" if setting else "home")), setting)


@pytest.mark.parametrize("size", [0, 1, 5_000, 1 << 20, (1 << 20) + 1, 20_000_001])
def test_bytes_come_back(blobs: BlobStore, setting: str, tmp_path: Path, size: int) -> None:
    data = random.Random(size).randbytes(size)
    digest = blobs.put(data)
    assert digest == "sha256:" + hashlib.sha256(data).hexdigest() and blobs.put(data) == digest
    for store in (blobs, elsewhere(setting, tmp_path)):
        assert store.get(digest) == b"".join(store.pieces(digest)) == store.local(digest).read_bytes() == data
        assert store.has(digest) and list(store.all()) == [digest]


def test_a_file_is_kept_by_moving_it(blobs: BlobStore, setting: str, tmp_path: Path) -> None:
    for size in (10, 9_000_000):  # in one, and in parts
        path = tmp_path / "home" / "file"
        path.write_bytes(b"%" * size)
        digest = "sha256:" + hashlib.sha256(b"%" * size).hexdigest()
        blobs.put_file(path, digest)
        assert not path.exists()
        assert elsewhere(setting, tmp_path).get(digest) == b"%" * size


def test_what_is_not_there_is_said(blobs: BlobStore) -> None:
    digest = blobs.put(b"hello")
    assert blobs.missing([digest, ABSENT, ABSENT]) == [ABSENT]
    assert not blobs.has(ABSENT)
    for ask in (blobs.get, blobs.local, lambda d: list(blobs.pieces(d))):
        with pytest.raises(NotFound, match="is not here"):
            ask(ABSENT)
    for wrong in ("../../etc/passwd", "sha256:12", ""):
        with pytest.raises(Invalid):
            blobs.get(wrong)


def test_all_is_every_blob_in_order(blobs: BlobStore) -> None:
    assert sorted(blobs.put(bytes([n])) for n in range(60)) == list(blobs.all())


def _put(home: Path, setting: str, start: Any, digests: Any) -> None:
    blobs = open_blobs(Home(home), setting)
    start.wait()
    digests.put([blobs.put(bytes([i]) * 10_000) for i in range(30)])


def test_who_put_the_same_blobs_together_all_succeed(blobs: BlobStore, setting: str, tmp_path: Path) -> None:
    start, digests = CONTEXT.Event(), CONTEXT.Queue()
    racers = [racer(_put, tmp_path / "home", setting, start, digests) for _ in range(4)]
    for r in racers:
        r.start()
    start.set()
    got = [digests.get(timeout=120) for _ in racers]
    for r in racers:
        r.join()
    assert got == [got[0]] * 4 and sorted(got[0]) == list(blobs.all())
    assert [elsewhere(setting, tmp_path).get(d)[:1] for d in got[0]] == [bytes([i]) for i in range(30)]


def test_packs_of_rows_lie_in_either(blobs: BlobStore, setting: str, tmp_path: Path) -> None:
    lines = [(f"k{n:05}", b'{"n":%d}' % n) for n in range(3_000)]
    home = Home(tmp_path / "home").path
    (pack,) = Packs(blobs, home / "run").write(lines)
    others = Packs(elsewhere(setting, tmp_path), Home(tmp_path / "another").path / "run")
    assert list(others.all([pack.digest])) == lines
    assert others.find([pack.digest], ["k00007", "none"]) == [lines[7]]


def test_a_blob_that_was_changed_is_not_given_out(blobs: BlobStore, setting: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    digest = blobs.put(b"hello" * 1000)
    for wrong in (b"hullo" * 1000, b"hello" * 999, b""):
        _replace(setting, tmp_path, digest, wrong, request)
        store = elsewhere(setting, tmp_path)
        with pytest.raises(Unavailable, match="damaged"):
            store.get(digest)
        with pytest.raises(Unavailable, match="damaged"):
            list(blobs.pieces(digest))
        if setting:
            with pytest.raises(Unavailable, match="damaged"):
                store.local(digest)


def _replace(setting: str, tmp_path: Path, digest: str, data: bytes, request: pytest.FixtureRequest) -> None:
    """Behind the store's back."""
    if not setting:
        (tmp_path / "home" / "blobs" / digest[7:9] / digest[9:]).write_bytes(data)
        return
    server, bucket = request.getfixturevalue("s3_server"), setting.split("/")[2]
    server.client.put_object(Bucket=bucket, Key=f"some/prefix/{digest[7:9]}/{digest[9:]}", Body=data)
