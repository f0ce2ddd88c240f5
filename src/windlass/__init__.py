"""Windlass: from a folder of files to a gated, released, served and traced application.

Every public name is loaded on first use, so that `import windlass` stays light.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "component": "component", "agent": "component", "Limits": "component", "Component": "component", "Agent": "component",
    "chain": "chain", "evaluator": "chain", "Chain": "chain", "Evaluator": "chain",
    "tool": "tool", "Tool": "tool", "trajectory": "trajectory", "Trajectory": "trajectory", "mcp": "mcp",
    "index": "index", "encoder": "index", "Encoder": "index", "Index": "index", "Passage": "index",
    "by_paragraph": "index", "by_heading": "index", "whole": "index",
    "data": "suite", "suite": "suite", "not_worse": "suite", "at_least": "suite", "url": "suite", "command": "suite",
    "function": "suite", "git_sha": "suite",
    "Output": "output", "text": "output",
    "Client": "client", "init": "tracing", "trace": "tracing", "flush": "tracing",
    "prompt": "registered", "Prompt": "registered",
}  # fmt: skip
_CORE = {"Message": "message", "WindlassError": "errors"}

if TYPE_CHECKING:
    from windlass.core.errors import WindlassError as WindlassError
    from windlass.core.message import Message as Message
    from windlass.sdk.chain import Chain as Chain
    from windlass.sdk.chain import Evaluator as Evaluator
    from windlass.sdk.chain import chain as chain
    from windlass.sdk.chain import evaluator as evaluator
    from windlass.sdk.client import Client as Client
    from windlass.sdk.component import Agent as Agent
    from windlass.sdk.component import Component as Component
    from windlass.sdk.component import Limits as Limits
    from windlass.sdk.component import agent as agent
    from windlass.sdk.component import component as component
    from windlass.sdk.index import Encoder as Encoder
    from windlass.sdk.index import Index as Index
    from windlass.sdk.index import Passage as Passage
    from windlass.sdk.index import by_heading as by_heading
    from windlass.sdk.index import by_paragraph as by_paragraph
    from windlass.sdk.index import encoder as encoder
    from windlass.sdk.index import index as index
    from windlass.sdk.index import whole as whole
    from windlass.sdk.mcp import mcp as mcp
    from windlass.sdk.output import Output as Output
    from windlass.sdk.output import text as text
    from windlass.sdk.registered import Prompt as Prompt
    from windlass.sdk.registered import prompt as prompt
    from windlass.sdk.suite import at_least as at_least
    from windlass.sdk.suite import command as command
    from windlass.sdk.suite import data as data
    from windlass.sdk.suite import function as function
    from windlass.sdk.suite import git_sha as git_sha
    from windlass.sdk.suite import not_worse as not_worse
    from windlass.sdk.suite import suite as suite
    from windlass.sdk.suite import url as url
    from windlass.sdk.tool import Tool as Tool
    from windlass.sdk.tool import tool as tool
    from windlass.sdk.tracing import flush as flush
    from windlass.sdk.tracing import init as init
    from windlass.sdk.tracing import trace as trace
    from windlass.sdk.trajectory import Trajectory as Trajectory
    from windlass.sdk.trajectory import trajectory as trajectory


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(f"windlass.sdk.{_PUBLIC[name]}"), name)
    if name in _CORE:
        return getattr(importlib.import_module(f"windlass.core.{_CORE[name]}"), name)
    raise AttributeError(f"windlass has no {name!r}")


def __dir__() -> list[str]:
    return sorted([*_PUBLIC, *_CORE, "__version__"])
