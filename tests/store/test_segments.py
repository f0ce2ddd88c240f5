"""Segments: packed and dropped, and nothing of it is seen by whoever reads or goes on writing."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.store.test_journal import START, everything

from windlass.core.errors import Unavailable
from windlass.core.ids import now_ns
from windlass.store.journal import Journal, JournalReader
from windlass.store.packed import FRAME, Packed, Unpackable, pack_into
from windlass.store.segments import Position, drop, numbers_of, pack, packed_of, path_of, rewrite

LATER = 1 << 62


def pack_all(folder: Path) -> list[int]:
    """Those that are finished."""
    return [n for n in numbers_of(folder)[:-1] if pack(folder, n)]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(max_size=400), min_size=1, max_size=60), st.integers(4096, 9000), st.integers(1, 900))
def test_packed_it_says_the_same_at_the_same_places(tmp_path_factory, payloads, segment, limit):
    folder = tmp_path_factory.mktemp("journal")
    for half in (payloads[: len(payloads) // 2], payloads[len(payloads) // 2 :]):
        journal = Journal(folder / "w", segment)
        for payload in half:
            journal.append(payload)
        journal.close()
    before = JournalReader(folder).read("w", START)
    end = JournalReader(folder).end("w")
    whole = JournalReader(folder).after("w", START)
    pack_all(folder / "w")
    reader = JournalReader(folder)
    assert reader.read("w", START) == before
    assert everything(folder, limit=limit) == payloads
    for record in before:  # from the middle of one too
        assert reader.read("w", record.position) == [r for r in before if r.position > record.position]
    assert (reader.end("w"), reader.after("w", START), reader.damages) == (end, whole, {})


def test_any_zstd_unpacks_it_to_the_segment(tmp_path):
    """Told by Python's own reading of frames, which knows nothing of the table, and by `zstd` where it is installed."""
    from backports import zstd

    data = os.urandom(FRAME // 2) + b"text " * FRAME
    with (tmp_path / "x.zst").open("wb") as file:
        pack_into(file, data)
    packed = (tmp_path / "x.zst").read_bytes()
    assert zstd.decompress(packed) == data
    if shutil.which("zstd"):
        assert subprocess.run(["zstd", "-dc", tmp_path / "x.zst"], capture_output=True, check=True).stdout == data
    # what the format's description says of a table: a frame that is skipped, with as many entries as there are frames
    assert int.from_bytes(packed[-4:], "little") == 0x8F92EAB1
    count = int.from_bytes(packed[-9:-5], "little")
    assert count == -(-len(data) // FRAME)
    assert int.from_bytes(packed[-(count * 8 + 17) :][:4], "little") == 0x184D2A5E


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 3_300_000), st.integers(0, 2_500_000))
def test_any_part_can_be_read(tmp_path_factory, offset, size):
    folder = tmp_path_factory.getbasetemp()
    data = bytes(range(256)) * 12_000
    if not (folder / "part.zst").exists():
        with (folder / "part.zst").open("wb") as file:
            pack_into(file, data)
    packed = Packed(folder / "part.zst")
    assert packed.length == len(data)
    assert packed.read(offset, size) == data[offset : offset + size]
    packed.close()


def filled(folder: Path, records: int = 30, size: int = 100_000) -> list[bytes]:
    """A writer's folder of which the first segment is finished and has several frames."""
    payloads = [bytes([n]) * size for n in range(records)]
    for some in (payloads[:-1], payloads[-1:]):
        journal = Journal(folder / "w")
        for payload in some:
            journal.append(payload)
        journal.close()
    return payloads


