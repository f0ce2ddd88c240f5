"""A run's calls of tools against those a row names, by the definitions of docs/trajectories.md, version 1. Pure: the same always gives
the same, and what cannot be measured says why and is never 0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, get_args

import msgspec

from windlass.core.errors import Invalid

ENTRY = "trajectory@1:"  # begins the entry of an evaluator that has no code of its own: a `Metric` as JSON follows
MOST = 200  # calls, and calls of a reference, that are compared
Name = Literal["exact", "in_order", "any_order", "precision", "recall", "relevance", "uses"]
Arguments = Literal["equal", "some", "accepted", "none"]
Of = Literal["executed", "attempted", "succeeded"]
NAMES: tuple[Name, ...] = get_args(Name)
_BLANKS = re.compile(r"[ ,./\-_*^]")


class CallMade(msgspec.Struct, omit_defaults=True):
    """One call of a tool in a run, as an evaluator is given it. `caller` is whose model wanted it, `agent/name`, or whose code made it,
    `kind/name`. `outcome`: ok, failed in the body, refused by the broker, or wrong (no such tool, arguments that do not fit)."""

    name: str
    arguments: Any
    caller: str = ""
    executed: bool = False
    outcome: Literal["ok", "failed", "refused", "wrong"] = "wrong"


class Wanted(NamedTuple):
    """One call of a reference. `arguments` None: only the name counts."""

    name: str
    arguments: dict[str, Any] | None


Reference = list[list[Wanted]]  # calls in order; those of one inner list in any order


class Metric(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is measured. `of` says which calls count, `field` where a row has its reference, `tool` the name that `uses` looks for."""

    name: Name
    arguments: Arguments = "equal"
    of: Of = "executed"
    field: str = "trajectory"
    tool: str = ""

    @property
    def needs(self) -> tuple[str, ...]:
        """What an evaluator of it is given."""
        return ("calls",) if self.name == "uses" else ("calls", "row")


class Measured(NamedTuple):
    """`value` from 0 to 1, or None where `why` says that there is nothing to measure; else `why` says what was missing or too much."""

    value: float | None
    why: str = ""


def entry_of(metric: Metric) -> str:
    return ENTRY + msgspec.json.encode(metric, order="sorted").decode()


def metric_of(entry: str) -> Metric:
    return msgspec.json.decode(entry.removeprefix(ENTRY), type=Metric)


def measure(metric: Metric, calls: Sequence[CallMade], row: dict[str, Any] | None = None) -> Measured:
    """The metric of a run's calls, in the order they were made, by what the row names. Raises nothing for what a row or a model says."""
    made = [c for c in calls if _counts(c, metric.of)]
    if len(made) > MOST:
        return Measured(None, f"the run made {len(made):,} calls; at most {MOST} are compared")
    if metric.name == "uses":
        return Measured(float(any(c.name == metric.tool for c in made)))
    if row is None or row.get(metric.field) is None:
        return Measured(None, f"the row has no {metric.field!r}")
    try:
        reference = reference_of(row[metric.field], metric.field, metric.arguments)
    except Invalid as e:
        return Measured(None, str(e))
    return _MEASURES[metric.name](made, reference, _fits(metric.arguments))


def reference_of(value: Any, where: str = "trajectory", arguments: Arguments = "equal") -> Reference:
    """What a row's field says. Raises `Invalid` naming the entry that is none."""
    if not isinstance(value, list | tuple):
        raise Invalid("a reference is a list of calls", where=where, remedy='write [{"name": "refund", "arguments": {"order": "7"}}]')
    groups: Reference = []
    for number, item in enumerate(value):
        some = item if isinstance(item, list | tuple) else [item]
        groups.append([_wanted(each, f"{where}[{number}]", arguments) for each in some])
    if sum(map(len, groups)) > MOST:
        raise Invalid(f"a reference of more than {MOST} calls is not compared", where=where)
    return [g for g in groups if g]


def _wanted(item: Any, where: str, arguments: Arguments) -> Wanted:
    if not isinstance(item, dict) or not isinstance(item.get("name"), str) or item.keys() - {"name", "arguments"}:
        raise Invalid("this is no call", where=where, remedy='write {"name": "refund", "arguments": {"order": "7"}}')
    wanted = item.get("arguments")
    if wanted is not None and not isinstance(wanted, dict):
        raise Invalid("arguments are an object", where=f"{where}.arguments")
    if arguments == "accepted" and (odd := [name for name, values in (wanted or {}).items() if not isinstance(values, list | tuple)]):
        remedy = 'each argument has a list of the values that are accepted, "" among them where it may be left out'
        raise Invalid(f"{odd[0]!r} has no list", where=f"{where}.arguments", remedy=remedy)
    return Wanted(item["name"], wanted)


def _counts(call: CallMade, of: Of) -> bool:
    """What another tool's code, or an evaluator, called is not the agent's choice."""
    if call.caller.startswith(("tool/", "evaluator/")):
        return False
    return of == "attempted" or (call.executed and (of == "executed" or call.outcome == "ok"))


Fits = Callable[[CallMade, Wanted], bool]


def _exact(made: list[CallMade], reference: Reference, fits: Fits) -> Measured:
    if len(made) != sum(map(len, reference)):
        return Measured(0.0, _told(made, reference, fits))
    at = 0
    for group in reference:
        if len(_paired(made[at : at + len(group)], group, fits)) < len(group):
            return Measured(0.0, _told(made, reference, fits) or "another order")
        at += len(group)
    return Measured(1.0)


