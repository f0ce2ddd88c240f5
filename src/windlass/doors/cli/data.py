"""`data`: rows of datasets: add, remove, pull into the workspace, compare, merge, from traces, duplicates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from windlass.core.digest import short
from windlass.core.errors import Invalid
from windlass.core.operations.datasets import Duplicate, Edited, MergeConflict, RowCounts, RowDifference
from windlass.doors import format as words
from windlass.doors.cli.commands import command
from windlass.doors.cli.session import Session, plain
from windlass.doors.cli.workspace import find_workspace, progress
from windlass.sdk.pulling import pull_rows

Dataset = Annotated[str, typer.Argument(help="A dataset: its name, or name:branch.")]
Message = Annotated[str, typer.Option("-m", "--message", help="What the change is for.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=200, help="At most so many.")]
Cursor = Annotated[str | None, typer.Option("--cursor", help="Go on from here.")]


def add(app: typer.Typer) -> None:
    data = typer.Typer(help="Rows of datasets: add, remove, pull, compare, merge, from traces.", no_args_is_help=True)
    command(data, "add", "datasets.edit", path="data")(add_rows)
    command(data, "remove", path="data")(remove)
    command(data, "pull", path="data")(pull)
    command(data, "diff", "datasets.diff", path="data")(diff)
    command(data, "merge", "datasets.merge", path="data")(merge)
    command(data, "from-traces", "datasets.harvest", path="data")(from_traces)
    command(data, "duplicates", "datasets.duplicates", path="data")(duplicates)
    app.add_typer(data, name="data", rich_help_panel="Develop")


def add_rows(
    session: Session,
    dataset: Dataset,
    file: Annotated[
        Path, typer.Argument(help="JSONL or CSV, one row a line, each with a text `key`. A CSV column `name:json` holds JSON, others text.")
    ],
    expected: Annotated[
        str | None, typer.Option("--from", help="The version it was made on; rows others changed since are refused.")
    ] = None,
    message: Message = "",
    drift: Annotated[bool, typer.Option("--drift", help="Also take rows whose fields have other types than the dataset's.")] = False,
) -> None:
    """Set rows of a dataset on the server: new keys are added, known ones replaced. Rows that are broken are named and left out."""
    with progress(session) as say:
        done = session.client.datasets.add(
            dataset, file, expected=expected, message=message, drift=drift, tell=session.warn, progress=say
        )  # fmt: skip
    edited(session, done)


def remove(
    session: Session,
    dataset: Dataset,
    keys: Annotated[list[str], typer.Argument(help="Keys of the rows.")],
    message: Message = "",
) -> None:
    """Remove rows of a dataset. Older versions keep them."""
    done = session.client.datasets.edit(dataset, remove=keys, message=message)
    for problem in done.problems:
        session.warn(problem)
    edited(session, done)


def pull(
    session: Session,
    dataset: Dataset,
    folder: Annotated[Path | None, typer.Option("--folder", help="The workspace; the one around the current folder by default.")] = None,
    to: Annotated[
        str | None, typer.Option("--to", help="A file of the workspace, for a dataset that came from none, as one of a pin.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Also over rows of the file that were never pushed.")] = False,
) -> None:
    """Bring the file of a dataset to what the server has, so that what was curated there goes into git."""
    done = pull_rows(session.client, find_workspace(folder), dataset, to=to, force=force)
    session.result(done)
    session.print(f"{done.path}: {_counts(done.rows)} · {words.many(done.count, 'row')}, as {words.short_ref(done.ref)}")


def diff(
    session: Session,
    a: Annotated[str, typer.Argument(help="A dataset version: name@digest, name:branch or name.")],
    b: Annotated[str, typer.Argument(help="The version to compare it with.")],
    only: Annotated[str, typer.Option("--only", help="added, removed or changed.")] = "all",
    limit: Limit = 20,
    cursor: Cursor = None,
) -> None:
    """Rows that differ between two versions, by key."""
    found = session.client.datasets.diff(a, b, only, cursor, limit)
    session.result(found)
    session.print(f"[bold]{words.short_ref(found.a)} → {words.short_ref(found.b)}[/bold] · {_counts(found.rows)}")
    for change in found.items:
        session.print(*_change(change))
    if found.next:
        session.print(f"[dim]more: --cursor {found.next}[/dim]")


def merge(
    session: Session,
    ours: Annotated[str, typer.Argument(help="The branch to merge into: name or name:branch.")],
    theirs: Annotated[str, typer.Argument(help="The version whose changes to take: name:branch or name@digest.")],
    base: Annotated[str | None, typer.Option("--base", help="The version both came from; found by itself.")] = None,
    prefer: Annotated[str | None, typer.Option("--prefer", help="Whose rows count where both changed them: ours or theirs.")] = None,
    choose: Annotated[list[str] | None, typer.Option("--choose", help="KEY=ours or KEY=theirs, for one row.")] = None,
    dry: Annotated[bool, typer.Option("--dry", help="Only say what would change.")] = False,
) -> int:
    """Merge two branches of a dataset, row by row and field by field. Exit 1 where rows clash; then nothing was changed."""
    chosen: dict[str, Any] = {}
    for choice in choose or []:
        key, _, side = choice.rpartition("=")
        chosen[key] = side
    if wrong := [s for s in [*chosen.values(), *([prefer] if prefer else [])] if s not in ("ours", "theirs")]:
        raise Invalid(f"{wrong[0]!r} is no side", remedy="write ours or theirs")
    done = session.client.datasets.merge(ours, theirs, base=base, choose=chosen, prefer=prefer, dry=dry)  # type: ignore[arg-type]
    session.result(done)
    if done.conflicting:
        clash = "1 row clashes" if done.conflicting == 1 else f"{words.many(done.conflicting, 'row')} clash"
        session.print(f"[red]{clash}[/red]; nothing was changed")
        for conflict in done.conflicts:
            session.print(*_conflict(conflict))
        session.print("[dim]decide with --choose KEY=ours|theirs, or --prefer ours|theirs for all[/dim]")
        return 1
    joined = f", {done.joined} of them field by field" if done.joined else ""
    session.print(f"{_counts(done.rows)}{joined} · {'nothing was changed yet' if dry else words.short_ref(done.ref)}")
    return 0


def from_traces(
    session: Session,
    dataset: Dataset,
    traces: Annotated[list[str], typer.Argument(help="Traces: ids, or the start of them.")],
    fields: Annotated[
        list[str] | None, typer.Option("--set", help="FIELD=VALUE of each row, in JSON or as text: symbols='[\"str.split\"]'.")
    ] = None,
    message: Message = "",
) -> None:
    """Make rows of what was asked in production: the next version is tested on it."""
    given = dict(read_field(text) for text in fields or [])
    done = session.client.datasets.harvest(dataset, traces, given, message)
    for problem in done.problems:
        session.warn(problem)
    edited(session, done)


def read_field(text: str) -> tuple[str, Any]:
    """FIELD=VALUE, in JSON or as text. Raises `Invalid`."""
    name, sign, value = text.partition("=")
    if not name or not sign:
        raise Invalid(f"{text!r} sets nothing", where="--set", remedy="write FIELD=VALUE")
    try:
        return name, msgspec.json.decode(value)
    except msgspec.DecodeError:
        return name, value


def duplicates(
    session: Session,
    dataset: Annotated[str, typer.Argument(help="A dataset: its name, or name@digest.")],
    against: Annotated[str | None, typer.Option("--against", help="Another dataset or few-shot set, to find what leaks.")] = None,
    fields: Annotated[list[str] | None, typer.Option("--field", help="Compare by this field only; may be given again.")] = None,
    near: Annotated[float, typer.Option("--near", min=0.5, max=1.0, help="Likeness from which rows count as the same.")] = 0.8,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> None:
    """Rows that say the same, exactly or nearly, and which of them leak between splits."""
    found = session.client.datasets.duplicates(dataset, against, fields=fields or (), near=near, cursor=cursor, limit=limit)
    session.result(found)
    where = words.short_ref(found.ref) + (f" and {words.short_ref(found.against)}" if found.against != found.ref else "")
    pairs = words.many(found.count, "pair")
    session.print(f"[bold]{where}[/bold] · {pairs}, {found.exact:,} of them the same, {words.many(found.leaks, 'leak')}")
    session.table(("likeness", "row", "", "row", "", "text"), [_pair(d) for d in found.items])
    if found.next:
        session.print(f"[dim]more: --cursor {found.next}[/dim]")
    elif found.items and found.ref == found.against:
        session.print(f"[dim]windlass data remove {dataset} {found.items[0].other.key}[/dim]")


def _pair(d: Duplicate) -> tuple[str, ...]:
    return (f"{d.likeness:.2f}", d.row.key, d.row.split or "", d.other.key, d.other.split or "", d.row.text[:70])


def edited(session: Session, done: Edited) -> None:
    session.result(done)
    before = f"{short(done.before)} → " if done.before else "new: "
    session.print(f"{words.short_ref(done.ref).partition('@')[0]}   {before}{short(done.ref.partition('@')[2])}   {_counts(done.rows)}")


def _counts(rows: RowCounts) -> str:
    said = [f"{n:,} {what}" for n, what in ((rows.added, "added"), (rows.removed, "removed"), (rows.changed, "changed")) if n]
    return ", ".join(said) or "nothing differs"


def _change(change: RowDifference) -> list[str]:
    if change.before is None or change.after is None:
        sign, row = ("[green]+[/green]", change.after) if change.before is None else ("[red]-[/red]", change.before)
        return [f"{sign} {plain(_json(row))}"]
    lines = [f"[yellow]~[/yellow] {plain(change.key)}"]
    for field in change.fields:
        lines += [f"    [red]- {plain(f'{field}: {_json(change.before.get(field))}')}[/red]"] if field in change.before else []
        lines += [f"    [green]+ {plain(f'{field}: {_json(change.after.get(field))}')}[/green]"] if field in change.after else []
    return lines


def _conflict(conflict: MergeConflict) -> list[str]:
    lines = [f"[bold]{plain(conflict.key)}[/bold]"]
    for field in conflict.fields:
        for side, row in (("base", conflict.base), ("ours", conflict.ours), ("theirs", conflict.theirs)):
            said = "removed" if row is None else _json(row) if field == "key" else _json(row[field]) if field in row else "not there"
            lines.append(f"    {side:<7} {'' if field == 'key' else field + ': '}{plain(said)}")
    return lines


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
