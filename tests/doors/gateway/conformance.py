"""The conformance suite of streams: what a provider sends (`streams/*.toml`), and what a client of each dialect must get of it.

Speaks HTTP alone and imports nothing of Windlass, so that it can be pointed at any gateway: `python -m bench.streams`. A `Player` stands
where the provider stands and sends a transcript as it is told: at once, byte by byte, with CRLF, or one event at a time, each only when
the client has what came before. What a gateway translated is read strictly, since then the stream is its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from tests.doors.gateway.stream_readers import Outcome, read, size

FOLDER = Path(__file__).parent / "streams"
PATHS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages", "responses": "/v1/responses"}
CLIENTS = {"openai": ("anthropic",), "anthropic": ("openai", "responses"), "responses": ()}  # who else asks for a transcript's model
PATIENCE_S = 10.0  # after this much the gateway is said to hang
OTHER = "the bytes are others"  # how it is told that what passed through is not the provider's own
FORM = "not in form:"  # how it is told that what was translated keeps to no documentation, though it may be understood
HELD_S = 3.0  # how long a client may wait for an event that was sent


@dataclass
class Case:
    """One transcript. `native` is `bytes` where only the bytes are compared if nothing is translated."""

    name: str
    what: str
    dialect: str
    upstream: dict[str, Any]
    expect: dict[str, Any]
    source: str = ""
    native: str = "meaning"
    paced: bool = False
    cut_call: bool = False
    request: dict[str, dict[str, Any]] = field(default_factory=dict)
    sent: dict[str, Any] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        return str(self.upstream["body"]).encode()

    @property
    def streams(self) -> bool:
        return self.upstream.get("content_type", "text/event-stream") == "text/event-stream" and self.upstream.get("status", 200) == 200


def cases(folder: Path = FOLDER) -> list[Case]:
    """All transcripts, by name."""
    return [Case(path.stem, **tomllib.loads(path.read_text())) for path in sorted(folder.glob("*.toml"))]


# ── the provider's place ──────────────────────────────────────────────────────────────────────────────────────────────


class Player:
    """An HTTP server that sends transcripts. Set `send` before each question; `requests` are the bodies that came, `gone` is set when a
    client left before its answer was whole. Port 0 is one that is free."""

    def __init__(self, port: int = 0) -> None:
        self.send: Callable[[asyncio.StreamWriter, Any], Any] | None = None
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.gone = asyncio.Event()
        self.port = port

    async def __aenter__(self) -> Player:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                length = re.search(r"(?i)^content-length: *(\d+)", head, re.M)
                body = await reader.readexactly(int(length[1])) if length else b"{}"
                self.requests.append((head.split(" ")[1], json.loads(body or b"{}")))
                assert self.send is not None
                sending = asyncio.ensure_future(self.send(writer, self.requests[-1][1]))
                left = asyncio.ensure_future(reader.read(1))  # nobody sends a second question before the first is answered
                await asyncio.wait([sending, left], return_when=asyncio.FIRST_COMPLETED)
                if not sending.done():
                    self.gone.set()
                    sending.cancel()
                writer.close()
                left.cancel()
                await asyncio.gather(sending, left, return_exceptions=True)
                break
        writer.close()

    def answer(self, case: Case, *, split: int = 0, crlf: bool = False, seen: Callable[[], int] | None = None) -> list[str]:
        """Set `send` to a transcript; with `seen`, which tells how much of the answer the client has, one event at a time. What the list
        holds afterwards is what was held back."""
        body = case.body.replace(b"\n", b"\r\n") if crlf else case.body
        held: list[str] = []

        async def send(writer: asyncio.StreamWriter, request: Any) -> None:
            status, kind = case.upstream.get("status", 200), case.upstream.get("content_type", "text/event-stream")
            head = f"HTTP/1.1 {status} Told\r\nContent-Type: {kind}\r\nConnection: close\r\n"
            if not case.streams:
                writer.write(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()
                return
            writer.write(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
            pieces = _events(body) if seen else [body[i : i + split] for i in range(0, len(body), split)] if split else [body]
            for number, piece in enumerate(pieces):
                if piece:
                    writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                    await writer.drain()
                await asyncio.sleep(0)
                if seen and not await _until(seen, size(case.dialect, b"".join(pieces[: number + 1]))):
                    held.append(f"event {number + 1} was held back")
            then = case.upstream.get("then", "end")
            if then == "hang":
                await asyncio.sleep(3600)
            if then == "cut":
                await asyncio.sleep(0.02)
                writer.transport.abort()
                return
            writer.write(b"0\r\n\r\n")
            await writer.drain()

        self.send = send
        return held

    def drip(self, dialect: str) -> None:
        """Set `send` to an answer without an end, which only its client's going ends."""
        self.gone = asyncio.Event()
        first, more = DRIP[dialect]

        async def send(writer: asyncio.StreamWriter, request: Any) -> None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            for piece in (first, *[more] * 3000):
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await writer.drain()
                await asyncio.sleep(0.02)

        self.send = send


