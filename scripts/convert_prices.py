"""Convert the genai-prices package's data into `src/windlass/govern/prices.json`.

    pip download genai-prices --no-deps -d DIR && unzip DIR/*.whl -d DIR/x && PYTHONPATH=DIR/x python scripts/convert_prices.py

Keeps, per provider and model, how an id matches and its token prices with the dates and hours they hold; drops what
Windlass does not price (audio, images, searches, service tiers). Run it in an environment that has pydantic.
"""

from __future__ import annotations

import json
import re
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import genai_prices
from genai_prices import data, types

TARGET = Path(__file__).parent.parent / "src/windlass/govern/prices.json"
FIELDS = ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok")


def match(clause: Any) -> Any:
    """A clause as a string with its kind in front, or a list with `|` or `&` first."""
    if isinstance(clause, types.ClauseOr):
        return ["|", *map(match, clause.or_)]
    if isinstance(clause, types.ClauseAnd):
        return ["&", *map(match, clause.and_)]
    for kind, mark in (("equals", "="), ("starts_with", "^"), ("ends_with", "$"), ("contains", "*"), ("regex", "~")):
        if hasattr(clause, kind):
            return mark + getattr(clause, kind)
    raise ValueError(clause)


def rate(price: Any) -> Any:
    """Dollars per million tokens; tiers as [base, [start, price], ...]: above `start` input tokens that price holds for all."""
    if price is None:
        return None
    if isinstance(price, types.TieredPrices):
        return [float(price.base), *([t.start, float(t.price)] for t in price.tiers)]
    return float(price)


def rates(price: Any) -> list[Any]:
    row = [rate(getattr(price, field, None)) for field in FIELDS]
    while row and row[-1] is None:
        row.pop()
    return row


def period(constraint: Any) -> str | list[str] | None:
    if constraint is None:
        return None
    if isinstance(constraint, types.StartDateConstraint):
        return constraint.start_date.isoformat()
    return [constraint.start_time.isoformat(), constraint.end_time.isoformat()]


def model(info: Any) -> list[Any] | None:
    if isinstance(info.prices, types.ModelPrice):
        periods = [[None, rates(info.prices)]]
    else:
        periods = [[period(p.constraint), rates(p.prices)] for p in info.prices]
    priced = [info.prices] if isinstance(info.prices, types.ModelPrice) else [p.prices for p in info.prices]
    if not any(r for _, r in periods) or any(p.requests_kcount for p in priced):
        return None  # a fee per request is no price per token: better unknown than too low
    how = match(info.match)
    return [info.id, 0 if how == "=" + info.id else how, periods if len(periods) > 1 else periods[0][1]]


def main() -> None:
    root = Path(genai_prices.__file__).parent
    version = next(d.version for d in distributions(path=[str(root.parent)]) if d.metadata["Name"] == "genai-prices")
    checked = max(re.findall(r"verified on (\d{4}-\d\d-\d\d)", (root / "data.py").read_text("utf-8")))
    providers = {}
    for p in data.providers:
        rows = [row for m in p.models if (row := model(m)) is not None]
        if rows:
            providers[p.id] = {"models": rows, **({"also": p.fallback_model_providers} if p.fallback_model_providers else {})}
    head = {
        "source": f"genai-prices {version}",
        "licence": "MIT, Copyright (c) Pydantic Services Inc. 2025 to present, https://github.com/pydantic/genai-prices",
        "as_of": checked,
        "unit": "US dollars per million tokens: input, output, cached input, cache write",
    }
    text = json.dumps({**head, "providers": providers}, separators=(",", ":"), ensure_ascii=False)
    TARGET.write_text(text.replace('],["', '],\n["') + "\n", "utf-8")  # about a line a model, for diffs
    print(f"{TARGET}: {TARGET.stat().st_size} bytes, {sum(len(p['models']) for p in providers.values())} models, as of {checked}")


if __name__ == "__main__":
    main()
