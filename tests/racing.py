"""Processes that write the same store at once: each of its own, forked from one that has loaded Windlass and nothing else, since eight that
start from nothing spend more on loading it than on the race."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Any

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["pytest", "windlass.platform"])


def racer(run: Callable[..., None], *arguments: Any) -> BaseProcess:
    """A process that will run it, in the environment of this moment. What it shares with others is made by `CONTEXT`."""
    return CONTEXT.Process(target=_run, args=(dict(os.environ), run, arguments))


def _run(environment: dict[str, str], run: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    run(*arguments)
