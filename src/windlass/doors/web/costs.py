"""Why a trace cost so much: what its calls of models come to, by model and by step, and what stands out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from windlass.core.span import StoredSpan
from windlass.doors import format as words

ASKED = ("model", "embedding")
DEAREST = 5
GROWTH, FEWEST = 2.0, 3  # how many times as many tokens the last call sends as the first, of so many calls, before it is said


class Spent(msgspec.Struct, frozen=True):
    """What calls come to. Tokens are None where none of them told; `cost` in US dollars, None where one has no price; `share` of the
    whole, from 0 to 1."""

    name: str
    calls: int
    tokens_in: int | None
    cached: int | None
    tokens_out: int | None
    cost: float | None
    share: float | None
    span: str = ""  # the step's id, where it is one step


class Costs(msgspec.Struct, frozen=True):
    models: tuple[Spent, ...]  # the dearest first
    steps: tuple[Spent, ...]
    told: tuple[str, ...]  # sentences


def costs_of(spans: Sequence[StoredSpan]) -> Costs | None:
    """None where no model was asked. A call that two tell of is one, as in the trace's sum."""
    calls = sorted(_innermost(spans), key=lambda s: (s.start_ns, s.span_id))
    if not calls:
        return None
    whole = sum(s.cost or 0 for s in calls)
    named: dict[str, list[StoredSpan]] = {}
    for call in calls:
        named.setdefault(call.model or call.name, []).append(call)
    models = sorted((_spent(name, some, whole) for name, some in named.items()), key=lambda s: -(s.cost or 0))
    dearest = sorted((s for s in calls if s.cost), key=lambda s: -(s.cost or 0))[:DEAREST]
    steps = tuple(_spent(s.name, [s], whole) for s in dearest) if len(calls) > 1 else ()
    return Costs(tuple(models), steps, tuple(_told(calls)))


def _innermost(spans: Sequence[StoredSpan]) -> list[StoredSpan]:
    asked = [s for s in spans if s.kind in ASKED]
    above = {s.parent for s in asked}
    twins: dict[str, list[StoredSpan]] = {}
    for s in asked:
        if s.response:
            twins.setdefault(s.response, []).append(s)
    return [s for s in asked if s.span_id not in above and not any(_within(t, s) for t in twins.get(s.response or "", ()))]


def _within(inner: StoredSpan, outer: StoredSpan) -> bool:
    """Whether another span that tells of the same answer lies within this one in time; of two that lie alike, by their ids."""
    if inner.span_id == outer.span_id or inner.start_ns < outer.start_ns or inner.end_ns > outer.end_ns:
        return False
    return (inner.start_ns, inner.end_ns) != (outer.start_ns, outer.end_ns) or inner.span_id > outer.span_id


def _spent(name: str, calls: Sequence[StoredSpan], whole: float) -> Spent:
    costs = [s.cost for s in calls]
    cost = sum(c for c in costs if c is not None) if None not in costs else None
    return Spent(
        name, len(calls), _sum(s.tokens_in for s in calls), _sum(s.tokens_cached for s in calls), _sum(s.tokens_out for s in calls), cost,
        cost / whole if cost is not None and whole else None, calls[0].span_id if len(calls) == 1 else "",
    )  # fmt: skip


def _sum(numbers: Iterable[int | None]) -> int | None:
    known = [n for n in numbers if n is not None]
    return sum(known) if known else None


def _told(calls: Sequence[StoredSpan]) -> Iterable[str]:
    if unpriced := sorted({s.model or s.name for s in calls if s.cost is None and s.status != "error"}):
        yield f"What {', '.join(unpriced)} cost is unknown, for want of tokens or of a price, and not in the sum."
    sent = [(s, s.tokens_in) for s in calls if s.kind == "model" and s.tokens_in]
    by_model: dict[str, list[int]] = {}
    for s, tokens in sent:
        by_model.setdefault(s.model or s.name, []).append(tokens)
    for model, told in by_model.items():
        if len(told) >= FEWEST and told[-1] >= GROWTH * told[0]:
            yield f"{model} was sent {told[0]:,} tokens first and {told[-1]:,} in the end: each call sends again what came before."
    total, cached = sum(tokens for _, tokens in sent), _sum(s.tokens_cached for s, _ in sent)
    if total >= 1_000 and cached is not None:  # some libraries do not tell
        yield f"{cached / total:.0%} of the {total:,} tokens that were sent came from a cache."
    if failed := [s for s in calls if s.status == "error"]:
        lost = sum(s.cost or 0 for s in failed)
        yield f"{words.many(len(failed), 'call')} failed" + (f", for {words.dollars(lost)}." if lost else ".")
