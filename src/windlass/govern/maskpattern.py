"""Patterns that owners write: compiled, or refused in a sentence. They run on all that is observed, so one that could take for ever on
some text, or finds something in every text, is refused."""

from __future__ import annotations

import re
from re import _constants as opcodes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

from windlass.core.errors import Invalid

LONGEST = 1000  # characters of a pattern
_REPEATS = (opcodes.MAX_REPEAT, opcodes.MIN_REPEAT)


def compiled(pattern: str, where: str) -> re.Pattern[str]:
    """The pattern. Raises `Invalid`."""
    if len(pattern) > LONGEST:
        raise Invalid(f"a pattern has at most {LONGEST} characters", where=where, remedy="make two rules of it")
    try:
        made = re.compile(pattern)
        tree = parser.parse(pattern)
    except (re.error, RecursionError, OverflowError) as e:
        raise Invalid(f"the pattern cannot be read: {e}", where=where, remedy="it is a regular expression of Python") from e
    if made.search(""):
        raise Invalid("the pattern finds nothing at all in every text", where=where, remedy="demand at least one character")
    if _explodes(tree, inside=False):
        raise Invalid(
            "the pattern could take for ever on some text: a repeat without bound, or a choice, stands in another repeat",
            where=where, remedy="bound the repeats, as in [0-9]{1,20}",
        )  # fmt: skip
    return made


def _explodes(node: Any, *, inside: bool) -> bool:
    """Whether what may match in many ways stands in a repeat without bound."""
    for op, value in node:
        if op is opcodes.GROUPREF or op is opcodes.GROUPREF_EXISTS:
            return True
        if op in _REPEATS:
            least, most, inner = value
            open_ended = most is opcodes.MAXREPEAT or most > 100
            if (inside and most != least) or _explodes(inner, inside=inside or open_ended):
                return True
        elif op is opcodes.BRANCH:
            if inside or any(_explodes(branch, inside=inside) for branch in value[1]):
                return True
        elif op is opcodes.SUBPATTERN:
            if _explodes(value[-1], inside=inside):
                return True
        elif op in (opcodes.ASSERT, opcodes.ASSERT_NOT) and _explodes(value[1], inside=inside):
            return True
    return False
