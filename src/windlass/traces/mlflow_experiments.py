"""MLflow's experiments: a name, and an id that says it. An id is the name where it is of letters, digits, `-` and `_`; other bytes of it,
and `Z`, are `Z` and two hex digits. So there is every experiment, none is stored, and ids never change. Their default has the id 0.
"""

from __future__ import annotations

import re
import string

from windlass.core.errors import Invalid, NotFound

DEFAULT, DEFAULT_ID = "Default", "0"
LONGEST = 200  # characters of an id: it stands on each span's resource
_PLAIN = frozenset((string.ascii_letters + string.digits + "-_").encode()) - {ord("Z")}
_ID = re.compile("(?:Z[0-9a-f]{2}|[A-Ya-z0-9_-])+")


def experiment_id(name: str) -> str:
    """Raises `Invalid` for a name that is empty, or too long."""
    if name == DEFAULT:
        return DEFAULT_ID
    data = name.encode("utf-8", "surrogatepass")
    # the first is a letter or a digit, and nothing but the default is called 0
    first = data[:1].isalnum() and name != DEFAULT_ID
    made = "".join(chr(b) if b in _PLAIN and (at or first) else f"Z{b:02x}" for at, b in enumerate(data))
    if not made or len(made) > LONGEST:
        remedy = f"take 1 to {LONGEST} letters, digits, '-' and '_'; any other counts thrice"
        raise Invalid(f"{name[:60]!r} is no name of an experiment here", where="name", remedy=remedy)
    return made


def experiment_name(id: str) -> str:
    """Raises `NotFound` for what is no id."""
    if id == DEFAULT_ID:
        return DEFAULT
    if _ID.fullmatch(id) and len(id) <= LONGEST:
        data = re.sub("Z([0-9a-f]{2})", lambda hit: chr(int(hit[1], 16)), id).encode("latin-1")
        try:
            name = data.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            name = ""
        if name and experiment_id(name) == id:
            return name
    raise NotFound(f"there is no experiment with the id {id[:60]!r}", where="experiment_id", remedy="ask for it by its name")
