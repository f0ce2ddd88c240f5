"""What decisions of several people come to, and how far they agree. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import Any

import msgspec

from windlass.core.digest import canonical
from windlass.core.operations.reviews import Agreement, Decision, ReviewState

NO_ROW = ("tie", "neither")  # what gives no preference


def settle(decisions: Sequence[Decision], raters: int) -> tuple[ReviewState, Decision | None]:
    """The state of an item and what counts. Who settled a dispute has the last word; else more than half of at least `raters` people
    must say the same."""
    outcome = next((d for d in decisions if d.settles), None)
    if outcome is None:
        if len(decisions) < raters or not decisions:
            return "waiting", None
        most, count = Counter(said(d) for d in decisions).most_common(1)[0]
        if 2 * count <= len(decisions):
            return "disputed", None
        outcome = next(d for d in decisions if said(d) == most)
    return ("aside" if outcome.skip is not None or outcome.choice in NO_ROW else "decided"), outcome


def said(decision: Decision) -> bytes:
    """What a decision says, so that the same is equal: why somebody skips does not matter."""
    if decision.skip is not None:
        return b"skip"
    return decision.choice.encode() if decision.choice else canonical(decision.fields)


def agreed(decisions: Iterable[Decision], outcome: Decision) -> tuple[str, ...]:
    """Who said what counts."""
    return tuple(sorted(d.actor for d in decisions if said(d) == said(outcome)))


def agreement(items: Iterable[Sequence[Decision]]) -> Agreement | None:
    """The share of pairs of people that said the same, a mean over items; who skipped or settled is not counted. None where no item has
    two decisions."""
    shares: list[float] = []
    fields: dict[str, list[float]] = {}
    for decisions in items:
        apart = [d for d in decisions if d.skip is None and not d.settles]
        if len(apart) < 2:
            continue
        shares.append(_share([said(d) for d in apart]))
        for name in sorted({f for d in apart for f in d.fields or ()}):
            fields.setdefault(name, []).append(_share([canonical([(d.fields or {}).get(name)]) for d in apart]))
    if not shares:
        return None
    return Agreement(_mean(shares), len(shares), {name: _mean(found) for name, found in fields.items()})


def _share(values: Sequence[bytes]) -> float:
    pairs = list(combinations(values, 2))
    return sum(a == b for a, b in pairs) / len(pairs)


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 4)


def in_words(decision: Decision | None) -> str:
    """A decision as a line in a list."""
    if decision is None:
        return ""
    if decision.skip is not None:
        return f"skipped: {decision.skip}"
    if decision.choice:
        return {"first": "the first is better", "second": "the second is better", "tie": "a tie", "neither": "neither"}[decision.choice]
    return fields_in_words(decision.fields or {})


def fields_in_words(fields: Mapping[str, Any]) -> str:
    return " · ".join(f"{name}: {_value(value)}" for name, value in fields.items())


def _value(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(v, str) for v in value):
        return ", ".join(value) or "none"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
