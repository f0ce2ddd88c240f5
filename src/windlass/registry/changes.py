"""Why a version differs from the one before, in one phrase for the terminal."""

from __future__ import annotations

import difflib

from windlass.core.artifacts import Version
from windlass.registry.diff import field_changes


def why(before: Version, after: Version) -> str:
    """`2 lines changed`, `uses prompt/reply`, `3 rows more`: the nearest cause first."""
    if after.kind == "prompt":
        old, new = ["\n".join(m["text"] for m in v.body["messages"]).splitlines() for v in (before, after)]
        lines = sum(1 for d in difflib.ndiff(old, new) if d[:1] in "+-") if old != new else 0
        if lines:
            changed = max(1, round(lines / 2)) if len(old) == len(new) else lines
            return f"{changed} line{'s' if changed > 1 else ''} changed"
    if after.kind in ("dataset", "fewshot"):
        more = after.body["count"] - before.body["count"]
        return f"{abs(more)} rows {'more' if more > 0 else 'fewer'}" if more else "rows changed"
    was = {(k.kind, k.name): k.digest for k in before.links}
    moved = [f"{k.kind}/{k.name}" for k in after.links if was.get((k.kind, k.name)) != k.digest]
    code = before.body.get("code") != after.body.get("code")
    parts = (["its code"] if code else []) + ([f"uses {', '.join(dict.fromkeys(moved))}"] if moved else [])
    if parts:
        return "; ".join(parts)
    fields = [c.path.lstrip("/").split("/")[0] for c in field_changes(before.body, after.body)]
    return ", ".join(dict.fromkeys(fields))
