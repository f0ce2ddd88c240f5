"""`traces score`: what one answer was worth, and how a score reads in a line."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from windlass.core.errors import Invalid
from windlass.core.ids import now_ns
from windlass.core.operations.traces import ScoreGiven
from windlass.doors import format as words
from windlass.doors.cli.session import Session, plain

YES, NO = ("true", "yes", "up"), ("false", "no", "down")


class Judging(msgspec.Struct):
    """Options of `score`."""

    comment: Annotated[str | None, typer.Option("--comment", help="With score: in words, also without a value.")] = None
    withdraw: Annotated[bool, typer.Option("--withdraw", help="With score: take yours of this name back.")] = False


def score(session: Session, said: list[str], conversation: str | None, span: str | None, judging: Judging) -> None:
    """Give one, or take it back. Raises `Invalid`."""
    given = [None, *said] if conversation else [*said]
    if not 2 <= len(given) <= 3:
        raise Invalid("a score needs what it is about, and a name", remedy="windlass traces score ID NAME VALUE, or --session S NAME VALUE")
    (trace, name), value = given[:2], _value(given[2]) if given[2:] else None
    of_what = {"session": conversation, "span": span, "withdraw": judging.withdraw}
    kept = session.client.traces.score(trace, name or "", value, comment=judging.comment, **of_what)
    session.result(kept)
    of = f"span {kept.score.span} of trace" if kept.score.span else "trace"
    about = plain(f"session {conversation}" if conversation else f"{of} {kept.trace}")
    if kept.withdrawn:
        session.print(f"withdrawn: {plain(kept.score.name)} of {about}")
    else:
        session.print(f"kept: {_worth(kept.score)} for {about}{'' if kept.arrived else ', which has not come yet'}")


def _value(text: str | None) -> bool | float | str | None:
    """A value as it is typed: yes or no, a number, or a category."""
    if text is None:
        return None
    if text.lower() in YES + NO:
        return text.lower() in YES
    try:
        return float(text)
    except ValueError:
        return text


def tell(session: Session, given: ScoreGiven, of: str = "") -> None:
    """A score in a line; `of` says what it is about, where that is not clear."""
    said = f"  {plain(words.line(given.comment, 100))}" if given.comment else ""
    who = f"{f'of {plain(of)}, ' if of else ''}by {plain(given.by or 'nobody named')} · {words.ago(given.at_ns, now_ns())}"
    session.print(f"[bold]{_worth(given)}[/bold]{said}  [dim]{who}[/dim]")


def _worth(given: ScoreGiven) -> str:
    return plain(f"{given.name} {words.worth(given)}".strip())
