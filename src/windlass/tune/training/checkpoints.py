"""Checkpoints that can be proven whole. A checkpoint counts once its seal is there: the sha256 of every file (weights, optimizer,
schedule, random numbers, state) and the run's fingerprint, written after all of them are on the disk.

Going on is from the newest sealed checkpoint whose files are what the seal says. One that is torn is removed, and the one before it
counts; one of another run is refused. No PyTorch here.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from windlass.core.digest import TAG
from windlass.core.errors import Conflict
from windlass.tune.training.fingerprint import differences

SEAL = "windlass-seal.json"
FORM = "checkpoint@1"
KEPT = 2
PREFIX = "checkpoint-"
NEEDED = ("optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", "adapter_model.safetensors")


class Seal(msgspec.Struct, frozen=True):
    step: int
    fingerprint: dict[str, Any]
    files: dict[str, str]
    form: str = FORM


class Found(NamedTuple):
    """Where to go on, and what was wrong with newer ones."""

    path: Path | None
    step: int
    notes: tuple[str, ...]


def seal(folder: Path, step: int, fingerprint: dict[str, Any]) -> None:
    """Declare a checkpoint whole: its files are synced first. Raises `OSError`."""
    files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != SEAL):
        _sync(path)
        files[path.relative_to(folder).as_posix()] = _digest(path)
    partial = folder / f".{SEAL}"
    with partial.open("wb") as file:
        file.write(msgspec.json.encode(Seal(step, fingerprint, files)))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(folder / SEAL)
    _sync(folder)
    _sync(folder.parent)


def prune(folder: Path) -> None:
    """Keep the newest sealed ones, and drop the others."""
    for path in _by_step(folder)[KEPT:]:
        if (path / SEAL).exists():
            shutil.rmtree(path, ignore_errors=True)


def newest(folder: Path, fingerprint: dict[str, Any]) -> Found:
    """The checkpoint to go on from. Raises `Conflict` where the newest whole one is of a run with another fingerprint."""
    notes: list[str] = []
    for path in _by_step(folder):
        wrong = _wrong(path)
        if isinstance(wrong, Seal):
            if said := differences(wrong.fingerprint, fingerprint):
                raise _other_run(said)
            return Found(path, wrong.step, tuple(notes))
        notes.append(f"{path.name} was left out: {wrong}")
        shutil.rmtree(path, ignore_errors=True)
    return Found(None, 0, tuple(notes))


def refuse_other(before: dict[str, Any] | None, now: dict[str, Any]) -> None:
    """Raises `Conflict` unless a run that began before is still made of the same."""
    if before is not None and (said := differences(before, now)):
        raise _other_run(said)


def _other_run(said: list[str]) -> Conflict:
    return Conflict(
        "this is not the run that was begun: " + "; ".join(said),
        remedy="put back what it was begun with, or start a new tuning: weights of two runs mixed would be nobody's",
    )


def _wrong(path: Path) -> Seal | str:
    """The seal of a checkpoint that is whole; else what is wrong with it."""
    try:
        found = msgspec.json.decode((path / SEAL).read_bytes(), type=Seal)
    except FileNotFoundError:
        return "it was cut off before it was whole"
    except (OSError, msgspec.DecodeError):
        return "its seal cannot be read"
    if found.form != FORM:
        return f"it is of the form {found.form!r}"
    if path.name != f"{PREFIX}{found.step}":
        return f"its seal is of step {found.step}"
    for needed in NEEDED:
        if needed not in found.files:
            return f"it has no {needed}"
    for name, digest in found.files.items():
        file = path / name
        if not file.is_file():
            return f"{name} is gone"
        if _digest(file) != digest:
            return f"{name} is not what was written"
    return found


def _by_step(folder: Path) -> list[Path]:
    """The newest first."""
    found = [p for p in folder.glob(f"{PREFIX}*") if p.name.removeprefix(PREFIX).isdigit()]
    return sorted(found, key=lambda p: -int(p.name.removeprefix(PREFIX)))


def _digest(path: Path) -> str:
    hashed = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(2**20):
            hashed.update(piece)
    return TAG + hashed.hexdigest()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
