"""The journal: what was acknowledged is there, whatever happened."""

from __future__ import annotations

import random
import shutil
import signal
import struct
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.store.tiny_disk import run_on_tiny_disk

from windlass.core.errors import Conflict, Unavailable
from windlass.store.journal import Journal, JournalReader
from windlass.store.segments import HEADER, Position, rewrite

FROZEN = Path(__file__).parent / "fixtures" / "journal-1"
START = Position(0, 0)


def everything(folder: Path, writer: str = "w", limit: int = 32_000_000) -> list[bytes]:
    reader, at, found = JournalReader(folder), START, []
    while records := reader.read(writer, at, limit):
        found += [r.payload for r in records]
        at = records[-1].position
    return found


@settings(max_examples=40, deadline=None)
@given(st.lists(st.binary(max_size=300), max_size=30), st.integers(4096, 9000), st.integers(1, 700))
def test_what_goes_in_comes_out_in_order(tmp_path_factory, payloads, segment, limit):
    folder = tmp_path_factory.mktemp("journal")
    journal = Journal(folder / "w", segment)
    positions = [journal.append(p) for p in payloads]
    journal.close()
    assert everything(folder, limit=limit) == payloads
    assert positions == sorted(positions)


def test_it_goes_on_in_a_new_segment_and_finishes_full_ones(tmp_path):
    for batch in range(3):
        journal = Journal(tmp_path / "w", 5000)
        for n in range(20):
            journal.append(bytes([batch]) * 500 + bytes([n]))
        journal.close()
    assert len(list((tmp_path / "w").glob("*.wj"))) >= 6
    assert [(p[0], p[-1]) for p in everything(tmp_path)] == [(b, n) for b in range(3) for n in range(20)]


def test_who_waits_together_shares_a_sync(tmp_path, monkeypatch):
    import os

    syncs, real = [], os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (syncs.append(fd), real(fd))[1])
    journal = Journal(tmp_path / "w")
    futures = [journal.submit(b"x" * 100) for _ in range(500)]
    assert len({f.result() for f in futures}) == 500
    journal.close()
    assert len(syncs) < 250


