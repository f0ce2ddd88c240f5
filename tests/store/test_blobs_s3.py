"""Blobs in S3 where the server is slow, fails, hangs up and lies."""

from __future__ import annotations

import hashlib
import logging
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.s3_server import KEY, SECRET, Between, Fault, S3Server, between

from windlass.core.errors import Invalid, NotFound, Unavailable
from windlass.store.blobs import move_blobs, open_blobs
from windlass.store.blobs_folder import FolderBlobs
from windlass.store.blobs_s3 import RETRIES, S3Blobs
from windlass.store.home import Home

DATA = random.Random(1).randbytes(3_000_000)
DIGEST = "sha256:" + hashlib.sha256(DATA).hexdigest()
PATIENCE = 20.0


@pytest.fixture
def way(s3_server: S3Server) -> Iterator[Between]:
    with between(s3_server) as made:
        yield made


@pytest.fixture
def blobs(way: Between, bucket: str, tmp_path: Path) -> S3Blobs:
    """With nothing in its cache."""
    return over(way, bucket, tmp_path / "cache")


def over(way: Between, bucket: str, folder: Path, patience: float = PATIENCE) -> S3Blobs:
    return S3Blobs(f"{bucket.partition('?')[0]}?endpoint={way.endpoint}", FolderBlobs(folder), folder, patience)


@pytest.mark.parametrize("fault", ["500", "503", "drop", "half"])
def test_a_failure_that_passes_is_not_noticed(blobs: S3Blobs, way: Between, tmp_path: Path, bucket: str, fault: str) -> None:
    way.plan = lambda method, n: fault if n % 3 else None  # two of three requests fail
    assert blobs.put(DATA) == DIGEST
    assert blobs.has(DIGEST) and blobs.missing([DIGEST]) == [] and list(blobs.all()) == [DIGEST]
    assert b"".join(blobs.pieces(DIGEST)) == DATA
    assert over(way, bucket, tmp_path / "other").local(DIGEST).read_bytes() == DATA
    assert sum(way.seen.values()) > 8


@pytest.mark.parametrize("fault", ["500", "drop"])
def test_a_failure_that_stays_ends_within_bounds_and_keeps_nothing(blobs: S3Blobs, way: Between, fault: str) -> None:
    assert blobs.put(DATA) == DIGEST
    way.plan = lambda method, n: fault
    for ask in (lambda: blobs.put(b"other"), lambda: list(blobs.pieces(DIGEST)), lambda: blobs.has(DIGEST), lambda: list(blobs.all())):
        before, began = sum(way.seen.values()), time.monotonic()
        with pytest.raises(Unavailable, match="S3 does not answer"):
            ask()
        assert sum(way.seen.values()) - before <= RETRIES + 1
        assert time.monotonic() - began < 2 * PATIENCE
    way.plan = lambda method, n: None
    assert list(blobs.all()) == [DIGEST]


def test_a_server_that_is_slow_is_waited_for_and_one_that_is_too_slow_is_not(way: Between, bucket: str, tmp_path: Path) -> None:
    blobs = over(way, bucket, tmp_path / "cache", patience=4)
    way.plan = lambda method, n: 1.0
    assert blobs.put(b"slow") and not blobs.has(DIGEST)
    way.plan = lambda method, n: 30.0
    began = time.monotonic()
    with pytest.raises(Unavailable, match="S3 does not answer"):
        blobs.put(b"too slow")
    assert time.monotonic() - began < 12


def test_what_breaks_off_is_taken_up_where_it_did(blobs: S3Blobs, way: Between) -> None:
    blobs.put(DATA)
    way.plan = lambda method, n: "half" if method == "GET" and n < 4 else None
    assert b"".join(blobs.pieces(DIGEST)) == DATA


@pytest.mark.parametrize("lie", [b"", b"something else", DATA[:-1], DATA[:-1] + b"?"])
def test_an_answer_that_is_wrong_is_told_and_not_kept(blobs: S3Blobs, way: Between, lie: bytes) -> None:
    blobs.put(DATA)
    way.plan = lambda method, n: lie if method == "GET" else None
    for ask in (blobs.get, blobs.local):
        with pytest.raises(Unavailable, match=r"damaged|breaks off|does not answer"):
            ask(DIGEST)
    way.plan = lambda method, n: None
    assert blobs.get(DIGEST) == DATA, "the lie was not kept in the cache"


def test_an_answer_cut_short_as_if_it_were_whole_is_told(blobs: S3Blobs, way: Between) -> None:
    blobs.put(b"hello" * 1000)
    way.plan = lambda method, n: "short" if method == "GET" else None
    digest = "sha256:" + hashlib.sha256(b"hello" * 1000).hexdigest()
    with pytest.raises(Unavailable, match=r"damaged|breaks off"):
        blobs.get(digest)


def test_a_copy_in_the_cache_that_is_damaged_is_fetched_anew(blobs: S3Blobs, tmp_path: Path) -> None:
    blobs.put(DATA)
    assert blobs.get(DIGEST) == DATA
    copy = tmp_path / "cache" / DIGEST[7:9] / DIGEST[9:]
    copy.write_bytes(DATA[:-1])
    assert blobs.get(DIGEST) == DATA and copy.read_bytes() == DATA


