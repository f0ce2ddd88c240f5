"""Prompts of the registry in an application that calls models by itself, with whatever framework.

    reply = windlass.prompt("reply")                    # what production's release uses; "reply:main", "reply@3f9a…"
    client.chat.completions.create(messages=reply.messages(question="…"), …)

What is fetched is kept: a label is asked anew after `seconds` by a thread, so that no call waits for it, and while the server is away the
last version goes on. Whoever renders a prompt says so in the trace that is open: the step has its version.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windlass.core import span as names
from windlass.core.artifacts import PromptBody
from windlass.core.errors import Invalid, WindlassError
from windlass.core.operations.prompts import PromptVersion
from windlass.core.ref import parse_ref
from windlass.sdk.prompts import ENGINE, parse_prompt, render_body
from windlass.sdk.tracing import sent_to

if TYPE_CHECKING:
    from langchain_core.prompt_values import ChatPromptValue
    from langchain_core.runnables import Runnable

    from windlass.sdk.client import Client

FRESH_SECONDS = 60.0
_log = logging.getLogger("windlass.prompt")


class Prompt:
    """One version of a prompt, to be rendered here. `ref` is exact; empty where it was read from a fallback file.
    `parameters` are what it says of temperature and the like."""

    def __init__(self, version: PromptVersion) -> None:
        self._version = version
        self.ref = version.ref
        self.parameters: dict[str, Any] = dict(version.body.parameters)

    def __repr__(self) -> str:
        return f"<Prompt {self.ref or 'from a file'}>"

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of what it is rendered with."""
        return tuple(self._version.body.inputs)

    def messages(self, **inputs: Any) -> list[dict[str, str]]:
        """Messages as chat APIs take them: `{"role": …, "content": …}`. Raises `Invalid` for an input that is missing or unknown, and
        for a template that fails on these."""
        body = self._version.body
        if unknown := sorted(inputs.keys() - body.inputs.keys()):
            raise Invalid(f"{self._name} has no input {unknown[0]!r}", remedy=f"it takes {', '.join(body.inputs) or 'none'}")
        if missing := [name for name in body.inputs if name not in inputs]:
            raise Invalid(f"{self._name} needs the input {missing[0]!r}", remedy=f"give {missing[0]}=…")
        said = [{"role": m.role, "content": m.text} for m in render_body(body, inputs, self._version.rows)]
        self._note()
        return said

    def text(self, **inputs: Any) -> str:
        """All messages as one text, for frameworks that take instructions rather than messages."""
        return "\n\n".join(m["content"] for m in self.messages(**inputs))

    def runnable(self) -> Runnable[dict[str, Any], ChatPromptValue]:
        """The prompt as the first link of a LangChain chain: `prompt.runnable() | model`. Needs `langchain-core`."""
        from langchain_core.messages import convert_to_messages
        from langchain_core.prompt_values import ChatPromptValue
        from langchain_core.runnables import RunnableLambda

        def render(inputs: dict[str, Any]) -> ChatPromptValue:
            return ChatPromptValue(messages=convert_to_messages(self.messages(**inputs)))

        return RunnableLambda(render, name=self._name)

    @property
    def _name(self) -> str:
        return parse_ref(self.ref).short if self.ref else "the prompt"

    def _note(self) -> None:
        """The step that is open was made with this version."""
        from opentelemetry import trace

        span = trace.get_current_span()
        if self.ref and span.is_recording():
            held = (getattr(span, "attributes", None) or {}).get(names.VERSIONS, ())
            span.set_attribute(names.VERSIONS, [*held, *(() if self.ref in held else (self.ref,))])


class _Kept:
    """A prompt by its label, and when it was fetched."""

    def __init__(self, fetched: Prompt) -> None:
        self.prompt = fetched
        self.at = time.monotonic()
        self.asking = False


_kept: dict[tuple[str, str, str], _Kept] = {}
_lock = threading.Lock()


def prompt(name: str, *, seconds: float = FRESH_SECONDS, fallback: str | Path | None = None, client: Client | None = None) -> Prompt:
    """A prompt of the registry.

    Args:
        name: `reply` for what production's release uses, `reply:main` or another label, `reply@3f9a…` for one version for ever.
        seconds: how old an answer about a label may be before it is asked anew, in the background.
        fallback: a prompt file for when nothing was fetched yet and the server is away; otherwise that raises.
        client: whom to ask; a client of the server found by itself where not given.

    Raises `NotFound` for a name or label that is not there, `Forbidden`, `Unavailable`.
    """
    asked = name if "@" in name or ":" in name else f"{name}:production"
    key = (client.address if client else "", client.project if client else "", asked)
    with _lock:
        held = _kept.get(key)
        stale = held is not None and "@" not in asked and not held.asking and time.monotonic() - held.at > seconds
        if held and stale:
            held.asking = True
            threading.Thread(target=_refresh, args=(held, asked, client), name="windlass-prompt", daemon=True).start()
    if held:
        return held.prompt
    try:
        found = _fetch(asked, client)
    except WindlassError as e:
        if fallback is None or e.code != "unavailable":
            raise
        _log.warning("the prompt %s comes from %s: %s", asked, fallback, e)
        return _from_file(Path(fallback))
    with _lock:
        _kept[key] = _Kept(found)
    return found


def _refresh(held: _Kept, asked: str, client: Client | None) -> None:
    try:
        held.prompt = _fetch(asked, client)
    except Exception as e:  # what was fetched before goes on
        _log.warning("the prompt %s could not be asked anew; %s goes on: %s", asked, held.prompt.ref, e)
    held.at, held.asking = time.monotonic(), False


def _fetch(asked: str, client: Client | None) -> Prompt:
    return Prompt((client or _own()).prompts.get(asked))


def _own() -> Client:
    """The server that spans go to, or else the one that is found."""
    server = sent_to()
    return _client(server.url, server.key) if server else _client(None, None)


@functools.lru_cache(maxsize=8)
def _client(url: str | None, key: str | None) -> Client:
    from windlass.sdk.client import Client

    return Client(url, key)


def _from_file(path: Path) -> Prompt:
    read = parse_prompt(path.read_text("utf-8"), str(path))
    return Prompt(PromptVersion("", PromptBody(read.messages, read.inputs, ENGINE, read.parameters)))
