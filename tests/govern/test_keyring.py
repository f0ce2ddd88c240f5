"""Sealing: whole or not at all, bound to its purpose, keys that rotate, a file that nobody else can read."""

from __future__ import annotations

import base64
import secrets
import stat
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from windlass.core.errors import Invalid, Unavailable
from windlass.govern.keyring import FILE, VARIABLE, Keyring

HEX = secrets.token_hex(32)


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=300), st.text(max_size=40), st.data())
def test_what_is_sealed_opens_only_as_it_was_and_for_what_it_was(text: str, purpose: str, data: st.DataObject) -> None:
    ring = Keyring(Path("/nowhere"), {VARIABLE: HEX})
    sealed = ring.seal(text, purpose)
    assert ring.open(sealed, purpose) == text and ring.seal(text, purpose) != sealed
    assert len(text) < 4 or text not in sealed
    with pytest.raises(Invalid, match="changed, or put in another"):
        ring.open(sealed, purpose + "x")
    raw = bytearray(base64.b64decode(sealed))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises((Invalid, Unavailable)):
        ring.open(base64.b64encode(bytes(raw)).decode(), purpose)


def test_it_is_aes_256_gcm_as_others_read_it() -> None:
    raw = base64.b64decode(Keyring(Path("/nowhere"), {VARIABLE: HEX}).seal("sk-secret", "for"))
    assert raw[0] == 1
    assert AESGCM(bytes.fromhex(HEX)).decrypt(raw[9:21], raw[21:], b"for") == b"sk-secret"


def test_the_file_is_for_its_user_alone_and_rotation_reads_what_was_sealed_before(tmp_path: Path) -> None:
    ring = Keyring(tmp_path, {})
    assert ring.marks == () and not (tmp_path / FILE).exists()  # nothing is made before there is a secret
    first = ring.seal("one", "p")
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600 and ring.where == str(tmp_path / FILE)
    ring.renew()
    second = ring.seal("two", "p")
    again = Keyring(tmp_path, {})
    assert (again.open(first, "p"), again.open(second, "p")) == ("one", "two")
    assert again.marks == (again.sealed_by(second), again.sealed_by(first)) and stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == [FILE]


def test_several_machines_have_it_from_the_environment(tmp_path: Path) -> None:
    before = Keyring(tmp_path, {}).seal("kept in the file", "p")
    other = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
    ring = Keyring(tmp_path, {VARIABLE: f"{other}, {HEX}"})
    assert ring.where == VARIABLE and ring.open(before, "p") == "kept in the file"
    by_hex = Keyring(Path("/nowhere"), {VARIABLE: HEX}).seal("old", "p")
    assert ring.open(by_hex, "p") == "old" and ring.sealed_by(ring.seal("x", "p")) == ring.marks[0] != ring.marks[1]
    with pytest.raises(Unavailable, match=f"is not here.*{VARIABLE}"):
        Keyring(Path("/nowhere"), {VARIABLE: HEX}).open(ring.seal("x", "p"), "p")


@pytest.mark.parametrize("text", ["short", "zz" * 32, "ab" * 31, base64.b64encode(b"x" * 31).decode(), "ünïcode" * 9])
def test_what_is_no_key_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(Invalid, match="not a key of 32 bytes") as caught:
        Keyring(Path("/nowhere"), {VARIABLE: text})
    assert text not in str(caught.value)


@pytest.mark.parametrize("text", ["", "x", "AQ==", "!!", base64.b64encode(b"\x02" + b"x" * 60).decode()])
def test_what_was_never_sealed_cannot_be_read(text: str) -> None:
    with pytest.raises(Invalid, match="cannot be read"):
        Keyring(Path("/nowhere"), {VARIABLE: HEX}).open(text, "p")


def test_processes_that_seal_first_at_once_have_one_key(tmp_path: Path) -> None:
    rings = [Keyring(tmp_path, {}) for _ in range(8)]
    sealed: list[str] = []
    threads = [threading.Thread(target=lambda r=r: sealed.append(r.seal("x", "p"))) for r in rings]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(Keyring(tmp_path, {}).marks) == 1 and all(Keyring(tmp_path, {}).open(s, "p") == "x" for s in sealed)


def test_no_tool_is_given_the_key() -> None:
    from windlass.agentops.secrets import Secrets

    with pytest.raises(Unavailable, match="is not set"):
        Secrets({VARIABLE: HEX}).of(("KEY",), "tool/x")
