"""Why a version differs from the one before, in one phrase for the terminal."""

from __future__ import annotations

import difflib

from windlass.core.artifacts import Version
from windlass.core.errors import WindlassError
from windlass.core.ref import ROWS
from windlass.registry.datasets import Datasets
from windlass.registry.diff import field_changes


def why(before: Version, after: Version, datasets: Datasets) -> str:
    """`2 lines changed`, `uses prompt/reply`, `3 rows added`: the nearest causes, joined by `; `."""
    if after.kind in ROWS:
        return _rows(before, after, datasets)
    parts = []
    if after.kind == "prompt" and (lines := _lines(before, after)):
        parts.append(f"{lines} line{'s' if lines > 1 else ''} changed")
    if before.body.get("code") != after.body.get("code"):
        parts.append("its code")
    was, now = ({(k.kind, k.name): k.digest for k in v.links if k.relation == "uses"} for v in (before, after))
    # a release lists its whole closure; what it runs is the near cause
    entry = {(k.kind, k.name) for k in after.links if k.role == "entry"} or now.keys()
    moved = [f"{kind}/{name}" for kind, name in sorted(entry) if was.get((kind, name)) != now[kind, name]]
    if moved:
        parts.append(f"uses {', '.join(moved)}")
    if dropped := [f"{kind}/{name}" for kind, name in sorted(was.keys() - now.keys())]:
        parts.append(f"no longer uses {', '.join(dropped)}")
    if not parts:
        fields = [c.path.lstrip("/").split("/")[0] for c in field_changes(before.body, after.body)]
        parts.append(f"{', '.join(dict.fromkeys(fields))} changed")
    return "; ".join(parts)


def _lines(before: Version, after: Version) -> int:
    """Lines of a prompt that differ; one that was replaced counts once."""
    old, new = ["\n".join(f"{m['role']}: {m['text']}" for m in v.body["messages"]).splitlines() for v in (before, after)]
    blocks = difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    return sum(max(i2 - i1, j2 - j1) for tag, i1, i2, j1, j2 in blocks if tag != "equal")


def _rows(before: Version, after: Version, datasets: Datasets) -> str:
    try:
        counts = datasets.difference(before, after).counts
    except WindlassError:  # a dry run comes before its rows
        more = after.body["count"] - before.body["count"]
        counts = {"added": max(more, 0), "removed": max(-more, 0), "changed": 0}
    said = [f"{n} row{'s' if n > 1 else ''} {what}" for what, n in counts.items() if n]
    return ", ".join(said) or "rows changed"
