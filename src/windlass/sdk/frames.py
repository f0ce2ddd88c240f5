"""What a server and a runner say to each other: length-prefixed JSON over a socket pair.

A frame is four bytes of length (big endian) and a JSON object whose `t` names its type. The server decodes only
`FROM_CHILD`, the runner only `TO_CHILD`; anything else is nonsense and ends the runner. Knows nothing of processes.
"""

from __future__ import annotations

import struct
from typing import Any

import msgspec

from windlass.core.errors import Invalid, TooLarge

LIMIT = 64 * 1024 * 1024  # bytes of one frame
HEADER = struct.Struct(">I")


class Frame(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="t"):
    """Base of all frames."""


class Start(Frame, frozen=True, tag="start", kw_only=True):
    """Run `entry` (`module:qualname`) with JSON arguments by name. `environment` is set for this run only."""

    entry: str
    arguments: dict[str, Any]
    environment: dict[str, str] = {}


class Answer(Frame, frozen=True, tag="answer"):
    """The result of the call of that number; ends a stream too."""

    call: int
    value: Any = None


class Fault(Frame, frozen=True, tag="fault"):
    """The call of that number failed; `error` has `WindlassError.as_dict`'s shape."""

    call: int
    error: dict[str, Any]


class Piece(Frame, frozen=True, tag="piece"):
    """Some text of a streamed call."""

    call: int
    text: str


class Cancel(Frame, frozen=True, tag="cancel"):
    """Stop the run now; the runner is killed soon after."""


class Ready(Frame, frozen=True, tag="ready"):
    """The runner has set its limits and waits for a run."""

    pid: int
    python: str


class Ask(Frame, frozen=True, tag="ask", kw_only=True):
    """User code called an authoring object: a component, index, tool or agent by name."""

    call: int
    kind: str
    name: str
    arguments: dict[str, Any]
    stream: bool = False


class Drop(Frame, frozen=True, tag="drop"):
    """User code no longer wants the answer of that call."""

    call: int


class Yielded(Frame, frozen=True, tag="yielded"):
    """A generator gave a value."""

    value: Any


class Done(Frame, frozen=True, tag="done"):
    """The run returned. `retire`: the process is no longer clean and must not serve another run."""

    value: Any = None
    warnings: tuple[str, ...] = ()
    retire: bool = False


class Failed(Frame, frozen=True, tag="failed"):
    """The run raised. `error` has `WindlassError.as_dict`'s shape."""

    error: dict[str, Any]
    warnings: tuple[str, ...] = ()
    retire: bool = False


ToChild = Start | Answer | Fault | Piece | Cancel
FromChild = Ready | Ask | Drop | Yielded | Done | Failed
TO_CHILD: msgspec.json.Decoder[ToChild] = msgspec.json.Decoder(ToChild)
FROM_CHILD: msgspec.json.Decoder[FromChild] = msgspec.json.Decoder(FromChild)


def pack(frame: Frame) -> bytes:
    """The frame with its length before it. Raises `TooLarge` over `LIMIT`, `Invalid` for what JSON cannot hold."""
    try:
        body = msgspec.json.encode(frame)
    except (TypeError, ValueError, RecursionError) as e:
        raise Invalid(f"not a JSON value: {e}") from e
    if len(body) > LIMIT:
        raise TooLarge(f"a value of {len(body) / 1e6:.0f} MB passed between a run and the server; the limit is {LIMIT / 1e6:.0f} MB")
    return HEADER.pack(len(body)) + body
