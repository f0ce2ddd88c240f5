"""Operations on erasure: what a project holds of a person, taking it out everywhere, and what came of it. No answer holds a name."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from windlass.core.operations import Limit, Operation, Page

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=300)]
ErasureStatus = Literal["queued", "running", "done", "failed"]


class ErasureRequest(msgspec.Struct, omit_defaults=True):
    """Whose data to erase. `names` are what one person is called: the `user.id` of traces first, then an e-mail address and whatever else
    stands for them alone. `mentions`: also traces and rows of others in which a name stands anywhere. `reason` is kept: it names nobody."""

    names: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1, max_length=20)]
    project: str = "default"
    mentions: bool = False
    reason: Annotated[str, msgspec.Meta(max_length=500)] = ""


class Place(msgspec.Struct, frozen=True):
    """How much of one kind was found, or is gone: traces, rows, reviews…"""

    place: str
    count: int


class Left(msgspec.Struct, frozen=True):
    """Where a name still stands after an erasure, how often, and why."""

    place: str
    count: int
    why: str


class Affected(msgspec.Struct, frozen=True):
    """A version that what was erased went into. What was learnt from it stays learnt: somebody decides."""

    ref: str
    why: str


class ErasurePreview(msgspec.Struct, omit_defaults=True):
    """What would be erased now. `plain` names are too much like ordinary words to be looked for in text: they are met as whole values only.
    `before` are ids of erasures of one of these names."""

    places: tuple[Place, ...]
    affected: tuple[Affected, ...]
    datasets: tuple[str, ...] = ()
    plain: int = 0
    before: tuple[str, ...] = ()


class Erasure(msgspec.Struct, omit_defaults=True):
    """One erasure. `erased` counts what is gone, `left` is where a name was still found afterwards."""

    id: str
    project: str
    status: ErasureStatus
    asked_ns: int
    actor: str
    reason: str = ""
    mentions: bool = False
    step: str = ""
    erased: tuple[Place, ...] = ()
    left: tuple[Left, ...] = ()
    affected: tuple[Affected, ...] = ()
    finished_ns: int | None = None
    error: dict[str, Any] | None = None


class ErasurePage(Page):
    items: tuple[Erasure, ...]


class ErasureQuery(msgspec.Struct, omit_defaults=True):
    """Newest first."""

    project: str = "default"
    cursor: str | None = None
    limit: Limit = 50


class ErasureId(msgspec.Struct, omit_defaults=True):
    id: str
    project: str = "default"


PREVIEW_ERASURE = Operation("erasures.preview", "POST", ErasureRequest, ErasurePreview, "admin")
ERASE = Operation("erasures.make", "POST", ErasureRequest, Erasure, "admin")
ERASURES = Operation("erasures.list", "GET", ErasureQuery, ErasurePage, "read")
ERASURE = Operation("erasures.show", "GET", ErasureId, Erasure, "read")
