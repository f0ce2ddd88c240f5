"""What is remembered of each endpoint that OTLP is mirrored to, in `forward/` of the data folder; and how each does."""

from __future__ import annotations

from pathlib import Path

import msgspec

from windlass.core.operations.system import Forwarding
from windlass.settings import Settings
from windlass.store.journal import JournalReader
from windlass.store.segments import Position
from windlass.traces.forward_targets import Target, targets_of

FOLDER = "forward"


class Kept(msgspec.Struct):
    """What is remembered of a target: the place in each writer's journal, and how many bodies came to what, since `began_ns`."""

    url: str
    began_ns: int
    positions: dict[str, Position] = {}
    sent: int = 0
    sent_bytes: int = 0
    refused: dict[str, int] = {}  # by code
    skipped: int = 0
    last_ns: int | None = None  # when it last took one
    problem: str = ""
    oldest_ns: int | None = None  # when what waits first was received


def read_kept(folder: Path, target: Target) -> Kept | None:
    """What is remembered of a target; None where nothing is."""
    try:
        return msgspec.json.decode((folder / f"{target.id}.json").read_bytes(), type=Kept)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def write_kept(folder: Path, target: Target, kept: Kept) -> None:
    """Replace what `read_kept` reads; nothing is written where it says so already."""
    path, data = folder / f"{target.id}.json", msgspec.json.encode(kept)
    if not path.exists() or path.read_bytes() != data:
        partial = path.with_suffix(".partial")
        partial.write_bytes(data)
        partial.replace(path)


def forwardings(home: Path, settings: Settings) -> dict[str, Forwarding]:
    """How each target does, by its address and project."""
    found: dict[str, Forwarding] = {}
    reader = JournalReader(home / "journal")
    for target in targets_of(settings.forward_to):
        kept = read_kept(home / FOLDER, target)
        name = target.url + (f" of {target.project}" if target.project else "")
        if kept is None:
            found[name] = Forwarding(problem="it has not begun")
            continue
        behind = sum(reader.after(w, kept.positions.get(w, Position(0, 0))) for w in reader.writers())
        found[name] = Forwarding(
            kept.began_ns, kept.sent, kept.sent_bytes, dict(kept.refused), kept.skipped, behind, kept.oldest_ns, kept.last_ns, kept.problem
        )
    return found