def _in_order(made: list[CallMade], reference: Reference, fits: Fits) -> Measured:
    if not reference:
        return Measured(None, "the reference names no call, which is in every order; `exact` and `relevance` measure that")
    at = 0
    for group in reference:  # each as early as it can be whole: no later end could leave more for those that follow
        end = at + len(group)
        while end <= len(made) and len(_paired(made[at:end], group, fits)) < len(group):
            end += 1
        if end > len(made):
            return Measured(0.0, _told(made, reference, fits) or "another order")
        at = end
    return Measured(1.0)


def _any_order(made: list[CallMade], reference: Reference, fits: Fits) -> Measured:
    wanted = _flat(reference)
    if not wanted:
        return Measured(None, "the reference names no call, which is in every run; `exact` and `relevance` measure that")
    return Measured(float(len(_paired(made, wanted, fits)) == len(wanted)), _told(made, reference, fits))


def _precision(made: list[CallMade], reference: Reference, fits: Fits) -> Measured:
    if not made:
        return Measured(None, "the run made no call: there is nothing to be precise about")
    return Measured(len(_paired(made, _flat(reference), fits)) / len(made), _told(made, reference, fits))


def _recall(made: list[CallMade], reference: Reference, fits: Fits) -> Measured:
    wanted = _flat(reference)
    if not wanted:
        return Measured(None, "the reference names no call: there is nothing to recall")
    return Measured(len(_paired(made, wanted, fits)) / len(wanted), _told(made, reference, fits))


def _relevance(made: list[CallMade], reference: Reference, fits: Fits) -> Measured:
    """Whether it called something where something was to be called, and nothing where nothing was."""
    return Measured(float(bool(made) == bool(reference)), "" if bool(made) == bool(reference) else _told(made, reference, fits))


_MEASURES: dict[str, Callable[[list[CallMade], Reference, Fits], Measured]] = {
    "exact": _exact, "in_order": _in_order, "any_order": _any_order, "precision": _precision, "recall": _recall, "relevance": _relevance,
}  # fmt: skip


def _flat(reference: Reference) -> list[Wanted]:
    return [w for group in reference for w in group]


def _paired(made: Sequence[CallMade], wanted: Sequence[Wanted], fits: Fits) -> dict[int, int]:
    """The most pairs of a call that was wanted and one that was made, each in one pair (Kuhn's algorithm): places in `wanted` by places
    in `made`. A call that fits two is never given to the one for which another would do."""
    may = [[at for at, call in enumerate(made) if fits(call, want)] for want in wanted]
    found: dict[int, int] = {}

    def take(want: int, tried: set[int]) -> bool:
        for at in may[want]:
            if at not in tried:
                tried.add(at)
                if at not in found or take(found[at], tried):
                    found[at] = want
                    return True
        return False

    for want in range(len(wanted)):
        take(want, set())
    return found


def _told(made: Sequence[CallMade], reference: Reference, fits: Fits) -> str:
    """What was missing and what was too much, by name."""
    wanted = _flat(reference)
    pairs = _paired(made, wanted, fits)
    missing = [w.name for n, w in enumerate(wanted) if n not in pairs.values()]
    extra = [c.name for n, c in enumerate(made) if n not in pairs]
    said = [f"{what}: {', '.join(names[:5])}" for what, names in (("missing", missing), ("too much", extra)) if names]
    return "; ".join(said)


def _fits(mode: Arguments) -> Fits:
    def fits(call: CallMade, wanted: Wanted) -> bool:
        if call.name != wanted.name:
            return False
        if mode == "none" or wanted.arguments is None:
            return True
        if not isinstance(call.arguments, dict):
            return False
        given, want = call.arguments, wanted.arguments
        if mode == "accepted":
            return _all_accepted(given, want)
        return (mode == "some" or given.keys() == want.keys()) and all(n in given and same(given[n], v) for n, v in want.items())

    return fits


def same(a: Any, b: Any) -> bool:
    """Whether two JSON values are the same: numbers by value, a truth value is no number, keys in any order."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(v, b[k]) for k, v in a.items())
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b if not (isinstance(a, int | float) and isinstance(b, int | float)) else a == b


def _all_accepted(given: dict[str, Any], accepted: dict[str, Any]) -> bool:
    """Each argument that is given is listed, with a value that is accepted; each that is not given may be left out."""
    if given.keys() - accepted.keys():
        return False
    return all(_accepted(given[n], values) if n in given else _may_lack(values) for n, values in accepted.items())


def _may_lack(values: Any) -> bool:
    return isinstance(values, list | tuple) and "" in values


def _accepted(value: Any, values: Sequence[Any]) -> bool:
    return any(_alike(value, each) for each in values)


def _alike(value: Any, wanted: Any) -> bool:
    """As `same`, but texts without blanks, `,./-_*^`, capitals and sorts of quotes; and an object whose wanted values are lists is held
    against them as arguments are, one level deep or in a list."""
    if isinstance(value, str) and isinstance(wanted, str):
        return _plain(value) == _plain(wanted)
    if isinstance(value, dict) and isinstance(wanted, dict) and all(isinstance(v, list | tuple) for v in wanted.values()):
        return _all_accepted(value, wanted)
    if isinstance(value, list | tuple) and isinstance(wanted, list | tuple):
        return len(value) == len(wanted) and all(map(_alike, value, wanted))
    return same(value, wanted)


def _plain(text: str) -> str:
    return _BLANKS.sub("", text).lower().replace("'", '"')
