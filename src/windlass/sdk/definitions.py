"""What authoring objects share: a kind, a name, the line that made them, and a list of all that were made in this process.

`collect` reads the list after it has imported a workspace's modules. Making an object does nothing else.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, ClassVar

from windlass.core.errors import Invalid
from windlass.core.ref import check_name

DEFINED: list[Definition] = []
_HERE = str(Path(__file__).parent)


class Definition:
    """An authored artifact. `where` is `file:line` of the call that made it."""

    kind: ClassVar[str]

    def __init__(self, name: str) -> None:
        self.where, self.module = _place()
        expect(name, str, "the name", "text", self.where)
        self.name = check_name(name)
        DEFINED.append(self)

    def __repr__(self) -> str:
        return f"<{self.kind}/{self.name} at {self.where}>"


def expect(value: Any, kinds: type | tuple[type, ...], what: str, must: str, where: str | None = None) -> None:
    """Raises `Invalid` where an argument is not of the kinds it must be; a bool is no number."""
    if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
        raise Invalid(f"{what} is {repr(value)[:80]}; it must be {must}", where=where)


def _place() -> tuple[str, str]:
    """The nearest frame outside this package: `file:line`, and its module's name."""
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_HERE):
        frame = frame.f_back
    if frame is None:
        return "?", "?"
    return f"{frame.f_code.co_filename}:{frame.f_lineno}", str(frame.f_globals.get("__name__", "?"))
