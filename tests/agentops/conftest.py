"""A real store with an agent and tools in it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Engine

from windlass.agentops.broker import Admitted, Attempt, Broker
from windlass.agentops.grants import Grants
from windlass.agentops.stops import Stops
from windlass.core.actor import OWNER
from windlass.core.artifacts import AgentBody, Code, ToolBody, Version, make_version
from windlass.core.grant import GrantedTool
from windlass.core.operations.grants import GrantRequest, GrantState
from windlass.govern.tokens import Tokens
from windlass.registry.registration import register
from windlass.store.meta import open_meta, write

REFUND = {
    "type": "object", "required": ["order", "amount"],
    "properties": {"order": {"type": "string"}, "amount": {"type": "number"}, "note": {"type": "string"}},
}  # fmt: skip
LOOK = {"type": "object", "properties": {"order": {"type": "string"}}, "required": ["order"]}


def tool(name: str, parameters: dict[str, Any], effects: Any, description: str = "Does it.") -> Version:
    return make_version("tool", name, ToolBody(Code(f"app:{name}", {}, "3.11"), name, description, parameters, effects))


class Shop:
    """Services over one store, as one process has them. `hour` moves their clock."""

    def __init__(self, store: str) -> None:
        self.store = store
        self.engine: Engine = open_meta(store)
        self.time = 1_800_000_000 * 10**9
        now: Callable[[], int] = lambda: self.time  # noqa: E731
        self.tokens = Tokens(b"k" * 32)
        self.grants = Grants(self.engine, self.tokens, now)
        self.stops = Stops(self.engine, now)
        self.broker = Broker(self.engine, now)
        self.refund, self.look = tool("refund", REFUND, "write"), tool("look", LOOK, "read")
        self.agent = make_version("agent", "guide", AgentBody("sha256:" + "1" * 64, "sha256:" + "2" * 64, (), {}))

    def registered(self) -> Shop:
        with write(self.engine) as c:
            for version in (self.refund, self.look, self.agent):
                register(c, OWNER, version)
        return self

    def grant(self, *tools: GrantedTool, **more: Any) -> GrantState:
        asked = {"agent": "agent/guide", "task": "Refund order 7.", "tools": tools or (GrantedTool("tool/refund"),), **more}
        return self.grants.make(OWNER, GrantRequest(**asked))

    def admitted(self, attempt: Attempt | None = None) -> Admitted:
        found = self.broker.admit(attempt or self.attempt())
        assert isinstance(found, Admitted)
        return found

    def attempt(self, version: Version | None = None, arguments: dict[str, Any] | None = None, **more: Any) -> Attempt:
        version = version or self.refund
        made = Attempt(
            actor=OWNER, project="default", agent="agent/guide", tool=str(version.ref), name=f"tool/{version.name}",
            arguments={"order": "7", "amount": 5} if arguments is None else arguments, parameters=version.body["parameters"],
            effects=version.body["effects"],
        )  # fmt: skip
        return msgspec.structs.replace(made, **more)


@pytest.fixture
def shop(tmp_path: Path, database_setting: str) -> Shop:
    return Shop(database_setting or f"sqlite:///{tmp_path / 'windlass.db'}").registered()
