"""What a step says of itself fails for nothing that an application may give, and a generator is what it was."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider

from windlass.sdk.telling import SHOWN, Pieces, failed, note
from windlass.sdk.tracing import trace


class Unspeakable(Exception):
    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__


def told(value: Any) -> str:
    span: Any = TracerProvider().get_tracer("test").start_span("x")
    note(span, "input.value", value)
    text = span.attributes["input.value"]
    assert text.encode(), "it can be sent"
    return str(text)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({(1, 2): 3}, "{(1, 2): 3}"),
        ({"b": 1, "a": 2}, '{"a":2,"b":1}'),
        ({1: 2, "a": 3}, "{1: 2, 'a': 3}"),
        ("half \ud800", "half ?"),
        (["half \ud800"], "['half \\ud800']"),
        (Unspeakable(), "(Unspeakable, which cannot be told: RuntimeError)"),
        ([{"deep": Unspeakable()}], "(list, which cannot be told: RuntimeError)"),
        ("x" * (SHOWN + 1), "x" * SHOWN + f"… ({SHOWN + 1} characters)"),
    ],
)
def test_anything_can_be_told(value: object, said: str) -> None:
    assert told(value) == said


def test_what_has_itself_in_it_can_be_told() -> None:
    value: list[Any] = [1]
    value.append(value)
    assert told(value) == "(list, which cannot be told: RecursionError)"


def test_an_error_that_cannot_say_what_it_is() -> None:
    span: Any = TracerProvider().get_tracer("test").start_span("x")
    failed(span, Unspeakable())
    assert (span.status.is_ok, span.status.description) == (False, "Unspeakable")
    failed(span, ValueError("half \ud800"))
    assert span.status.description == "ValueError: half ?"

    @trace
    def raises() -> None:
        raise Unspeakable

    with pytest.raises(Unspeakable):
        raises()


def test_what_a_generator_gives_is_kept_in_part() -> None:
    pieces = Pieces()
    for _ in range(1_000_000):
        pieces.add("piece ")
    assert told(pieces).endswith("… (1000000 pieces)") and len(pieces._first) < SHOWN
    numbers = Pieces()
    for n in range(100_000):
        numbers.add(n)
    assert told(numbers).endswith('"… (100000 pieces)"]')


def test_what_is_sent_and_thrown_into_a_generator_reaches_it() -> None:
    @trace
    def echo() -> Generator[str, str, str]:
        try:
            said = yield "ready"
            said = yield said
        except KeyError:
            said = yield "caught"
        return said

    one, other = echo(), echo()
    assert (next(one), one.send("hello")) == ("ready", "hello")
    assert (next(other), other.throw(KeyError("no"))) == ("ready", "caught")
    with pytest.raises(StopIteration) as ended:
        other.send("end")
    assert ended.value.value == "end"
    closed: list[str] = []

    @contextlib.contextmanager
    @trace
    def around() -> Iterator[None]:
        try:
            yield
        except ValueError:
            closed.append("caught")
        finally:
            closed.append("closed")

    with around():
        raise ValueError
    with contextlib.suppress(KeyError), around():
        raise KeyError
    assert closed == ["caught", "closed", "closed"]


def test_and_one_that_waits() -> None:
    @trace
    async def echo() -> Any:
        said = yield "ready"
        yield said

    closed: list[str] = []

    @contextlib.asynccontextmanager
    @trace
    async def around() -> AsyncIterator[None]:
        try:
            yield
        except ValueError:
            closed.append("caught")
        finally:
            closed.append("closed")

    async def main() -> None:
        one = echo()
        assert (await anext(one), await one.asend("hello")) == ("ready", "hello")
        await one.aclose()
        async with around():
            raise ValueError
        with contextlib.suppress(KeyError):
            async with around():
                raise KeyError

    asyncio.run(main())
    assert closed == ["caught", "closed", "closed"]
