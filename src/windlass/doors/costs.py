"""What stands out in what a trace's calls of models cost, in sentences: for its page and the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from windlass.core.operations.costs import TraceCosts
from windlass.doors import format as words

GROWTH = 2.0  # how many times as many tokens the last call of a model is sent as the first, before it is said
WORTH = 1_000  # tokens sent, from which on the share of a cache is told


def told(costs: TraceCosts) -> Iterator[str]:
    if unpriced := sorted({m.name for m in costs.models if m.unpriced}):
        yield f"What {', '.join(unpriced)} cost is unknown, for want of tokens or of a price, and not in the sum."
    for m in costs.models:
        if m.first_in and m.last_in >= GROWTH * m.first_in:
            yield f"{m.name} was sent {m.first_in:,} tokens first and {m.last_in:,} in the end: each call sends again what came before."
    if costs.sent >= WORTH and costs.cached is not None:  # some libraries do not tell
        yield f"{costs.cached / costs.sent:.0%} of the {costs.sent:,} tokens that were sent came from a cache."
    if costs.failed:
        yield f"{words.many(costs.failed, 'call')} failed" + (f", for {words.dollars(costs.lost)}." if costs.lost else ".")
