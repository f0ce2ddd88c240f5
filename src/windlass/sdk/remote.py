"""The host inside a runner: calls of authoring objects go to the server as frames, and answers come back.

`Link` owns the socket: one thread reads, any thread writes. `RemoteHost` implements `core.host.Host` over it, for
blocking calls from any thread, for tasks, and for streams. Knows nothing of what the calls mean.
"""

from __future__ import annotations

import asyncio
import itertools
import queue
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from typing import Any

import msgspec

from windlass.core.errors import error_from_dict
from windlass.sdk.frames import HEADER, TO_CHILD, Answer, Ask, Cancel, Drop, Fault, Frame, Piece, Start, pack

Event = str | Answer | Exception  # a piece of a stream, its end, its failure


class Link:
    """The runner's end of the socket pair. `on_cancel` and `on_close` are called in the reading thread."""

    def __init__(self, sock: socket.socket, on_cancel: Callable[[], None], on_close: Callable[[], None]) -> None:
        self.starts: queue.SimpleQueue[Start] = queue.SimpleQueue()
        self._sock = sock
        self._on_cancel = on_cancel
        self._on_close = on_close
        self._sending = threading.Lock()
        self._numbers = itertools.count(1)
        self._open: dict[int, Callable[[Event], None]] = {}
        threading.Thread(target=self._read, name="windlass-link", daemon=True).start()

    def send(self, frame: Frame) -> None:
        """Write one frame; whole frames of many threads never mix."""
        data = pack(frame)
        with self._sending:
            self._sock.sendall(data)

    def ask(self, kind: str, name: str, arguments: dict[str, Any], listener: Callable[[Event], None], *, stream: bool = False) -> int:
        """Ask the server; `listener` is called in the reading thread. Returns the number of the call."""
        number = next(self._numbers)
        self._open[number] = listener
        try:
            self.send(Ask(call=number, kind=kind, name=name, arguments=arguments, stream=stream))
        except BaseException:
            self._open.pop(number, None)
            raise
        return number

    def drop(self, number: int) -> None:
        """Tell the server that nobody waits for that call any more."""
        if self._open.pop(number, None) is not None:
            self.send(Drop(number))

    def _exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            more = self._sock.recv(min(count - len(data), 1 << 20))
            if not more:
                raise EOFError
            data += more
        return bytes(data)

    def _read(self) -> None:
        try:
            while True:
                (length,) = HEADER.unpack(self._exactly(HEADER.size))
                self._take(TO_CHILD.decode(self._exactly(length)))
        except (EOFError, OSError, msgspec.DecodeError):
            self._on_close()

    def _take(self, frame: Start | Answer | Fault | Piece | Cancel) -> None:
        if isinstance(frame, Start):
            self.starts.put(frame)
        elif isinstance(frame, Cancel):
            self._on_cancel()
        elif isinstance(frame, Piece):
            if listener := self._open.get(frame.call):
                listener(frame.text)
        elif listener := self._open.pop(frame.call, None):
            listener(frame if isinstance(frame, Answer) else error_from_dict({"error": frame.error}))


def _settle(future: Future[Any]) -> Callable[[Event], None]:
    def listener(event: Event) -> None:
        if future.cancelled():
            return
        if isinstance(event, Exception):
            future.set_exception(event)
        elif isinstance(event, Answer):
            future.set_result(event.value)

    return listener


class RemoteHost:
    """`core.host.Host` whose work is done by the server."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.entry = ""

    def call(self, kind: str, name: str, arguments: dict[str, Any]) -> Any:
        future: Future[Any] = Future()
        number = self._link.ask(kind, name, plain(arguments), _settle(future))
        try:
            return future.result()
        finally:
            self._link.drop(number)

    async def acall(self, kind: str, name: str, arguments: dict[str, Any]) -> Any:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()

        def settle(event: Event) -> None:
            if future.done():
                return
            if isinstance(event, Exception):
                future.set_exception(event)
            elif isinstance(event, Answer):
                future.set_result(event.value)

        number = self._link.ask(kind, name, plain(arguments), lambda event: _soon(loop, settle, event))
        try:
            return await future
        finally:
            self._link.drop(number)

    def stream(self, kind: str, name: str, arguments: dict[str, Any]) -> Iterator[str]:
        events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        number = self._link.ask(kind, name, plain(arguments), events.put, stream=True)
        try:
            while not isinstance(event := events.get(), Answer):
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            self._link.drop(number)

    async def astream(self, kind: str, name: str, arguments: dict[str, Any]) -> AsyncIterator[str]:
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Event] = asyncio.Queue()
        number = self._link.ask(kind, name, plain(arguments), lambda event: _soon(loop, events.put_nowait, event), stream=True)
        try:
            while not isinstance(event := await events.get(), Answer):
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            self._link.drop(number)


def _soon(loop: asyncio.AbstractEventLoop, function: Callable[[Event], None], event: Event) -> None:
    try:
        loop.call_soon_threadsafe(function, event)
    except RuntimeError:  # the user's loop is closed: nobody waits for this answer
        return


def plain(value: Any) -> Any:
    """A Python value as JSON builtins: structs, dataclasses, enums, dates, and whatever has `model_dump` (Pydantic)."""
    return msgspec.to_builtins(value, str_keys=True, enc_hook=_dump)


def _dump(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return dump(mode="json")
    raise TypeError(f"{type(value).__name__} is not a JSON value")
