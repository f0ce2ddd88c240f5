"""How numbers, times and names read to people, in pages and terminals alike. Pure functions of their arguments.

Numbers carry units; what is unknown reads "unmeasured" or "unknown", never 0.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from windlass.core.operations.grants import Reach
from windlass.core.operations.logs import LogRecord
from windlass.core.operations.routes import Route
from windlass.core.operations.traces import ScoreGiven
from windlass.core.ref import parse_ref
from windlass.core.score import in_percent


def ago(at_ns: int, now_ns: int) -> str:
    """How long since, in the largest unit that fits: `3 min ago`; future times read `in 3 min`."""
    seconds = (now_ns - at_ns) / 1e9
    amount = abs(seconds)
    for size, unit in ((86400 * 365, "y"), (86400 * 30, "mo"), (86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        if amount >= size:
            text = f"{int(amount // size)} {unit}"
            return f"{text} ago" if seconds > 0 else f"in {text}"
    return "now"


def stamp(at_ns: int) -> str:
    """ISO 8601 in UTC to the millisecond, for `datetime` attributes and hovers."""
    return datetime.fromtimestamp(at_ns / 1e9, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def duration(ns: float | None) -> str:
    """`412 ms`, `1.24 s`, `3 min 5 s`."""
    if ns is None:
        return "unmeasured"
    ms = ns / 1e6
    if ms < 1:
        return f"{ms * 1000:.0f} µs"
    if ms < 10:
        return f"{ms:.1f} ms"
    if ms < 1000:
        return f"{ms:.0f} ms"
    seconds = ms / 1000
    if seconds < 60:
        return f"{seconds:.2f} s"
    return f"{int(seconds // 60)} min {int(seconds % 60)} s"


def line(text: str, width: int) -> str:
    """A text in one line of at most so many characters."""
    text = " ".join(text.split())
    return text if len(text) <= width else text[: width - 1] + "…"


def cell(value: Any) -> str:
    """A value of a table that somebody asked for. Of fractions 12 digits: what is beyond comes of adding up in binary."""
    return "" if value is None else format(value, ".12g") if isinstance(value, float) else str(value)


def length(ns: int) -> str:
    """How long a bucket is, in the largest unit that it is whole in: `30 min`, `3 h`, `90 s`."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if ns % (size * 10**9) == 0:
            return f"{ns // (size * 10**9)} {unit}"
    return f"{ns // 10**9} s"


def dollars(amount: float | None) -> str:
    """US dollars with the digits that matter: `$0.00`, `$0.0042`, `$12.30`; `unknown` where there is no price."""
    if amount is None:
        return "unknown"
    if amount == 0 or abs(amount) >= 0.1:
        return f"${amount:,.2f}"
    return f"${amount:.2g}" if abs(amount) >= 0.0001 else f"${amount:.1e}"


def worth(given: ScoreGiven) -> str:
    """What somebody's score or a judge's says: `yes`, `4`, `0.25`, a category; empty for a comment alone, `unmeasured` for a judge's."""
    value = given.value
    if value is None:
        return "" if given.given else "unmeasured"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else f"{value:.4g}"


def said(record: LogRecord, most: int) -> str:
    """What a log record says, in one line of at most so many characters; where it has no body, its attributes."""
    told = record.body
    if told is None:  # who it was stands behind dotted names, what it was about behind plain ones
        told = " ".join(f"{k}={_text(v)}" for k, v in sorted(record.attributes.items(), key=lambda told: "." in told[0]))
    line = " ".join(_text(told)[: most * 4].split())
    return line if len(line) <= most else line[: most - 1] + "…"


def named(record: LogRecord) -> str:
    """The name of a log record; none where it is how its body begins."""
    return "" if isinstance(record.body, str) and record.body.startswith(record.name.removesuffix("…")) else record.name


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def per_success(per_row: float | None, amount: float | None) -> str:
    """The price of a success: `unknown` without a price, `no success` where there was none to divide by."""
    return "no success" if amount is None and per_row is not None else dollars(amount)


