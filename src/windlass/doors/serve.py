"""`windlass up`: a small supervisor of the parts that serve, project and work. It stays light: no store, no web framework.

It holds the data folder's lock and the listening socket. A part that dies is started again, after a growing pause; one that
says, before the server first answered, that it cannot work at all ends the server with its own words. Ctrl-C or SIGTERM ends
every part, then this.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from windlass.core.errors import Conflict, Invalid, Unavailable, WindlassError
from windlass.core.ids import now_ns
from windlass.doors.listener import Listener, listen, listen_for_grpc
from windlass.doors.loopback import is_loopback
from windlass.doors.part import HOPELESS
from windlass.doors.part_logs import last_line, log_path, shorten_log
from windlass.govern.processes import Process, tell_grpc, write_processes
from windlass.govern.sessions import Sessions
from windlass.settings import load_settings
from windlass.store.home import Home
from windlass.traces.forward_targets import ready

START_SECONDS = 60.0  # how long the parts may take until they answer
STOP_SECONDS = 6.0  # how long they may take to end before they are killed
STEADY_SECONDS = 60.0  # a part that lived so long starts without a pause again
PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
FAILED_STARTS = 5  # of one part, before the server first answered
LOG_SECONDS = 60.0  # between looks at the logs
# glibc gives every thread an arena of its own, and they add up over three processes
FRUGAL = {"MALLOC_ARENA_MAX": "2", "OMP_NUM_THREADS": "1"}

Say = Callable[[str], None]


class Wanted(msgspec.Struct, frozen=True):
    """What `windlass up` was asked for. None: as the settings say. `owner_key_env` names the variable that holds the key."""

    home: str
    host: str | None = None
    port: int | None = None
    workers: int | None = None
    owner_key_env: str = "WINDLASS_OWNER_KEY"
    tour: bool = True
    json: bool = False


class Part:
    """One process that is kept alive."""

    def __init__(
        self, name: str, module: str, arguments: tuple[str, ...], environment: dict[str, str], sockets: tuple[int, ...] = ()
    ) -> None:
        self.name = name
        self.module = module
        self.arguments = arguments
        self.environment = environment
        self.sockets = sockets
        self.process: subprocess.Popen[bytes] | None = None
        self.since_ns = 0
        self.began = 0.0
        self.failures = 0
        self.restarts = 0
        self.due: float | None = 0.0  # when to start it, by the monotonic clock; None while it runs

    def seen(self, running: bool) -> Process:
        """This part as others are told of it."""
        state = "waiting" if self.process is None else "running" if running else "starting"
        return Process(self.process.pid if self.process else 0, state, self.since_ns, self.restarts)


class Supervisor:
    """Keeps the parts of one data folder's server alive. `say` is given sentences for the person at the terminal."""

    def __init__(self, home: Home, parts: list[Part], say: Say) -> None:
        assert home.parts is not None, "take the lock first"
        self._home = home
        self._parts = parts
        self._say = say
        self._inherited = home.parts
        self._stopping = False
        self._answered = False
        self._wake, self._waker = socket.socketpair()
        self._lifeline, self._held = os.pipe()
        for end in (self._wake, self._waker):
            end.setblocking(False)

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Listen for the end of this process and of its parts."""
        before = {n: signal.signal(n, self._on_signal) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)}
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, _: object) -> None:
        if number != signal.SIGCHLD:
            self._stopping = True

    def start(self, answers: Callable[[], bool]) -> bool:
        """Start everything and wait until it answers; False when it was told to stop before. Raises `Unavailable` with the
        words of a part that cannot work."""
        until = time.monotonic() + START_SECONDS
        while not self._stopping:
            self._tend()
            if answers():
                self._answered = True
                self._publish()
                return True
            if time.monotonic() > until:
                raise Unavailable(f"nothing answered within {START_SECONDS:g} s", where=str(self._home.path / "logs"))
            self._sleep(0.03)
        return False

    def keep(self) -> None:
        """Keep the parts alive until told to stop. Raises as `start` does."""
        while not self._stopping:
            self._tend()
            for part in self._parts:
                shorten_log(log_path(self._home.path, part.name))
            dues = [p.due for p in self._parts if p.due is not None]
            self._sleep(min(LOG_SECONDS, max(0.0, min(dues) - time.monotonic()) if dues else LOG_SECONDS))

    def stop(self) -> None:
        """End every part: ask, wait, then kill."""
        running = [p.process for p in self._parts if p.process is not None]
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        until = time.monotonic() + STOP_SECONDS
        for process in running:
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        os.close(self._held)
        os.close(self._lifeline)
        write_processes(self._home.path, {})

    def _sleep(self, seconds: float | None) -> None:
        """Until a signal comes, at most so long."""
        ready, _, _ = select.select([self._wake], [], [], seconds)
        if ready:
            with contextlib.suppress(BlockingIOError):
                while self._wake.recv(4096):
                    pass

    def _tend(self) -> None:
        """Note which parts ended; start those that are due."""
        changed = False
        for part in self._parts:
            if part.process is not None and (code := part.process.poll()) is not None:
                self._ended(part, code)
                changed = True
            if part.due is not None and part.due <= time.monotonic() and not self._stopping:
                self._launch(part)
                changed = True
        if changed:
            self._publish()

    def _launch(self, part: Part) -> None:
        command = [sys.executable, "-m", "windlass.doors.part", str(self._lifeline), part.module, *part.arguments]
        with log_path(self._home.path, part.name).open("ab") as log:
            part.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=part.environment, start_new_session=True,
                pass_fds=(self._lifeline, self._inherited, *part.sockets),
            )  # fmt: skip
        part.began, part.since_ns, part.due = time.monotonic(), now_ns(), None

    def _ended(self, part: Part, code: int) -> None:
        part.process = None
        last = last_line(self._home.path, part.name)
        if code == HOPELESS and not self._answered:
            raise Unavailable(last or f"{part.name} cannot work", where=part.name)
        if time.monotonic() - part.began > STEADY_SECONDS:
            part.failures = 0
        if not self._answered and part.failures >= FAILED_STARTS:
            log = log_path(self._home.path, part.name)
            raise Unavailable(f"{part.name} does not start: {last or _how(code)}", where=str(log), remedy="its log says more")
        pause = PAUSES[min(part.failures, len(PAUSES) - 1)]
        part.due, part.since_ns = time.monotonic() + pause, now_ns()
        part.failures += 1
        part.restarts += 1
        if not self._stopping:
            why = last if code == HOPELESS and last else _how(code)
            self._say(f"{part.name} ended ({why}); it is started again in {pause:g} s")

    def _publish(self) -> None:
        write_processes(self._home.path, {p.name: p.seen(self._answered) for p in self._parts})


def up(wanted: Wanted) -> int:
    """Run the server until it is told to stop; the process's exit status. Raises what keeps it from starting."""
    fresh = not (Path(wanted.home) / "windlass.db").exists()
    home = Home(Path(wanted.home))
    given = {"host": wanted.host, "port": wanted.port, "workers": wanted.workers}
    settings = load_settings(home.path, given)
    fresh = fresh and not settings.database  # whether a store elsewhere is new is not known here
    owner_key = _owner_key(settings.host, wanted.owner_key_env)
    # of how many it is one, a worker must know: what it remembers may be old then
    environment = {**FRUGAL, **os.environ, "PYTHONUNBUFFERED": "1", "WINDLASS_WORKERS": str(settings.workers)}
    _lock(home)
    try:
        for cut_off in (home.path / "run").glob("upload-*"):
            cut_off.unlink()
        listener = listen(settings.host, settings.port)
        ready(settings.forward_to, listener.local)  # what is wrong with it is told before anything starts
        grpc, problem = listen_for_grpc(settings.host, settings.grpc_port)
        tell_grpc(home.path, problem or (grpc.local.removeprefix("http://") if grpc else "off"))
        home.announce(listener.local)
        home.token(), home.signing_key()
        say = _say_nothing if wanted.json else _complain
        parts = parts_of(
            home.path, settings.host, settings.workers, listener, environment, owner_key, grpc, forward=bool(settings.forward_to)
        )
        supervisor = Supervisor(home, parts, say)
        with supervisor.signals():
            try:
                if supervisor.start(lambda: _healthy(listener.local)):
                    _greet(home, listener, wanted, grpc, problem)
                    with _tour(home, wanted, fresh):
                        supervisor.keep()
            finally:
                listener.socket.close()
                if grpc:
                    grpc.socket.close()
                home.announce(None)
                tell_grpc(home.path, "")
                supervisor.stop()
    finally:
        home.unlock()
    if not wanted.json:
        print("\nstopped; everything is kept in", home.path, flush=True)
    return 0


