"""`sources.toml` in the data folder: sources by name, with who reads them and the environment variable that holds the secret.

    [shop]
    url = "postgresql://db.example/shop"
    user = "reader"
    env = "SHOP_PASSWORD"        # the name of a variable of the server; the secret itself never stands here

For a database the variable holds the password, for a URL a bearer token, for BigQuery the path of a file of credentials.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from windlass.core.errors import Invalid, NotFound, Unavailable
from windlass.core.pin import Spec
from windlass.registry.sources.source import refuse_password


class Named(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One table of the file."""

    url: str
    user: str = ""
    env: str = ""


class Credentials(msgspec.Struct, frozen=True):
    """Who asks, with what secret. Never logged, never recorded."""

    user: str = ""
    secret: str | None = None

    def __repr__(self) -> str:
        return f"Credentials({self.user!r})"

    def redact(self, text: str) -> str:
        """`text` without the secret, should a source echo it."""
        return text.replace(self.secret, "[secret]") if self.secret else text


class Names:
    """The file, read anew whenever it is asked for, and the environment of this process."""

    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        self._path = path
        self.environ = environ

    def get(self, name: str) -> Named:
        """Raises `NotFound` with a near miss, `Invalid` naming what is wrong with the file."""
        table = self._read()
        if name in table:
            return table[name]
        near = difflib.get_close_matches(name, table, 1)
        raise NotFound(
            f"{name!r} is no address, and no source is named so", where="--from",
            remedy=f"did you mean {near[0]!r}?" if near
            else "write postgresql://host/db, bigquery://project, https://… or a folder's path; or name it in sources.toml",
        )  # fmt: skip

    def credentials(self, spec: Spec) -> Credentials:
        """What to show to the source of a pin. Raises `Unavailable` naming the variable that is not set."""
        if not spec.source:
            return Credentials()
        named = self.get(spec.source)
        if not named.env:
            return Credentials(named.user)
        if not (secret := self.environ.get(named.env)):
            raise Unavailable(
                f"{spec.source} cannot be read: {named.env} is not set",
                remedy=f"set {named.env} in the server's environment and restart it",
            )
        return Credentials(named.user, secret)

    def _read(self) -> dict[str, Named]:
        try:
            rows = tomllib.loads(self._path.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
            raise Invalid(f"not readable as TOML: {e}", where=str(self._path)) from e
        found = {}
        for name, row in rows.items():
            try:
                found[name] = msgspec.convert(row, Named)
            except msgspec.ValidationError as e:
                raise Invalid(f"source {name!r}: {e}", where=str(self._path), remedy="its fields are url, user and env") from e
            refuse_password(found[name].url)
        return found
