"""What tokens cost: dated prices per provider and model, in US dollars per million tokens.

The table is `prices.json`, converted from the genai-prices package by `scripts/convert_prices.py`; its source and date are
in it. A user's `prices.toml` in the data folder comes first:

    ["openai/gpt-5-mini"]       # or "ollama/*"; a list of tables, each with `from`, for a price that changes
    input = 0.25
    output = 2.0
    cached = 0.025              # default: as input
    cache_write = 0.25          # default: as input
    from = 2026-01-01           # UTC; default: always

An unknown price is None, never 0. Knows no budgets and no requests. Reasoning tokens cost what output costs.
"""

from __future__ import annotations

import datetime
import re
import threading
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from windlass.core.errors import Invalid
from windlass.core.message import Usage

# Names a provider goes by elsewhere (OpenTelemetry's gen_ai.provider.name, our providers.toml) → the table's.
ALIASES = {
    "gemini": "google", "gcp.gemini": "google", "gcp.vertex_ai": "google", "gcp.gen_ai": "google", "xai": "x-ai", "x_ai": "x-ai",
    "mistral_ai": "mistral", "azure.ai.openai": "azure", "azure.ai.inference": "azure", "aws.bedrock": "aws", "together_ai": "together",
    "bedrock": "aws", "vertex": "google", "bedrock-anthropic": "aws", "vertex-anthropic": "google", "azure-deployments": "azure",
}  # fmt: skip

# Whose model a name is where nobody says who serves it, by the first whose models it is one of.
MAKERS = ("openai", "anthropic", "google", "mistral", "x-ai", "deepseek", "cohere", "moonshotai", "groq", "aws")

Rate = float | list[Any] | None  # one price, or [base, [start, price], …]: above `start` input tokens that price holds for all


class Rates(msgspec.Struct, frozen=True, array_like=True):
    """US dollars per million tokens; `cached` and `cache_write` default to `input`."""

    input: Rate = None
    output: Rate = None
    cached: Rate = None
    cache_write: Rate = None

    def cost(self, usage: Usage) -> float | None:
        """Dollars; None when tokens that are not free were not told."""
        if usage.input is None and usage.output is None:
            return None
        given, total = usage.input or 0, 0.0
        cached, written = min(usage.cached or 0, given), min(usage.cache_write or 0, given)
        for count, rate in (
            (given - cached - written, self.input),
            (cached, self.input if self.cached is None else self.cached),
            (written, self.input if self.cache_write is None else self.cache_write),
            (usage.output or 0, self.output),
        ):
            if count:
                if rate is None:
                    return None
                total += count * (rate if type(rate) is float else at(rate, given))
        return total / 1_000_000


def at(rate: Rate, given: int) -> float:
    """The price per million for a request with this many input tokens."""
    if rate is None:
        return 0.0
    if isinstance(rate, list):
        base, *tiers = rate
        return float(next((price for start, price in reversed(tiers) if given > start), base))
    return rate


Period = tuple[str | tuple[str, str] | None, Rates]  # since a date, between hours, or always


class _Provider(msgspec.Struct):
    models: list[tuple[str, Any, Any]]
    also: list[str] = []


class _Table(msgspec.Struct):
    source: str
    licence: str
    as_of: str
    providers: dict[str, _Provider]


