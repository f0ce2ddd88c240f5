"""The door for agents elsewhere: what `POST /mcp/{agent}` adds to a tool.

    python -m bench.mcp [--calls 300]

The same tool, which returns at once, called one call after the other: as the function it is; by hand over the API, which runs it in its
process and records it; and through the door, where the token's grant is read, decided about and counted. Beside them a `ping`, which is the
door alone, and a tool that changes the world, whose calls are entered in the audit before and after. The ways take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.doors.server import Server

from windlass.core.grant import GrantedTool

APP = """
import windlass as w


@w.tool(effects="read")
def look(order: str) -> str:
    \"\"\"What became of an order.\"\"\"
    return f"order {order} is paid"


@w.tool(effects="write")
def refund(order: str) -> str:
    \"\"\"Refund an order.\"\"\"
    return f"refunded {order}"
"""


def look(order: str) -> str:
    return f"order {order} is paid"


def pushed(server: Server, folder: Path) -> None:
    (folder / "app.py").write_text(APP)
    (folder / "windlass.toml").write_text('name = "bench"\n')
    environment = os.environ | {"WINDLASS_URL": server.address, "WINDLASS_KEY": server.token}
    subprocess.run([sys.executable, "-m", "windlass.doors.cli.main", "push"], cwd=folder, env=environment, check=True, capture_output=True)


def ways(server: Server) -> dict[str, Callable[[], None]]:
    """Each way does one call, and fails where it was not let through."""
    with server.client() as client:
        made = client.grants.make("desk", "Look up orders.", (GrantedTool("tool/look"), GrantedTool("tool/refund"))).grant
        token = client.grants.token(made.id).token
    outside, owner = server.http(authorization=f"Bearer {token}"), server.owner()

    def asked(method: str, **params: Any) -> None:
        answer = outside.post("/mcp/desk", json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).json()
        if "error" in answer or answer["result"].get("isError"):
            raise SystemExit(f"it was not let through: {answer}")

    def by_hand() -> None:
        answer = owner.post("/api/v1/runs/start", json={"target": "tool/look", "input": {"order": "7"}})
        if answer.status_code != 200:
            raise SystemExit(f"it did not run: {answer.text[:300]}")

    return {
        "the function": lambda: look("7") and None,
        "by hand, over the API": by_hand,
        "through the door": lambda: asked("tools/call", name="look", arguments={"order": "7"}),
        "through the door, changing the world": lambda: asked("tools/call", name="refund", arguments={"order": "7"}),
        "a ping through the door": lambda: asked("ping"),
    }


def figures(calls: int) -> dict[str, dict[str, float]]:
    """Seconds at the middle and at 99 of 100, by way."""
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "home")
        try:
            (workspace := Path(folder) / "workspace").mkdir()
            pushed(server, workspace)
            found = ways(server)
            took: dict[str, list[float]] = {name: [] for name in found}
            for number in range(calls + 5):  # the first start processes
                for name, way in found.items():
                    began = time.perf_counter()
                    way()
                    if number >= 5:
                        took[name].append(time.perf_counter() - began)
        finally:
            server.stop()
    return {name: {"p50": sorted(t)[len(t) // 2], "p99": sorted(t)[len(t) * 99 // 100]} for name, t in took.items()}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--calls", type=int, default=300)
    arguments.add_argument("--json", action="store_true")
    asked = arguments.parse_args()
    loaded, found = os.getloadavg()[0], figures(asked.calls)
    if asked.json:
        print(json.dumps({"load_before": loaded, "cpus": os.cpu_count(), **found}))
        return
    base = found["by hand, over the API"]["p50"]
    print(f"one after the other; {os.cpu_count()} cores, load {loaded:.1f} before; milliseconds")
    print(f"{'':>38} {'p50':>8} {'p99':>8} {'added':>8}   to by hand")
    for name, f in found.items():
        added = (f["p50"] - found["the function"]["p50"]) * 1000
        print(f"{name:>38} {f['p50'] * 1000:>8.3f} {f['p99'] * 1000:>8.3f} {added:>8.3f}   {f['p50'] / base:.2f} ×")


if __name__ == "__main__":
    sys.exit(main())
