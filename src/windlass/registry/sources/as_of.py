"""Have a statement of GoogleSQL read its tables as they were at one moment, by writing `FOR SYSTEM_TIME AS OF` after each.

It is read word by word, so that strings and comments stay what they are, and never understood further than `FROM table [AS alias]`,
`JOIN table …` and lists of these. What was met is held against what BigQuery says the statement reads; where anything is left over, the
answer is that the statement cannot be written so, never that half of it can.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*|--[^\n]*|/\*.*?\*/)
    |(?P<string>(?:[rRbB]{0,2})(?:'{3}(?:\\.|[^\\])*?'{3}|"{3}(?:\\.|[^\\])*?"{3}|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"))
    |(?P<name>(?:`[^`]+`|[A-Za-z_]\w*(?:-\w+)*)(?:\.(?:`[^`]+`|\w+(?:-\w+)*))*)
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
    """The statement with its tables, `project.dataset.table`, read as of a moment; None where there is none to read, or where it is not
    sure that each is met wherever the statement reads it."""
    tokens = [_Token(m.lastgroup or "", m.group(), m.end()) for m in TOKEN.finditer(query)]
    tokens = [t for t in tokens if t.kind != "space"]
    clause = f" FOR SYSTEM_TIME AS OF TIMESTAMP '{moment.astimezone(dt.UTC).strftime('%Y-%m-%d %H:%M:%S.%f')}+00:00'"
    named = {at: table for at, token in enumerate(tokens) if token.kind == "name" and (table := _meant(token.text, tables, project))}
    places = _tables(tokens)
    read = [at for at in places if at in named]
    if not tables or set(named.values()) != set(tables) or len(read) < len(named):
        return None
    others = [tokens[at].text.replace("`", "").upper() for at in places if at not in named]
    if any("." in name and name.partition(".")[0] not in _variables(tokens, places, named) for name in others):
        return None
    if any(following.text == "." for at in places for following in tokens[at + 1 : at + 2]):  # `sales . orders`
        return None
    for place in sorted((tokens[_after_alias(tokens, at)].end for at in read), reverse=True):
        query = query[:place] + clause + query[place:]
    return query


def _variables(tokens: Sequence[_Token], places: Sequence[int], named: Mapping[int, str]) -> set[str]:
    """What rows are called here: `o` of `FROM orders AS o, o.items`, where o.items is an array of a row. Any other name with a dot is a
    view or a function, behind which tables are read as they are now; so is, for all we know, one that begins as a data set does."""
    ends = [*places, *(at for at, token in enumerate(tokens) if token.text == ")")]
    found = {tokens[last].word for at in ends if (last := _after_alias(tokens, at)) < len(tokens)}
    found |= {table.rpartition(".")[2].upper() for table in named.values()}
    return {name.replace("`", "") for name in found} - {table.split(".")[-2].upper() for table in named.values()}


def _tables(tokens: Sequence[_Token]) -> list[int]:
    """Where tables are named: after FROM and JOIN, after the commas of a FROM, and after brackets that open there."""
    found, depth, begun = [], 0, False
    lists: list[int] = []  # depths at which a FROM goes on
    for at, token in enumerate(tokens):
        if begun and token.kind == "name":
            found.append(at)
        began, begun = begun, False
        if token.text in "([":
            depth += 1
            if began and token.text == "(":
                lists, begun = [*lists, depth], True
        elif token.text in ")]":
            depth -= 1
            lists = [d for d in lists if d <= depth]
        elif token.word == "FROM":
            lists, begun = [*lists, depth], True
        elif token.word in ("WHERE", "GROUP", "ORDER", "HAVING", "QUALIFY", "WINDOW", "LIMIT", "UNION", "INTERSECT", "EXCEPT", "SELECT"):
            lists = [d for d in lists if d != depth]
        else:
            begun = token.word == "JOIN" or (token.text == "," and depth in lists)
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