class Prices:
    """The table with a user's prices over it. Read on first use; safe to share between threads."""

    def __init__(self, user_file: Path | None = None) -> None:
        self._user = _read_user(user_file) if user_file is not None and user_file.exists() else []
        self._table: _Table | None = None
        self._found: dict[tuple[str, str], list[Period] | None] = {}
        self._lock = threading.Lock()

    def price(self, provider: str, model: str, usage: Usage, at_ns: int) -> float | None:
        """What a call cost in US dollars at a UTC time; None when the model or its usage is unknown. The baseline is free."""
        if provider == "baseline":
            return 0.0
        rates = self.rates(provider, model, at_ns)
        return rates.cost(usage) if rates is not None else None

    def rates(self, provider: str, model: str, at_ns: int) -> Rates | None:
        """The prices that hold for a model at a UTC time, or None."""
        periods = self._periods(provider, model)
        if not periods:
            return None
        if len(periods) == 1:
            return periods[0][1]
        moment = datetime.datetime.fromtimestamp(at_ns / 1e9, datetime.UTC)
        return next((rates for when, rates in reversed(periods) if _holds(when, moment)), periods[0][1])

    def models(self, provider: str) -> list[str]:
        """The models the table prices for a provider, as they can be called; families it knows by a pattern only are left out."""
        listed = self._load().providers.get(ALIASES.get(provider, provider))
        names = [_callable_name(identity, how) for identity, how, _ in listed.models] if listed else []
        return [name for name in names if name]

    def own(self, provider: str, model: str) -> bool:
        """Whether the user has a price of their own for it."""
        return any(pattern.fullmatch(f"{provider}/{model}") for pattern, _ in self._user)

    def source(self, provider: str, model: str) -> str:
        """Where a price comes from, with its date; empty when there is none."""
        if self.own(provider, model):
            return "prices.toml"
        table = self._load()
        return f"{table.source}, {table.as_of}" if self._periods(provider, model) else ""

    def _periods(self, provider: str, model: str) -> list[Period] | None:
        key = (provider, model)
        if key not in self._found:
            own = next((periods for pattern, periods in self._user if pattern.fullmatch(f"{provider}/{model}")), None)
            makers = (ALIASES.get(provider, provider),) if provider else MAKERS
            found = own or next((periods for maker in makers if (periods := self._shipped(maker, model))), None)
            if len(self._found) > 10_000:  # model names come from callers
                self._found.clear()
            self._found[key] = found
        return self._found[key]

    def _shipped(self, provider: str, model: str) -> list[Period] | None:
        listed = self._load().providers.get(provider)
        if listed is None:
            return None
        name = model.lower()
        for identity, how, prices in listed.models:
            if _matches("=" + identity if how == 0 else how, name):
                return msgspec.convert(prices if _dated(prices) else [[None, prices]], list[Period])
        return next((found for other in listed.also if (found := self._shipped(other, model))), None)

    def _load(self) -> _Table:
        with self._lock:
            if self._table is None:
                self._table = msgspec.json.decode(Path(__file__).with_name("prices.json").read_bytes(), type=_Table)
            return self._table


def _callable_name(identity: str, how: Any) -> str:
    """The row's id where its own pattern knows it, else the first name the pattern writes out, else nothing."""
    if how == 0 or _matches(how, identity.lower()):
        return identity
    exact = [h for h in (how if isinstance(how, list) else [how]) if isinstance(h, str) and h.startswith("=")]
    return exact[0][1:] if exact else ""


def _dated(prices: list[Any]) -> bool:
    """Whether this is a list of periods, `[when, rates]`, and not one list of rates, whose first may be tiered."""
    return isinstance(prices[0], list) and not isinstance(prices[0][0], (int, float))


def _matches(how: Any, name: str) -> bool:
    if isinstance(how, list):
        each = (_matches(h, name) for h in how[1:])
        return any(each) if how[0] == "|" else all(each)
    kind, text = how[0], how[1:]
    if kind == "~":
        return re.search(text, name) is not None
    text = text.lower()
    if kind == "=":
        return bool(name == text)
    if kind == "^":
        return name.startswith(text)
    return name.endswith(text) if kind == "$" else text in name


def _holds(when: str | tuple[str, str] | None, moment: datetime.datetime) -> bool:
    if when is None:
        return True
    if isinstance(when, str):
        return moment.date().isoformat() >= when
    clock = moment.time().isoformat()
    start, end = (_utc_clock(w) for w in when)
    return clock >= start or clock < end if end < start else start <= clock < end


def _utc_clock(text: str) -> str:
    clock = datetime.time.fromisoformat(text)
    if clock.tzinfo is not None:
        clock = datetime.datetime.combine(datetime.date(2000, 1, 2), clock).astimezone(datetime.UTC).time()
    return clock.isoformat()


class _UserRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"since": "from"}):
    input: float
    output: float
    cached: float | None = None
    cache_write: float | None = None
    since: datetime.date | None = None


def _read_user(path: Path) -> list[tuple[re.Pattern[str], list[Period]]]:
    """Raises `Invalid` naming the file and the model."""
    try:
        rows: Mapping[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise Invalid(f"not readable as TOML: {e}", where=str(path)) from e
    found: list[tuple[re.Pattern[str], list[Period]]] = []
    for name, value in rows.items():
        try:
            dated = msgspec.convert(value if isinstance(value, list) else [value], list[_UserRow])
        except msgspec.ValidationError as e:
            raise Invalid(
                f"the price of {name!r}: {e}", where=str(path), remedy="give input and output in US dollars per million tokens"
            ) from e
        dated.sort(key=lambda row: row.since or datetime.date.min)
        periods: list[Period] = [
            (row.since.isoformat() if row.since else None, Rates(row.input, row.output, row.cached, row.cache_write)) for row in dated
        ]
        found.append((re.compile(re.escape(name).replace(r"\*", ".*")), periods))
    return found
