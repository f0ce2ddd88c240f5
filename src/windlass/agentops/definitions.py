"""What differs between two definitions of a tool, in words. Pure: definitions go in, changes come out; none only for equal ones."""

from __future__ import annotations

import json

from windlass.core.artifacts import EFFECTS, Body
from windlass.core.operations.tools import DefinitionChange


def changes(before: Body, after: Body) -> tuple[DefinitionChange, ...]:
    """What changed from one body of a tool to another. A description counts as grave: a model obeys it, so instructions that somebody
    plants would stand there."""
    found = []
    for field, said in (("name", "the name that models see"), ("description", "the description that models read")):
        if before[field] != after[field]:
            found.append(DefinitionChange(said, before[field], after[field], grave=True))
    if before["effects"] != after["effects"]:
        wider = EFFECTS.index(after["effects"]) > EFFECTS.index(before["effects"])
        found.append(DefinitionChange("what it does to the world", before["effects"], after["effects"], grave=wider))
    found += _names("secret", before.get("secrets", ()), after.get("secrets", ()))
    found += _parameters(before["parameters"], after["parameters"])
    if before["code"] != after["code"]:
        found.append(DefinitionChange("its code", _where(before), _where(after), grave=True))
    if sorted(before.get("uses", ())) != sorted(after.get("uses", ())):
        found.append(DefinitionChange("what it calls", grave=True))
    rest = {k for k in before.keys() | after.keys() if before.get(k) != after.get(k)} - SAID
    found += [DefinitionChange(k, before.get(k), after.get(k), grave=True) for k in sorted(rest)]
    return tuple(found)


def in_words(change: DefinitionChange) -> str:
    """One difference as a line, with what was and what is now where that is told."""
    was, now = (json.dumps(v, ensure_ascii=False)[:400] for v in (change.before, change.after))
    if change.before is None:
        return change.what if change.after is None else f"{change.what}: {now}"
    return f"{change.what}: {was}" if change.after is None else f"{change.what}: {was} is now {now}"


SAID = {"name", "description", "effects", "secrets", "parameters", "code", "uses"}


def _names(what: str, before: tuple[str, ...], after: tuple[str, ...]) -> list[DefinitionChange]:
    gone, came = sorted(set(before) - set(after)), sorted(set(after) - set(before))
    return [
        *(DefinitionChange(f"{what} {name} is new", None, name, grave=True) for name in came),
        *(DefinitionChange(f"{what} {name} is gone", name, None) for name in gone),
    ]


def _parameters(before: Body, after: Body) -> list[DefinitionChange]:
    if before == after:
        return []
    old, new = before.get("properties", {}), after.get("properties", {})
    had, has = set(before.get("required", ())), set(after.get("required", ()))
    found = [DefinitionChange(f"parameter {name} is new", None, new[name], grave=True) for name in new if name not in old]
    found += [DefinitionChange(f"parameter {name} is gone", old[name], None) for name in old if name not in new]
    for name in new:
        if name in old and old[name] != new[name]:
            found.append(DefinitionChange(f"parameter {name}", old[name], new[name], grave=True))
        elif name in old and (name in had) != (name in has):
            found.append(DefinitionChange(f"parameter {name} {'must be given' if name in has else 'may be left out'}"))
    rest = [{k: v for k, v in p.items() if k not in ("properties", "required")} for p in (before, after)]
    if rest[0] != rest[1] or not found:
        found.append(DefinitionChange("how parameters are checked", rest[0], rest[1], grave=True))
    return found


def _where(body: Body) -> str:
    return str(body["code"]["entry"])
