"""What each process has seen of the upstreams of routes, in `run/routes/<process>.json`: each has breakers of its own, and a page asks one
process for all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec

from windlass.core.ids import now_ns
from windlass.core.operations.routes import UpstreamHealth, WorkerHealth


def tell_health(run: Path, process: str, seen: tuple[UpstreamHealth, ...]) -> None:
    """Say what this process has seen, in place of what it said before. Raises `OSError`."""
    folder = run / "routes"
    folder.mkdir(exist_ok=True)
    path = folder / f"{process}.json"
    partial = path.with_suffix(".partial")
    partial.write_bytes(msgspec.json.encode(WorkerHealth(process, os.getpid(), now_ns(), seen)))
    partial.replace(path)


def read_health(run: Path) -> list[WorkerHealth]:
    """What every process that still runs last said, by name. One that was cut off while it wrote is passed over."""
    found = []
    for path in sorted((run / "routes").glob("*.json")):
        with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
            health = msgspec.json.decode(path.read_bytes(), type=WorkerHealth)
            if _runs(health.pid):
                found.append(health)
    return found


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