def test_many_threads_lose_nothing(tmp_path):
    journal = Journal(tmp_path / "w", 20_000)

    def write(name: int) -> None:
        for n in range(50):
            journal.append(f"{name}:{n}".encode())

    threads = [threading.Thread(target=write, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    journal.close()
    found = everything(tmp_path)
    assert sorted(found) == sorted(f"{i}:{n}".encode() for i in range(8) for n in range(50))
    for i in range(8):
        mine = [f for f in found if f.startswith(f"{i}:".encode())]
        assert mine == [f"{i}:{n}".encode() for n in range(50)]


def test_one_process_writes_a_folder(tmp_path):
    journal = Journal(tmp_path / "w")
    with pytest.raises(Conflict):
        Journal(tmp_path / "w")
    journal.close()
    Journal(tmp_path / "w").close()
    with pytest.raises(Unavailable):
        journal.submit(b"late")


KILLED = """
import sys
from pathlib import Path
from windlass.store.journal import Journal
journal = Journal(Path(sys.argv[1]) / "w", 30_000)
n = 0
while True:
    journal.append(f"{n}:".encode() + b"x" * (n % 700))
    print(n, flush=True)
    n += 1
"""


@pytest.mark.parametrize("seed", range(6))
def test_what_was_acknowledged_survives_a_kill(tmp_path, seed):
    with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        wanted = random.Random(seed).randrange(20, 400)
        for line in process.stdout:
            if int(line) >= wanted:
                process.send_signal(signal.SIGKILL)
                break
        acknowledged = max([wanted, *(int(line) for line in process.stdout)])
    Journal(tmp_path / "w").close()
    numbers = [int(p.partition(b":")[0]) for p in everything(tmp_path)]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > acknowledged


@pytest.mark.parametrize("cut", [1, 3, 8, 15, 16, 20, 99])
def test_a_torn_tail_is_cut_and_nothing_else(tmp_path, cut):
    journal = Journal(tmp_path / "w")
    for n in range(3):
        journal.append(bytes([n]) * 100)
    journal.close()
    path = tmp_path / "w" / "00000001.wj"
    path.write_bytes(path.read_bytes()[:-cut])
    assert len(everything(tmp_path)) == 2
    again = Journal(tmp_path / "w")
    assert again.cut == 116 - cut
    again.append(b"after")
    again.close()
    assert everything(tmp_path)[2:] == [b"after"]


def test_a_reader_says_how_much_comes_after_a_position(tmp_path):
    journal = Journal(tmp_path / "j" / "w", segment_bytes=100)
    places = [journal.append(b"x" * 50) for _ in range(5)]
    journal.close()
    reader = JournalReader(tmp_path / "j")
    whole = sum(p.stat().st_size for p in (tmp_path / "j" / "w").glob("*.wj"))
    assert reader.size() == whole == reader.after("w", Position(0, 0))
    rest = [reader.after("w", place) for place in places]
    assert rest == sorted(rest, reverse=True) and rest[-1] == 0 and len(set(rest)) == 5
    assert JournalReader(tmp_path / "nothing").size() == 0


def test_damage_in_the_middle_is_reported_and_costs_nothing_else(tmp_path):
    for batch in range(2):
        journal = Journal(tmp_path / "w")
        for n in range(10):
            journal.append(bytes([batch * 10 + n]) * 50)
        journal.close()
    path = tmp_path / "w" / "00000001.wj"
    data = bytearray(path.read_bytes())
    data[4 + 66 * 4 + 30] ^= 1  # in the fifth record
    path.write_bytes(data)
    reader = JournalReader(tmp_path)
    records = reader.read("w", START)
    assert [r.payload[0] for r in records] == [0, 1, 2, 3, *range(5, 20)]
    ((_, _, offset), damage) = reader.damages.popitem()
    assert (offset, damage.offset, damage.skipped, reader.damages) == (4 + 66 * 4, 4 + 66 * 4, 66, {})
    assert path.read_bytes() == bytes(data)


def test_damage_in_the_last_segment_is_never_cut_off(tmp_path):
    """Behind it lie records that were acknowledged."""
    journal = Journal(tmp_path / "w")
    for n in range(10):
        journal.append(bytes([n]) * 50)
    journal.close()
    path = tmp_path / "w" / "00000001.wj"
    data = bytearray(path.read_bytes())
    data[4 + 66 * 4 + 30] ^= 1
    path.write_bytes(data)
    again = Journal(tmp_path / "w")
    assert again.cut == 0
    again.append(b"after")
    again.close()
    assert path.read_bytes() == bytes(data)
    reader = JournalReader(tmp_path)
    assert [r.payload[:1] for r in reader.read("w", START)] == [bytes([n]) for n in (0, 1, 2, 3, 5, 6, 7, 8, 9)] + [b"a"]
    assert [d.skipped for d in reader.damages.values()] == [66]


@pytest.mark.parametrize("bad", [(0,), (9,), (2, 3, 7), tuple(range(10))])
def test_what_was_read_once_and_cannot_be_any_more_is_told_while_the_segment_is_written(tmp_path, bad):
    journal = Journal(tmp_path / "w")
    until = [journal.append(bytes([n]) * 50) for n in range(10)][-1]
    reader = JournalReader(tmp_path)
    assert len(reader.read("w", START, until=until)) == 10 and not reader.damages
    path = tmp_path / "w" / "00000001.wj"
    data = bytearray(path.read_bytes())
    for n in bad:
        data[4 + 66 * n + 30] ^= 1
    path.write_bytes(data)
    assert [r.payload[0] for r in reader.read("w", START)] == list(range(min(bad))) and not reader.damages, "it may be being written"
    assert [r.payload[0] for r in reader.read("w", START, until=until)] == [n for n in range(10) if n not in bad]
    assert sum(d.skipped for d in reader.damages.values()) == 66 * len(bad)
    journal.close()


FULL = """
import os
import sys
from pathlib import Path
from windlass.store.journal import Journal, JournalReader
from windlass.store.segments import Position
from windlass.core.errors import Unavailable
folder = Path(sys.argv[1])
(folder / "ballast").write_bytes(b"0" * 300_000)
journal = Journal(folder / "w", 10_000_000)
kept = []
try:
    while True:
        journal.append(len(kept).to_bytes(4, "big") + b"x" * 50_000)
        kept.append(len(kept))
except Unavailable as e:
    print("refused:", e.message)
read = [int.from_bytes(r.payload[:4], "big") for r in JournalReader(folder).read("w", Position(0, 0))]
print("same:", read == kept, len(kept) > 5)
os.truncate(folder / "ballast", 0)
journal.append(b"again")
print("again:", JournalReader(folder).read("w", Position(0, 0))[-1].payload == b"again")
"""


def test_a_full_disk_refuses_keeps_what_it_has_and_goes_on(tmp_path):
    said = run_on_tiny_disk(tmp_path, FULL)
    assert "refused: the disk is full; nothing was acknowledged" in said
    assert "same: True True" in said
    assert "again: True" in said


def test_the_format_does_not_change(tmp_path):
    """A folder written by the first version: bytes and meaning. Never regenerate it."""
    folder = tmp_path / "journal"
    shutil.copytree(FROZEN, folder)
    reader = JournalReader(folder)
    assert reader.writers() == ["doors"]
    records = reader.read("doors", START)
    assert [r.payload for r in records] == [b"first", b"", "zweite \N{SNOWMAN}".encode(), b"x" * 1000, b"second segment"]
    assert [r.position for r in records] == [(1, 25), (1, 41), (1, 67), (1, 1083), (2, 34)]
    data = (FROZEN / "doors" / "00000001.wj").read_bytes()
    assert data[:4] == b"WLJ1"
    length, crc, receipt = HEADER.unpack_from(data, 4)
    assert (length, crc) == (5, zlib.crc32(struct.pack("<Q", receipt) + b"first"))
    assert receipt == records[0].receipt_ns


def _blank(payload: bytes) -> bytes | None:
    """As an erasure does it: what is wanted gives way to zeros, and nothing else is touched."""
    return bytes(len(payload)) if payload.startswith(b"secret") else None


@settings(max_examples=25, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=200), st.just(b"secret of one")), min_size=1, max_size=40), st.integers(4096, 6000))
def test_what_is_rewritten_leaves_every_position_true(tmp_path_factory, payloads, segment):
    folder = tmp_path_factory.mktemp("journal")
    journal = Journal(folder / "w", segment)
    for payload in payloads:
        journal.append(payload)
    before = [(r.position, r.receipt_ns) for r in JournalReader(folder).read("w", START)]
    assert rewrite(folder / "w", _blank) == payloads.count(b"secret of one")
    after = JournalReader(folder).read("w", START)
    assert [(r.position, r.receipt_ns) for r in after] == before
    assert [r.payload for r in after] == [_blank(p) or p for p in payloads]
    assert not any(b"secret" in path.read_bytes() for path in (folder / "w").iterdir()) or any(
        b"secret" in p for p in payloads if not p.startswith(b"secret")
    )
    assert rewrite(folder / "w", lambda payload: None) == 0
    journal.append(b"and on")  # in the file that stands there now
    journal.close()
    assert everything(folder)[-1] == b"and on"
    assert Journal(folder / "w", segment).cut == 0


