"""`tune`: sft, reward, rl, dpo; and what came of them: list, show, resume, cancel, compare."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from windlass.core.digest import short
from windlass.core.errors import Invalid, error_from_dict
from windlass.core.ids import now_ns
from windlass.core.operations.tuning import Measure, Method, Tune, TuneComparison, TuneParameters, TuneRequest
from windlass.doors import format as words
from windlass.doors.cli.commands import command
from windlass.doors.cli.data import Cursor
from windlass.doors.cli.evaluating import COLOURS, sole_suite
from windlass.doors.cli.session import Session, plain
from windlass.doors.cli.workspace import progress

POLL_SECONDS = 0.25
ENDED = ("done", "failed", "cancelled")

Id = Annotated[str, typer.Argument(help="A tuning: its name for the newest of it, its id or a part of that.")]
Name = Annotated[str, typer.Argument(help="What comes of it is to be called so.")]
Base = Annotated[str, typer.Option("--base", help="Weights to tune: a name, an id, a ref. windlass weights list")]
Data = Annotated[str, typer.Option("--data", help="The dataset to train on.")]
Split = Annotated[str | None, typer.Option("--split", help="Train on rows of this split; by default train where there is one, else all.")]
Heldout = Annotated[str | None, typer.Option("--heldout", help="Measure on rows of this split; by default a tenth is held out.")]
Suite = Annotated[list[str] | None, typer.Option("--suite", help="What will judge it; again for more. All of the project's by default.")]
Prompt = Annotated[str | None, typer.Option("--prompt", help="A prompt that renders rows, as the component that will use it does.")]
Question = Annotated[str, typer.Option("--question", help="Else the field with the user's words.")]
Steps = Annotated[int, typer.Option("--steps", min=1, help="Batches to train on.")]
Batch = Annotated[int, typer.Option("--batch", min=1, help="Rows of a batch; for rl, answers.")]
Rate = Annotated[float | None, typer.Option("--learning-rate", help="The method's own by default.")]
Rank = Annotated[int, typer.Option("--rank", min=1, help="Of the adapter.")]
Alpha = Annotated[float, typer.Option("--alpha", help="How much the adapter weighs: alpha / rank.")]
Dropout = Annotated[float, typer.Option("--dropout", min=0, max=0.99, help="Of the adapter.")]
Longest = Annotated[int, typer.Option("--longest", min=8, help="Tokens of a row at most.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="The same seed, the same weights.")]
Every = Annotated[int, typer.Option("--save-every", min=1, help="Steps between checkpoints.")]
Detach = Annotated[bool, typer.Option("--detach", help="Begin, and do not wait.")]


def add(app: typer.Typer) -> None:
    tune = typer.Typer(help="Tune a model on this machine, and hold it against what it was made of.", no_args_is_help=True)
    command(tune, "sft", "tune.start", "tune.show", "tune.points", path="tune")(sft)
    command(tune, "reward", "tune.start", path="tune")(reward)
    command(tune, "rl", "tune.start", path="tune")(rl)
    command(tune, "dpo", "tune.start", path="tune")(dpo)
    command(tune, "list", "tune.list", path="tune")(list_tunes)
    command(tune, "show", "tune.show", "tune.points", "tune.compared", path="tune")(show)
    command(tune, "resume", "tune.resume", path="tune")(resume)
    command(tune, "cancel", "tune.cancel", path="tune")(cancel)
    command(tune, "compare", "tune.compare", "tune.compared", path="tune")(compare)
    app.add_typer(tune, name="tune", rich_help_panel="Develop")


def sft(
    session: Session, name: Name, base: Base, data: Data, split: Split = None, heldout: Heldout = None, suite: Suite = None,
    prompt: Prompt = None, question: Question = "prompt",
    completion: Annotated[str, typer.Option("--completion", help="The field with the right answer.")] = "completion",
    steps: Steps = 100, batch: Batch = 8, learning_rate: Rate = None, rank: Rank = 8, alpha: Alpha = 16.0, dropout: Dropout = 0.0,
    longest: Longest = 512, seed: Seed = 0, save_every: Every = 20, detach: Detach = False,
) -> int:  # fmt: skip
    """Supervised fine-tuning: rows with the right answer, a LoRA adapter."""
    p = TuneParameters(steps, batch, learning_rate, rank, alpha, dropout, longest, seed, save_every)
    more = {"completion": completion, "prompt": prompt, "question": question}
    return _start(session, "sft", name, base, data, p, split, heldout, suite, detach, **more)


def reward(
    session: Session, name: Name, base: Base, data: Data, split: Split = None, heldout: Heldout = None, suite: Suite = None,
    prompt: Prompt = None, question: Question = "prompt", steps: Steps = 100, batch: Batch = 8, learning_rate: Rate = None,
    rank: Rank = 8, alpha: Alpha = 16.0, dropout: Dropout = 0.0, longest: Longest = 512, seed: Seed = 0, save_every: Every = 20,
    detach: Detach = False,
) -> int:  # fmt: skip
    """A reward model from preferences: rows with `prompt`, `chosen` and `rejected`, such as reviews make."""
    p = TuneParameters(steps, batch, learning_rate, rank, alpha, dropout, longest, seed, save_every)
    return _start(session, "reward", name, base, data, p, split, heldout, suite, detach, prompt=prompt, question=question)


def dpo(
    session: Session, name: Name, base: Base, data: Data, split: Split = None, heldout: Heldout = None, suite: Suite = None,
    prompt: Prompt = None, question: Question = "prompt", steps: Steps = 100, batch: Batch = 8, learning_rate: Rate = None,
    rank: Rank = 8, alpha: Alpha = 16.0, dropout: Dropout = 0.0, longest: Longest = 512, seed: Seed = 0, save_every: Every = 20,
    beta: Annotated[float | None, typer.Option("--beta", help="How near to stay to the base; 0.3 by default.")] = None,
    detach: Detach = False,
) -> int:  # fmt: skip
    """Preferences without a reward model (DPO), with a share of plain fitting to the better answers."""
    p = TuneParameters(steps, batch, learning_rate, rank, alpha, dropout, longest, seed, save_every, beta)
    return _start(session, "dpo", name, base, data, p, split, heldout, suite, detach, prompt=prompt, question=question)


def rl(
    session: Session, name: Name, base: Base, data: Data,
    reward: Annotated[str, typer.Option("--reward", help="The reward model: a name or a ref.")],
    method: Annotated[str, typer.Option("--method", help="grpo or rloo.")] = "grpo",
    split: Split = None, heldout: Heldout = None, suite: Suite = None, prompt: Prompt = None, question: Question = "prompt",
    steps: Steps = 100, batch: Batch = 16, learning_rate: Rate = None, rank: Rank = 8, alpha: Alpha = 16.0, dropout: Dropout = 0.0,
    longest: Longest = 512, seed: Seed = 0, save_every: Every = 20,
    beta: Annotated[float | None, typer.Option("--beta", help="How near to stay to the base.")] = None,
    generations: Annotated[int, typer.Option("--generations", min=2, help="Answers to each prompt that are held against each other.")] = 8,
    answer: Annotated[int, typer.Option("--answer", min=1, help="Tokens of an answer at most.")] = 64,
    temperature: Annotated[float, typer.Option("--temperature", help="At which answers are drawn.")] = 1.0,
    detach: Detach = False,
) -> int:  # fmt: skip
    """Reinforcement learning from human feedback: the model's own answers, scored by a reward model."""
    if method not in ("grpo", "rloo"):
        raise Invalid(f"there is no method {method!r}", where="--method", remedy="grpo or rloo")
    p = TuneParameters(steps, batch, learning_rate, rank, alpha, dropout, longest, seed, save_every, beta, generations, answer, temperature)
    more = {"prompt": prompt, "question": question, "reward": reward}
    return _start(session, "grpo" if method == "grpo" else "rloo", name, base, data, p, split, heldout, suite, detach, **more)


