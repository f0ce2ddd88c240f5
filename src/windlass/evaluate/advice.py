"""What a bake-off says to people: one recommendation with its reason, in figures."""

from __future__ import annotations

from collections.abc import Sequence

from windlass.core.artifacts import Guard
from windlass.core.operations.bakeoffs import Arm, Recommendation
from windlass.evaluate.race import Choice, Line


def advise(choice: Choice, arms: Sequence[Arm], guards: Sequence[Guard], part: str, rows: int) -> Recommendation:
    """The recommendation that a choice comes to. `rows` is how many each arm was to be asked."""
    by_model = {a.model: a for a in arms}
    if choice.line is None:
        return Recommendation(None, f"Nothing is recommended: {choice.why_not}.")
    chosen = by_model[choice.line.model]
    why = [f"{chosen.model}: {_figures(chosen, guards)}."]
    if choice.best is not None and choice.best.model != chosen.model:
        why.append(_against_best(chosen, by_model[choice.best.model], choice, guards))
    reference = next((a for a in arms if a.reference), None)
    if reference is not None and reference.model != chosen.model:
        why.append(f"What runs now, {reference.model}: {_figures(reference, guards)}.")
    out = sum(a.status == "eliminated" for a in arms)
    if out:
        why.append(f"{out} of {len(arms)} models {'was' if out == 1 else 'were'} shown worse and stopped early.")
    if chosen.rows < rows:
        why.append(f"It was asked {chosen.rows} of {rows} rows: by then no other was left.")
    if reference is not None and reference.model == chosen.model:
        return Recommendation(chosen.model, "Keep what runs now. " + " ".join(why))
    after = f"write {chosen.model} as the model of {part}, push and gate: the answers recorded here are used again"
    return Recommendation(chosen.model, " ".join(why), after)


def _figures(arm: Arm, guards: Sequence[Guard]) -> str:
    """The first guard's score with its interval, cost and time a row."""
    said = []
    for g in guards:
        s = next((s for s in arm.guards if s.name == g.name), None)
        if s is None or s.mean is None:
            said.append(f"{g.name} unmeasured")
        else:
            said.append(f"{g.name} {s.mean:.2f}" + (f" ({s.interval.low:.2f} to {s.interval.high:.2f})" if s.interval else ""))
    cost = "at a price that is not known" if arm.per_row is None else "free" if arm.per_row == 0 else f"${arm.per_row:.2g} a row"
    time = f", {arm.latency:.2g} s" if arm.latency is not None else ""
    return ", ".join(said) + f", {cost}{time}"


def _against_best(chosen: Arm, best: Arm, choice: Choice, guards: Sequence[Guard]) -> str:
    """What the dearer one with the highest score would bring, and at which price."""
    assert choice.line is not None and choice.best is not None
    g = next((g for g in guards if g.margin is not None), guards[0])
    ahead = choice.best.sure(g.name) - choice.line.sure(g.name)
    within = f"within the margin of {g.margin:g}" if g.margin is not None else "as much"
    return f"{best.model} is {ahead:.3f} ahead on {g.name}, {within}, and {_dearer(choice.line, choice.best)}."


def _dearer(chosen: Line, best: Line) -> str:
    if best.per_row is None:
        return "its price is not known"
    if not chosen.per_row:
        return f"costs ${best.per_row:.2g} a row" if best.per_row else "is slower"
    return f"costs {best.per_row / chosen.per_row:.1f} times as much" if best.per_row > chosen.per_row else "is slower"
