"""OTLP by gRPC: the three services, on a Unix socket that `port` hands connections to. This file alone imports grpcio.

Bodies stay bytes and take the way of HTTP's. Nobody's are read before their key was looked at: a call is served as one whose requests
stream in, which is the same on the wire.
"""

from __future__ import annotations

import asyncio
import functools
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # it writes to the log by itself
import grpc
import grpc.aio

from windlass.core.errors import Invalid, WindlassError
from windlass.doors import api
from windlass.doors.otlp.intake import Intake, wait_after
from windlass.doors.otlp.senders import SENDERS, project_of
from windlass.doors.otlp.unpacking import too_large
from windlass.doors.otlp.wire import CODES, PROTOBUF, SIGNALS, retry_info, status

METHODS = {
    "/opentelemetry.proto.collector.trace.v1.TraceService/Export": "traces",
    "/opentelemetry.proto.collector.logs.v1.LogsService/Export": "logs",
    "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export": "metrics",
}
OURS = SENDERS[0]  # who comes by gRPC carries a key as at our own paths
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class Services(grpc.GenericRpcHandler):  # type: ignore[misc]
    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._server: Any = None

    @classmethod
    async def start(cls, intake: Intake, path: Path) -> Services:
        made = cls(intake)
        await asyncio.to_thread(path.unlink, missing_ok=True)  # of a process that was killed
        options = [
            ("grpc.max_receive_message_length", intake.limit),  # after decompression
            ("grpc.max_concurrent_streams", 100),  # of one connection; further calls wait for their turn
            ("grpc.so_reuseport", 0),
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),  # those who ask often whether we are there are not turned away
            ("grpc.keepalive_permit_without_calls", 1),
        ]
        made._server = grpc.aio.server(options=options)
        made._server.add_generic_rpc_handlers((made,))
        made._server.add_insecure_port(f"unix:{path}")
        await made._server.start()
        await asyncio.to_thread(path.chmod, 0o600)
        return made

    async def stop(self, seconds: float) -> None:
        await self._server.stop(seconds)

    def service(self, details: Any) -> Any:
        """How a call is answered; None for a method that is not ours."""
        if (name := METHODS.get(details.method)) is None:
            return None
        return grpc.stream_unary_rpc_method_handler(functools.partial(self._export, name))

    async def _export(self, name: str, requests: Any, context: Any) -> bytes:
        headers = _headers(context)
        self._intake.came(name)
        actor = None
        try:
            actor = await self._intake.admit(OURS, headers)
            with self._intake.share() as share:
                body = await _only(requests)
                share.add(len(body))
                return await self._intake.take(SIGNALS[name], actor.project, body, PROTOBUF, project_of(OURS, headers))
        except Exception as e:
            error = e if isinstance(e, WindlassError) else api.defect(name)
        retry = wait_after(error)
        details: list[tuple[str, bytes]] = [("grpc-status-details-bin", status(error, PROTOBUF, retry))]
        if retry is not None:  # where the exporter for Python looks
            details.append(("google.rpc.retryinfo-bin", retry_info(retry)))
        try:
            await context.abort(_CODES[CODES.get(error.status, 2)], str(error)[:1000], tuple(details))
        except grpc.aio.InternalError as e:  # it was answered: grpcio refuses by itself what is too large
            error = too_large(self._intake.limit) if isinstance(error, _Nothing) else error
            raise asyncio.CancelledError from e
        finally:
            self._intake.turned_away(name, error, actor)
        raise AssertionError("abort raises")


class _Nothing(Invalid):
    """There is no request in a call, or it was too large for grpcio, which does not say so here."""


async def _only(requests: Any) -> bytes:
    received = aiter(requests)
    try:
        return await anext(received)
    except StopAsyncIteration:
        raise _Nothing("there is no request in the call") from None
    finally:
        await received.aclose()  # otherwise it keeps the body until the collector comes, which it seldom does here


def _headers(context: Any) -> dict[str, str]:
    """Metadata by name; several of one name are joined, so that none of two keys is believed."""
    found: dict[str, str] = {}
    for name, value in context.invocation_metadata() or ():
        if isinstance(value, str):
            found[name] = f"{found[name]}, {value}" if name in found else value
    return found
