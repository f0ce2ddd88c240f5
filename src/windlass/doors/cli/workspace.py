"""`init`, `push`."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from windlass.core.digest import short
from windlass.core.errors import Conflict, Invalid
from windlass.core.operations.registry import Change, PushReport
from windlass.doors import format as words
from windlass.doors.cli.commands import command
from windlass.doors.cli.session import Session, plain, workspace_here

TEMPLATE = Path(__file__).parent / "template"


def add(app: typer.Typer) -> None:
    command(app, "init", panel="Develop")(init)
    command(app, "push", "registry.push", "blobs.missing", "rows.compare", "rows.pack", "rows.keep", panel="Develop")(push)


def init(
    session: Session,
    folder: Annotated[Path, typer.Argument(help="Where to make it.")] = Path(),
) -> None:
    """Make a small workspace that can be pushed, run and gated at once."""
    folder = folder.resolve()
    files = sorted(p.relative_to(TEMPLATE) for p in TEMPLATE.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    names = {path: path.with_name(".gitignore") if path.name == "gitignore" else path for path in files}
    if there := [str(name) for name in names.values() if (folder / name).exists()]:
        raise Conflict(f"{there[0]} is there already", where=str(folder), remedy="name another folder: windlass init my-app")
    for path, name in names.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(TEMPLATE / path, folder / name)
    manifest = folder / "windlass.toml"
    manifest.write_text(manifest.read_text().replace("my-app", _name(folder)))
    session.result({"folder": str(folder), "files": sorted(map(str, names.values()))})
    go = "" if folder == Path.cwd() else f"cd {folder.name if folder.parent == Path.cwd() else folder} && "
    session.print(
        f"made {len(files)} files in {folder}", "", "next:", f"  {go}windlass push", '  windlass run shop "When do you open?"',
        "  windlass gate shop",
    )  # fmt: skip


def _name(folder: Path) -> str:
    kept = "".join(c if c.isascii() and c.isalnum() else "-" for c in folder.name.lower()).strip("-")
    return kept or "my-app"


def push(
    session: Session,
    folder: Annotated[Path | None, typer.Argument(help="The workspace; the one around the current folder by default.")] = None,
    branch: Annotated[str | None, typer.Option("--branch", help="The branch label to move; `main` by default.")] = None,
    dry: Annotated[bool, typer.Option("--dry", help="Only say what would be new.")] = False,
    over: Annotated[bool, typer.Option("--over", help="Leave rows behind that were changed on the server.")] = False,
) -> None:
    """Turn a workspace into versions and links: say what is new, changed and unchanged, and why."""
    root = find_workspace(folder)
    with progress(session) as say:
        report, warnings = session.client.push(root, branch=branch, dry=dry, over=over, progress=say)
    for warning in warnings:
        session.warn(warning)
    session.result(report)
    show_push(session, report, dry=dry)


def find_workspace(folder: Path | None) -> Path:
    """The workspace to work on. Raises `Invalid` when there is none."""
    if folder is not None and not folder.is_dir():
        raise Invalid("this is not a folder", where=str(folder))
    root = workspace_here(folder)
    if root is None:
        raise Invalid(
            "this is no workspace: there is no windlass.toml here or above",
            where=str(folder or Path.cwd()),
            remedy="go to one, name one, or make one: windlass init",
        )
    return root


def show_push(session: Session, report: PushReport, *, dry: bool = False) -> None:
    counts = {status: sum(c.status == status for c in report.changes) for status in ("new", "changed", "unchanged")}
    told = ", ".join(f"{n} {status}" for status, n in counts.items() if n)
    end = " · nothing was registered" if dry else ""
    session.print(f"[bold]{report.workspace}[/bold] · {words.many(len(report.changes), 'version')} · {told}{end}")
    moved = [c for c in report.changes if c.status != "unchanged"]
    width = max((len(f"{c.kind}/{c.name}") for c in moved), default=0)
    for change in moved:
        session.print(_line(change, width))
    if any(c.candidate for c in moved) and not dry:
        session.print("[dim]next: windlass gate[/dim]")


def _line(change: Change, width: int) -> str:
    before = f"{short(change.before)} → " if change.before else "new      "
    why = "candidate" if change.candidate and change.status != "unchanged" else change.why
    return f"  {f'{change.kind}/{change.name}':<{width}}   {before}{short(change.digest)}   [dim]{plain(why)}[/dim]"


@contextlib.contextmanager
def progress(session: Session) -> Iterator[Callable[[str, int, int], None]]:
    """Tell how far long work is, on a terminal; nothing for programs."""
    if session.json or not sys.stderr.isatty():
        yield lambda step, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(compact=True))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("…", total=None)
        yield lambda step, done, total: bar.update(task, description=step, completed=done, total=total or None)
