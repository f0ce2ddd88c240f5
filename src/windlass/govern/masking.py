"""Masking: secrets and personal data are taken out of what is observed before it reaches the journal, by rules for each project.

    masking.toml      [default]  email = true        of every project
                      [project.shop]  phone = false
                      [[rule]]  name = "customer"  pattern = "C-[0-9]{8}"  projects = ["shop"]

What is found becomes `[masked:NAME]`, always the same. A text that is JSON stays JSON: what is escaped in it is looked at as it is meant.
"""

from __future__ import annotations

import re
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec
import re2

from windlass.core.actor import Actor
from windlass.core.errors import Invalid
from windlass.core.operations.masking import Masked, MaskQuery, MaskRule, MaskRules, MaskTry
from windlass.core.ref import check_name
from windlass.govern.maskpattern import compiled
from windlass.govern.masks import MASKS, Mask
from windlass.govern.permissions import guard

FILE = "masking.toml"
SHORTEST = 3  # characters of the shortest text that holds something to mask
DEEPEST = 8  # JSON in JSON
GROUPS = {"secrets", "personal", "network"}
ESCAPE = b"\\u"
NUMBERS = {"card"}
# A number of 12 digits or more, as protobuf has it in a value of an attribute (varint, double) and as MessagePack has it.
LARGE = rb"(?s)\x18[\x80-\xff]{5}|\x21.{7}[\x42\x43]|[\xcf\xd3][\x00\x30-\x60]|\xcb[\x42\x43]"


class _Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    pattern: str
    projects: tuple[str, ...] = ()


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    default: dict[str, bool] = {}
    project: dict[str, dict[str, bool]] = {}
    rule: tuple[_Rule, ...] = ()


class _Want:
    """Whether a mask is worth trying on a text: cheap, and never wrong when it says no."""

    def __init__(self, mask: Mask) -> None:
        self.mask = mask
        self._any = not mask.needs and not mask.hints
        self._hints = tuple(re.compile(hint) for hint in mask.hints)
        self._bytes = _any_of((mask,))

    def in_text(self, text: str) -> bool:
        if self._any or any(need in text for need in self.mask.needs):
            return True
        return any(hint.search(text) for hint in self._hints)

    def in_bytes(self, data: bytes) -> bool:
        return self._bytes is None or self._bytes.search(data) is not None


def _any_of(masks: tuple[Mask, ...]) -> Any:
    """Whether bytes hold what any of the masks needs, in one reading (RE2: a DFA); None where a mask needs nothing, so that all may."""
    if not masks or any(not m.needs and not m.hints for m in masks):
        return None
    return _bytes([part.encode() for m in masks for part in (*map(re.escape, m.needs), *m.hints)])


def _bytes(parts: list[bytes]) -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # also of what is packed between texts
    options.never_capture = True
    options.log_errors = False
    return re2.compile(b"|".join(parts), options)


class Masker:
    """The masks of one project."""

    def __init__(self, masks: tuple[Mask, ...]) -> None:
        self.masks = masks
        self.key = lru_cache(maxsize=4096)(self.text)  # names of attributes come again and again
        self._narrowed: dict[tuple[str, ...], Masker] = {}
        self._wants = tuple(_Want(m) for m in masks)
        self._seen = _any_of(masks)
        self._large = _bytes([LARGE]) if any(m.name in NUMBERS for m in masks) else None

    def may_find(self, packed: bytes) -> bool:
        """Whether anything could be found in what was packed, in whatever form keeps texts as they are; never wrong when it says no."""
        if ESCAPE in packed or self._seen is None or self._seen.search(packed) is not None:  # behind an escape letters may be hidden
            return True
        return self._large is not None and self._large.search(packed) is not None

    def narrowed(self, packed: bytes) -> Masker | None:
        """The masks that could find something in what was packed; None where none could."""
        if not self.may_find(packed):
            return None
        if ESCAPE in packed:
            return self
        large = self._large is not None and self._large.search(packed) is not None
        wanted = tuple(w.mask for w in self._wants if w.in_bytes(packed) or (large and w.mask.name in NUMBERS))
        if not wanted:
            return None
        names = tuple(m.name for m in wanted)
        if (found := self._narrowed.get(names)) is None:
            found = self._narrowed[names] = Masker(wanted)
        return found

    def text(self, text: str) -> str:
        """The text without what is to be masked."""
        return self._text(text, None, 0)

    def value(self, value: Any) -> Any:
        """Anything that JSON or MessagePack can say, masked inside; the same object where nothing was found."""
        return self._value(value, None, 0)

    def counted(self, text: str) -> Masked:
        found: dict[str, int] = {}
        return Masked(self._text(text, found, 0), found)

    def _text(self, text: str, found: dict[str, int] | None, depth: int) -> str:
        if len(text) < SHORTEST:
            return text
        escaped = "\\u" in text
        wanted = self.masks if escaped else [w.mask for w in self._wants if w.in_text(text)]
        if not wanted:
            return text
        if text.lstrip()[:1] in ("{", "[", '"') and depth < DEEPEST and (escaped or any(m.pattern.search(text) for m in wanted)):
            try:
                said = msgspec.json.decode(text)
            except (msgspec.DecodeError, RecursionError):
                pass  # cut off, or no JSON
            else:
                masked = self._value(said, found, depth + 1)
                return text if masked is said else msgspec.json.encode(masked).decode()
        for mask in wanted:
            text = mask.pattern.sub(lambda match, mask=mask: _replaced(match, mask, found), text)  # type: ignore[misc]
        return text

    def _value(self, value: Any, found: dict[str, int] | None, depth: int) -> Any:
        if isinstance(value, str):
            return self._text(value, found, depth)
        if isinstance(value, dict):
            items = [(self._text(k, found, depth) if isinstance(k, str) else k, self._value(v, found, depth)) for k, v in value.items()]
            same = all(k is a and v is b for (k, v), (a, b) in zip(items, value.items(), strict=True))
            return value if same else dict(items)
        if isinstance(value, list | tuple):
            made = [self._value(v, found, depth) for v in value]
            return value if all(a is b for a, b in zip(made, value, strict=True)) else made
        if isinstance(value, bytes):
            return self._bytes(value, found, depth)
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) >= 10**6:
            text = str(value)
            masked = self._text(text, found, depth)
            return value if masked == text else masked
        return value

    def _bytes(self, value: bytes, found: dict[str, int] | None, depth: int) -> bytes:
        text = value.decode("utf-8", "surrogateescape")
        masked = self._text(text, found, depth)
        return value if masked is text else masked.encode("utf-8", "surrogateescape")


