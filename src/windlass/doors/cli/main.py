"""`windlass`: the program. Puts the commands together, and tells errors in one sentence and a way out."""

from __future__ import annotations

import difflib
import os
import sys
import traceback
from typing import Any

import msgspec
import typer

import windlass
from windlass.core.errors import WindlassError
from windlass.doors.cli import (
    alerting,
    asking,
    batching,
    data,
    discovering,
    encoding,
    erasing,
    evaluating,
    figuring,
    governing,
    granting,
    importing,
    indexing,
    limiting,
    loading,
    log_records,
    looking,
    measuring,
    models,
    monitoring,
    moving,
    peopling,
    pinning,
    providing,
    querying,
    releasing,
    reviewing,
    rolling,
    routing,
    running,
    serving,
    sessions,
    tools,
    tracing,
    tuning,
    viewing,
    weighing,
    workspace,
)
from windlass.doors.cli.commands import everywhere, opened

UsageError: type[Any] = typer.BadParameter.__mro__[1]  # Typer brings its own Click; this is its class of wrong usage

app = typer.Typer(
    name="windlass",
    help="Raise generative-AI systems to production, and never let them slip back.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        print(windlass.__version__)
        raise typer.Exit


for part in (
    workspace,
    data,
    pinning,
    indexing,
    running,
    models,
    providing,
    weighing,
    tuning,
    discovering,
    evaluating,
    reviewing,
    releasing,
    batching,
    loading,
    routing,
    rolling,
    looking,
    tracing,
    log_records,
    figuring,
    querying,
    measuring,
    viewing,
    sessions,
    importing,
    monitoring,
    alerting,
    tools,
    granting,
    asking,
    erasing,
    peopling,
    governing,
    limiting,
    encoding,
    serving,
    moving,
):
    part.add(app)
everywhere(app, version=typer.Option("--version", callback=_version, is_eager=True, help="Print the version."))
for group in app.registered_groups:
    if group.typer_instance and not group.typer_instance.registered_callback:
        everywhere(group.typer_instance)


def main() -> None:
    """The program. Exit status: a command's own; 1 for an error (4 from `gate`), 2 for wrong usage, 130 for Ctrl-C."""
    try:
        code = app(prog_name="windlass", standalone_mode=False)
    except typer.Exit as e:
        code = e.exit_code
    except UsageError as e:
        _usage(e)
        code = e.exit_code
    except (typer.Abort, KeyboardInterrupt):
        print(file=sys.stderr)
        code = 130
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except WindlassError as e:
        code = _error(e)
    except Exception as e:
        code = _defect(e)
    finally:
        for session in opened:
            session.close()
    sys.exit(code if isinstance(code, int) else 0)


def _error(error: WindlassError) -> int:
    session = opened[0] if opened else None
    if session and session.debug:
        traceback.print_exception(error)
    if session and session.json:
        sys.stdout.write(msgspec.json.encode(error.as_dict()).decode() + "\n")
    else:
        where = f"{error.where}: " if error.where else ""
        print(f"windlass: {where}{error.message}", file=sys.stderr)
        if error.remedy:
            print(f"  → {error.remedy}", file=sys.stderr)
    return session.error_code if session else 1


def _defect(error: Exception) -> int:
    session = opened[0] if opened else None
    if session and session.debug:
        traceback.print_exception(error)
    else:
        print(f"windlass: a defect in Windlass: {type(error).__name__}: {error}", file=sys.stderr)
        print("  → the same command with --debug shows where; please report it", file=sys.stderr)
    return session.error_code if session else 1


def _usage(error: Any) -> None:
    """What is wrong with the command line, with the nearest command."""
    context = getattr(error, "ctx", None)
    message = error.format_message().partition(" Did you mean")[0]
    print(f"windlass: {message.rstrip('.')}", file=sys.stderr)
    name = context.command_path if context else "windlass"
    word = message.split("'")[1] if "No such command" in message else None
    known = list(getattr(context.command, "commands", {})) if context else []
    near = difflib.get_close_matches(word, known, 1) if word else []
    print(f"  → {f'did you mean `{name} {near[0]}`?' if near else f'`{name} --help` says what there is'}", file=sys.stderr)


if __name__ == "__main__":
    main()
