"""Commands as processes of their own, forked from one that has loaded Windlass: all that is spared is the second that loading takes, some
four hundred times. `test_commands.py` holds that a command started from nothing says the same."""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SECONDS = 120
LARGEST = 1 << 20  # bytes of a request


class Forks:
    """One for each worker of the tests, made when first needed."""

    _made: Forks | None = None

    @classmethod
    def here(cls) -> Forks:
        if cls._made is None:
            cls._made = cls()
        return cls._made

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
        command = [sys.executable, str(Path(__file__)), str(theirs.fileno())]
        self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=env, stdin=subprocess.DEVNULL)
        theirs.close()
        atexit.register(self._socket.close)

    def run(self, arguments: list[str], cwd: Path, env: dict[str, str], stdin: str | None) -> subprocess.CompletedProcess[str]:
        """As `subprocess.run` with what it says captured. Raises `TimeoutExpired`."""
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            given.write((stdin or "").encode())
            given.seek(0)
            request = json.dumps({"arguments": arguments, "cwd": str(cwd), "env": env}).encode()
            socket.send_fds(self._socket, [request], [given.fileno(), out.fileno(), err.fileno()])
            status = json.loads(self._socket.recv(LARGEST))["status"]
            if status == -signal.SIGALRM:
                raise subprocess.TimeoutExpired(arguments, SECONDS)
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(arguments, status, out.read().decode(), err.read().decode())


def serve(handle: int) -> None:
    """Fork for each request until the other end is closed."""
    import windlass.doors.cli.main as program
    import windlass.doors.local  # noqa: F401 - what a command without a server loads

    asked = socket.socket(fileno=handle)
    while True:
        request, handles, _, _ = socket.recv_fds(asked, LARGEST, 3)
        if not request:
            return
        child = os.fork()
        if child == 0:
            asked.close()
            _become(json.loads(request), handles)
            program.main()
            os._exit(0)  # main ends by itself
        for each in handles:
            os.close(each)
        _, status = os.waitpid(child, 0)
        asked.send(json.dumps({"status": os.waitstatus_to_exitcode(status)}).encode())


def _become(request: dict[str, Any], handles: list[int]) -> None:
    """What a process finds that was started for a command."""
    for number, each in enumerate(handles):
        os.dup2(each, number)
        os.close(each)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = ["windlass", *request["arguments"]]
    signal.alarm(SECONDS)


if __name__ == "__main__":
    sys.path.remove(str(Path(__file__).parent))  # as it is for a program that is installed
    serve(int(sys.argv[1]))
