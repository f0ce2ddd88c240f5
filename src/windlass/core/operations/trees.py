"""A trace as a tree that is asked for piece by piece, however large it is."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from windlass.core.operations import Limit, Operation, Page

SpanId = Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{16})?$")]
Order = Literal["start", "failed", "slow", "dear"]


class TreeShow(msgspec.Struct, omit_defaults=True):
    """What lies below the step `of`, or the whole trace: as many steps as `limit`, the upper levels first, or no more than so many
    `levels`, where that is not 0. `to` is a step to be among them, whatever lies above it. In another `order` than `start` it is a list:
    steps that failed while none below them did, those that took longest by themselves, those that cost most. With `kind`, and `named` by
    the tool, the model or the name of a step, it is of those that are so. `id` as in `TraceShow`; `cursor` is `next` of the answer
    before, or the last step that was shown below `of`."""

    id: str
    project: str = "default"
    of: SpanId = ""
    to: SpanId = ""
    order: Order = "start"
    kind: str = ""
    named: str = ""
    levels: Annotated[int, msgspec.Meta(ge=0)] = 0
    cursor: SpanId = ""
    limit: Limit = 200


class TreeStep(msgspec.Struct, omit_defaults=True):
    """A step, or a log record. `level` is 0 for the outermost. Of its `children` those are in the answer that come after the first
    `before`, `shown` in all. `below` is how many steps there are under it, `failed` how many of those failed. `self_ns` is what none of
    its children took; `cost` in US dollars, None when unknown. `tokens` of input and output."""

    span_id: str
    name: str
    kind: str
    start_ns: int
    end_ns: int
    status: str
    level: int
    parent: str | None = None
    model: str | None = None
    cost: float | None = None
    tokens: int | None = None
    self_ns: int = 0
    children: int = 0
    before: int = 0
    shown: int = 0
    below: int = 0
    failed: int = 0


class TraceTree(Page):
    """`items` in reading order, or as `order` says. `start_ns` and `end_ns` are of its steps, not of log records, where it has steps.
    `below` is the step they are below, which for a `to` that lies deep may be another than was asked; `path` are the steps above it from
    the outermost on, and it, of which `path_left` are left out in the middle. `steps` is how many the trace has, `failed` how many of
    them failed, `before` and `left` how many directly below `below` come before the first and after the last, and `next` goes on with
    those."""

    trace_id: str
    start_ns: int
    end_ns: int
    steps: int
    failed: int
    items: tuple[TreeStep, ...]
    below: str = ""
    path: tuple[TreeStep, ...] = ()
    path_left: int = 0
    before: int = 0
    left: int = 0


TREE = Operation("traces.tree", "GET", TreeShow, TraceTree, "read")