def parts_of(
    home: Path,
    host: str,
    workers: int,
    listener: Listener,
    environment: dict[str, str],
    owner_key: str | None,
    grpc: Listener | None = None,
    forward: bool = False,
) -> list[Part]:
    """The processes of a server. Only those that serve are given the owner's key."""
    serving = {**environment, "WINDLASS_OWNER_KEY": owner_key} if owner_key else environment
    number = listener.socket.fileno()
    common = ("--home", str(home))
    parts = [
        Part("projector", "windlass.traces.projector", (str(home),), environment),
        Part("jobs", "windlass.doors.jobs", (*common, "--address", listener.local, "--host", host), environment),
    ]
    if forward:
        parts.append(Part("forward", "windlass.traces.forwarding", (str(home), listener.local), environment))
    for worker in range(1, workers + 1):
        name = f"doors-{worker}" if workers > 1 else "doors"
        arguments: tuple[str, ...] = (*common, "--socket", str(number), "--host", host, "--address", listener.local, "--name", name)
        sockets: tuple[int, ...] = (number,)
        if grpc:
            arguments, sockets = (*arguments, "--grpc", str(grpc.socket.fileno())), (number, grpc.socket.fileno())
        parts.append(Part(name, "windlass.doors.worker", arguments, serving, sockets))
    return parts


