"""What a version says it depends on: its links against its body, and a bundle's links against each other.

The body holds digests, the links give them names. Here both are held together, so that nothing runs that identity does not
cover. Knows nothing of what is registered already.
"""

from __future__ import annotations

from windlass.core.artifacts import Body, Version, dependencies
from windlass.core.digest import short
from windlass.core.errors import Invalid

Key = tuple[str, str, str]  # kind, name, digest

CALLABLE = frozenset({"component", "chain", "agent", "tool", "index", "dataset", "prompt", "model", "schema", "evaluator"})

# what outlives the versions of what it names: its body holds names, and its links say which they were when it was set
BY_NAME = frozenset({"monitor", "alert"})

# (kind, field of its body) → the kinds that may stand there
_ALLOWED: dict[tuple[str, str], frozenset[str]] = {
    ("prompt", "fewshot"): frozenset({"fewshot", "dataset"}),
    ("component", "prompt"): frozenset({"prompt"}),
    ("component", "model"): frozenset({"model", "adapter"}),
    ("chain", "uses"): CALLABLE,
    ("tool", "uses"): CALLABLE,
    ("evaluator", "uses"): CALLABLE,
    ("agent", "prompt"): frozenset({"prompt"}),
    ("agent", "model"): frozenset({"model", "adapter"}),
    ("agent", "tools"): frozenset({"tool", "index"}),
    ("index", "documents"): frozenset({"dataset"}),
    ("suite", "dataset"): frozenset({"dataset"}),
    ("adapter", "base"): frozenset({"model", "adapter"}),
}


def check_references(version: Version) -> None:
    """Raises `Invalid` unless the links of relation `uses` name exactly what the body holds, each as a kind that may stand there."""
    where = f"{version.kind}/{version.name}"
    used = [k for k in version.links if k.relation == "uses"]
    held = dependencies(version.kind, version.body)
    if loose := held - {k.digest for k in used}:
        raise Invalid(f"it uses {short(min(loose), 12)} without a link that names it", where=where)
    for link in used:
        if link.digest not in held and version.kind not in BY_NAME:
            raise Invalid(
                f"it links to {link.kind}/{link.name}@{short(link.digest)} as used, and its body does not hold it",
                where=where,
                remedy="what runs must be part of the identity",
            )
    for field, allowed in _expected(version.kind, version.body):
        for link in used:
            if link.digest == field[1] and link.kind not in allowed:
                raise Invalid(
                    f"its {field[0]} is {link.kind}/{link.name}; it takes a {' or '.join(sorted(allowed))}",
                    where=where,
                )


def _expected(kind: str, body: Body) -> list[tuple[tuple[str, str], frozenset[str]]]:
    """`((field, digest), kinds)` of every dependency that not just anything may be."""
    found = []
    for (of, field), allowed in _ALLOWED.items():
        if of == kind and (value := body.get(field)):
            found += [((field, d), allowed) for d in ([value] if isinstance(value, str) else value)]
    if kind == "suite":
        found += [(("guard " + g["name"], g["evaluator"]), frozenset({"evaluator"})) for g in body["guards"]]
    if kind == "release":
        found.append((("entry", body["entry"]), frozenset({body["entry_kind"]})))
    return found


def check_names(given: dict[Key, Version]) -> None:
    """Raises `Invalid` for two versions of one name: a branch label points to one."""
    seen: dict[tuple[str, str], str] = {}
    for kind, name, digest in given:
        if (other := seen.setdefault((kind, name), digest)) != digest:
            raise Invalid(
                f"two versions in one push: {short(other)} and {short(digest)}", where=f"{kind}/{name}", remedy="names are unique"
            )


def check_cycles(given: dict[Key, Version]) -> None:
    """Raises `Invalid` naming the circle. Digests in bodies cannot form one; the other links of a bundle could."""
    done: set[Key] = set()
    for start in given:
        path: list[Key] = []
        stack: list[tuple[Key, bool]] = [(start, False)]
        while stack:
            key, leaving = stack.pop()
            if leaving:
                done.add(path.pop())
            elif key in path:
                names = [f"{k}/{n}" for k, n, _ in [*path[path.index(key) :], key]]
                raise Invalid("these refer to each other in a circle: " + " → ".join(names))
            elif key in given and key not in done:
                path.append(key)
                stack.append((key, True))
                stack += [((k.kind, k.name, k.digest), False) for k in given[key].links]