_CHUNK = b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":%s}]}\n\n'
_START = b'{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","content":[],"model":"m","usage":%s}}'
_BLOCK = b'{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}'
_DROP = b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"drop "}}'
DRIP = {  # how an answer without an end begins, and goes on
    "openai": (_CHUNK % b'{"role":"assistant"}', _CHUNK % b'{"content":"drop "}'),
    "anthropic": (
        b"event: message_start\ndata: %s\n\n" % (_START % b'{"input_tokens":7,"output_tokens":1}')
        + b"event: content_block_start\ndata: %s\n\n" % _BLOCK,
        b"event: content_block_delta\ndata: %s\n\n" % _DROP,
    ),
}


def _events(body: bytes) -> list[bytes]:
    found = re.split(rb"(?<=\n\n)", body)
    return [f for f in found if f]


async def _until(seen: Callable[[], int], wanted: int) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(HELD_S):
            while seen() < wanted:
                await asyncio.sleep(0.001)
    return seen() >= wanted


# ── asking, and judging what came ─────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Gateway:
    """One to be tried. `models` are the names under which it sends to the player, by the dialect it speaks there."""

    url: str
    key: str
    models: dict[str, str]


@dataclass
class Got:
    status: int = 0
    data: bytes = b""
    broken: str = ""


def asked(case: Case, client: str, model: str) -> dict[str, Any]:
    """The body that a client of a dialect sends."""
    plain: dict[str, dict[str, Any]] = {
        "openai": {"messages": [{"role": "user", "content": "Hi"}], "stream_options": {"include_usage": True}},
        "anthropic": {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 256},
        "responses": {"input": "Hi", "include": ["reasoning.encrypted_content"]},
    }
    return {"model": model, "stream": True, **plain[client], **case.request.get(client, {})}


async def ask(session: aiohttp.ClientSession, gateway: Gateway, client: str, body: dict[str, Any], got: Got) -> None:
    """Ask as a client of a dialect does, and fill `got` as the answer comes."""
    headers = {"Authorization": f"Bearer {gateway.key}", "x-api-key": gateway.key, "anthropic-version": "2023-06-01"}
    try:
        async with asyncio.timeout(PATIENCE_S), session.post(gateway.url + PATHS[client], json=body, headers=headers) as response:
            got.status = response.status
            async for chunk in response.content.iter_any():
                got.data += chunk
    except TimeoutError:
        got.broken = f"nothing ends it within {PATIENCE_S:g} s"
    except aiohttp.ClientError as e:
        got.broken = f"the connection broke: {e!r}"


def judge(case: Case, client: str, got: Got, sent: dict[str, Any] | None, *, crlf: bool = False) -> list[str]:
    """What is wrong with an answer; nothing, where it conforms."""
    wanted = case.expect
    native = client == case.dialect
    if got.broken and not ("error" in wanted and native):
        return [got.broken]
    if native and case.native == "bytes":
        return _same(case, client, got, crlf)
    out = read(client, got.data)
    wrong = [] if native else [f"{FORM} {problem}" for problem in out.problems]
    if not native and sent is not None and case.sent:
        wrong += _lacks(case.sent, sent, "")
    if "error" in wanted:
        told = out.error if got.status == 200 else (out.error or "")
        if told is None and not got.broken:
            wrong.append("it is not told that the answer broke off")
        if wanted["error"] not in (told or ""):
            wrong.append(f"the error is {told!r}, not {wanted['error']!r}")
        status = wanted.get("status", 200 if wanted.get("text") else None)
        if status is not None and got.status != status and got.status // 100 != status:
            wrong.append(f"the status is {got.status}, not {status}")
    elif out.error is not None or got.status != 200:
        return [*wrong, f"status {got.status}, error {out.error!r}"]
    if "error" not in wanted or got.status == 200:
        wrong += _said(case, out)
    return wrong + (_same(case, client, got, crlf) if native else [])


def _said(case: Case, out: Outcome) -> list[str]:
    wanted, wrong = case.expect, []
    for name in ("text", "thought", "signatures", "redacted"):
        there, expected = getattr(out, name), wanted.get(name, [] if name in ("signatures", "redacted") else "")
        if there != expected:
            wrong.append(f"{name} is {there!r}, not {expected!r}")
    if "error" in wanted:
        return wrong
    if out.stop != wanted["stop"]:
        wrong.append(f"it stopped by {out.stop!r}, not {wanted['stop']!r}")
    calls = []
    for name, arguments in out.calls:
        try:
            calls.append({"name": name, "arguments": json.loads(arguments or "{}")})
        except ValueError:
            wrong += [] if case.cut_call else [f"the arguments of {name} are no JSON: {arguments!r}"]
    if calls != wanted.get("calls", []):
        wrong.append(f"it calls {calls}, not {wanted.get('calls', [])}")
    for name, count in wanted.get("usage", {}).items():
        if (out.usage or {}).get(name, 0) != count:
            wrong.append(f"usage is {out.usage}, and {name} should be {count}")
    if wanted.get("no_usage") and any((out.usage or {}).values()):
        wrong.append(f"usage is {out.usage}, and nobody told it")
    return wrong