def _start(
    session: Session, method: Method, name: str, base: str, data: str, parameters: TuneParameters, split: str | None,
    heldout: str | None, suites: list[str] | None, detach: bool, **more: Any,
) -> int:  # fmt: skip
    request = TuneRequest(method, name, base, data, session.client.project, parameters, split, heldout, suites=tuple(suites or ()), **more)
    return _watched(session, session.client.tunes.start(request), detach)


def _watched(session: Session, found: Tune, detach: bool) -> int:
    if not detach:
        found = _watch(session, found)
    session.result(found)
    show_tune(session, found)
    return 1 if found.status == "failed" else 0


def _watch(session: Session, found: Tune) -> Tune:
    try:
        with progress(session) as say:
            while (found := session.client.tunes.show(found.id)).status not in ENDED:
                what = "loading" if found.status == "running" and not found.step else found.status
                say(f"{found.request.method} {found.request.name} · {what}", found.step, found.steps)
                time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        session.warn(f"look at it again with: windlass tune show {found.id[-8:]}; end it with: windlass tune cancel {found.id[-8:]}")
        raise
    if found.error:
        raise error_from_dict(found.error)
    return found


def show_tune(session: Session, t: Tune) -> None:
    r = t.request
    session.print(f"[bold]{r.method} {plain(r.name)}[/bold] {t.status} · step {t.step:,} of {t.steps:,} · {t.id[-8:]}")
    if t.error:
        error = error_from_dict(t.error)
        session.print(f"  [red]{plain(error.message)}[/]", f"  → {plain(error.remedy or '')}")
    session.print(f"  on {words.short_ref(t.base)} · {t.rows:,} rows of {words.short_ref(t.data)}, {t.heldout_rows:,} held out")
    if t.hardware:
        session.print(f"  [dim]{plain(t.hardware)}[/dim]")
    if t.measure:
        session.print(f"  {measured(t.measure)}")
    for w in t.warnings:
        session.warn(w)
    for s in t.samples[-3:]:
        session.print(f"  [dim]{plain(s.prompt)}[/dim] → {plain(s.text)}")
    if t.status == "done":
        session.print(f"  {plain(t.canary)}", f"  {words.short_ref(t.adapter)}" + (f"  {t.id_of_model}" if t.id_of_model else ""))
        if t.id_of_model:
            session.print(f"[dim]next: windlass tune compare {t.id[-8:]}[/dim]")
    session.print(f"[dim]{session.link('/tunes/' + t.id[-8:])}[/dim]")


