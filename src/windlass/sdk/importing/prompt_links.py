"""Which version of a prompt a span used, where the SDK that sends it reads its prompts here: by name and number it says which, and the
registry knows the digest. So the filter `uses:`, lineage and `windlass why` find it. A number of somebody else's server would name another
version by chance; so it is asked only of who is known to read them here, and what is not found stays as it was told.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from windlass.core.span import VERSIONS

NAME, NUMBER = "langfuse.observation.prompt.name", "langfuse.observation.prompt.version"
LINKED = "mlflow.linkedPrompts"  # [{"name": …, "version": "3"}, …], as JSON text or as it is
MARKS = (NAME.encode(), LINKED.encode())  # bytes without any of these need not be looked through
REMEMBERED = 1_000
UNKNOWN_S = 10.0  # for which one that was not there is not asked for again

Find = Callable[[str, str, int], str | None]
"""`(project, name, number)` → the exact ref."""


class PromptLinks:
    """Puts refs beside what spans say."""

    def __init__(self, find: Find) -> None:
        self._find = find
        self._known: OrderedDict[tuple[str, str, int], tuple[str | None, float]] = OrderedDict()

    def link(self, project: str, request: Any) -> None:
        """Of each span of a request of traces that names a prompt, put the version among what took part in it. Asks the registry: not for
        the loop."""
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self._one(project, span)

    def _one(self, project: str, span: Any) -> None:
        said = {a.key: a.value for a in span.attributes if a.key in (NAME, NUMBER, LINKED, VERSIONS)}
        if VERSIONS in said:
            return
        named = _listed(said[LINKED]) if LINKED in said else []
        if NAME in said and NUMBER in said:
            number = said[NUMBER].int_value or _number(said[NUMBER].string_value)
            named.append((said[NAME].string_value, number))
        if refs := self.refs(project, named):
            versions = span.attributes.add(key=VERSIONS).value.array_value.values
            for ref in dict.fromkeys(refs.values()):
                versions.add(string_value=ref)

    def refs(self, project: str, named: Iterable[tuple[str, int]]) -> dict[tuple[str, int], str]:
        """The exact refs of those that are here, by name and number. Asks the registry: not for the loop."""
        return {one: ref for one in named if one[1] > 0 and (ref := self._ref(project, *one)) is not None}

    def _ref(self, project: str, name: str, number: int) -> str | None:
        asked = (project, name, number)
        ref, until = self._known.get(asked, (None, 0.0))
        if ref is None and time.monotonic() >= until:
            ref = self._find(project, name, number)
            self._known[asked] = ref, time.monotonic() + UNKNOWN_S
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return ref


def linked_in(text: str) -> list[tuple[str, int]]:
    """Names and numbers of prompts, as MLflow lists them; what is no such list names none."""
    try:
        told = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return []
    return _named(told)


def _listed(value: Any) -> list[tuple[str, int]]:
    """As `linked_in`, of OTLP's value."""
    if not value.HasField("array_value"):
        return linked_in(value.string_value)
    return _named([{pair.key: pair.value.string_value for pair in one.kvlist_value.values} for one in value.array_value.values])


def _named(told: Any) -> list[tuple[str, int]]:
    listed = [one for one in told if isinstance(one, dict)] if isinstance(told, list) else []
    return [(str(one.get("name")), _number(str(one.get("version")))) for one in listed]


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
