"""Evaluators of the way an agent took: its calls of tools against those a row names, by docs/trajectories.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

import msgspec

from windlass.core.errors import Invalid
from windlass.core.trajectory import NAMES, Arguments, CallMade, Metric, Name, Of, measure
from windlass.sdk.definitions import Definition, expect


class Trajectory(Definition):
    """An evaluator that has no code of its own. Make one with `trajectory`; calling it measures, with no server."""

    kind = "evaluator"
    range = (0.0, 1.0)

    def __init__(self, name: str, metric: Metric) -> None:
        super().__init__(name)
        self.metric = metric

    def __call__(self, calls: Sequence[Any], row: dict[str, Any] | None = None) -> float | None:
        """The value for these calls (`{name, arguments, executed, …}`) and this row; None where there is nothing to measure."""
        made = [c if isinstance(c, CallMade) else msgspec.convert(c, CallMade) for c in calls]
        return measure(self.metric, made, row).value


def trajectory(
    metric: Name, *, arguments: Arguments = "equal", of: Of = "executed", field: str = "trajectory", tool: str = "", name: str | None = None
) -> Trajectory:
    """An evaluator of a run's calls of tools.

    Args:
        metric: `exact`, `in_order`, `any_order`, `precision`, `recall`, `relevance` (called something, or nothing, as it should), or
            `uses` (called `tool`).
        arguments: how arguments are compared: `equal`, `some` (those the row names), `accepted` (the row lists values), `none`.
        of: which calls count: `executed`, `attempted`, `succeeded`.
        field: where a row has the calls it wants.
        name: of the evaluator; `trajectory_exact` and so on unless given.

    Raises `Invalid` for what is none of these.
    """
    for value, known, what in ((metric, NAMES, "metric"), (arguments, get_args(Arguments), "arguments"), (of, get_args(Of), "of")):
        if value not in known:
            raise Invalid(f"{what} is {value!r}", remedy="write " + ", ".join(known))
    expect(field, str, "field", "the name of a field of the rows")
    expect(tool, str, "tool", "the name of a tool, as models see it")
    if (metric == "uses") != bool(tool):
        raise Invalid(
            "`uses` looks for one tool" if metric == "uses" else f"{metric} takes no tool", remedy='w.trajectory("uses", tool="refund")'
        )
    return Trajectory(name or f"trajectory_{metric}", Metric(metric, arguments, of, field, tool))
