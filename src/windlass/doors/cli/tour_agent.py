"""The tour's agent: its tools were registered by the push; the one that changes the world is called under a grant, beyond it a person is
asked, and what was wanted, decided and done is on record. With that the tour ends: the audit agrees, and there is evidence of the release.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from windlass.core.errors import WindlassError
from windlass.core.operations.grants import GrantState
from windlass.core.operations.sessions import SessionCall
from windlass.doors import format as words
from windlass.doors.cli.session import plain
from windlass.doors.cli.tour_stage import POLL_SECONDS, RELEASE, Link, Say, asked_by
from windlass.sdk.client import Client

AGENT, TOOL = "agent/guide", "open_ticket"
WHO = SESSION = "tour-agent"
TASK = "Tell the maintainers what the documentation lacks"
ALONE, GRANTED, ASKED = (
    f"Open a ticket for the maintainers: {what}"
    for what in ("nothing says how to protect a zip file by a password.", "sqlite3 says nothing of backups.", "curses has no example.")
)


class Agented(msgspec.Struct):
    """What was decided about each call of the tool; how many entries of the audit agree, and the files of evidence."""

    refused: str
    granted: str
    asked: str
    grant: str
    audited: int
    evidence: tuple[str, ...]


def agent(client: Client, say: Say, link: Link) -> Agented:
    """Three times the agent is asked for a ticket: without a grant, with one, and beyond it. Raises what goes wrong on the way."""
    tools = [t.name for t in client.tools.list().items if AGENT in t.agents]
    say("", f"[bold]agent[/bold]  {AGENT} came with {words.many(len(tools), 'tool')}, registered by the push; {TOOL} changes the world")
    say(f"  {', '.join(tools)}   {link('/tools')}")
    first = _ask(client, ALONE)
    say("  asked for a ticket without a grant: it may not", f"    [dim]{plain(first.why)}[/dim]")
    grant = _grant(client)
    say(f"  a grant, for this task, ends in a day: {TOOL} once, and a person is asked beyond that   {link('/grants/' + grant.grant.id)}")
    with _person(client, grant.grant.id):
        second, third = _ask(client, GRANTED), _ask(client, ASKED)
    say("  asked again:", f"    [dim]{plain(second.result)}[/dim]")
    say(f"  and again: {_waited(third)}   {link('/approvals')}", f"    [dim]{plain(third.result)}[/dim]")
    say(f"  what was wanted, decided, done and why, step by step   {link('/sessions/' + SESSION)}")
    audit = client.audit.verify()
    if audit.problem:
        raise WindlassError(f"the audit does not agree: {audit.problem}", remedy="windlass audit verify")
    told = "none changed" if audit.anchored_from else "none changed, none cut off"
    say(f"  the audit agrees: {words.many(audit.entries, 'entry')}, {told}   {link('/audit')}")
    evidence = client.releases.evidence(RELEASE)
    say(f"[bold]evidence[/bold]  {plain(evidence.sentence)}", f"  {len(evidence.files)} files   {link('/evidence?release=' + RELEASE)}")
    files = tuple(file.name for file in evidence.files)
    return Agented(first.decision, second.decision, third.decision, grant.grant.id, audit.entries, files)


def _grant(client: Client) -> GrantState:
    """The grant of this tour; made where there is none that lives, unless all was asked that needs one."""
    asked = asked_by(client, WHO).keys() >= {GRANTED, ASKED}
    held = client.grants.list(agent=AGENT, state="all" if asked else "live").items
    if found := next((g for g in held if g.grant.task == TASK), None):
        return found
    return client.grants.make(AGENT, TASK, [{"tool": f"tool/{TOOL}", "uses": 1, "on_miss": "ask"}])


@contextmanager
def _person(client: Client, grant: str) -> Iterator[None]:
    """Somebody, played by the tour, who lets through what waits for a person under this grant."""
    done = threading.Event()

    def decide() -> None:
        while not done.wait(POLL_SECONDS):
            for asked in client.approvals.list().items:
                if asked.grant == grant:
                    client.approvals.decide(asked.id, True, "it is missing indeed")

    person = threading.Thread(target=decide, name="windlass-tour-person", daemon=True)
    person.start()
    try:
        yield
    finally:
        done.set()
        person.join()


def _ask(client: Client, question: str) -> SessionCall:
    """What became of the agent's call of the tool, when it was asked this; asked now if it was not yet."""
    if question not in asked_by(client, WHO):
        client.run(AGENT, question, user=WHO, session=SESSION)
    deadline = time.monotonic() + 30  # a run is acknowledged before it stands in the tables
    while time.monotonic() < deadline:
        for run in client.sessions.show(SESSION).runs:
            if run.trace.input == question:
                return next(call for step in run.steps for call in step.calls if call.name == TOOL)
        time.sleep(POLL_SECONDS)
    raise WindlassError(f"{AGENT} was asked, and the run is not there", where=question)


def _waited(call: SessionCall) -> str:
    waited = call.waited
    return f"it waited {words.duration(waited.duration_ns)} for a person, who let this one call through" if waited else plain(call.why)
