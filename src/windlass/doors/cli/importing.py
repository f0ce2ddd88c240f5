"""`import`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from windlass.core.errors import Forbidden, Invalid
from windlass.core.ids import now_ns
from windlass.core.operations.system import KEY_CREATE, KEY_REVOKE, KeyQuery, KeyRequest
from windlass.doors import format as words
from windlass.doors.cli.commands import command
from windlass.doors.cli.session import Session, plain
from windlass.doors.cli.tracing import back
from windlass.doors.cli.workspace import progress

if TYPE_CHECKING:
    from windlass.sdk.client import Client

DAY_NS = 86_400 * 10**9


def add(app: typer.Typer) -> None:
    command(app, "import", panel="Look")(import_)


def import_(
    session: Session,
    product: Annotated[str, typer.Argument(help="mlflow, phoenix, langfuse or litellm.")],
    address: Annotated[str, typer.Argument(help="Where its server answers: http://host:port; LiteLLM's config.yaml.")],
    theirs: Annotated[str | None, typer.Option("--from", help="Only this project or experiment of theirs, by its name or id.")] = None,
    since: Annotated[str | None, typer.Option("--since", help="No older than this: 90s, 30min, 2h, 7d.")] = None,
    again: Annotated[bool, typer.Option("--again", help="From the beginning, for scores given since; nothing shows twice.")] = False,
    dry: Annotated[bool, typer.Option("--dry-run", help="Count what there is, and bring nothing.")] = False,
) -> None:
    """Bring traces, scores and prompts of another platform here, with their ids and times. Done again, or after it was cut off, it goes on;
    at the end it says what could not be carried, and why. Keys: MLFLOW_TRACKING_TOKEN (or …_USERNAME and …_PASSWORD), PHOENIX_API_KEY,
    LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY. Of LiteLLM: the providers, addresses and keys of its config.yaml."""
    if product.lower() == "litellm":
        return _config(session, Path(address), dry)
    from windlass.sdk.importing.bring import Brought, bring, source_of  # with OTLP's types, which no other command needs

    source = source_of(product.lower(), address)
    since_ns = now_ns() - back(since) if since else 0
    with _into(session, dry) as client, progress(session) as say:
        done: Brought = bring(client, source, address.rstrip("/"), since_ns=since_ns, project=theirs, again=again, dry=dry, say=say)
    session.result(done)
    of = f"{done.product} {done.version}"
    told = f"{words.many(done.traces, 'trace')}, {words.many(done.spans, 'span')} and {words.many(done.scores, 'score')}"
    if dry:
        session.print(f"{of} has {told}; nothing was brought")
    elif not done.spans and done.went_on:
        session.print(f"{of} has nothing new" + (f"; {words.many(done.scores, 'score')} came" if done.scores else ""))
    else:
        session.print(f"{told} came from {of}" + (", after those that had come before" if done.went_on else ""))
    versioned = (
        f"{words.many(done.prompts, 'version')} of prompts, {words.many(done.rows, 'row')} of {words.many(done.datasets, 'dataset')}"
    )
    if done.prompts or done.datasets:
        session.print(f"{versioned} {'would come' if dry else 'came'} too")
    if len(done.projects) > 1:
        session.table(("of theirs", "traces"), [(name, f"{n:,}") for name, n in done.projects.items()], right=frozenset({1}))
    if done.left:
        session.print("", "not carried:")
        session.table(("what", "how many", "why"), [(n.what, f"{n.count:,}", n.why) for n in done.left], right=frozenset({1}))
    if done.spans and not dry:
        session.print(f"[dim]{plain(session.link('/traces'))}[/dim]")


def _config(session: Session, file: Path, dry: bool) -> None:
    """LiteLLM's file, line by line."""
    from windlass.sdk.importing.litellm import bring_config

    done = bring_config(session.client, file, dry=dry)
    session.result(done)
    session.print(
        f"{words.many(done.keys, 'key')} {'would be given' if dry else 'given'}; each line of {plain(str(file))} and what became of it:"
    )
    session.table(("line", "what", "brought"), [(str(c.line), c.where, c.said) for c in done.carried], right=frozenset({0}))
    session.print("", "not carried:")
    session.table(("line", "what", "why"), [(str(c.line), c.where, c.said) for c in done.left], right=frozenset({0}))


@contextlib.contextmanager
def _into(session: Session, dry: bool) -> Iterator[Client]:
    """A client whose spans land in the session's project. An owner's land in `default`: for another one it takes a key of that project,
    for the time of this alone."""
    from windlass.sdk.client import Client  # with what speaks HTTP, which no small command needs

    client = session.client
    if dry or session.project == "default":
        yield client
        return
    try:
        made = client.call(KEY_CREATE, KeyRequest("import", "developer", session.project, expires_ns=now_ns() + 7 * DAY_NS))
    except Forbidden:  # no owner: a key of its own project
        yield client
        return
    if session.address is None:
        client.call(KEY_REVOKE, KeyQuery(made.id))
        remedy = "start one with `windlass up`, and do this again"
        raise Invalid(f"to bring history into {session.project} needs a running server", where="--project", remedy=remedy)
    try:
        with Client(client.address, made.secret, project=session.project) as theirs:
            yield theirs
    finally:
        client.call(KEY_REVOKE, KeyQuery(made.id))
