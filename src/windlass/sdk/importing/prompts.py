"""Other platforms' prompts as versions of the registry, in their order: each has its number here too, unless two of a name say the same.

A prompt that is there already is not touched, but where it came this way before: then what is newer there is put after it. What the
registry's prompts cannot say (more than `{{ name }}`, placeholders, names of other letters) is left, and told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from windlass.core.artifacts import Version
from windlass.core.digest import canonical, digest_bytes
from windlass.core.errors import Forbidden, Invalid, NotFound
from windlass.core.operations.registry import PUSH, VERSIONS, Bundle, VersionQuery
from windlass.core.ref import is_name
from windlass.sdk.client import Client
from windlass.sdk.importing.source import Left

Refs = dict[tuple[str, int], str]  # name and number there → exact ref here


def bring(
    client: Client, product: str, name: str, numbers: Sequence[int], version: Callable[[int], Version], refs: Refs, left: Counter[Left],
    *, dry: bool,
) -> int:  # fmt: skip
    """One prompt, all of its versions or none; `dry`: none, only counted. `version` makes that of a number, or raises `Invalid`. Returns
    how many are new here. Raises what pushing does."""
    try:
        if not is_name(name):
            raise Invalid("their names have other letters than lower-case ones, digits, '-', '_' and '.'")
        made = {number: version(number) for number in numbers}
        wanted = list(dict.fromkeys(one.digest for one in made.values()))
        here = _here(client, name)
        if here != wanted[: len(here)]:
            raise Invalid("a prompt of that name is here already, and says something else")
        by_digest = {one.digest: one for one in reversed(made.values())}
        for digest in () if dry else wanted[len(here) :]:
            _push(client, product, by_digest[digest])
    except Forbidden:
        left[Left("prompts", "the key here may not write")] += 1
        return 0
    except Invalid as e:
        left[Left("prompts", e.message[:200])] += 1
        return 0
    if list(made) != list(range(1, len(wanted) + 1)):
        left[Left("prompts' numbers", "some were deleted there, or say the same: those after them are lower here")] += 1
    refs.update({(name, number): str(one.ref) for number, one in made.items()})
    return len(wanted) - len(here)


def _here(client: Client, name: str) -> list[str]:
    """Digests of the versions there are, the oldest first."""
    found, cursor = list[str](), None
    while True:
        try:
            page = client.call(VERSIONS, VersionQuery(f"prompt/{name}", client.project, cursor, 200))
        except NotFound:
            return []
        found += [version.digest for version in page.items]
        if not (cursor := page.next):
            return found[::-1]


def _push(client: Client, product: str, version: Version) -> None:
    """One at a time: their order is their number."""
    snapshot = canonical({})
    client.put_blob(digest_bytes(snapshot), snapshot)
    client.call(PUSH, Bundle(client.project, product, (version,), digest_bytes(snapshot)))
