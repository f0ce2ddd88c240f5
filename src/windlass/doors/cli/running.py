"""`run`, `render`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from windlass.core.digest import short
from windlass.core.errors import Invalid, NotFound
from windlass.core.operations.runs import RunResult
from windlass.doors import format as words
from windlass.doors.cli.commands import command
from windlass.doors.cli.session import Session, plain, printable

TRIED = ("chain", "agent", "component")


class Rendered(msgspec.Struct):
    ref: str
    messages: list[dict[str, str]]
    parameters: dict[str, Any]


def add(app: typer.Typer) -> None:
    command(app, "run", "runs.start", "runs.stream", panel="Develop")(run)
    command(app, "render", "prompts.get", panel="Develop")(render)


def run(
    session: Session,
    target: Annotated[str, typer.Argument(help="A release, chain, agent, component, tool or index: answer, chain/answer, prompt@digest.")],
    given: Annotated[list[str] | None, typer.Argument(metavar="[INPUT]...", help="One text, or name=value for each argument.")] = None,
    input: Annotated[
        str | None, typer.Option("--input", "-i", help="A JSON file with the arguments by name, or - for standard input.")
    ] = None,
    messages: Annotated[bool, typer.Option("--messages", help="The input is a list of messages, for a chat-shaped target.")] = False,
    grant: Annotated[str | None, typer.Option("--grant", help="Let agents call what this grant allows, and nothing else.")] = None,
    conversation: Annotated[
        str | None, typer.Option("--session", help="Of this conversation: `windlass sessions` tells it as one.")
    ] = None,
) -> None:
    """Run something once, and watch it answer.

    A bare name means what is in production; before anything is, the chain or agent of that name.
    """
    arguments = _input(given or [], input)
    if messages:
        arguments = {"messages": arguments if isinstance(arguments, list) else [{"role": "user", "content": arguments}]}
    ref, newer = _target(session, target)
    result: RunResult | None = None
    ended = True
    for piece in session.client.run_stream(ref, arguments, session=conversation, grant=grant):
        if piece.result:
            result = piece.result
        elif not session.json:
            sys.stdout.write(printable(piece.text) if sys.stdout.isatty() else piece.text)
            sys.stdout.flush()
            ended = piece.text.endswith("\n")
    if result is None:
        return
    session.result(result)
    if session.json:
        return
    if not ended:
        print()
    for warning in result.warnings:
        session.warn(warning)
    cites = result.output.get("symbols") if isinstance(result.output, dict) else None
    if isinstance(cites, list) and cites:
        session.print(f"[dim]cites {plain(', '.join(map(str, cites)))}[/dim]")
    took = f"{words.duration(result.duration_ns)} · {words.dollars(result.cost)}"
    trace = session.link("/traces/" + result.trace[:8]) if session.address else result.trace[:8]
    session.print(f"[dim]{words.short_ref(result.target)} · trace {trace} · {took} · why: windlass why {result.trace[:8]}[/dim]")
    if newer:
        session.print(f"[dim]this is what production runs; the newest is {newer}[/dim]")


def render(
    session: Session,
    prompt: Annotated[str, typer.Argument(help="A prompt: reply for what production uses, reply:main, reply@digest.")],
    given: Annotated[list[str] | None, typer.Argument(metavar="[INPUT]...", help="name=value for each input.")] = None,
    input: Annotated[str | None, typer.Option("--input", "-i", help="A JSON file with the inputs, or - for standard input.")] = None,
) -> None:
    """The messages of a prompt, as an application gets them by `windlass.prompt`."""
    from windlass.sdk.registered import Prompt  # templates are a tenth of what a small command takes

    found = Prompt(session.client.prompts.get(prompt if set(prompt) & set("@:") else f"{prompt}:production"))
    arguments = _input(given or [], input) or {}
    if isinstance(arguments, str) and len(found.inputs) == 1:
        arguments = {found.inputs[0]: arguments}
    if not isinstance(arguments, dict):
        raise Invalid("inputs go by name", remedy="write name=value for each")
    said = Rendered(found.ref, found.messages(**arguments), found.parameters)
    session.result(said)
    session.print(f"[dim]{words.short_ref(said.ref)}[/dim]")
    for message in said.messages:
        session.print(f"[bold]{message['role']}[/bold]", plain(message["content"]))


def _target(session: Session, given: str) -> tuple[str, str]:
    """A bare name as what is in production, else what there is of that name; and how to run a newer one, where there is one."""
    if "/" in given:
        return given, ""
    name = given.split("@")[0].split(":")[0]
    if given == name:
        state = next((r for r in session.client.releases.list().items if r.name == name), None)
        if state and state.environments.get("production"):
            newer = f"{short(state.candidate)}: windlass run {state.entry}" if state.candidate else ""
            return f"release/{name}:production", newer
    found = [f"{a.kind}/{a.name}" for a in session.client.artifacts.list(search=name, limit=200).items if a.name == name]
    usable = [ref for kind in TRIED for ref in found if ref.startswith(kind + "/")]
    if not usable:
        near = ", ".join(found) or "push a workspace first: windlass push"
        raise NotFound(f"there is nothing to run by the name {name!r}", remedy=f"there is {near}" if found else near)
    return usable[0] + given[len(name) :], ""


def _input(given: list[str], file: str | None) -> Any:
    """The input: one text, `name=value` pairs (values JSON where they are JSON), or a file."""
    if file is not None:
        if given:
            raise Invalid("give the input as words or as --input, not both")
        try:
            data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
            return msgspec.json.decode(data)
        except OSError as e:
            raise Invalid(f"the file cannot be read: {e.strerror}", where=file) from e
        except msgspec.DecodeError as e:
            raise Invalid(f"not JSON: {e}", where=file) from e
    if not given:
        return None
    pairs = [text.partition("=") for text in given]
    if len(given) == 1 and not (pairs[0][1] and pairs[0][0].isidentifier()):
        return given[0]
    if bad := [text for text, pair in zip(given, pairs, strict=True) if not (pair[1] and pair[0].isidentifier())]:
        raise Invalid(f"{bad[0]!r} is not name=value", remedy="quote a text of several words, or write name=value for each argument")
    return {name: _value(text) for name, _, text in pairs}


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
