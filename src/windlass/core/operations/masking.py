"""Operations on masking: which secrets and personal data are taken out of what is observed, before it is kept anywhere."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from windlass.core.operations import Operation

Group = Literal["secrets", "personal", "network", "own"]


class MaskRule(msgspec.Struct, frozen=True, omit_defaults=True):
    """One rule. What it finds becomes `[masked:NAME]`. `pattern` is shown of rules of one's own."""

    name: str
    group: Group
    said: str
    on: bool
    pattern: str = ""


class MaskRules(msgspec.Struct):
    """The rules of a project, and where they are written; `file` is empty while nobody wrote any."""

    project: str
    rules: tuple[MaskRule, ...]
    file: str = ""


class MaskQuery(msgspec.Struct, omit_defaults=True):
    project: str = "default"


class MaskTry(msgspec.Struct, omit_defaults=True):
    """What would become of a text. It is kept nowhere."""

    text: Annotated[str, msgspec.Meta(max_length=100_000)]
    project: str = "default"


class Masked(msgspec.Struct):
    """The text as it would be kept, and how often each rule found something."""

    text: str
    found: dict[str, int]


MASKING = Operation("masking.show", "GET", MaskQuery, MaskRules, "read")
MASK_TRY = Operation("masking.try", "POST", MaskTry, Masked, "read")
