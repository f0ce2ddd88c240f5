"""`traces ledger` and `traces audit`: what was received, and the proof."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from windlass.core.operations.ledger import AuditedLine, LedgerLine
from windlass.doors import format as words
from windlass.doors.cli.session import Session, plain
from windlass.doors.cli.workspace import progress

FATES = ("received", "indexed", "again", "kept", "waiting", "unreadable", "erased", "expired")


def ledger(session: Session, hours: int) -> None:
    """By source, of so many hours; `--json` has every hour."""
    page = session.client.traces.ledger(hours)
    session.result(page)
    if not page.items:
        session.print(f"nothing was received in {hours} h" if hours else "nothing was received yet")
        return
    by_source: dict[tuple[str, str], list[LedgerLine]] = {}
    for line in page.items:
        by_source.setdefault((line.source, line.signal), []).append(line)
    rows = [
        (
            plain(source) or "no name", signal, *(f"{sum(getattr(line, fate) for line in lines):,}" for fate in FATES),
            _reasons(line.refused for line in lines), _reasons(line.turned_away for line in lines),
        )
        for (source, signal), lines in sorted(by_source.items())
    ]  # fmt: skip
    session.table(("source", "", *FATES, "refused", "requests turned away"), rows, right=frozenset(range(2, 2 + len(FATES))))
    if off := sum(line.missing != 0 for line in page.items):
        session.print(f"[red]{words.many(off, 'line')} of the ledger do not balance[/red]: windlass traces audit says more")


def audit(session: Session, hours: int) -> int:
    """Of all that is there. 1 where something does not balance."""
    with progress(session) as say:
        for told in session.client.traces.audit():
            say("reading the journal again", told.done, told.total)
    session.result(told)
    off = [line for line in told.items if line.problems]
    for line in off:
        session.print(f"[red]{words.stamp(line.hour_ns)}  {plain(line.source) or 'no name'}  {line.signal}[/red]")
        for problem in line.problems:
            session.print(f"  {problem}")
    items, erased, refused = (sum(getattr(line, of) for line in told.items) for of in ("items", "erased", "refused"))
    session.print(
        f"{told.balanced:,} of {words.many(told.lines, 'line')} balance: {words.many(items, 'item')} in the journal,"
        f" {refused:,} were refused, {erased:,} erased"
    )
    _more(session, told.items, told.damaged)
    return 1 if told.balanced < told.lines else 0


def _more(session: Session, lines: Iterable[AuditedLine], damaged: int) -> None:
    if otherwise := sum(line.otherwise for line in lines):
        session.print(f"[dim]{words.many(otherwise, 'span')} would be read otherwise today: windlass traces remap[/dim]")
    if before := sum(line.unmeasured for line in lines):
        session.print(
            f"[dim]{words.many(before, 'line')} are kept no longer, or of before the ledger: the journal proves nothing there[/dim]"
        )
    if damaged:
        session.print(f"[red]{words.size(damaged)} of the journal cannot be read[/red]")


def _reasons(found: Iterable[Mapping[str, int]]) -> str:
    total: Counter[str] = Counter()
    for reasons in found:
        total.update(reasons)
    return ", ".join(f"{count:,} {plain(reason)}" for reason, count in total.most_common())
