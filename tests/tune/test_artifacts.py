"""Before serving: an artifact is loaded in a fresh process and its canaries are asked. That it loads says little; the answers tell."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.tune.application import Desk

from windlass.core.errors import ModelFailed, NotFound, WindlassError
from windlass.core.message import ModelRequest, user
from windlass.core.operations.weights import WeightsCheck
from windlass.core.weights import Weights, decode_weights, encode_weights, parse_identity

pytestmark = [pytest.mark.torch, pytest.mark.slow]
ADAPTER = "adapter_model.safetensors"


class Shelf:
    """The tuned adapter, and broken ones made of it."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.blobs = desk.platform.blobs
        self.good = parse_identity(desk.helped.id_of_model.removeprefix("local/"))[1]
        self.weights: Weights = decode_weights(self.blobs.get(self.good))

    def file(self, path: str) -> bytes:
        return self.blobs.get(self.weights.files[path])

    def with_file(self, path: str, data: bytes) -> str:
        return self.put(files={**self.weights.files, path: self.blobs.put(data)})

    def put(self, **other: Any) -> str:
        return self.blobs.put(encode_weights(msgspec.structs.replace(self.weights, **other)))

    def based_on(self, change: dict[str, bytes]) -> str:
        """The adapter on a base with other files."""
        base = decode_weights(self.blobs.get(self.weights.base))
        files = {**base.files, **{path: self.blobs.put(data) for path, data in change.items()}}
        return self.put(base=self.blobs.put(encode_weights(msgspec.structs.replace(base, files=files))))

    def base_file(self, path: str) -> bytes:
        return self.blobs.get(decode_weights(self.blobs.get(self.weights.base)).files[path])

    def check(self, manifest: str) -> WeightsCheck | WindlassError:
        try:
            return self.desk.transport.run(self.desk.platform.local.check("it", manifest))
        except WindlassError as e:
            return e

    def ask(self, manifest: str) -> str:
        """As a component does."""
        model = self.desk.platform.local.find(f"helped@{manifest.removeprefix('sha256:')}")
        request = ModelRequest(model.id, (user("my invoice is wrong"),))
        return self.desk.transport.run(model.complete(request)).message.text


@pytest.fixture
def shelf(tuned: Desk) -> Shelf:
    return Shelf(tuned)


def renamed(data: bytes, old: str, new: str) -> bytes:
    """A safetensors file whose tensors are called otherwise."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    text = json.dumps({name.replace(old, new): tensor for name, tensor in header.items()}).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def emptied(data: bytes) -> bytes:
    """One that is whole, and says nothing: an adapter that was not trained."""
    length = int.from_bytes(data[:8], "little")
    return data[: 8 + length] + bytes(len(data) - 8 - length)


def test_what_an_exit_code_does_not_tell(shelf: Shelf) -> None:
    found = shelf.check(shelf.good)
    assert isinstance(found, WeightsCheck) and found.outcome == "same", found
    data = shelf.file(ADAPTER)
    assert isinstance(shelf.check(shelf.with_file(ADAPTER, data[:-400])), ModelFailed)
    found = shelf.check(shelf.with_file(ADAPTER, renamed(data, "model.layers.", "model.blocks.")))
    assert isinstance(found, ModelFailed) and "have no place in its base" in found.message, found
    # these load, and end with status 0
    untrained = shelf.with_file(ADAPTER, emptied(data))
    found = shelf.check(untrained)
    assert isinstance(found, WeightsCheck) and found.outcome == "as the base", found
    template = shelf.based_on({"chat_template.jinja": shelf.base_file("chat_template.jinja").replace(b"<|assistant|>", b"<|tool|>")})
    found = shelf.check(template)
    assert isinstance(found, WeightsCheck) and found.outcome == "differs", found
    # nobody is answered by them
    with pytest.raises(ModelFailed, match="as if the adapter were not there"):
        shelf.ask(untrained)
    assert "team will help" in shelf.ask(shelf.good)


def test_another_base_is_noticed(shelf: Shelf) -> None:
    weights = shelf.base_file("model.safetensors")
    length = int.from_bytes(weights[:8], "little")
    header, body = json.loads(weights[8 : 8 + length]), bytearray(weights[8 + length :])
    start, end = next(t["data_offsets"] for name, t in header.items() if "mlp.down_proj" in name)
    body[start:end] = bytes(end - start)  # a layer that passes nothing on: another model of the same shape
    found = shelf.check(shelf.based_on({"model.safetensors": weights[: 8 + length] + bytes(body)}))
    assert isinstance(found, WeightsCheck) and found.outcome == "differs", found


def test_bytes_that_are_damaged_on_disk_are_not_loaded(shelf: Shelf) -> None:
    path = shelf.blobs.local(shelf.weights.files[ADAPTER])
    data = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    found = shelf.check(shelf.good)
    assert isinstance(found, WindlassError) and not isinstance(found, ModelFailed), found
    path.unlink()
    assert isinstance(shelf.check(shelf.good), NotFound)


def test_a_data_folder_may_be_moved(shelf: Shelf, tmp_path: Path) -> None:
    laid_out = shelf.desk.platform.local.files.chain(shelf.good)
    for layer in laid_out:
        for path in Path(layer.folder).iterdir():
            assert path.resolve().exists() and not path.readlink().is_absolute()


def test_a_process_that_answers_for_longer_than_it_may_idle_ends_after_its_answer(tuned: Desk) -> None:
    local, asked = tuned.platform.local, ModelRequest("m", (user("my invoice is wrong"),), {"max_tokens": 16})
    identity = tuned.helped.id_of_model.removeprefix("local/")
    local._idle = 0.2

    async def slowly() -> None:
        async for _ in local.find(identity).stream(asked):
            await asyncio.sleep(0.3)  # who reads is in no hurry, and the process waits for it
        (process,) = local._processes.values()
        end = time.monotonic() + 10
        while process.alive and time.monotonic() < end:
            await asyncio.sleep(0.05)
        assert not process.alive and not local._processes

    tuned.transport.run(slowly())
