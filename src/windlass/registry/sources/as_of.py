"""Have a statement of GoogleSQL read its tables as they were at one moment, by writing `FOR SYSTEM_TIME AS OF` after each.

It is read word by word, so that strings and comments stay what they are, and never understood further than `FROM table [AS alias]`,
`JOIN table …` and lists of these. The caller holds what was met against what BigQuery says the statement reads.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from typing import NamedTuple

TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*|--[^\n]*|/\*.*?\*/)
    |(?P<string>(?:[rRbB]{0,2})(?:'{3}(?:\\.|[^\\])*?'{3}|"{3}(?:\\.|[^\\])*?"{3}|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"))
    |(?P<name>`[^`]+`(?:\.`[^`]+`|\.\w+)*|[A-Za-z_][\w-]*(?:\.(?:[A-Za-z_0-9][\w-]*|`[^`]+`))*)
    |(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
# words that may follow a table and are no alias of it
RESERVED = frozenset((
    "ON", "USING", "WHERE", "GROUP", "ORDER", "HAVING", "QUALIFY", "WINDOW", "LIMIT", "OFFSET", "UNION", "INTERSECT", "EXCEPT", "JOIN",
    "LEFT", "RIGHT", "FULL", "INNER", "CROSS", "NATURAL", "OUTER", "TABLESAMPLE", "FOR", "PIVOT", "UNPIVOT", "WITH", "SELECT", "FROM",
    "SET", "AS", "AND", "OR", "WHEN", "THEN", "ELSE", "END", "MATCH_RECOGNIZE",
))  # fmt: skip


class _Token(NamedTuple):
    kind: str
    text: str
    end: int

    @property
    def word(self) -> str:
        return self.text.upper() if self.kind == "name" else self.text


def as_of(query: str, tables: Sequence[str], moment: dt.datetime, project: str) -> str | None:
    """The statement with its tables, `project.dataset.table`, read as of a moment; None where one of them was not met, or where there
    is none to read."""
    tokens = [_Token(m.lastgroup or "", m.group(), m.end()) for m in TOKEN.finditer(query)]
    tokens = [t for t in tokens if t.kind != "space"]
    clause = f" FOR SYSTEM_TIME AS OF TIMESTAMP '{moment.astimezone(dt.UTC).strftime('%Y-%m-%d %H:%M:%S.%f')}+00:00'"
    places, met = [], set()
    for at in _tables(tokens):
        if (table := _meant(tokens[at].text, tables, project)) is None:
            continue
        met.add(table)
        places.append(tokens[_after_alias(tokens, at)].end)
    if not tables or met != set(tables):
        return None
    for place in sorted(places, reverse=True):
        query = query[:place] + clause + query[place:]
    return query


def _tables(tokens: Sequence[_Token]) -> list[int]:
    """Where tables are named: after FROM and JOIN, and after the commas of a FROM."""
    found, depth = [], 0
    lists: list[int] = []  # depths at which a FROM goes on
    for at, token in enumerate(tokens):
        if token.text in "([":
            depth += 1
        elif token.text in ")]":
            depth -= 1
            lists = [d for d in lists if d <= depth]
        following = tokens[at + 1] if at + 1 < len(tokens) else None
        if token.word == "FROM":
            lists.append(depth)
        elif token.word in ("WHERE", "GROUP", "ORDER", "HAVING", "QUALIFY", "WINDOW", "LIMIT", "UNION", "INTERSECT", "EXCEPT", "SELECT"):
            lists = [d for d in lists if d != depth]
        begins = token.word in ("FROM", "JOIN") or (token.text == "," and depth in lists)
        if begins and following and following.kind == "name":
            found.append(at + 1)
    return found


def _meant(text: str, tables: Sequence[str], project: str) -> str | None:
    """Which table a name means; None for what is no table of these, such as a name of WITH."""
    parts = text.replace("`", "").split(".")
    whole = ".".join(([project] if len(parts) == 2 else []) + parts)
    return whole if whole in tables else None


def _after_alias(tokens: Sequence[_Token], at: int) -> int:
    """The last token of a table with its alias, after which the clause stands."""
    rest = tokens[at + 1 : at + 3]
    if rest and rest[0].word == "AS":
        return at + 2
    if rest and rest[0].kind == "name" and "." not in rest[0].text and rest[0].word not in RESERVED:
        return at + 1
    return at