@pytest.mark.parametrize("where", ["a frame", "the table", "its end"])
def test_damage_costs_what_lies_behind_it_and_is_told(tmp_path, where):
    payloads = filled(tmp_path)
    assert pack(tmp_path / "w", 1)
    path = packed_of(tmp_path / "w", 1)
    data = bytearray(path.read_bytes())
    if where == "its end":
        data = data[:-20]
    else:
        data[len(data) // 2 if where == "a frame" else -12] ^= 255
    path.write_bytes(data)
    reader = JournalReader(tmp_path)
    read = [r.payload for r in reader.read("w", START)]
    assert read[-1] == payloads[-1]
    assert read[:-1] == payloads[: len(read) - 1]
    assert len(read) < len(payloads)
    ((writer, number, _), damage), *more = reader.damages.items()
    assert (writer, number, more) == ("w", 1, []) and damage.skipped > 0
    reader.after("w", START), reader.end("w"), reader.size()
    assert rewrite(tmp_path / "w", lambda payload: None) == 0


def test_what_is_no_packed_file_is_told(tmp_path):
    for data in (b"", b"x", b"x" * 100, bytes(9), b"\xff" * 9):
        (tmp_path / "x").write_bytes(data)
        with pytest.raises(Unpackable):
            Packed(tmp_path / "x")


def test_what_is_erased_is_gone_from_a_packed_segment_too(tmp_path):
    for some in ([b"kept one", b"secret of one", b"kept two"], [b"secret of two"]):
        journal = Journal(tmp_path / "w")
        for payload in some:
            journal.append(payload)
        journal.close()
    before = [r.position for r in JournalReader(tmp_path).read("w", START)]
    changed = path_of(tmp_path / "w", 1).stat().st_mtime_ns
    # a packing that was cut off before it took the segment away
    kept = path_of(tmp_path / "w", 1).read_bytes()
    assert pack(tmp_path / "w", 1)
    path_of(tmp_path / "w", 1).write_bytes(kept)
    os.utime(path_of(tmp_path / "w", 1), ns=(changed, changed))
    blank = lambda payload: bytes(len(payload)) if payload.startswith(b"secret") else None  # noqa: E731
    assert rewrite(tmp_path / "w", blank) == 2
    assert not packed_of(tmp_path / "w", 1).exists()
    assert pack(tmp_path / "w", 1)
    assert not pack(tmp_path / "w", 1)
    journal = Journal(tmp_path / "w")
    journal.append(b"secret of three")
    assert pack(tmp_path / "w", 2)
    assert rewrite(tmp_path / "w", lambda p: bytes(len(p)) if p.startswith(b"kept two") else None) == 1
    journal.close()
    assert not path_of(tmp_path / "w", 1).exists()
    reader = JournalReader(tmp_path)
    records = reader.read("w", START)
    assert [r.position for r in records][:4] == before
    assert [r.payload for r in records] == [b"kept one", bytes(13), bytes(8), bytes(13), b"secret of three"]
    assert packed_of(tmp_path / "w", 1).stat().st_mtime_ns == changed, "it is as old as it was"
    assert not list((tmp_path / "w").glob(".*"))


def test_packed_and_rewritten_at_once(tmp_path):
    """What is to be gone is gone, whoever of the two comes first, and everything else is there."""
    for turn in range(10):
        folder = tmp_path / str(turn)
        for some in ([b"secret", b"kept" * 50_000], [b"last"]):
            journal = Journal(folder / "w")
            for payload in some:
                journal.append(payload)
            journal.close()
        blank = lambda p: bytes(len(p)) if p == b"secret" else None  # noqa: E731
        both = [threading.Thread(target=pack, args=(folder / "w", 1)), threading.Thread(target=rewrite, args=(folder / "w", blank))]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()
        rewrite(folder / "w", blank)  # as an erasure, which looks until nothing is left
        assert everything(folder) == [bytes(6), b"kept" * 50_000, b"last"]
        pack(folder / "w", 1)
        assert everything(folder) == [bytes(6), b"kept" * 50_000, b"last"]
        assert len(list((folder / "w").glob("00000001*"))) == 1


def test_a_full_disk_leaves_a_segment_as_it_was(tmp_path, monkeypatch):
    payloads = filled(tmp_path, 5, 1000)

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as m, pytest.raises(Unavailable, match="the disk is full"):
        m.setattr(os, "fsync", full)
        pack(tmp_path / "w", 1)
    assert sorted(p.name for p in (tmp_path / "w").glob("*.wj*")) == ["00000001.wj", "00000002.wj"]
    assert not list((tmp_path / "w").glob(".*"))
    assert everything(tmp_path) == payloads


def test_what_is_old_is_dropped_and_numbers_go_on(tmp_path):
    filled(tmp_path, 5, 1000)
    began = now_ns()
    old = began - 10**9
    for n in (1, 2):
        os.utime(path_of(tmp_path / "w", n), ns=(old, old))
    pack(tmp_path / "w", 1)
    assert drop(tmp_path / "w", 1, old) == 0
    size = packed_of(tmp_path / "w", 1).stat().st_size
    assert drop(tmp_path / "w", 1, began) == size
    assert drop(tmp_path / "w", 1, began) == 0
    assert numbers_of(tmp_path / "w") == [2]
    end = JournalReader(tmp_path).end("w")
    assert drop(tmp_path / "w", 2, began) > 0
    assert numbers_of(tmp_path / "w") == [3]
    reader = JournalReader(tmp_path)
    assert reader.end("w") > end
    assert reader.read("w", end) == []
    assert drop(tmp_path / "w", 3, LATER) == 0, "nothing is in it"
    journal = Journal(tmp_path / "w")
    place = journal.append(b"on")
    journal.close()
    assert place > end
    assert [r.payload for r in reader.read("w", end)] == [b"on"]
    assert drop(tmp_path / "w", 9, LATER) == 0, "there is none"


def test_a_writer_goes_on_where_its_segment_was_dropped(tmp_path, monkeypatch):
    """Its clock went back, or it wrote nothing for longer than is kept."""
    journal = Journal(tmp_path / "w")
    first = journal.append(b"old")
    assert drop(tmp_path / "w", 1, LATER) > 0
    second = journal.append(b"new")
    third = journal.append(b"newer")
    journal.close()
    assert first < second < third
    assert everything(tmp_path) == [b"new", b"newer"]


def test_every_day_has_segments_of_its_own(tmp_path, monkeypatch):
    day = 86_400_000_000_000
    now = [10 * day + 5]
    monkeypatch.setattr("windlass.store.journal.now_ns", lambda: now[0])
    journal = Journal(tmp_path / "w")
    for n in range(6):
        now[0] = (10 + n // 2) * day + n
        journal.append(str(n).encode())
    journal.close()
    found = [(r.position.segment, r.payload) for r in JournalReader(tmp_path).read("w", START)]
    assert found == [(1, b"0"), (1, b"1"), (2, b"2"), (2, b"3"), (3, b"4"), (3, b"5")]


WRITER = """
import sys
from pathlib import Path
from windlass.store.journal import Journal
journal = Journal(Path(sys.argv[1]) / "w", 20_000)
n = 0
while True:
    journal.append(b"%d %s" % (n, b"x" * 500))
    print(n, flush=True)
    n += 1
"""
PACKER = """
import sys
from pathlib import Path
from windlass.store.segments import numbers_of, pack
folder = Path(sys.argv[1]) / "w"
print("on", flush=True)
while True:
    for n in numbers_of(folder)[:-1]:
        pack(folder, n)
"""


def test_killed_at_packing_while_another_writes(tmp_path):
    """Whatever was acknowledged is there, in order, once."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    writer.stdout.readline()
    for n in range(6):
        packer = subprocess.Popen([sys.executable, "-c", PACKER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert packer.stdout is not None
        packer.stdout.readline()
        packer.stdout.close()
        try:
            packer.wait(0.05 + n / 20)
        except subprocess.TimeoutExpired:
            packer.send_signal(signal.SIGKILL)
        packer.wait()
        assert everything(tmp_path)[:1] == [b"0 " + b"x" * 500]
    writer.send_signal(signal.SIGKILL)
    acknowledged = 1 + int(list(writer.stdout)[-1])
    pack_all(tmp_path / "w")
    reader = JournalReader(tmp_path)
    read = [int(r.payload.split()[0]) for r in reader.read("w", Position(0, 0), 1 << 40)]
    assert read == list(range(len(read)))
    assert len(read) >= acknowledged
    assert len(list((tmp_path / "w").glob("*.zst"))) > 3
    assert reader.damages == {}
