"""The part of the server that works: evaluations and gates, durable by DBOS, on a `Platform` of its own."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from windlass.doors.loopback import is_loopback
from windlass.jobs.durable import work
from windlass.jobs.work import Work
from windlass.store.home import Home

if TYPE_CHECKING:
    from windlass.platform import Platform

NICENESS = 5


def main() -> None:
    parser = argparse.ArgumentParser(prog="windlass.doors.jobs", description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--address", required=True)
    parser.add_argument("--host", required=True)
    given = parser.parse_args()
    os.environ.pop("WINDLASS_OWNER_KEY", None)
    os.nice(NICENESS)  # who is being served comes first
    home = Home(given.home)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    made: list[Platform] = []

    def works() -> Mapping[str, Work]:
        # opened on the loop that works, and only once there is work: until then this process is half as large
        if not made:
            from windlass.platform import Platform
            from windlass.settings import load_settings

            settings = load_settings(home.path, {"host": given.host})
            made.append(Platform(home, settings, address=given.address, name="jobs", commands=is_loopback(given.host)))
        return made[0].works()

    async def close() -> None:
        await asyncio.gather(*(platform.close() for platform in made))

    work(home.jobs_url, works, lambda: _wait(ended), close)
    os._exit(0)  # threads of DBOS and of runs that were cut off; what they did is kept


def _wait(ended: threading.Event) -> None:
    while not ended.wait(3600):
        pass


if __name__ == "__main__":
    main()
