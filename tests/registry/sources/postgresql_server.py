"""A real PostgreSQL of the tests' own: a cluster in a temporary folder, on a free port of this machine, which can be killed."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import psycopg

from windlass.store.meta import open_meta

OWNER, PASSWORD = "owner", "s3cret-of-the-owner"
READER, READERS = "reader", "s3cret-of-the-reader"


def binaries() -> Path | None:
    """The folder of a PostgreSQL server, 14 or newer, or None. The newest is taken."""
    found = shutil.which("postgres")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: -int(p.parent.name))
    return next((f for f in folders if (f / "postgres").exists() and (f / "initdb").exists()), None)


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class PostgreSqlServer:
    """A cluster with an owner and a reader, who may connect and owns nothing. PostgreSQL refuses to run as root: as root, it runs as
    `postgres` or as `nobody`."""

    def __init__(self, folder: Path, options: str = "-c fsync=off -c max_connections=80") -> None:
        self._bin = folder
        self._options = options
        self._home = Path(tempfile.mkdtemp(prefix="windlass-postgresql-"))
        self._user: str | None = None
        self._template = ""
        if os.getuid() == 0:
            self._user = next(u.pw_name for name in ("postgres", "nobody") for u in pwd.getpwall() if u.pw_name == name)
            shutil.chown(self._home, self._user)
        self.port = free_port()
        secret = self._home / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self._run("initdb", "-D", "data", "-U", OWNER, "-A", "scram-sha-256", "--pwfile", "password", "-E", "UTF8", "--locale", "C", "-N")
        self.start()
        with self.admin() as c:
            c.execute(f"CREATE ROLE {READER} LOGIN PASSWORD '{READERS}'")

    def _run(self, program: str, *arguments: str) -> None:
        out = subprocess.run(
            [str(self._bin / program), *arguments],
            cwd=self._home,
            user=self._user,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert out.returncode == 0, (
            out.stdout + out.stderr + (self._home / "log").read_text() if (self._home / "log").exists() else out.stderr
        )

    def start(self) -> None:
        """Returns when it takes connections."""
        options = f"-h 127.0.0.1 -p {self.port} -k '' {self._options} -c shared_buffers=32MB"
        self._run("pg_ctl", "-D", "data", "-l", "log", "-w", "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        """`immediate` ends every process of the server at once, as a crash does."""
        self._run("pg_ctl", "-D", "data", "-m", mode, "-w", "stop")

    def restart(self) -> None:
        self.stop()
        self.start()

    def close(self) -> None:
        self.stop("immediate")
        shutil.rmtree(self._home)

    def admin(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """A connection of the owner, who may do everything."""
        return psycopg.connect(host="127.0.0.1", port=self.port, user=OWNER, password=PASSWORD, dbname=database, autocommit=True)

    def empty_store(self, *, migrated: bool = True) -> str:
        """The name of a new database: with our tables, which are made once and copied, or without."""
        name = f"store_{secrets.token_hex(6)}"
        with self.admin() as c:
            if migrated and not self._template:
                c.execute(f"CREATE DATABASE {name}_template")
                open_meta(self.store_url(f"{name}_template")).dispose()
                self._template = f"{name}_template"
            c.execute(f"CREATE DATABASE {name} TEMPLATE {self._template if migrated else 'template0'}")
        return name

    def drop(self, name: str) -> None:
        with self.admin() as c:
            c.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def store_url(self, name: str) -> str:
        return f"postgresql://{OWNER}@127.0.0.1:{self.port}/{name}"

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://127.0.0.1:{self.port}/{database}"
