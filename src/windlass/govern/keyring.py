"""Secrets that lie in the store: sealed with AES-256-GCM, under a key that does not lie there.

The key is in `secret.keys` in the data folder, which only the server's user can read, or in `WINDLASS_SECRET_KEY`, for several machines
over one store. Either may hold several: the first seals, each opens what it sealed. What is sealed is bound to what it is for, so that
nobody who can write to the store can put one secret in another's place.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

from windlass.core.errors import Invalid, Unavailable

FILE, VARIABLE = "secret.keys", "WINDLASS_SECRET_KEY"
SIZE = 32  # bytes of a key
_VERSION, _NONCE, _MARK = b"\x01", 12, 8
_MAKE = 'python -c "import secrets; print(secrets.token_hex(32))"'


class Keyring:
    """The keys of one installation. One per process.

    Args:
        folder: the data folder.
        environ: where `WINDLASS_SECRET_KEY` may be. Where it is, the file is only read: for what was sealed before.

    Raises `Invalid` for a variable that holds no key; it is never repeated.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._path = folder / FILE
        self._given = _keys(environ.get(VARIABLE, ""), VARIABLE, ",")

    @property
    def where(self) -> str:
        """Where the key that seals is."""
        return VARIABLE if self._given else str(self._path)

    @property
    def marks(self) -> tuple[str, ...]:
        """Names of all keys, 16 hexadecimal digits each, the one that seals first."""
        return tuple(_mark(key).hex() for key in self._all())

    def seal(self, text: str, purpose: str) -> str:
        """A secret as it is kept. Makes the first key where there is none. Raises `Unavailable` where it cannot be made or read."""
        key = next(iter(self._all()), None)
        if key is None:
            key = self._first()
        nonce = secrets.token_bytes(_NONCE)
        sealed = _cipher(key).encrypt(nonce, text.encode(), purpose.encode())
        return base64.b64encode(_VERSION + _mark(key) + nonce + sealed).decode()

    def open(self, sealed: str, purpose: str) -> str:
        """What was sealed for this purpose. Raises `Unavailable` where its key is not here; `Invalid` where it was changed."""
        from cryptography.exceptions import InvalidTag

        try:
            data = base64.b64decode(sealed, validate=True)
        except (binascii.Error, ValueError):
            data = b""
        head = len(_VERSION) + _MARK
        if data[:1] != _VERSION or len(data) < head + _NONCE + 16:
            raise Invalid("a sealed secret cannot be read", remedy="give it again")
        key = next((k for k in self._all() if _mark(k) == data[1:head]), None)
        if key is None:
            raise Unavailable(
                f"it is sealed under the key {data[1:head].hex()}, which is not here",
                remedy=f"set {VARIABLE} as on the machine that sealed it, bring its {FILE} here, or give the secret again",
            )
        try:
            text: bytes = _cipher(key).decrypt(data[head : head + _NONCE], data[head + _NONCE :], purpose.encode())
        except InvalidTag:
            raise Invalid("a sealed secret was changed, or put in another's place", remedy="give it again") from None
        return text.decode()

    def sealed_by(self, sealed: str) -> str:
        """The name of the key that sealed this."""
        with contextlib.suppress(binascii.Error, ValueError):
            return base64.b64decode(sealed, validate=True)[1 : 1 + _MARK].hex()
        return ""

    def renew(self) -> None:
        """From now on seal with a new key; the earlier ones still open. Where the environment says the key, it is the first there, and
        nothing is made."""
        if not self._given:
            self._add()

    def _all(self) -> Iterator[bytes]:
        yield from self._given
        try:
            text = self._path.read_text()
        except FileNotFoundError:
            return
        except OSError as e:
            raise Unavailable(f"the keys that seal secrets cannot be read: {e.strerror}", where=str(self._path)) from e
        yield from _keys(text, str(self._path), "\n")

    def _first(self) -> bytes:
        """The key that seals, made where there is none; whoever comes second takes the first one's."""
        key = secrets.token_bytes(SIZE)
        with self._written(key, "") as partial:
            try:
                os.link(partial, self._path)
            except FileExistsError:
                return next(self._all())
        return key

    def _add(self) -> bytes:
        """A new key, before the others in the file, which is written whole."""
        key = secrets.token_bytes(SIZE)
        with self._written(key, self._path.read_text() if self._path.exists() else "") as partial:
            partial.replace(self._path)
        return key

    @contextlib.contextmanager
    def _written(self, key: bytes, before: str) -> Iterator[Path]:
        """A file beside the real one, durable, to be put in its place. Raises `Unavailable`."""
        partial = self._path.with_name(f".{FILE}.{secrets.token_hex(8)}")
        try:
            with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(f"{key.hex()}\n{before}")
                file.flush()
                os.fsync(file.fileno())
            yield partial
        except OSError as e:
            raise Unavailable(f"a key to seal secrets cannot be written: {e.strerror}", where=str(self._path)) from e
        finally:
            partial.unlink(missing_ok=True)


def _cipher(key: bytes):  # type: ignore[no-untyped-def]
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # OpenSSL comes with it: loaded when a secret is there
    except ImportError:
        raise Unavailable("secrets cannot be kept: cryptography is not installed", remedy='pip install "windlass[server]"') from None
    return AESGCM(key)


def _mark(key: bytes) -> bytes:
    """Tells keys apart, and tells nothing of them."""
    return hashlib.sha256(b"windlass secret key\0" + key).digest()[:_MARK]


def _keys(text: str, where: str, between: str) -> tuple[bytes, ...]:
    return tuple(_key(part, where) for line in text.split(between) if (part := line.strip()))


def _key(text: str, where: str) -> bytes:
    """32 bytes in hexadecimal or base64."""
    with contextlib.suppress(ValueError):
        if len(key := bytes.fromhex(text)) == SIZE:
            return key
    with contextlib.suppress(binascii.Error, ValueError):
        if (
            len(key := base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_" if set(text) & set("-_") else None, validate=True))
            == SIZE
        ):
            return key
    raise Invalid("this is not a key of 32 bytes in hexadecimal or base64", where=where, remedy=f"make one: {_MAKE}")
