"""How one names a version.

    ref      = [project "/"] kind "/" name ( "@" digest | ":" label )?
    digest   = "sha256:" hex{4,64} | hex{4,64}        (an exact version, shortened for people)
    label    = a word; on releases `staging` and `production` are environments

`prompt/reply:production` means the prompt that production's release uses. A ref with neither digest nor label means the
newest version. Knows the grammar only; `registry` resolves.
"""

from __future__ import annotations

import re

import msgspec

from windlass.core.digest import TAG, is_digest, short
from windlass.core.errors import Forbidden, Invalid

KINDS = (
    "prompt", "fewshot", "schema", "dataset", "component", "chain", "tool", "agent", "evaluator", "suite",
    "index", "model", "adapter", "policy", "release", "pin", "monitor", "alert",
)  # fmt: skip

DEFAULT_PROJECT = "default"
ENVIRONMENTS = ("staging", "production")
MAIN = "main"  # the branch that is meant where none is named
ROWS = frozenset({"dataset", "fewshot"})  # the kinds that have rows

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}\Z")
_LABEL = re.compile(r"[A-Za-z][A-Za-z0-9._/-]{0,99}\Z")
_HEX = re.compile(r"[0-9a-f]{4,64}\Z")


class Ref(msgspec.Struct, frozen=True, order=True):
    """One version by name. `digest` may be a prefix until resolved; at most one of `digest` and `label` is set."""

    kind: str
    name: str
    digest: str | None = None
    label: str | None = None
    project: str = DEFAULT_PROJECT

    def __str__(self) -> str:
        head = f"{self.kind}/{self.name}"
        if self.project != DEFAULT_PROJECT:
            head = f"{self.project}/{head}"
        if self.digest:
            return f"{head}@{self.digest}"
        return f"{head}:{self.label}" if self.label else head

    @property
    def short(self) -> str:
        """The form people read: `chain/answer@5d22ab`."""
        return f"{self.kind}/{self.name}@{short(self.digest)}" if self.digest else str(self)

    @property
    def exact(self) -> bool:
        """Whether this names one version for ever."""
        return self.digest is not None and is_digest(self.digest)


def is_name(name: str) -> bool:
    """Whether artifacts and projects may carry it."""
    return _NAME.match(name) is not None


def check_name(name: str, *, what: str = "name") -> str:
    """The name, if artifacts and projects may carry it. Raises `Invalid`."""
    if not is_name(name):
        raise Invalid(f"{name!r} is not a {what}", remedy="use lower-case letters, digits, '-', '_' and '.', at most 100")
    return name


def check_label(label: str) -> str:
    """The label, if it may be one. Raises `Invalid`."""
    if not _LABEL.match(label):
        raise Invalid(f"{label!r} is not a label", remedy="start with a letter; letters, digits, '-', '_', '.', '/' follow")
    return label


def parse_ref(text: str, *, project: str = DEFAULT_PROJECT, kind: str | None = None) -> Ref:
    """Read a ref. `kind` is assumed where the text has none. Raises `Invalid` naming what is wrong and a near miss."""
    head, digest, label = text, None, None
    if "@" in head:
        head, _, digest = head.partition("@")
        if not _HEX.match(digest.removeprefix(TAG)):
            raise Invalid(f"{digest!r} is not a digest", where=text, remedy="give 4 to 64 hex digits after '@'")
    elif ":" in head:
        head, _, label = head.partition(":")
        check_label(label)
    parts = head.split("/")
    if len(parts) == 3:
        project, kind, name = parts
    elif len(parts) == 2:
        kind, name = parts
    elif len(parts) == 1 and kind:
        name = parts[0]
    else:
        raise Invalid(f"{text!r} is not a ref", remedy="write kind/name, kind/name@digest or kind/name:label")
    if kind not in KINDS:
        import difflib

        near = difflib.get_close_matches(kind, KINDS, 1)
        raise Invalid(
            f"{kind!r} is not a kind of artifact", where=text, remedy=f"did you mean {near[0]!r}?" if near else "kinds: " + ", ".join(KINDS)
        )
    return Ref(kind, check_name(name), digest, label, check_name(project, what="project"))


def parse_branch(text: str, *, project: str = DEFAULT_PROJECT) -> Ref:
    """The branch of a dataset that a text names, `main` where it names none. Raises `Invalid`, `Forbidden`."""
    ref = parse_ref(text, project=project, kind="dataset")
    if ref.kind not in ROWS:
        raise Invalid(f"a {ref.kind} has no rows to change", where=text, remedy="name a dataset")
    if ref.digest:
        raise Invalid("a version never changes", where=text, remedy=f"name a branch: {ref.kind}/{ref.name}:main")
    label = check_label(ref.label or MAIN)
    if label in ENVIRONMENTS:
        raise Forbidden(f"{label} is an environment; it exists on releases only", where=text)
    return Ref(ref.kind, ref.name, None, label, ref.project)
