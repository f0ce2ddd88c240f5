"""A Python function as a command: `python -m windlass.sdk.foreign package.module:name` reads one `{"input": …}` and writes its output.

It runs in the workspace's folder, in the user's own environment; nothing else of Windlass is loaded.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import json
import sys
from typing import Any


def main() -> None:
    entry = sys.argv[1]
    module, _, name = entry.partition(":")
    sys.path.insert(0, "")
    given = json.load(sys.stdin)["input"]
    with contextlib.redirect_stdout(sys.stderr):  # what it prints is not its answer
        function = getattr(importlib.import_module(module), name)
        output: Any = function(given)
        if inspect.isawaitable(output):
            output = asyncio.run(_whole(output))
    json.dump({"output": output}, sys.stdout)


async def _whole(waiting: Any) -> Any:
    return await waiting


if __name__ == "__main__":
    main()
