"""What is shown of a metric, on pages and in the terminal: which of its figures, by what name and in which unit."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from windlass.core.operations.metrics import Measurement, MetricSeen, MetricTold
from windlass.doors import format as words

Take = Callable[[Measurement], float | None]


class Shown(NamedTuple):
    """A picture: lines by name, or one of `counted` in bars. By groups there is one line for each, of `main`, where the
    title is `of_groups` if there is one."""

    title: str
    unit: str
    lines: tuple[tuple[str, Take], ...]
    main: Take
    counted: bool = False
    of_groups: str = ""


def kind_of(metric: MetricSeen, *, unit: bool = False) -> str:
    """What people call its type: counter, up-down counter, gauge, histogram …; with its unit, `histogram in token`."""
    sort = ("counter" if metric.monotonic else "up-down counter") if metric.type == "sum" else metric.type.replace("_", " ")
    of = (words.unit(metric.unit) or ("" if metric.unit == "1" else metric.unit)) if unit else ""
    return f"{sort} in {of}" if of else sort


def shown_of(told: MetricTold) -> tuple[Shown, ...]:
    """What is drawn, the most telling first."""
    unit = told.metric.unit
    if told.metric.type in ("gauge", "sum"):
        found = []
        if told.whole.increase is not None or (told.metric.monotonic and told.whole.last is None):
            found.append(Shown("Increase", unit, (("", _increase),), _increase, told.metric.monotonic))
        if told.whole.last is not None:
            lines = (("mean", _mean), ("lowest", _min), ("highest", _max)) if told.metric.type == "gauge" else (("", _mean),)
            found.append(Shown("Level", unit, lines, _mean))
        return tuple(found)
    shares = tuple((name, _share(name)) for name in ("p50", "p95", "p99"))
    quantiles = Shown("Quantiles, estimated", unit, shares, _share("p95"), of_groups="p95, estimated")
    mean, count = Shown("Mean", unit, (("", _mean),), _mean), Shown("Recorded", "", (("", _count),), _count, True)
    return (mean, count) if told.metric.type == "summary" else (quantiles, mean, count)


def _increase(m: Measurement) -> float | None:
    return m.increase


def _mean(m: Measurement) -> float | None:
    return m.mean


def _min(m: Measurement) -> float | None:
    return m.min


def _max(m: Measurement) -> float | None:
    return m.max


def _count(m: Measurement) -> float | None:
    return m.count


def _share(name: str) -> Take:
    return lambda m: getattr(m.quantiles, name) if m.quantiles else None
