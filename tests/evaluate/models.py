"""A provider of models of known quality: each answers its share of the rows rightly, always the same ones, at a known speed."""

from __future__ import annotations

import asyncio
import hashlib
import re
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

ASKED = re.compile(r"question (\d+)")


@dataclass
class Known:
    """`quality` is the share of rows it answers rightly; `status` other than 200 is all it ever answers."""

    quality: float
    seconds: float = 0.0
    status: int = 200


@dataclass
class KnownModels:
    """Serves while entered; counts calls by model."""

    models: dict[str, Known]
    calls: dict[str, int] = field(default_factory=dict)
    url: str = ""

    async def __aenter__(self) -> KnownModels:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        body: dict[str, Any] = await request.json()
        model = body["model"]
        known = self.models[model]
        self.calls[model] = self.calls.get(model, 0) + 1
        if known.status != 200:
            return web.json_response({"error": {"message": "no such luck"}}, status=known.status)
        await asyncio.sleep(known.seconds)
        number = ASKED.search(str(body["messages"]))
        assert number, body
        said = f"answer {number[1]}" if right(model, int(number[1]), known.quality) else "I do not know"
        message = {"role": "assistant", "content": said}
        usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
        return web.json_response(
            {"id": "r", "object": "chat.completion", "model": model, "usage": usage,
             "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        )  # fmt: skip

    def providers(self) -> str:
        """A providers.toml that has it as `acme`."""
        return f'[acme]\nbase_url = "{self.url}"\nauth = "none"\nmodels = {list(self.models)!r}\n'.replace("'", '"')


def right(model: str, number: int, quality: float) -> bool:
    """Whether a model of this quality knows this row: a coin by model and row."""
    return int(hashlib.sha256(f"{model} {number}".encode()).hexdigest(), 16) % 1000 < quality * 1000