def measured(m: Measure) -> str:
    colour = "green" if m.helped else "yellow"
    interval = plain(f"[{words.figure(m.low, '+')}, {words.figure(m.high, '+')}]")
    figures = f"{words.figure(m.before)} → {words.figure(m.after)}   {words.figure(m.difference, '+')} {interval}"
    return f"{m.name} {figures} on {m.rows} rows   [{colour}]{'better' if m.helped else 'not shown better'}[/]"


def list_tunes(
    session: Session, name: Annotated[str | None, typer.Option("--name", help="Of one name.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="At most so many.")] = 20, cursor: Cursor = None,
) -> None:  # fmt: skip
    """Tunings, the newest first."""
    page = session.client.tunes.list(name, cursor, limit)
    session.result(page)
    now = now_ns()
    session.table(
        ("id", "", "name", "", "step", "on", "when"),
        [
            (
                t.id[-8:],
                t.request.method,
                t.request.name,
                t.status,
                f"{t.step:,}/{t.steps:,}",
                words.short_ref(t.base),
                words.ago(t.created_ns, now),
            )
            for t in page.items
        ],
    )
    if page.next:
        session.print(f"[dim]more: --cursor {page.next}[/dim]")


def show(
    session: Session, id: Id, points: Annotated[bool, typer.Option("--points", help="With the figures of each step.")] = False
) -> None:
    """One tuning: how far it is, what it measured, what it says, what it was held against."""
    found = session.client.tunes.show(id)
    if points:
        told = session.client.tunes.points(id)
        session.result(told)
        names = sorted({n for p in told.items for n in p.values})[:6]
        session.table(
            ("step", *names), [(str(p.step), *(f"{p.values[n]:.4g}" if n in p.values else "" for n in names)) for p in told.items]
        )
        return
    session.result(found)
    show_tune(session, found)
    for comparison in session.client.tunes.compared(found.id).items:
        show_comparison(session, comparison)


def resume(session: Session, id: Id, detach: Detach = False) -> int:
    """Go on from the last whole checkpoint. Refused where rows, parameters, weights, code or libraries are not what they were."""
    return _watched(session, session.client.tunes.resume(id), detach)


def cancel(session: Session, id: Id) -> None:
    """End a tuning. Its checkpoints stay: it can be gone on with."""
    found = session.client.tunes.cancel(id)
    session.result(found)
    show_tune(session, found)


def compare(
    session: Session, id: Id,
    suite: Annotated[str | None, typer.Option("--suite", help="By which suite; the only one by default.")] = None,
    part: Annotated[str | None, typer.Option("--part", help="The component or agent whose model changes.")] = None,
    previous: Annotated[str | None, typer.Option("--previous", help="Another model; the one tuned before by default.")] = None,
) -> int:  # fmt: skip
    """Hold a tuned model against the frozen and the previous one: promote (exit 0), block (1), inconclusive (3); 4 is an error."""
    session.error_code = 4
    found = session.client.tunes.compare(id, sole_suite(session, suite, f"tune compare {id} --suite"), part, previous)
    with progress(session) as say:
        while found.status in ("queued", "running"):
            time.sleep(POLL_SECONDS)
            found = next(c for c in session.client.tunes.compared(found.tune).items if c.id == found.id)
            say("comparing", found.done, found.total)
    if found.error:
        raise error_from_dict(found.error)
    session.result(found)
    show_comparison(session, found)
    return {"promote": 0, "block": 1, "inconclusive": 3}[found.decision]


def show_comparison(session: Session, c: TuneComparison) -> None:
    for v in c.against:
        session.print(f"against the {v.what} model {plain(v.model.partition('@')[0])}@{short(v.model.partition('@')[2])}")
        for g in v.guards:
            interval = plain(f" [{g.interval.low * 100:+.1f}, {g.interval.high * 100:+.1f}]".replace("-", "−")) if g.interval else ""
            figures = f"{words.score(g.before)} → {words.score(g.after)}   {words.points(g.difference)} points{interval}"
            session.print(f"  {g.name}   {figures}   {g.rows} rows   [{COLOURS[g.decision]}]{plain(g.sentence)}[/]")
        session.print(f"  {plain(v.why)}")
    if c.left_out:
        session.print(f"  {c.left_out} rows were left out: they stand among what the models were trained on")
    session.print(f"[bold {COLOURS[c.decision]}]{c.decision.upper()}[/]" if c.status == "done" else c.status)
