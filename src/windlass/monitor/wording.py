"""The verdict of a look, and the sentence that says it to somebody who knows the product and no statistics."""

from __future__ import annotations

from windlass.core.monitoring import Call, Coverage, Evidence, Instrument, Look
from windlass.core.score import in_percent
from windlass.monitor.baseline import DISTANCE, Baseline
from windlass.monitor.coverage import coverage
from windlass.monitor.direction import NAME as DIRECTION
from windlass.monitor.resolution import size_for
from windlass.monitor.settings import KERNEL, Settings, start_share

NAMED = 3  # descriptors in a sentence
NEARLY = 0.75  # of the log-evidence that alarms, from which a look says that something may be beginning


def judge(look: Look, baseline: Baseline, settings: Settings, other: Instrument | None, moved: float) -> tuple[Call, str]:
    """The call and its sentence. `other` is the instrument of the newest rows where it is not the baseline's; `moved` the largest
    effect of the comparisons that alarmed."""
    if other is not None:
        return "instrument changed", _instrument(baseline.instrument, other)
    if baseline.refusal:
        return "too small to say", baseline.refusal
    if not look.counted or look.coverage is None:
        left_out = f"All {look.seen:,} inputs were left out, so none was compared." if look.seen else "No input of production has come yet."
        return "no traffic", left_out
    severe = [e for e in look.evidence if e.severe]
    mild = [e for e in look.evidence if e.alarmed and not e.severe]
    whole = look.kernel_since if moved > settings.moved else None
    if severe or whole:
        since = min([e.since or 0 for e in severe] + ([whole] if whole else []))
        told = _sentence(_shown(severe, look.coverage, moved if whole else None))
        return "skewed", f"{told} Shown after {since:,} inputs; the chance of a false alarm, ever, is {in_percent(look.alpha)}."
    if mild or look.kernel_since:
        what = [_what(e.score) for e in mild] + ([_what(KERNEL)] if look.kernel_since else [])
        return "watch", f"There is a difference in {_listed(what)}, and it is within what you tolerate."
    if beginning := [e for e in look.evidence if e.e >= e.level**-NEARLY]:
        what = [_what(e.score) for e in beginning]
        return "watch", f"There may be a difference in {_listed(what)}; it is not shown yet after {look.counted:,} inputs."
    if look.coverage.interval.high <= settings.covered:
        return "covered", (
            f"At most {in_percent(look.coverage.interval.high)} of production is unlike what was evaluated, "
            f"and nothing else differs after {look.counted:,} inputs.{_limit(look.shows, settings)}"
        )
    return "too small to say", _too_small(look, look.coverage, baseline, settings)


def _instrument(was: Instrument, now: Instrument) -> str:
    what = "The encoder" if was.encoder != now.encoder else "The prompt's template"
    return f"{what} is another than the one the evaluation rows were measured with, so nothing was compared. Measure them again."


def _shown(severe: list[Evidence], covered: Coverage, moved: float | None) -> list[str]:
    """What is shown, the unseen first. Descriptors are one thing, since they tend to move together."""
    told = []
    if away := next((e for e in severe if e.score == DISTANCE), None):
        between = f"({in_percent(covered.interval.low)} to {in_percent(covered.interval.high)} since the start)"
        told.append(f"about {in_percent(away.effect)} of production {between} is unlike anything evaluated")
    if together := next((e for e in severe if e.score == DIRECTION), None):
        told.append(f"about {in_percent(together.effect)} of production is of a kind that the evaluation hardly has")
    if moved is not None:
        told.append(f"as a whole, inputs differ from the evaluation as if {in_percent(moved)} of them were something else")
    if described := sorted((e for e in severe if e.score not in (DISTANCE, DIRECTION)), key=lambda e: -e.effect):
        names = [_what(e.score) for e in described[:NAMED]] + ([f"{len(described) - NAMED} more"] if len(described) > NAMED else [])
        told.append(f"inputs differ from the evaluation in {_listed(names)}, up to {in_percent(described[0].effect)} of them")
    return told


def _what(score: str) -> str:
    return {DISTANCE: "the distance to what was evaluated", DIRECTION: "what many inputs have in common", KERNEL: "inputs as a whole"}.get(
        score, f"“{score}”"
    )


def _too_small(look: Look, covered: Coverage, baseline: Baseline, settings: Settings) -> str:
    told = f"After {look.counted:,} inputs, up to {in_percent(covered.interval.high)} of production may be unlike what was evaluated."
    needed = _needed(covered, baseline, settings)
    more = f" About {needed:,} inputs like these would tell." if needed else " More inputs like these would not tell."
    return f"{told}{more}{_limit(look.shows, settings)}"


def _needed(covered: Coverage, baseline: Baseline, settings: Settings) -> int | None:
    """How many inputs in all would show production covered, if as many lay outside as do now; None when none would."""
    for doubling in range(1, 16):
        rows = covered.rows << doubling
        then = coverage(round(covered.rate * rows), rows, baseline.calibration, baseline.gaps_beyond)
        if then.interval.high <= settings.covered:
            return round(rows, 2 - len(str(rows)))  # two digits
    return None


def _limit(shows: float | None, settings: Settings) -> str:
    """What these evaluation rows cannot show, and how many could."""
    if shows is not None and shows <= settings.covered:
        return ""
    least = f"less than {in_percent(shows)}" if shows is not None else "any unseen share"
    size = size_for(settings.covered, settings.error(DISTANCE) * start_share(0))
    more = f"; about {size:,} rows would show {in_percent(settings.covered)}" if size else ""
    return f" An evaluation dataset of this size hardly shows {least}{more}."


def _listed(what: list[str]) -> str:
    return what[0] if len(what) == 1 else f"{', '.join(what[:-1])} and {what[-1]}"


def _sentence(parts: list[str]) -> str:
    told = "; ".join(parts)
    return f"{told[0].upper()}{told[1:]}."