def _lock(home: Home) -> None:
    try:
        home.lock()
    except Conflict as e:
        if not (address := home.server_address()):
            raise
        link = Sessions(home.path / "run").make_link()
        raise Conflict(
            f"Windlass runs here already, at {address}/?once={link}",
            where=str(home.path),
            remedy="that link logs you in once; stop that server, or name another data folder with --home",
        ) from e


def _owner_key(host: str, owner_key_env: str) -> str | None:
    """The owner's key, taken out of the environment so that nothing else inherits it. Raises `Invalid` for an open server
    without one."""
    key = os.environ.pop(owner_key_env, None)
    os.environ.pop("WINDLASS_OWNER_KEY", None)
    if not key and not is_loopback(host):
        raise Invalid(
            f"listening on {host} opens this server to others, and it has no owner's key",
            where="--host",
            remedy=f"put a long random secret in {owner_key_env}, or listen on 127.0.0.1",
        )
    if key and len(key) < 20:
        raise Invalid("the owner's key is shorter than 20 characters", where=owner_key_env, remedy="use a long random secret")
    return key or None


def _healthy(address: str) -> bool:
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=1.0)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _greet(home: Home, listener: Listener, wanted: Wanted, grpc: Listener | None, problem: str) -> None:
    link = f"{listener.address}/?once={Sessions(home.path / 'run').make_link()}"
    if wanted.json:
        told = {"address": listener.address, "link": link, "home": str(home.path)}
        told |= {"grpc": grpc.local.removeprefix("http://")} if grpc else {"grpc_problem": problem} if problem else {}
        print(msgspec.json.encode(told).decode(), flush=True)
        return
    if problem:
        _complain(f"OTLP by gRPC is {problem}")
    print(f"Windlass is at {link}   (opens logged in; this link works once)", flush=True)


@contextlib.contextmanager
def _tour(home: Home, wanted: Wanted, fresh: bool) -> Iterator[None]:
    """In a new data folder, walk the tour beside the server; one that was cut off is gone on with the next time."""
    mark = home.path / "run" / "tour"
    if fresh and wanted.tour:
        mark.touch()
    if not (mark.exists() and wanted.tour):
        yield
        return
    command = [sys.executable, "-m", "windlass.doors.cli.main", "tour", "--home", str(home.path)]
    output = subprocess.DEVNULL if wanted.json else None
    touring = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, start_new_session=True)
    watch = threading.Thread(target=_end_tour, args=(touring, mark), name="tour", daemon=True)
    watch.start()
    try:
        yield
    finally:
        if touring.poll() is None:
            touring.send_signal(signal.SIGINT)  # which lets it clear away its copy of the example
        watch.join(STOP_SECONDS)
        if touring.poll() is None:
            touring.kill()


def _end_tour(touring: subprocess.Popen[bytes], mark: Path) -> None:
    if touring.wait() == 0:
        mark.unlink(missing_ok=True)


def _complain(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _say_nothing(sentence: str) -> None:
    pass


def _how(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    with contextlib.suppress(ValueError):
        return f"killed by {signal.Signals(-code).name}"
    return f"killed by signal {-code}"


def main() -> None:
    """`python -m windlass.doors.serve JSON`: the command line replaces itself with this, which is a third of its size."""
    wanted = msgspec.json.decode(sys.argv[1], type=Wanted)
    try:
        sys.exit(up(wanted))
    except WindlassError as e:
        print(f"windlass: {e}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