def test_the_store_and_not_its_cache_says_what_is_there(blobs: S3Blobs, s3_server: S3Server, bucket: str) -> None:
    blobs.put(DATA)
    assert blobs.get(DIGEST) == DATA
    s3_server.client.delete_object(Bucket=bucket.split("/")[2], Key=f"some/prefix/{DIGEST[7:9]}/{DIGEST[9:]}")
    assert not blobs.has(DIGEST) and blobs.missing([DIGEST]) == [DIGEST] and list(blobs.all()) == []
    with pytest.raises(NotFound):
        list(blobs.pieces(DIGEST))


@pytest.mark.parametrize("fault", ["403", "500", "drop"])
def test_secrets_are_in_no_error_and_no_log(blobs: S3Blobs, way: Between, fault: Fault, caplog: pytest.LogCaptureFixture) -> None:
    """Though the server sends them back."""
    caplog.set_level(logging.DEBUG)
    way.plan = lambda method, n: fault
    for ask in (lambda: blobs.put(DATA), lambda: blobs.has(DIGEST), lambda: blobs.get(DIGEST), lambda: list(blobs.all())):
        with pytest.raises(Unavailable) as told:
            ask()
        seen: BaseException | None = told.value
        while seen:
            assert SECRET not in str(seen) and KEY not in str(seen)
            seen = seen.__cause__
        if fault == "403":
            assert "S3 does not let us in" in str(told.value)
    assert SECRET not in caplog.text and KEY not in caplog.text


def test_a_bucket_that_is_not_there_is_said(s3_server: S3Server, bucket: str, tmp_path: Path) -> None:
    blobs = open_blobs(Home(tmp_path / "home"), f"s3://nowhere?endpoint={s3_server.endpoint}")
    with pytest.raises(Unavailable, match="there is no such bucket"):
        blobs.put(b"x")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("s3://hunter2:hunter2@bucket/x", "a secret does not belong in a setting"),
        ("s3://bucket?endpoint=http://a:hunter2@host", "a secret does not belong in a setting"),
        ("s3://bucket?secret_access_key=hunter2", "a secret does not belong in a setting"),
        ("s3://bucket?hunter2=1", "is no option"),
        ("s3://bucket?endpoint=hunter2", "the endpoint is no address"),
        ("https://hunter2/x", "no address of a bucket"),
        ("s3:///hunter2", "no address of a bucket"),
    ],
)
def test_what_is_wrong_with_the_setting_is_said(setting: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=said) as told:
        open_blobs(Home(tmp_path / "home"), setting)
    assert "hunter2" not in str(told.value) or said == "is no option"


def test_a_folder_is_moved_whole_or_gone_on_with(way: Between, bucket: str, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    own = FolderBlobs(home.path / "blobs")
    kept = sorted([own.put(bytes([n]) * 1000) for n in range(20)] + [own.put(DATA)])
    setting = f"{bucket.partition('?')[0]}?endpoint={way.endpoint}"
    with pytest.raises(Invalid, match="windlass move takes them along"):
        open_blobs(home, setting)
    way.plan = lambda method, n: "403" if method == "PUT" and n > 7 else None
    with pytest.raises(Unavailable):
        move_blobs(home, setting)
    with pytest.raises(Invalid, match="windlass move takes them along"):
        open_blobs(home, setting)
    way.plan = lambda method, n: None
    assert move_blobs(home, setting) == 14 and move_blobs(home, setting) == 0
    assert list(open_blobs(home, setting).all()) == kept
    for other in ("", "s3://another/place"):
        with pytest.raises(Invalid, match="is a cache of s3://"):
            open_blobs(home, other)
    with pytest.raises(Invalid, match="is a cache of s3://"):
        move_blobs(home, "s3://another/place")


def test_a_blob_that_is_damaged_is_not_moved(bucket: str, tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    own = FolderBlobs(home.path / "blobs")
    digest = own.put(b"hello")
    (home.path / "blobs" / digest[7:9] / digest[9:]).write_bytes(b"hullo")
    with pytest.raises(Unavailable, match="damaged"):
        move_blobs(home, bucket)
    assert not (home.path / "blobs" / ".of").exists()


def test_no_room_for_a_copy_is_no_failure(blobs: S3Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs.put(DATA)

    def full(*_: object) -> None:
        raise Unavailable("the disk is full; the blob was not kept")

    monkeypatch.setattr(FolderBlobs, "_keep", full)
    assert blobs.get(DIGEST) == DATA


def test_many_who_open_a_new_folder_at_once_all_may(bucket: str, tmp_path: Path) -> None:
    """The first keeps something while the others look whether there is anything."""

    def opened(n: int) -> None:
        found = open_blobs(Home(tmp_path / "home"), bucket)
        found.get(found.put(bytes([n]) * 100))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(opened, range(24)))
    assert (tmp_path / "home" / "blobs" / ".of").read_text().strip() == bucket
