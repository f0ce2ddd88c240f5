"""Which verdict lets a candidate out: the one that is named, or the newest that promotes, of exactly the candidate against what the
environment points to at this moment."""

from __future__ import annotations

import msgspec
from sqlalchemy import Connection, select

from windlass.core.errors import Conflict, Forbidden, Invalid
from windlass.core.ref import ENVIRONMENTS, Ref, parse_ref
from windlass.core.score import Verdict
from windlass.evaluate.verdicts import load_verdict, newest_verdict
from windlass.registry.versions import resolve
from windlass.store.tables import verdicts


def chosen(c: Connection, ref: Ref, environment: str, now: str | None, digest: str | None, verdict_id: str | None) -> Verdict:
    """The verdict by which a release may move to an environment that points to `now`. Raises `Forbidden` or `Conflict` saying why none
    does, `Invalid`, `NotFound`."""
    base = str(Ref("release", ref.name, now, None, ref.project)) if now else None
    if verdict_id:
        verdict = load_verdict(c, ref.project, verdict_id)
        _check(verdict, ref, environment, base)
        return verdict
    if digest:
        candidate = resolve(c, Ref("release", ref.name, digest, None, ref.project))
    else:
        candidate = _let_through(c, ref, environment, base) or resolve(c, ref)
    if candidate.digest == now:
        raise Conflict(f"{candidate.short} is what {environment} runs already", remedy="push a change and gate it")
    found = newest_verdict(c, ref.project, str(candidate), base, environment, "promote")
    if found is None:
        raise _no_verdict(c, candidate, base, environment)
    return found


def same_again(c: Connection, verdict: Verdict) -> list[Verdict]:
    """Every promoting verdict about the same two, newest first."""
    v = verdicts.c
    bodies = c.execute(
        select(v.body)
        .where(
            v.project == verdict.project, v.candidate == verdict.candidate, v.environment == verdict.environment,
            v.decision == "promote", v.base.is_(None) if verdict.base is None else v.base == verdict.base,
        )
        .order_by(v.id.desc())
    ).scalars()  # fmt: skip
    return [msgspec.json.decode(body, type=Verdict) for body in bodies]


def _let_through(c: Connection, ref: Ref, environment: str, base: str | None) -> Ref | None:
    """The candidate of the newest promoting verdict against what is there now."""
    v = verdicts.c
    like = str(Ref("release", ref.name, None, None, ref.project)) + "@"
    found = c.execute(
        select(v.candidate)
        .where(
            v.project == ref.project, v.candidate.startswith(like, autoescape=True), v.environment == environment,
            v.decision == "promote", v.base.is_(None) if base is None else v.base == base,
        )
        .order_by(v.id.desc())
        .limit(1)
    ).scalar()  # fmt: skip
    return parse_ref(found, project=ref.project) if found else None


def release_of(given: str, project: str) -> Ref:
    ref = parse_ref(given, project=project, kind="release")
    if ref.kind != "release":
        raise Invalid(f"{given!r} is a {ref.kind}; what stands in an environment is a release", remedy=f"try release/{ref.name}")
    return ref


def environment_of(name: str) -> str:
    if name not in ENVIRONMENTS:
        raise Invalid(f"{name!r} is no environment", remedy="environments: " + ", ".join(ENVIRONMENTS))
    return name


def _check(verdict: Verdict, ref: Ref, environment: str, base: str | None) -> None:
    """Raises unless the verdict lets its candidate out here and now."""
    named = f"verdict {verdict.id[-8:]}"
    candidate = parse_ref(verdict.candidate, project=ref.project)
    if (candidate.kind, candidate.name) != ("release", ref.name) or (ref.digest and ref.digest != candidate.digest):
        raise Invalid(f"{named} is about {candidate.short}, not about {ref.short}", remedy="name its own release")
    if verdict.decision != "promote":
        raise Forbidden(f"{named} says {verdict.decision}", remedy="gate a better candidate, or give a reason with --override")
    if verdict.environment != environment:
        raise Forbidden(f"{named} is about {verdict.environment}, not {environment}", remedy=f"gate it against {environment}")
    if verdict.base != base:
        there = parse_ref(base, project=ref.project).short if base else "nothing"
        raise Conflict(f"{environment} has moved since {named}: it runs {there} now", remedy="gate against what is there now")


def _no_verdict(c: Connection, candidate: Ref, base: str | None, environment: str) -> Forbidden | Conflict:
    """Why this candidate may not go out, in a sentence."""
    v = verdicts.c
    row = c.execute(
        select(v.id, v.decision, v.base)
        .where(v.project == candidate.project, v.candidate == str(candidate), v.environment == environment)
        .order_by(v.id.desc())
        .limit(1)
    ).first()
    if row is None:
        return Forbidden(f"{candidate.short} has no verdict for {environment}", remedy="windlass gate, or give a reason with --override")
    if row.base != base:
        return Conflict(f"{environment} has moved since {candidate.short} was gated", remedy="gate it against what is there now")
    return Forbidden(
        f"the gate said {row.decision} of {candidate.short} (verdict {row.id[-8:]})",
        remedy="mend it and gate again, or give a reason with --override",
    )
