"""The card of a release, in Markdown: what it is, what was measured, who let it out; each model and each dataset in it. What is not known
says so."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from windlass.core.digest import short
from windlass.core.score import GuardResult, Verdict, in_percent
from windlass.deploy.gathered import Gathered, Made

KINDS = ("chain", "agent", "component", "prompt", "tool", "index", "fewshot", "schema")


def sentence(g: Gathered) -> str:
    """The whole of it in one sentence."""
    out = sorted({m.environment for m in g.moves if m.after == g.release.ref.digest})
    said = [f"{v.decision} for {v.environment}" for v in g.verdicts]
    proof = f"gated {len(said)} times ({', '.join(said)})" if len(said) > 1 else f"gated once ({said[0]})" if said else "never gated"
    people = sorted({a for m in g.moves if m.after == g.release.ref.digest for a in m.approved_by})
    approved = f", approved by {', '.join(people)}" if people else ""
    where = f"it was in {' and '.join(out)}" if out else "it was never let out"
    return f"{g.release.ref.short} was registered by {g.release.actor}, {proof}{approved}; {where}"


def written(g: Gathered) -> str:
    """The card as text."""
    parts = [_release(g), *(_verdict(v) for v in g.verdicts), _out(g), *(_model(m) for m in g.of("model", "adapter"))]
    parts += [_data(m, g) for m in g.of("dataset", "fewshot")]
    return "\n\n".join(parts) + "\n"


def _release(g: Gathered) -> str:
    made = g.release
    lines = [
        f"# {made.ref.short}",
        "",
        f"{sentence(g)}.",
        "",
        f"- digest: `{made.ref.digest}`",
        f"- registered {_when(made.created_ns)} by {made.actor}",
    ]
    for kind in KINDS:
        if found := g.of(kind):
            names = [f"`{m.ref.name}@{short(m.ref.digest or '')}`" for m in found]
            lines.append(f"- {kind}: {', '.join(names)}")
    if tools := [m for m in g.of("tool") if m.version.body["effects"] == "write"]:
        lines.append(f"- tools that change the world: {', '.join(m.ref.name for m in tools)}")
    if g.truncated:
        lines.append("- what it is made of is more than fits here: the nearest versions are named")
    agrees = "agrees" if g.state.problem is None else f"DISAGREES: {g.state.problem}"
    lines.append(f"- the audit of the installation {agrees}; head {g.state.entries}:{g.state.head}")
    return "\n".join(lines)


def _verdict(v: Verdict) -> str:
    against = f"against {v.base.partition('@')[0]}@{short(v.base.partition('@')[2])}" if v.base else "as first release"
    head = f"## Verdict {v.id[-8:]}: {v.decision}, for {v.environment}"
    chance = f"the chance of promoting what is worse: at most {in_percent(v.error)}"
    said = f"{_when(v.created_ns)}, {against}, over {v.rows} rows of `{v.suite}`; {chance}."
    table = ["| guard | candidate | was | difference | decision |", "|---|---|---|---|---|", *(_guard(x) for x in v.guards)]
    left = [f"{len(v.left_out)} rows were not counted, since what runs was shown them."] if v.left_out else []
    return "\n".join([head, "", said, "", *table, *(["", *left] if left else [])])


def _guard(x: GuardResult) -> str:
    interval = f" [{x.interval.low:+.3f}, {x.interval.high:+.3f}]" if x.interval else ""
    difference = (
        f"{x.difference:+.3f}{interval}" if x.difference is not None else f"floor {x.floor:g}" if x.floor is not None else "unmeasured"
    )
    return f"| {x.name} | {_score(x.candidate)} | {_score(x.base)} | {difference} | {x.decision} |"


def _score(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _out(g: Gathered) -> str:
    lines = ["## Where it stood", ""]
    for m in reversed(g.moves):
        how = {
            "promote": "promoted to",
            "rollback": "rolled back in",
            "rollout": "rolled out to",
            "override": "moved, past the gate, to",
        }.get(m.kind, "moved in")
        by = f"by verdict {m.verdict[-8:]}" if m.verdict else f"for the reason: {m.reason}"
        approved = f"; approved by {', '.join(m.approved_by)}" if m.approved_by else ""
        lines.append(f"- {_when(m.at_ns)}: `{short(m.after)}` {how} {m.environment} by {m.actor}, {by}{approved}")
    if not g.moves:
        lines.append("It was never let out.")
    return "\n".join(lines)


def _model(made: Made) -> str:
    body = made.version.body
    lines = [f"## Model {made.ref.name}", "", f"- version: `{made.ref.digest}`"]
    if made.ref.kind == "model":
        fixed = "one fixed snapshot" if body.get("pinned") else "whatever the provider serves under this name"
        lines += [f"- provider: {body['provider']}, `{body['model']}`: {fixed}", *_parameters(body.get("parameters", {}))]
    else:
        lines += [f"- tuned by {body['method']} on `{short(body['base'])}`", *_parameters(body.get("settings", {}))]
    facts = made.facts.facts if made.facts else None
    licence = (facts.licence if facts else "") or str(made.version.neutral.get("licence") or "")
    lines.append(f"- licence: {licence or 'not known'}")
    if facts:
        lines += [f"- {what}: {value}" for what, value in (("knowledge until", facts.knowledge), ("retires", facts.retires)) if value]
    return "\n".join(lines)


def _parameters(given: dict[str, Any]) -> list[str]:
    return [f"- parameters: {', '.join(f'{k} = {v}' for k, v in sorted(given.items()))}"] if given else []


def _data(made: Made, g: Gathered) -> str:
    used = sorted({f"{e.source.partition('@')[0]} ({e.relation})" for e in g.edges if e.target == str(made.ref)})
    sources = sorted({e.target for e in g.edges if e.source == str(made.ref)})
    count = made.version.body["count"]
    lines = [
        f"## Data {made.ref.name}", "", f"- version: `{made.ref.digest}`", f"- {count:,} row{'' if count == 1 else 's'}",
        f"- registered {_when(made.created_ns)} by {made.actor}", f"- used by {', '.join(used) or 'nothing here'}",
    ]  # fmt: skip
    return "\n".join([*lines, *([f"- made of {', '.join(f'`{s}`' for s in sources)}"] if sources else [])])


def _when(ns: int) -> str:
    return datetime.fromtimestamp(ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
