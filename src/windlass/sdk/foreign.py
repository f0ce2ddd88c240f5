"""A Python function as a command: `python -m windlass.sdk.foreign package.module:name` reads one `{"input": …}` and writes its output.

It runs in the workspace's folder, in the user's own environment. Its calls of models through the gateway hang in the trace of its row.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import json
import os
import sys
from typing import Any


def main() -> None:
    entry = sys.argv[1]
    module, _, name = entry.partition(":")
    sys.path.insert(0, "")
    given = json.load(sys.stdin)["input"]
    with contextlib.redirect_stdout(sys.stderr):  # what it prints is not its answer
        _join(os.environ.get("WINDLASS_URL"), os.environ.get("TRACEPARENT"))
        function = getattr(importlib.import_module(module), name)
        output: Any = function(given)
        if inspect.isawaitable(output):
            output = asyncio.run(_whole(output))
    json.dump({"output": output}, sys.stdout)


def _join(server: str | None, traceparent: str | None) -> None:
    """What happens from here on happens in a step that somebody else has open."""
    if server and traceparent:
        from opentelemetry.context import attach
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        from windlass.sdk.propagating import carry

        attach(TraceContextTextMapPropagator().extract({"traceparent": traceparent}))
        carry(server)


async def _whole(waiting: Any) -> Any:
    return await waiting


if __name__ == "__main__":
    main()