WRITER = """
import sys
from pathlib import Path
from windlass.store.journal import Journal

journal = Journal(Path(sys.argv[1]) / "w", 20_000)
n = 0
while True:
    journal.append(b"%s %d" % (b"secret" if n % 3 == 0 else b"kept", n))
    print(n, flush=True)
    n += 1
"""


def test_rewritten_while_another_process_writes_and_is_killed(tmp_path):
    """Whatever was acknowledged is there: blanked or as it was, in order, while the folder is rewritten again and again."""
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    blanked = 0
    while blanked < 20:
        blanked += rewrite(tmp_path / "w", _blank)
    process.send_signal(signal.SIGKILL)
    told = [int(line) for line in process.stdout]
    rewrite(tmp_path / "w", _blank)
    found = everything(tmp_path)
    acknowledged = told[-1] + 1
    assert len(found) >= acknowledged
    for n, payload in enumerate(found):
        assert payload == (bytes(len(b"secret %d" % n)) if n % 3 == 0 else b"kept %d" % n)
    assert not list((tmp_path / "w").glob(".*")), "nothing half made is left"


def test_a_disk_that_is_full_leaves_the_journal_as_it_was(tmp_path, monkeypatch):
    import errno
    import os

    journal = Journal(tmp_path / "w")
    journal.append(b"secret of one")
    real = os.fsync

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match="the disk is full"):
        rewrite(tmp_path / "w", _blank)
    monkeypatch.setattr(os, "fsync", real)
    assert everything(tmp_path) == [b"secret of one"]
    journal.append(b"more")
    journal.close()
    assert everything(tmp_path) == [b"secret of one", b"more"]
