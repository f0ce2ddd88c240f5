"""How a part of the server starts: `python -m windlass.doors.part LIFELINE MODULE ARGUMENTS…` runs the module as a program.

LIFELINE is the reading end of a pipe whose other end only the supervisor holds: when that ends, however it ends, so does the
part. A part that cannot work at all says why in its last line and ends with `HOPELESS`: while the server starts, that ends it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import runpy
import signal
import sys
import threading
import time

from windlass.core.errors import WindlassError

HOPELESS = 78  # EX_CONFIG
GRACE_SECONDS = 5.0


def main() -> None:
    lifeline, module, *arguments = sys.argv[1:]
    threading.Thread(target=_follow, args=(int(lifeline),), name="lifeline", daemon=True).start()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except WindlassError as e:
        print(e, file=sys.stderr)
        sys.exit(HOPELESS)


def _follow(lifeline: int) -> None:
    """End this process when the supervisor has ended."""
    with contextlib.suppress(OSError):
        while os.read(lifeline, 1):
            pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main()
