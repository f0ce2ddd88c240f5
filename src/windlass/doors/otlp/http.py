"""OTLP in: `POST /v1/traces`, protobuf or JSON, gzip. Raw ASGI: a hot path.

A span with a bad id is refused and counted in the partial success; the others are kept. The answer is sent after the journal
has synced, in the request's own content type.
"""

from __future__ import annotations

import binascii
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import msgspec
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse

from windlass.core.actor import Actor
from windlass.core.errors import Invalid, TooLarge, Unavailable, WindlassError
from windlass.govern.masking import Masking
from windlass.store.journal import Journal
from windlass.traces.envelope import seal
from windlass.traces.masked import mask_otlp

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
PROTOBUF, JSON = "application/x-protobuf", "application/json"
_CODES = {400: 3, 401: 16, 403: 7, 413: 8, 429: 8, 503: 14}  # google.rpc.Code


class Otlp:
    """The door.

    Args:
        journal: where spans become durable.
        authenticate: who sends these headers; raises `Unauthenticated`.
        guard: asked for `trace` in the actor's project.
        limit: bytes of a request, also after decompression.
        masking: what is taken out before anything is kept.
    """

    def __init__(
        self, journal: Journal, authenticate: Callable[[Mapping[str, str]], Actor], guard: Callable[[Actor, str, str], None], limit: int,
        masking: Masking,
    ) -> None:  # fmt: skip
        self._journal = journal
        self._authenticate = authenticate
        self._guard = guard
        self._limit = limit
        self._masking = masking
        self.counts = {"accepted": 0, "rejected": 0}

    @staticmethod
    def serves(scope: Scope) -> bool:
        return bool(scope["path"] == "/v1/traces" and scope["method"] == "POST")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        kind = headers.get("content-type", PROTOBUF).split(";")[0].strip().lower()
        try:
            actor = self._authenticate(headers)
            self._guard(actor, "trace", actor.project)
            if kind not in (PROTOBUF, JSON):
                raise Invalid(f"{kind!r} is not a kind of OTLP", remedy=f"send {PROTOBUF} or {JSON}")
            body = await self._body(receive, headers.get("content-encoding", "").lower())
            request = _parse(body, kind)
            refused = _refuse(request)
            kept = sum(len(s.spans) for r in request.resource_spans for s in r.scope_spans)
            if kept:
                await self._journal.aappend(seal(actor.project, self._masked(request, actor.project)))
            self.counts["accepted"] += kept
            self.counts["rejected"] += sum(refused.values())
            await _answer(send, 200, _response(refused, kind), JSON if kind == JSON else PROTOBUF)
        except WindlassError as e:
            retry = [(b"retry-after", b"5")] if isinstance(e, Unavailable) else []
            await _answer(send, e.status, _status(e, kind), JSON if kind == JSON else PROTOBUF, retry)

    def _masked(self, request: ExportTraceServiceRequest, project: str) -> bytes:
        data = request.SerializeToString()
        narrowed = self._masking.of(project).narrowed(data)
        return request.SerializeToString() if narrowed and mask_otlp(request, narrowed) else data

    async def _body(self, receive: Receive, encoding: str) -> bytes:
        """The body, unpacked as it comes, so that a bomb is refused before it is whole."""
        if encoding not in ("", "identity", "gzip", "deflate"):
            raise Invalid(f"{encoding!r} is not an encoding we read", remedy="send gzip")
        unpack = zlib.decompressobj(47) if encoding in ("gzip", "deflate") else None
        pieces: list[bytes] = []
        size = 0
        while True:
            event = await receive()
            if event["type"] == "http.disconnect":
                raise Invalid("the request broke off")
            piece = event.get("body", b"")
            try:
                data = unpack.decompress(piece, self._limit - size + 1) if unpack else piece
            except zlib.error as e:
                raise Invalid(f"the body is not {encoding}: {e}") from e
            size += len(data)
            if size > self._limit:
                raise TooLarge(f"the request is larger than {self._limit:,} bytes", remedy="send smaller batches")
            pieces.append(data)
            if not event.get("more_body"):
                break
        if unpack and not unpack.eof:
            raise Invalid(f"the {encoding} body is cut off")
        return b"".join(pieces)


def _parse(body: bytes, kind: str) -> ExportTraceServiceRequest:
    if kind == PROTOBUF:
        try:
            return ExportTraceServiceRequest.FromString(body)
        except DecodeError as e:
            raise Invalid("the body is not an OTLP trace request, or is cut off") from e
    try:
        value = msgspec.json.decode(body)
        _hex_ids(value)
        request = ExportTraceServiceRequest()
        json_format.ParseDict(value, request, ignore_unknown_fields=True)
        return request
    except (msgspec.DecodeError, json_format.ParseError, AttributeError, TypeError, ValueError, RecursionError) as e:
        raise Invalid(f"the body is not an OTLP trace request: {e}") from e


def _hex_ids(value: Any) -> None:
    """OTLP writes ids as hex where protobuf's JSON has base64; a bad id becomes one that is refused."""
    for resource in value.get("resourceSpans") or []:
        for scope in resource.get("scopeSpans") or []:
            for span in scope.get("spans") or []:
                for holder in [span, *(span.get("links") or [])]:
                    for name in ("traceId", "spanId", "parentSpanId"):
                        if holder.get(name):
                            holder[name] = _base64(str(holder[name]))


def _base64(text: str) -> str:
    try:
        return binascii.b2a_base64(bytes.fromhex(text), newline=False).decode()
    except ValueError:
        return "AA=="


def _refuse(request: ExportTraceServiceRequest) -> dict[str, int]:
    """Take out spans that cannot be kept; count them by reason."""
    refused: dict[str, int] = {}
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            reasons = [_fault(s) for s in scope.spans]
            if any(reasons):
                kept = [s for s, reason in zip(scope.spans, reasons, strict=True) if not reason]
                for reason in filter(None, reasons):
                    refused[reason] = refused.get(reason, 0) + 1
                del scope.spans[:]
                scope.spans.extend(kept)
    return refused


def _fault(span: Any) -> str | None:
    if len(span.trace_id) != 16 or not any(span.trace_id):
        return "bad trace id"
    if len(span.span_id) != 8 or not any(span.span_id):
        return "bad span id"
    if span.parent_span_id and len(span.parent_span_id) != 8:
        return "bad parent span id"
    return None


def _response(refused: dict[str, int], kind: str) -> bytes:
    response = ExportTraceServiceResponse()
    if refused:
        response.partial_success.rejected_spans = sum(refused.values())
        response.partial_success.error_message = "; ".join(f"{n} with a {reason}" for reason, n in refused.items())
    return json_format.MessageToJson(response, indent=None).encode() if kind == JSON else response.SerializeToString()


def _status(error: WindlassError, kind: str) -> bytes:
    """A google.rpc.Status: code, message."""
    code, message = _CODES.get(error.status, 2), str(error)
    if kind == JSON:
        return msgspec.json.encode({"code": code, "message": message})
    text = message.encode()[:4000]
    return bytes([0x08, code, 0x12]) + _varint(len(text)) + text


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


async def _answer(send: Send, status: int, body: bytes, kind: str, more: list[tuple[bytes, bytes]] | None = None) -> None:
    headers = [(b"content-type", kind.encode()), (b"content-length", str(len(body)).encode()), *(more or [])]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
