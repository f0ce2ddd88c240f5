"""`artifacts`, `show`, `diff`, `lineage`, `rows`, `label`, `verify`."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from windlass.core.digest import short
from windlass.core.ids import now_ns
from windlass.core.operations.registry import Edge, Graph
from windlass.core.ref import KINDS, parse_ref
from windlass.doors import format as words
from windlass.doors.cli.commands import command
from windlass.doors.cli.session import Session, plain, printable

Limit = Annotated[int, typer.Option("--limit", min=1, max=200, help="At most so many.")]
Cursor = Annotated[str | None, typer.Option("--cursor", help="Go on from here.")]


def add(app: typer.Typer) -> None:
    command(app, "artifacts", "artifacts.list", "versions.list", panel="Look")(artifacts)
    command(app, "show", "versions.show", panel="Look")(show)
    command(app, "diff", "versions.diff", panel="Look")(diff)
    command(app, "lineage", "lineage.walk", panel="Look")(lineage)
    command(app, "rows", "datasets.rows", panel="Look")(rows)
    command(app, "label", "labels.move", panel="Look")(label)
    command(app, "verify", "registry.verify", panel="Look")(verify)


def artifacts(
    session: Session,
    which: Annotated[str | None, typer.Argument(help="A kind, or kind/name for its versions.")] = None,
    search: Annotated[str | None, typer.Option("--search", help="With this in the name.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> None:
    """Artifacts of a project by kind, or the versions of one."""
    now = now_ns()
    if which and which not in KINDS:
        page = session.client.versions.list(which, cursor, limit)
        session.result(page)
        session.table(
            ("version", "labels", "when", "by"),
            [(short(v.digest, 12), ", ".join(v.labels), words.ago(v.created_ns, now), v.actor) for v in page.items],
        )
        more = page.next
    else:
        found = session.client.artifacts.list(which, search, cursor, limit)
        session.result(found)
        session.table(
            ("artifact", "newest", "versions", "labels", "changed", ""),
            [
                (
                    f"{a.kind}/{a.name}", short(a.digest), str(a.versions), ", ".join(sorted(a.labels)), words.ago(a.updated_ns, now),
                    a.description.split("\n")[0][:60],
                )
                for a in found.items
            ],
            right=frozenset({2}),
        )  # fmt: skip
        if not found.items:
            session.print("nothing here yet: windlass push")
        more = found.next
    if more:
        session.print(f"[dim]more: --cursor {more}[/dim]")


def show(session: Session, ref: Annotated[str, typer.Argument(help="kind/name, kind/name@digest or kind/name:label.")]) -> None:
    """One version: what it is, what it uses, what uses it."""
    found = session.client.versions.show(ref)
    session.result(found)
    v = found.version
    labels = f"  {', '.join(found.labels)}" if found.labels else ""
    session.print(f"[bold]{v.ref.short}[/bold]{labels}   [dim]{words.ago(found.created_ns, now_ns())} by {found.actor}[/dim]")
    for title, lines in (
        ("uses", [f"{k.kind}/{k.name}@{short(k.digest)}" + (f" ({k.role})" if k.role and k.role != k.kind else "") for k in v.links]),
        ("used by", [words.short_ref(r) for r in found.used_by]),
    ):
        if lines:
            session.print(f"[dim]{title:<8}[/dim] {', '.join(lines)}")
    if found.content and not session.json:
        print("\n" + printable(found.content.rstrip()))
    session.print(f"[dim]{session.link('/artifacts/' + v.kind + '/' + v.name + '/' + v.digest)}[/dim]")


def diff(
    session: Session,
    a: Annotated[str, typer.Argument(help="A version.")],
    b: Annotated[str | None, typer.Argument(help="Another; the newest of the same name by default.")] = None,
) -> None:
    """What differs between two versions."""
    ref = parse_ref(a, project=session.project)
    found = session.client.versions.diff(a, b or f"{ref.kind}/{ref.name}")
    session.result(found)
    if found.same:
        session.print(f"{words.short_ref(found.a)} and {words.short_ref(found.b)} are the same")
        return
    session.print(f"[bold]{words.short_ref(found.a)} → {words.short_ref(found.b)}[/bold]")
    if found.rows:
        session.print("rows: " + ", ".join(f"{n:,} {what}" for what, n in found.rows.items()))
    colours = {"+": "green", "-": "red", "@": "cyan"}
    from rich.text import Text

    for line in found.text.splitlines():
        if not session.json:
            session.console.print(Text(printable(line), style=colours.get(line[:1], "")))
    if not found.text:
        for change in found.fields:
            before, after = (msgspec.json.encode(x).decode()[:120] for x in (change.before, change.after))
            if not session.json:
                session.console.print(Text(f"{change.path or '/'}: {before} → {after}"))


def lineage(
    session: Session,
    ref: Annotated[str, typer.Argument(help="A version.")],
    up: Annotated[bool, typer.Option("--up", help="Only what it depends on.")] = False,
    down: Annotated[bool, typer.Option("--down", help="Only what depends on it.")] = False,
    depth: Annotated[int, typer.Option("--depth", help="Steps to walk.")] = 6,
) -> None:
    """What a version is made of, and what is made of it."""
    direction = "up" if up and not down else "down" if down and not up else "both"
    graph = session.client.versions.lineage(ref, direction, depth)
    session.result(graph)
    if session.json:
        return
    for title, wanted, way in (("depends on", direction != "down", True), ("used by", direction != "up", False)):
        lines = _tree(graph, graph.start, way, "", {graph.start})
        if wanted:
            session.print(f"[bold]{words.short_ref(graph.start)}[/bold] {title}{':' if lines else ' nothing'}", *lines)
    if graph.truncated:
        session.print("[dim]and more: a smaller --depth shows less[/dim]")


def _tree(graph: Graph, node: str, up: bool, indent: str, seen: set[str]) -> list[str]:
    """The lines below a node, each version once."""
    edges: list[Edge] = [e for e in graph.edges if (e.source if up else e.target) == node]
    named = {n.ref: n for n in graph.nodes}
    lines: list[str] = []
    nexts = [((e.target if up else e.source), e) for e in edges]
    for number, (other, edge) in enumerate(nexts, 1):
        last = number == len(nexts)
        again = other in seen
        role = edge.role if edge.relation == "uses" else edge.relation
        notes = [role, *(named[other].labels if other in named else ()), *(("above",) if again else ())]
        lines.append(f"{indent}{'└─' if last else '├─'} {words.short_ref(other)} [dim]{' · '.join(n for n in notes if n)}[/dim]")
        if not again:
            seen.add(other)
            lines += _tree(graph, other, up, indent + ("   " if last else "│  "), seen)
    return lines


def rows(
    session: Session,
    ref: Annotated[str, typer.Argument(help="A dataset: its name, or name@digest.")],
    split: Annotated[str | None, typer.Option("--split", help="Of one split.")] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> None:
    """Rows of a dataset."""
    page = session.client.datasets.rows(ref, split, cursor, limit)
    session.result(page)
    if not session.json:
        session.print(f"[bold]{words.short_ref(page.ref)}[/bold] · {words.many(page.count, 'row')}")
        for row in page.items:
            print(msgspec.json.encode(row).decode())
    if page.next:
        session.print(f"[dim]more: --cursor {page.next}[/dim]")


def label(
    session: Session,
    ref: Annotated[str, typer.Argument(help="kind/name:label, the branch label to move.")],
    digest: Annotated[str, typer.Argument(help="The version it shall point to.")],
    expected: Annotated[str | None, typer.Option("--from", help="What it points to now; leave out for a new label.")] = None,
) -> None:
    """Move a branch label, if it points to what you expect. Environments move with `promote`."""
    state = session.client.versions.label(ref, digest, expected)
    session.result(state)
    session.print(f"{state.kind}/{state.name}:{state.label} → {short(state.digest)}")


def verify(session: Session) -> int:
    """Re-derive every digest and link from the bytes, and say what disagrees. Exit 1 when something does."""
    report = session.client.versions.verify()
    session.result(report)
    session.print(f"{words.many(report.versions, 'version')}, {words.many(report.links, 'link')}, {words.many(report.blobs, 'blob')}")
    for problem in report.problems:
        session.print(f"[red]{words.short_ref(problem.what)}[/red]  {plain(problem.problem)}")
    session.print("everything is what its digest says" if not report.problems else words.many(len(report.problems), "problem"))
    return 1 if report.problems else 0
