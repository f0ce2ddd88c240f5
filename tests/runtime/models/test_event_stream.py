"""AWS's frames: published messages, botocore as an independent reader, any split, any flipped bit."""

from __future__ import annotations

import base64
import binascii
import json
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windlass.runtime.models.event_stream import Damaged, Frames, as_event

# awslabs/aws-c-event-stream: messages of its tests
EMPTY = bytes.fromhex("000000100000000005c248eb7d98c8ff")
ONE_HEADER = bytes.fromhex(
    "0000003d0000002007fd83960c636f6e74656e742d747970650700106170706c69636174696f6e2f6a736f6e7b27666f6f273a27626172277d8d9c08b1"
)


def frame(payload: bytes, **headers: str) -> bytes:
    """One frame, as AWS makes them; names of headers begin with a colon there."""
    told = b"".join(
        struct.pack("!B", len(name) + 1)
        + b":"
        + name.replace("_", "-").encode()
        + struct.pack("!BH", 7, len(value.encode()))
        + value.encode()
        for name, value in headers.items()
    )
    head = struct.pack("!II", len(told) + len(payload) + 16, len(told))
    whole = head + struct.pack("!I", binascii.crc32(head)) + told + payload
    return whole + struct.pack("!I", binascii.crc32(whole))


def chunk(event: dict[str, object]) -> bytes:
    payload = json.dumps({"bytes": base64.b64encode(json.dumps(event).encode()).decode(), "p": "abcd"}).encode()
    return frame(payload, event_type="chunk", content_type="application/json", message_type="event")


def test_published_messages() -> None:
    assert Frames().feed(EMPTY) == [({}, b"")]
    assert Frames().feed(ONE_HEADER) == [({"content-type": "application/json"}, b"{'foo':'bar'}")]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=60), min_size=1, max_size=5), st.data())
def test_wherever_it_is_split_it_reads_what_botocore_reads(payloads: list[bytes], data: st.DataObject) -> None:
    theirs = pytest.importorskip("botocore.eventstream").EventStreamBuffer()
    whole = b"".join(frame(p, event_type="chunk", message_type="event") for p in payloads)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    reader, found = Frames(), []
    for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        found += reader.feed(whole[begin:end])
        theirs.add_data(whole[begin:end])
    assert reader.whole and [payload for _, payload in found] == payloads == [e.payload for e in theirs]
    assert all(headers == {":event-type": "chunk", ":message-type": "event"} for headers, _ in found)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, len(ONE_HEADER) * 8 - 1))
def test_a_flipped_bit_is_seen(bit: int) -> None:
    """Either it is refused, or the frame is not whole yet: a length that grew. Never is another text read."""
    changed = bytearray(ONE_HEADER)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Damaged):
        Frames().feed(bytes(changed))


def test_a_chunk_is_an_event_and_an_exception_an_error() -> None:
    ((headers, payload),) = Frames().feed(chunk({"type": "content_block_delta", "delta": {"text": "grüß"}}))
    said = as_event(headers, payload)
    assert said.startswith(b"event: content_block_delta\ndata: {") and said.endswith(b"}\n\n") and said.count(b"\n") == 3
    told = frame(b'{"message": "too many"}', exception_type="throttlingException", message_type="exception")
    ((headers, payload),) = Frames().feed(told)
    error = {"type": "error", "error": {"type": "throttlingException", "message": "too many"}}
    assert as_event(headers, payload) == b"event: error\ndata: " + json.dumps(error, separators=(",", ":")).encode() + b"\n\n"
    assert as_event({":message-type": "event", ":event-type": "initial-response"}, b"{}") == b""
    with pytest.raises(Damaged):
        as_event({":event-type": "chunk"}, b'{"bytes": "!"}')
