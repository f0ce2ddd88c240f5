"""Grants: how long a decision takes, and what the broker adds to a call, with 1,000 agents and 5,000 tools in the store.

python -m bench.agentops [--quick]      a tenth of the calls; as many agents and tools
"""

from __future__ import annotations

import argparse
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import insert

from windlass.agentops.broker import Admitted, Attempt, Broker
from windlass.agentops.deciding import Call, authorize
from windlass.agentops.grants import Grants
from windlass.core.actor import OWNER
from windlass.core.artifacts import AgentBody, Code, ToolBody, Version, make_version
from windlass.core.digest import canonical
from windlass.core.grant import Grant, GrantedTool
from windlass.core.operations.grants import GrantRequest
from windlass.govern.tokens import Tokens
from windlass.store.meta import open_meta, write
from windlass.store.tables import versions

AGENTS, TOOLS, EACH = 1_000, 5_000, 5
PARAMETERS = {"type": "object", "properties": {"order": {"type": "string"}, "amount": {"type": "number"}}, "required": ["order"]}
SCHEMA = {"properties": {"order": {"const": "7"}, "amount": {"maximum": 50}}, "required": ["order"]}
GIVEN = {"order": "7", "amount": 5}


def bench(share: float = 1.0) -> dict[str, Any]:
    """Seconds at the middle and at 99 of 100, over this share of the calls."""
    with TemporaryDirectory() as folder:
        engine = open_meta(f"sqlite:///{Path(folder) / 'windlass.db'}")
        tools = [_tool(n) for n in range(TOOLS)]
        agents = [make_version("agent", f"agent-{n}", AgentBody(f"sha256:{n:064x}", "sha256:" + "2" * 64, (), {})) for n in range(AGENTS)]
        with write(engine) as c:
            c.execute(insert(versions), [_row(v) for v in (*tools, *agents)])
        grants, broker, pick = Grants(engine, Tokens(b"k" * 32)), Broker(engine), random.Random(1)
        mine = {a.name: pick.sample(tools, EACH) for a in agents}
        made = {
            name: grants.make(
                OWNER, GrantRequest(f"agent/{name}", "Refund order 7.", tuple(GrantedTool(str(t.ref), SCHEMA) for t in found), calls=10**6)
            ).grant
            for name, found in mine.items()
        }
        calls = [(made[name], pick.choice(mine[name])) for name in pick.choices([a.name for a in agents], k=5_000)]
        own = {name: Grant(name, f"agent/{name}", "x", tuple(GrantedTool(str(t.ref)) for t in found)) for name, found in mine.items()}

        def decide(grant: Grant, tool: Version) -> None:
            assert authorize(Call(grant.agent, str(tool.ref), GIVEN, time.time_ns(), parameters=PARAMETERS), grant).answer == "allow"

        def by_version(grant: Grant, tool: Version) -> None:
            assert isinstance(broker.admit(_attempt(grant, tool, "read", own[grant.agent.removeprefix("agent/")])), Admitted)

        def by_grant(grant: Grant, tool: Version) -> None:
            admitted = broker.admit(_attempt(grant, tool, "write", None))
            assert isinstance(admitted, Admitted)
            broker.settle(admitted, 10**6, 0.0, "ok")

        return {
            "decision, first of each grant": _timed(decide, [(made[n], mine[n][0]) for n in made]),
            "decision": _timed(decide, calls[: int(5_000 * share)]),
            "broker, by the agent's version": _timed(by_version, calls[: int(2_000 * share)]),
            "broker, by a grant, counted, recorded and synced twice": _timed(by_grant, calls[: int(500 * share)]),
        }


def _tool(n: int) -> Version:
    return make_version("tool", f"tool-{n}", ToolBody(Code(f"app:t{n}", {}, "3.11"), f"tool_{n}", "It.", PARAMETERS, "write"))


def _row(v: Version) -> dict[str, Any]:
    body = canonical(v.body).decode()
    return {
        "project": v.project, "kind": v.kind, "name": v.name, "digest": v.digest, "body": body, "neutral": "{}", "snapshot": None,
        "created_ns": 1, "actor": "owner",
    }  # fmt: skip


def _attempt(grant: Grant, tool: Version, effects: str, own: Grant | None) -> Attempt:
    return Attempt(
        actor=OWNER, project="default", agent=grant.agent, tool=str(tool.ref), name=f"tool/{tool.name}", arguments=GIVEN,
        parameters=PARAMETERS, effects=effects, own=own,
    )  # fmt: skip


def _timed(do: Callable[[Grant, Version], None], calls: list[tuple[Grant, Version]]) -> dict[str, float]:
    took = []
    for grant, tool in calls:
        began = time.perf_counter()
        do(grant, tool)
        took.append(time.perf_counter() - began)
    took.sort()
    return {"p50": took[len(took) // 2], "p99": took[len(took) * 99 // 100]}


if __name__ == "__main__":
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--quick", action="store_true")
    loaded, found = os.getloadavg()[0], bench(0.1 if arguments.parse_args().quick else 1.0)
    print(f"{AGENTS:,} agents, {TOOLS:,} tools; {os.cpu_count()} cores, load {loaded:.1f} before")
    for what, figures in found.items():
        times = figures["p50"] / found["decision"]["p50"]
        print(f"{what}: p50 {figures['p50'] * 1e6:,.0f} µs, p99 {figures['p99'] * 1e6:,.0f} µs; {times:,.1f} × a decision")
