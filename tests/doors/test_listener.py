"""The socket that a server listens on."""

from __future__ import annotations

import socket

import pytest

from windlass.core.errors import Conflict, Invalid
from windlass.doors.listener import listen


def test_pieces_of_a_stream_do_not_wait_for_acknowledgements():
    """Nagle's algorithm against delayed acknowledgements: 40 ms for every short piece after the first."""
    listener = listen("127.0.0.1", 0)
    client = socket.create_connection(listener.socket.getsockname())
    accepted, _ = listener.socket.accept()
    with client, accepted, listener.socket:
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_port_in_use_and_an_address_elsewhere_are_said():
    listener = listen("127.0.0.1", 0)
    port = listener.socket.getsockname()[1]
    with listener.socket, pytest.raises(Conflict, match=f"port {port} is in use"):
        listen("127.0.0.1", port)
    with pytest.raises(Invalid, match="cannot listen here"):
        listen("192.0.2.1", 0)
