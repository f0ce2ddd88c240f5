"""Operations on tools: what there is, how their definitions changed, who uses them."""

from __future__ import annotations

from typing import Any

import msgspec

from windlass.core.artifacts import Effects
from windlass.core.operations import Limit, Operation, Page


class ToolState(msgspec.Struct, omit_defaults=True):
    """A tool as its newest version is. `called` is the name a model sees. `agents` are those whose newest version uses a version of it;
    `grants` counts those that live and list one. `stopped` says why nobody may call it, and
    `stop` what was stopped: all, the tool, or this version.
    `effects` counts what its code calls; `by` is the `kind/name` that does more than the tool itself declares."""

    name: str
    ref: str
    called: str
    description: str
    effects: Effects
    versions: int
    created_ns: int
    secrets: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    grants: int = 0
    stopped: str = ""
    by: str = ""
    stop: str = ""


class ToolPage(Page):
    items: tuple[ToolState, ...]


class ToolQuery(msgspec.Struct, omit_defaults=True):
    """By name. `cursor` is the last name of the page before."""

    project: str = "default"
    search: str | None = None
    cursor: str | None = None
    limit: Limit = 50


class DefinitionChange(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that differs between two definitions. `grave`: it can change what the tool does or what a model is told by it."""

    what: str
    before: Any = None
    after: Any = None
    grave: bool = False


class ToolVersion(msgspec.Struct, omit_defaults=True):
    """A version with what changed since the one before it. `agents` and `grants` (ids) are of this version alone."""

    ref: str
    created_ns: int
    actor: str
    changes: tuple[DefinitionChange, ...] = ()
    agents: tuple[str, ...] = ()
    grants: tuple[str, ...] = ()


class ToolDetail(msgspec.Struct, omit_defaults=True):
    """The newest versions first, at most 50."""

    tool: ToolState
    parameters: dict[str, Any]
    versions: tuple[ToolVersion, ...]


class ToolName(msgspec.Struct, omit_defaults=True):
    name: str
    project: str = "default"


TOOLS = Operation("tools.list", "GET", ToolQuery, ToolPage, "read")
TOOL = Operation("tools.show", "GET", ToolName, ToolDetail, "read")
