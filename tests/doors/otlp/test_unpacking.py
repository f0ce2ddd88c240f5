"""Packed bodies in pieces of every size, and what is not packed as it says."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.doors.otlp.sent import zstd

from windlass.core.errors import Invalid, TooLarge
from windlass.doors.otlp.unpacking import Unpacker

PACKERS = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstd.compress,
    "bare deflate": lambda data: zlib.compress(data)[2:-4],
}


def unpacked(name: str, pieces: list[bytes], limit: int = 1_000_000) -> bytes:
    unpacker = Unpacker(name.split()[-1], limit)
    found = b"".join(map(unpacker.feed, pieces))
    unpacker.finish()
    return found


@given(st.sampled_from(sorted(PACKERS)), st.binary(max_size=3000), st.integers(1, 700))
def test_in_pieces(name: str, data: bytes, size: int) -> None:
    packed = PACKERS[name](data)
    assert unpacked(name, [packed[i : i + size] for i in range(0, len(packed), size)]) == data


@given(st.sampled_from(["gzip", "zstd"]), st.lists(st.binary(max_size=300), min_size=1, max_size=5), st.integers(1, 90))
def test_several_behind_each_other(name: str, parts: list[bytes], size: int) -> None:
    packed = b"".join(map(PACKERS[name], parts))
    assert unpacked(name, [packed[i : i + size] for i in range(0, len(packed), size)]) == b"".join(parts)


@pytest.mark.parametrize("name", PACKERS)
def test_the_limit_is_exact_and_a_bomb_gives_no_more(name: str) -> None:
    packed = PACKERS[name](b"\0" * 500_000)
    assert len(unpacked(name, [packed], 500_000)) == 500_000
    with pytest.raises(TooLarge, match="499,999"):
        unpacked(name, [packed], 499_999)


@pytest.mark.parametrize("name", ["gzip", "zstd"])
def test_what_unpacks_to_nothing_for_ever_is_too_large_too(name: str) -> None:
    nothing = PACKERS[name](b"")
    with pytest.raises(TooLarge):
        unpacked(name, [nothing * 100] * 100, 10_000)


@pytest.mark.parametrize("name", PACKERS)
def test_cut_off_or_of_another_kind(name: str) -> None:
    packed = PACKERS[name](b"something to say" * 20)
    for broken in ([packed[:-1]], [], [b""], [b"\xfe" + packed], [packed, b"behind it"]):
        with pytest.raises(Invalid):
            unpacked(name, broken)


def test_a_window_larger_than_anybody_must_have_is_refused() -> None:
    """RFC 9659. What asks for it is small."""
    options = {zstd.CompressionParameter.window_log: 27, zstd.CompressionParameter.content_size_flag: 0}
    packer = zstd.ZstdCompressor(options=options)
    packed = packer.compress(b"x" * 100, zstd.ZstdCompressor.FLUSH_BLOCK) + packer.flush()
    with pytest.raises(Invalid, match="not zstd"):
        unpacked("zstd", [packed])
