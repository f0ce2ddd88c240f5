"""What goes into a model and what comes out, in one shape for every provider.

A message has parts: text, an image or a file by digest, reasoning, a tool call, a tool result. `ModelRequest` is what is hashed
to name a draw; `ModelReply` carries tokens by class and the reason it stopped. Token counts follow OpenTelemetry:
`input` includes cached tokens. Knows nothing of any provider's wire format; `runtime/dialects` translates.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from windlass.core.digest import digest_json


class TextPart(msgspec.Struct, frozen=True, tag_field="type", tag="text"):
    text: str


class ImagePart(msgspec.Struct, frozen=True, tag_field="type", tag="image", omit_defaults=True):
    """An image by digest of its bytes in the blob store, or by URL."""

    digest: str | None = None
    url: str | None = None
    media_type: str | None = None


class FilePart(msgspec.Struct, frozen=True, tag_field="type", tag="file", omit_defaults=True):
    """A file by digest of its bytes in the blob store."""

    digest: str
    name: str | None = None
    media_type: str | None = None


class ReasoningPart(msgspec.Struct, frozen=True, tag_field="type", tag="reasoning", omit_defaults=True):
    """What a model thought before it answered. `signature` and `redacted` are the provider's own, and only the model that thought can
    read them; without either it is never sent back."""

    text: str = ""
    signature: str = ""
    redacted: str = ""


class ToolCallPart(msgspec.Struct, frozen=True, tag_field="type", tag="tool_call"):
    """The model asks for a tool. `arguments` is a JSON object."""

    id: str
    name: str
    arguments: dict[str, Any]


class ToolResultPart(msgspec.Struct, frozen=True, tag_field="type", tag="tool_result", omit_defaults=True):
    """What the tool answered, as text the model reads."""

    id: str
    content: str
    error: bool = False


Part = TextPart | ImagePart | FilePart | ReasoningPart | ToolCallPart | ToolResultPart
Role = Literal["system", "user", "assistant", "tool"]


class Message(msgspec.Struct, frozen=True):
    """One turn. Build the common ones with `system`, `user`, `assistant`."""

    role: Role
    parts: tuple[Part, ...]

    @property
    def text(self) -> str:
        """All text parts, joined."""
        return "".join(p.text for p in self.parts if isinstance(p, TextPart))

    @property
    def reasoning(self) -> list[ReasoningPart]:
        return [p for p in self.parts if isinstance(p, ReasoningPart)]

    @property
    def tool_calls(self) -> list[ToolCallPart]:
        return [p for p in self.parts if isinstance(p, ToolCallPart)]


def system(text: str) -> Message:
    return Message("system", (TextPart(text),))


def user(text: str) -> Message:
    return Message("user", (TextPart(text),))


def assistant(text: str) -> Message:
    return Message("assistant", (TextPart(text),))


class ToolSpec(msgspec.Struct, frozen=True):
    """A tool as a model sees it. `parameters` is a JSON Schema of an object."""

    name: str
    description: str
    parameters: dict[str, Any]


class ModelRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """A rendered request: everything that is sent, and so everything that can change the answer.

    `model` is `provider/model-id` (`baseline` alone means the built-in one). `parameters` are sampling settings by
    their common names (temperature, top_p, max_tokens, stop, seed). `output_schema` is a JSON Schema the reply's text
    must be an instance of.
    """

    model: str
    messages: tuple[Message, ...]
    parameters: dict[str, Any] = {}
    tools: tuple[ToolSpec, ...] = ()
    output_schema: dict[str, Any] | None = None

    def digest(self) -> str:
        """The identity of this request (not of a draw from it: see `Draw`)."""
        return digest_json(msgspec.to_builtins(self))


class Draw(msgspec.Struct, frozen=True):
    """Which of the many answers to one request: by row, repeat and occurrence within the run, never by arm."""

    row: str
    repeat: int
    occurrence: int


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tokens by class. `input` includes `cached` and `cache_write`; `output` includes `reasoning`. None: not told."""

    input: int | None = None
    output: int | None = None
    cached: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None


StopReason = Literal["stop", "length", "tool_calls", "refusal", "error"]


class ModelReply(msgspec.Struct, frozen=True, omit_defaults=True):
    """One answer. `cost` in US dollars, None when the price is unknown; `reused` when it came from a recorded draw,
    and then `latency_ns` and `cost` are those of the original call. `upstream` is the id of the model that a route had asked; its `cost`
    counts what attempts before it used too."""

    message: Message
    stop: StopReason
    usage: Usage = Usage()
    model: str = ""
    response_id: str | None = None
    latency_ns: int = 0
    first_token_ns: int | None = None
    cost: float | None = None
    reused: bool = False
    upstream: str | None = None


class CallDelta(msgspec.Struct, frozen=True, omit_defaults=True):
    """A piece of a tool call. `index` counts the calls of a reply from 0; the first piece of each has its id and name, and the
    `arguments` of all its pieces together are the text of a JSON object. Pieces of several calls may come in turns."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


class Delta(msgspec.Struct, frozen=True, omit_defaults=True):
    """One piece of a streamed reply: of its text, its reasoning or a tool call; or at the end the whole reply. A signature ends the
    reasoning it is of. A model that does not stream its tool calls gives them with the reply."""

    text: str = ""
    reasoning: ReasoningPart | None = None
    call: CallDelta | None = None
    reply: ModelReply | None = None
