"""Who called whom in a trace: its steps summed up by what they are."""

from __future__ import annotations

import msgspec

from windlass.core.operations import Operation


class CallsShow(msgspec.Struct, omit_defaults=True):
    """`id` as in `TraceShow`."""

    id: str
    project: str = "default"


class Callee(msgspec.Struct, omit_defaults=True):
    """An agent, a tool, a model or another step by `kind` and name, `steps` of it in all. `took_ns` is what they took, each whole,
    `self_ns` without what is below them; `cost` their own, in US dollars, None where a call had no price. `others`: several for which
    there was no room, under no name."""

    kind: str
    name: str
    steps: int
    failed: int = 0
    took_ns: int = 0
    self_ns: int = 0
    cost: float | None = 0.0
    tokens: int = 0
    others: int = 0


class Call(msgspec.Struct, omit_defaults=True):
    """How often one called another, by their places in `nodes`; `source` is None for who was called from outside. What came of it is with
    all that is below: a call's `cost` is of everything it led to."""

    source: int | None
    target: int
    calls: int
    failed: int = 0
    took_ns: int = 0
    cost: float | None = 0.0


class CallGraph(msgspec.Struct):
    """`nodes` by who is called first. Steps that are only spans stand for nothing, where there are others: who is under one is called by
    what is above it."""

    trace_id: str
    nodes: tuple[Callee, ...]
    calls: tuple[Call, ...]


CALLS = Operation("traces.calls", "GET", CallsShow, CallGraph, "read")