def score(value: float | None) -> str:
    """Two decimals, or `unmeasured`."""
    return "unmeasured" if value is None else f"{value:.2f}"


def points(difference: float | None) -> str:
    """A difference of scores in points of a hundred, signed: `+5.1`."""
    return "unmeasured" if difference is None else f"{difference * 100:+.1f}".replace("-", "−")


def measured(value: float | None, unit: str) -> str:
    """What a metric measured: times and sizes in their unit, which UCUM writes `s` and `By`; of others the number, since their unit stands
    beside. `–` where it is unknown."""
    if value is None:
        return "–"
    if unit in NANOSECONDS and value >= 0:
        return duration(value * NANOSECONDS[unit])
    return size(round(value)) if unit == "By" and value >= 0 else compact(value).replace("-", "−")


def unit(of: str) -> str:
    """A unit of UCUM as people write it, where `measured` says none: `{token}` is `token`."""
    return "" if of in NANOSECONDS or of in ("By", "1") else "°C" if of == "Cel" else of.strip("{}")


NANOSECONDS = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}


def figure(value: float, sign: str = "") -> str:
    """Three decimals, with a minus that is one; `sign` "+" for a difference."""
    return f"{value:{sign}.3f}".replace("-", "−")


def count(number: int | None) -> str:
    return "unknown" if number is None else f"{number:,}"


def compact(number: float) -> str:
    """A number where there is little room: `950`, `1.2k`, `3.4M`, `0.25`."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= size * 0.9995:
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"


def many(number: int, what: str) -> str:
    """So many of something: `1 answer`, `2,000 queries`."""
    if number == 1:
        return f"1 {what}"
    return f"{number:,} {what[:-1] + 'ies' if what.endswith('y') and what[-2] not in 'aeiou' else what + 's'}"


def reach(found: Reach) -> str:
    """What a stop halts: `2 agents, 1 tool and 3 grants`."""
    parts = [many(n, what) for n, what in ((found.agents, "agent"), (found.tools, "tool"), (found.grants, "grant")) if n]
    return " and ".join([", ".join(parts[:-1])] * (len(parts) > 1) + parts[-1:]) or "nothing that is there now"


def size(count_of_bytes: int) -> str:
    """`3.4 MB` (powers of ten)."""
    amount = float(count_of_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def short_ref(ref: str) -> str:
    """`chain/answer@5d22ab` of a whole ref; anything else as it is."""
    if "@sha256:" not in ref:
        return ref
    return parse_ref(ref).short


def short_id(identifier: str) -> str:
    """The last eight characters of a UUID (its random end), the first eight of anything else."""
    return identifier[-8:] if len(identifier) == 36 else identifier[:8]


def percent(share: float | None) -> str:
    """A share as people say it: `7 %`, `0.4 %`; `unmeasured` where it is not known."""
    return "unmeasured" if share is None else in_percent(share)


def route_rules(r: Route) -> list[tuple[str, str]]:
    """What a route says besides its upstreams, each with a few words before it."""
    whose = {"user": "of one user, else of one session", "session": "of one session", "trace": "of one trace"}
    t, b = r.timeouts, r.breaker
    waits = [
        ("to connect", t.connect_s),
        ("first token", t.first_token_s),
        ("between tokens", t.between_tokens_s),
        ("a whole answer", t.attempt_s),
        ("in all", t.total_s),
    ]
    said = ", ".join(f"{seconds:g} s {what}" for what, seconds in waits if seconds is not None)
    return [
        ("same upstream", f"all calls {whose[r.sticky]}"),
        ("goes on after", ", ".join(r.fall_back_on) or "no failure"),
        ("asks each", f"{r.retries.attempts} × at most, waiting {r.retries.budget_s:g} s in all"),
        ("timeouts", f"{said or 'as the server has them'}; {t.queue_s:g} s for a place"),
        ("breaker", f"{b.failures} failures and {b.share:.0%} of calls within {b.window_s:g} s open it for {b.open_s:g} s"),
    ]
