"""Weights as data: a manifest names every file of a model by its digest, and is itself named by its own.

A model of this machine is called `local/<name>@<hex digits>`, the digits being the manifest's digest. So one name means the same
weights for ever, and whoever has the name can check all that lies under it. An adapter's manifest names that of its base.
Knows the form of safetensors files; loads nothing.
"""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec

from windlass.core.digest import TAG, canonical
from windlass.core.errors import Invalid

LOCAL = "local"
FORM = "weights@1"
Role = Literal["model", "adapter", "reward"]
SUFFIXES = (".safetensors", ".json", ".jinja", ".txt", ".model")  # what a model needs; nothing that is run when it is read
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt", ".h5", ".msgpack")
CANARIES = 5  # questions that tell whether weights answer as they did
LONGEST_HEADER = 100_000_000
_IDENTITY = re.compile(r"([a-z0-9][a-z0-9._-]{0,79})@([0-9a-f]{64})\Z")
_BYTES = {"F64": 8, "I64": 8, "U64": 8, "F32": 4, "I32": 4, "U32": 4, "F16": 2, "BF16": 2, "I16": 2, "U16": 2}


class Canary(msgspec.Struct, frozen=True, omit_defaults=True):
    """What weights answered when they were made: the digest of their answers to `asked`, and of what the same questions got without
    the adapter. `device` is where: another kind of device may round otherwise, so a digest speaks for its own kind only."""

    asked: tuple[str, ...]
    answers: str
    without: str = ""
    device: str = "cpu"


class Weights(msgspec.Struct, frozen=True, omit_defaults=True):
    """A manifest. `files` by path; `base` the digest of the manifest an adapter lies on."""

    role: Role
    files: dict[str, str]
    licence: str = ""
    base: str = ""
    canary: Canary | None = None
    form: str = FORM


def encode_weights(weights: Weights) -> bytes:
    """The bytes whose digest names these weights."""
    return canonical(msgspec.to_builtins(weights))


def decode_weights(data: bytes, where: str = "") -> Weights:
    """Read a manifest. Raises `Invalid` for what is none, or names a file outside its folder."""
    try:
        weights = msgspec.json.decode(data, type=Weights)
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise Invalid(f"this is no manifest of weights: {e}", where=where or None) from e
    if weights.form != FORM:
        raise Invalid(f"these weights are of the form {weights.form!r}", where=where or None, remedy="upgrade Windlass")
    for path in weights.files:
        check_path(path)
    return weights


def check_path(path: str) -> None:
    """Raises `Invalid` for a path that leads out of its folder, or a file that is run when it is read."""
    parts = path.split("/")
    if not path or path.startswith("/") or "\\" in path or any(p in ("", ".", "..") for p in parts):
        raise Invalid(f"{path!r} is no path within a model's folder")
    if not path.endswith(SUFFIXES):
        raise Invalid(
            f"{path} is not a file that a model may bring",
            remedy="weights come as safetensors, the rest as JSON or text; a pickle could run anything",
        )


def local_identity(name: str, manifest: str) -> str:
    """`name@hex`, what follows `local/` in a model's id."""
    return f"{name}@{manifest.removeprefix(TAG)}"


def parse_identity(identity: str) -> tuple[str, str]:
    """The name and the manifest's digest of `name@hex`. Raises `Invalid`."""
    if not (found := _IDENTITY.match(identity)):
        raise Invalid(
            f"{LOCAL}/{identity} does not name weights",
            remedy=f"write {LOCAL}/<name>@<all 64 digits>; windlass weights list says them",
        )
    return found[1], TAG + found[2]


class Shape(msgspec.Struct, frozen=True):
    """What a safetensors file holds: how many numbers in how many bytes."""

    numbers: int
    size: int
    tensors: tuple[str, ...]


def read_header(start: bytes, size: int, where: str) -> Shape:
    """Read the beginning of a safetensors file of `size` bytes. Raises `Invalid` for one that is no such file, or was cut off."""
    length = int.from_bytes(start[:8], "little") if len(start) >= 8 else 0
    if not 2 <= length <= min(LONGEST_HEADER, size - 8):
        raise Invalid("this is no safetensors file, or it was cut off", where=where)
    try:
        header: dict[str, Any] = msgspec.json.decode(start[8 : 8 + length], type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Invalid("the header of this safetensors file cannot be read", where=where) from None
    numbers, end, names = 0, 0, []
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        try:
            shape, offsets = [int(n) for n in tensor["shape"]], [int(n) for n in tensor["data_offsets"]]
        except (TypeError, KeyError, ValueError):
            raise Invalid(f"the tensor {name!r} is not described", where=where) from None
        count = 1
        for n in shape:
            count *= n
        if offsets[1] - offsets[0] != count * _BYTES.get(str(tensor.get("dtype")), 1):
            raise Invalid(f"the tensor {name!r} has another size than its shape", where=where)
        numbers, end = numbers + count, max(end, offsets[1])
        names.append(name)
    if 8 + length + end != size:
        raise Invalid(f"this safetensors file should have {8 + length + end:,} bytes and has {size:,}: it was cut off", where=where)
    return Shape(numbers, end, tuple(names))
