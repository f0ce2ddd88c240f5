"""What the server and a model's process say to each other: JSON, one value a line. `serve.py` answers, `process.py` asks."""

from __future__ import annotations

from typing import Any

import msgspec

from windlass.runtime.local.files import Layer


class Load(msgspec.Struct, frozen=True, tag=True):
    """The first word to the process: the chain to load, and whose child it is."""

    layers: tuple[Layer, ...]
    parent: int
    threads: int = 1


class Generate(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """`turns` are `{"role", "content"}`."""

    id: int
    turns: tuple[dict[str, str], ...]
    parameters: dict[str, Any] = {}


class Canaries(msgspec.Struct, frozen=True, tag=True):
    """Answer these, as when the weights were made."""

    id: int
    asked: tuple[str, ...]


class Loaded(msgspec.Struct, frozen=True, tag=True):
    device: str
    seconds: float


class Text(msgspec.Struct, frozen=True, tag=True):
    """A piece of an answer."""

    id: int
    text: str


class Generated(msgspec.Struct, frozen=True, tag=True):
    id: int
    text: str
    stop: str
    input: int
    output: int


class Answered(msgspec.Struct, frozen=True, tag=True):
    """The canaries' answers, their digest, and that of the answers without the topmost adapter."""

    id: int
    answers: tuple[str, ...]
    digest: str
    without: str
    device: str


class Fault(msgspec.Struct, frozen=True, tag=True):
    """`id` 0: the process itself."""

    id: int
    message: str
    invalid: bool = False


ToProcess = Load | Generate | Canaries
FromProcess = Loaded | Text | Generated | Answered | Fault
TO_PROCESS = msgspec.json.Decoder(ToProcess)
FROM_PROCESS = msgspec.json.Decoder(FromProcess)


def line(value: ToProcess | FromProcess) -> bytes:
    return msgspec.json.encode(value) + b"\n"
