"""What the supervisor tells of its processes, in `run/processes.json`. Light, since the supervisor writes it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

FILE = "processes.json"
GRPC = "grpc"  # where the server takes OTLP by gRPC, or why nowhere


class Process(msgspec.Struct, omit_defaults=True):
    """One process as its supervisor sees it. `state` is starting, running or waiting (to be started again)."""

    pid: int
    state: str
    since_ns: int
    restarts: int = 0


def read_processes(home: Path) -> dict[str, Process]:
    """What the supervisor last wrote; empty where there is none."""
    try:
        return msgspec.json.decode((home / "run" / FILE).read_bytes(), type=dict[str, Process])
    except (FileNotFoundError, msgspec.DecodeError):
        return {}


def write_processes(home: Path, processes: Mapping[str, Process]) -> None:
    """Replace what `read_processes` reads."""
    path = home / "run" / FILE
    partial = path.with_suffix(".partial")
    partial.write_bytes(msgspec.json.encode(processes))
    partial.replace(path)


def tell_grpc(home: Path, said: str) -> None:
    """Say where OTLP by gRPC is taken, or why nowhere."""
    (home / "run" / GRPC).write_text(said)


def grpc_told(home: Path) -> str:
    """What was last said of it; empty where no server runs."""
    try:
        return (home / "run" / GRPC).read_text()
    except FileNotFoundError:
        return ""


def resident(pid: int) -> int | None:
    """Resident bytes of a process, where the system tells."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
