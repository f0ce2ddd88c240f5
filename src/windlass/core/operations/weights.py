"""Weights on this machine: brought in as a folder of files, listed, shown, asked whether they still answer as they did."""

from __future__ import annotations

from typing import Literal

import msgspec

from windlass.core.operations import Limit, Operation, Page
from windlass.core.weights import Role


class WeightsAdd(msgspec.Struct, omit_defaults=True):
    """Register files that were uploaded as a model. `licence` as SPDX writes it; of weights without one nobody knows what is allowed."""

    name: str
    files: dict[str, str]  # path → digest
    licence: str
    project: str = "default"
    description: str = ""
    source: str = ""  # where they come from, for people


class WeightsState(msgspec.Struct, omit_defaults=True):
    """Weights. `id` is how a component names them; empty for a reward model, which answers nobody. `size` in bytes."""

    ref: str  # of the version
    name: str
    role: Role
    manifest: str
    licence: str
    files: dict[str, str]
    size: int
    numbers: int
    created_ns: int
    id: str = ""
    base: str = ""  # the id or ref of what an adapter lies on
    method: str = ""
    description: str = ""
    source: str = ""
    trained_on: tuple[str, ...] = ()
    tune: str = ""
    checked: bool = False  # whether a canary is kept with them


class WeightsQuery(msgspec.Struct, omit_defaults=True):
    project: str = "default"
    cursor: str | None = None
    limit: Limit = 50


class WeightsPage(Page):
    items: tuple[WeightsState, ...]


class WeightsShow(msgspec.Struct, omit_defaults=True):
    """By id, by ref, or by name alone: the newest."""

    which: str
    project: str = "default"


class WeightsCheck(msgspec.Struct, frozen=True, omit_defaults=True):
    """What weights answered in a fresh process, against what they answered when they were made."""

    id: str
    outcome: Literal["same", "differs", "as the base", "no canary", "another device"]
    why: str
    answers: tuple[str, ...] = ()


ADD_WEIGHTS = Operation("weights.add", "POST", WeightsAdd, WeightsState, "write")
WEIGHTS = Operation("weights.list", "GET", WeightsQuery, WeightsPage, "read")
SHOW_WEIGHTS = Operation("weights.show", "GET", WeightsShow, WeightsState, "read")
CHECK_WEIGHTS = Operation("weights.check", "POST", WeightsShow, WeightsCheck, "run")
