"""Names of tools that people or models would take for one another: by capitals, separators, letters of other alphabets, characters that
nobody sees. A new tool may not have the look of one that is there; what is registered already stays.
"""

from __future__ import annotations

import re
import unicodedata

from sqlalchemy import Connection, select

from windlass.core.artifacts import Version
from windlass.core.errors import Invalid
from windlass.registry.references import Key
from windlass.store.tables import versions

CALLED = re.compile(r"[A-Za-z0-9_.-]{1,100}\Z")  # what every model's provider can be told, and people can read
_SAME = str.maketrans({"0": "o", "1": "l", "i": "l", "|": "l", "5": "s", "2": "z", "8": "b"})


def look(name: str) -> str:
    """What a name looks like: equal for two that are easily taken for one another."""
    plain = unicodedata.normalize("NFKC", name).casefold()
    plain = re.sub(r"[^a-z0-9|]", "", plain)  # separators, and what is no letter of ours
    return plain.replace("rn", "m").replace("vv", "w").translate(_SAME)


def check_looks(c: Connection, project: str, given: dict[Key, Version]) -> None:
    """Raises `Invalid` for a tool whose new name looks like another's, or cannot be read."""
    v = versions.c
    known = set(c.execute(select(v.name).where(v.project == project, v.kind == "tool").distinct()).scalars())
    tools = [version for version in given.values() if version.kind == "tool"]
    looks = {look(name): name for name in sorted(known)}
    for version in sorted(tools, key=lambda t: t.name):
        called = str(version.body.get("name", ""))
        if not CALLED.match(called):
            raise Invalid(
                f"models would call this tool {called!a}, which people cannot tell from another", where=f"tool/{version.name}",
                remedy="name it with plain letters, digits, '_', '.' and '-'",
            )  # fmt: skip
        same = look(called) == look(version.name)
        names = (version.name, called) if version.name not in known else () if same else (called,)
        for name in names:
            if (other := looks.setdefault(look(name), version.name)) != version.name:
                raise Invalid(
                    f"{name!r} looks like {other!r}, which is another tool", where=f"tool/{version.name}", remedy="choose another name"
                )