def is_masked(value: Any) -> bool:
    """Whether something was taken out of a text; one that somebody wrote so counts too."""
    return isinstance(value, str) and "[masked:" in value


def _replaced(match: re.Match[str], mask: Mask, found: dict[str, int] | None) -> str:
    whole, part = match[0], match[match.lastindex or 0]
    taken = mask.check(part) if mask.check else part
    if not taken:
        return whole
    if found is not None:
        found[mask.name] = found.get(mask.name, 0) + 1
    at = match.start(match.lastindex or 0) - match.start()
    return f"{whole[:at]}[masked:{mask.name}]{whole[at + len(taken) :]}"


class Masking:
    """The rules of every project, as `masking.toml` was when the process began; without one, secrets alone. Raises `Invalid` for a file
    that is wrong."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file, self._there = _read(path)
        self._own = tuple((r, _own(r, str(path))) for r in self._file.rule)
        _check(self._file, {m.name for m in MASKS}, [m.name for _, m in self._own], str(path))
        self._maskers: dict[str, Masker] = {}

    def of(self, project: str) -> Masker:
        """The masks that hold in a project."""
        if (masker := self._maskers.get(project)) is None:
            own = tuple(mask for rule, mask in self._own if not rule.projects or project in rule.projects)
            masks = tuple(m for m in (*MASKS, *own) if self._on(m, project))
            masker = self._maskers[project] = Masker(masks)
        return masker

    def _on(self, mask: Mask, project: str) -> bool:
        """The nearest word counts: of the rule before that of its group, of the project before that of all."""
        for said in (self._file.project.get(project, {}), self._file.default):
            for name in (mask.name, mask.group):
                if name in said:
                    return said[name]
        return mask.on

    def show(self, actor: Actor, query: MaskQuery) -> MaskRules:
        """Operation `masking.show`. Raises `Forbidden`."""
        guard(actor, "read", query.project)
        own = tuple(mask for rule, mask in self._own if not rule.projects or query.project in rule.projects)
        rules = tuple(
            MaskRule(m.name, m.group, m.said, self._on(m, query.project), m.pattern.pattern if m.group == "own" else "")
            for m in (*MASKS, *own)
        )
        return MaskRules(query.project, rules, str(self._path) if self._there else "")

    def attempt(self, actor: Actor, asked: MaskTry) -> Masked:
        """Operation `masking.try`. Raises `Forbidden`."""
        guard(actor, "read", asked.project)
        return self.of(asked.project).counted(asked.text)


def _read(path: Path) -> tuple[_File, bool]:
    try:
        return msgspec.convert(tomllib.loads(path.read_text("utf-8")), _File), True
    except FileNotFoundError:
        return _File(), False
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as e:
        raise Invalid(f"the rules of masking cannot be read: {e}", where=str(path), remedy="docs/governing.md shows their form") from e


def _own(rule: _Rule, where: str) -> Mask:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,39}", rule.name):
        raise Invalid(f"{rule.name!r} is no name of a rule", where=where, remedy="use small letters, digits and hyphens")
    for project in rule.projects:
        try:
            check_name(project, what="project")
        except Invalid as e:
            raise Invalid(e.message, where=where, remedy=e.remedy) from e
    return Mask(rule.name, "own", "", compiled(rule.pattern, f"{where}: rule {rule.name}"))


def _check(file: _File, built_in: set[str], own: list[str], where: str) -> None:
    twice = [name for name in own if name in built_in | GROUPS or own.count(name) > 1]
    if twice:
        raise Invalid(f"there are two rules {twice[0]!r}", where=where, remedy="give each a name of its own")
    known = built_in | GROUPS | set(own)
    for section, said in (("default", file.default), *((f"project.{name}", said) for name, said in file.project.items())):
        for name in said:
            if name not in known:
                raise Invalid(f"[{section}] names {name!r}, which is no rule", where=where, remedy="rules: " + ", ".join(sorted(known)))