def _same(case: Case, client: str, got: Got, crlf: bool) -> list[str]:
    """Whether the bytes are the provider's own but for the model's name: to the last whole event where it broke off, and then an error."""
    body = _unnamed(case.body.replace(b"\n", b"\r\n") if crlf else case.body)
    data = _unnamed(got.data)
    if data == body:
        return []
    if "error" not in case.expect or not case.streams:
        return [f"{OTHER} from {_differs(data, body)}"]
    end = b"\r\n\r\n" if crlf else b"\n\n"
    whole = body[: body.rfind(end) + len(end)] if end in body else b""
    told = got.status != 200 and not read(case.dialect, body).size
    return [] if told or data.startswith(whole) else [f"{OTHER} from {_differs(data, whole)}"]


def _unnamed(data: bytes) -> bytes:
    return re.sub(rb'"model": ?"[^"]*"', b'"model":""', data)


def _differs(got: bytes, wanted: bytes) -> str:
    at = next((i for i, (a, b) in enumerate(zip(got, wanted, strict=False)) if a != b), min(len(got), len(wanted)))
    return f"byte {at} of {len(wanted)}: {got[at : at + 50]!r}, not {wanted[at : at + 50]!r}"


def _lacks(wanted: Any, there: Any, where: str) -> list[str]:
    """What of a request did not come to the provider; text and a list of one text are the same."""
    if isinstance(wanted, dict) and isinstance(there, dict):
        return [
            f for k, v in wanted.items() for f in (_lacks(v, there[k], f"{where}.{k}") if k in there else [f"{where}.{k} was not sent"])
        ]
    if isinstance(wanted, str) and isinstance(there, list):
        there = "".join(str(b.get("text", b)) if isinstance(b, dict) else str(b) for b in there)
    if isinstance(wanted, list) and isinstance(there, list) and len(wanted) == len(there):
        return [f for i, (a, b) in enumerate(zip(wanted, there, strict=True)) for f in _lacks(a, b, f"{where}[{i}]")]
    if where.endswith(".arguments") and isinstance(there, str) and json.loads(there) == json.loads(wanted):
        return []
    return [] if wanted == there else [f"{where} was sent as {there!r}, not {wanted!r}"]


# ── the checks of a case ──────────────────────────────────────────────────────────────────────────────────────────────

VARIANTS: dict[str, dict[str, Any]] = {"": {}, "split at every byte": {"split": 1}, "CRLF": {"crlf": True}}


@dataclass
class Check:
    """One way to ask for a case: by a client of which dialect, and how the provider sends."""

    case: Case
    client: str
    variant: str

    @property
    def name(self) -> str:
        return f"{self.case.name} → {self.client}" + (f", {self.variant}" if self.variant else "")

    @property
    def native(self) -> bool:
        return self.case.dialect == self.client


def checks(found: list[Case]) -> list[Check]:
    """All ways to ask for these cases."""
    made = []
    for case in found:
        for client in (case.dialect, *CLIENTS[case.dialect]):
            variants = [v for v in VARIANTS if case.streams or not v]
            made += [Check(case, client, v) for v in variants]
            made += [Check(case, client, "event by event")] if case.paced else []
    return made


async def run(check: Check, gateway: Gateway, player: Player, session: aiohttp.ClientSession) -> list[str]:
    """What is wrong, by one check."""
    got = Got()
    how = VARIANTS.get(check.variant, {})
    seen = (lambda: size(check.client, got.data)) if check.variant == "event by event" else None
    held = player.answer(check.case, seen=seen, **how)
    before = len(player.requests)
    model = gateway.models["anthropic" if check.case.dialect == "anthropic" else "openai"]
    await ask(session, gateway, check.client, asked(check.case, check.client, model), got)
    sent = player.requests[-1][1] if len(player.requests) > before else None
    return [*held[:1], *judge(check.case, check.client, got, sent, crlf=check.variant == "CRLF")]


async def leave(
    client: str, dialect: str, gateway: Gateway, player: Player, session: aiohttp.ClientSession, within_s: float = 3.0
) -> list[str]:
    """What is wrong when a client goes away: the call of the provider must end."""
    player.drip(dialect)
    body = asked(Case("", "", dialect, {"body": ""}, {}), client, gateway.models[dialect])
    headers = {"Authorization": f"Bearer {gateway.key}", "x-api-key": gateway.key, "anthropic-version": "2023-06-01"}
    response = await session.post(gateway.url + PATHS[client], json=body, headers=headers)
    data = b""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            while b"drop" not in data and (chunk := await response.content.readany()):
                data += chunk
    response.close()
    if b"drop" not in data:
        return ["nothing came before it could leave"]
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(player.gone.wait(), within_s)
    return [] if player.gone.is_set() else [f"the provider is still being asked {within_s:g} s after the client left"]
