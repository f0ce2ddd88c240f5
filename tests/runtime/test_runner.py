"""Runners with real processes: what user code does wrong fails its own run and nothing else."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.runtime.runners import Echo, MemoryBlobs, once

from windlass.core.errors import Invalid, NotFound, RunFailed, Unavailable
from windlass.runtime.process import RunnerSettings
from windlass.runtime.runner import Runners
from windlass.sdk.frames import Start
from windlass.sdk.sandbox import abi

APP = """
import asyncio, os, signal, sys, threading, time
from collections.abc import AsyncIterator, Iterator
import msgspec
from windlass.core.host import current_host

class Answer(msgspec.Struct):
    text: str
    symbols: list[str]

counter = 0

def hello(name: str) -> str:
    return "hello " + name

def count() -> int:
    global counter
    counter += 1
    return counter

def typed(answer: Answer, extra=None) -> Answer:
    return Answer(answer.text.upper(), [*answer.symbols, extra.key if extra else "none"])

def wrong() -> Answer:
    return "not an answer"

def unjson():
    return object()

def nan() -> float:
    return float("nan")

def boom():
    return deeper()

def deeper():
    raise ValueError("no luck")

def leave():
    sys.exit(3)

def leave_hard():
    os._exit(7)

def dies():
    os.kill(os.getpid(), signal.SIGKILL)

def prints() -> str:
    print("to standard output")
    print("to standard error", file=sys.stderr)
    os.system("echo from a child")
    return "done"

def floods():
    while True:
        sys.stdout.write("x" * 100_000)

def hangs():
    while True:
        time.sleep(1)

def hungry() -> int:
    return len(bytearray(3 * 1024**3))

def leaks() -> str:
    threading.Thread(target=time.sleep, args=(600,), name="forgotten").start()
    return "left"

def leaves_process() -> str:
    os.system("sleep 600 &")
    return "left"

def hides_process() -> int:
    import subprocess
    return subprocess.Popen(["sleep", "600"], start_new_session=True).pid

def litters() -> list:
    os.environ["LEFT"] = "behind"
    before = os.listdir(os.environ["HOME"])
    os.makedirs(os.environ["HOME"] + "/a/b")
    open(os.environ["HOME"] + "/c", "w").close()
    return [before, "LEFT" in os.environ, len(os.environ)]

def environment() -> dict:
    with open("/proc/self/environ") as file:
        return {"environ": dict(os.environ), "proc": file.read(), "pid": os.getpid()}

def spy(paths: list[str]) -> dict:
    seen = {}
    for path in [*paths, f"/proc/{os.getppid()}/environ"]:
        try:
            with open(path) as file:
                seen[path] = file.read()
        except OSError as e:
            seen[path] = None
    return seen

def asks(name: str) -> dict:
    return current_host("asks").call("component", name, {"n": 1})

def asks_in_threads() -> list:
    import concurrent.futures, contextvars
    host = current_host("x")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return sorted(r["n"] for r in pool.map(lambda n: host.call("component", "c", {"n": n}), range(50)))

async def asks_async() -> list:
    host = current_host("x")
    return [r["n"] for r in await asyncio.gather(*(host.acall("component", "c", {"n": n}) for n in range(50)))]

def letters() -> Iterator[str]:
    yield from current_host("x").stream("component", "abc", {})

async def letters_async() -> AsyncIterator[str]:
    async for letter in current_host("x").astream("component", "abc", {}):
        yield letter

def first_letter() -> str:
    for letter in current_host("x").stream("component", "abc", {}):
        return letter

def tidies() -> str:
    try:
        return current_host("x").call("component", "slow", {})
    finally:
        open("tidied" if False else os.environ["HOME"] + "/../../../tidied", "w").close()

async def waits_async() -> str:
    return await current_host("x").acall("component", "slow", {})

async def drops() -> str:
    try:
        await asyncio.wait_for(current_host("x").acall("component", "slow", {}), 0.05)
    except TimeoutError:
        return "dropped"

def nonsense():
    import socket
    for fd in range(3, 1024):
        try:
            os.write(fd, b"\\x00\\x00\\x00\\x05hello")
        except OSError:
            pass
    time.sleep(600)

def deaf():
    import socket
    for fd in range(3, 1024):
        try:
            socket.socket(fileno=os.dup(fd)).shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
    time.sleep(600)

def where() -> str:
    here = os.getcwd()
    os.chdir("/")
    return here

def scribble() -> str:
    with open("app.py", "a") as file:
        file.write("\\n# scribbled")
    return "scribbled"
"""


@pytest.fixture
async def runners(tmp_path: Path) -> AsyncIterator[Runners]:
    pool = Runners(tmp_path, MemoryBlobs(), RunnerSettings(processes=2, seconds=20, memory=1024**3))
    yield pool
    await pool.close()


@pytest.fixture
def app(runners: Runners) -> str:
    return snapshot(runners, {"app.py": APP})


def snapshot(runners: Runners, files: dict[str, str]) -> str:
    blobs = runners._snapshots._blobs
    assert isinstance(blobs, MemoryBlobs)
    return blobs.snapshot(files)


async def test_a_function_is_called_with_what_its_annotations_say(runners: Runners, app: str) -> None:
    assert (await once(runners, app, "hello", name="you")).value == "hello you"
    ran = await once(runners, app, "typed", answer={"text": "a", "symbols": []}, extra={"key": "k"})
    assert ran.value == {"text": "A", "symbols": ["k"]}


async def test_a_warm_runner_is_used_again_and_a_retired_one_is_not(runners: Runners, app: str) -> None:
    assert [(await once(runners, app, "count")).value for _ in range(3)] == [1, 2, 3]
    ran = await once(runners, app, "leaks")
    assert ran.value == "left"
    assert "left 1 thread running (forgotten)" in ran.warnings[0]
    assert (await once(runners, app, "count")).value == 1


async def test_a_run_leaves_nothing_to_the_next(runners: Runners, app: str) -> None:
    first, second = (await once(runners, app, "litters")).value, (await once(runners, app, "litters")).value
    assert first == second
    assert first[0] == []


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's list of children")
async def test_processes_that_a_run_leaves_end_with_its_runner(runners: Runners, app: str) -> None:
    ran = await once(runners, app, "leaves_process")
    assert "left 1 process running" in ran.warnings[0]
    pid = int(ran.warnings[0].partition("(process ")[2].partition(")")[0])
    hidden = (await once(runners, app, "hides_process")).value
    while _runs(pid) or _runs(hidden):
        await asyncio.sleep(0.01)


async def test_runners_killed_at_random_fail_their_own_runs_only(runners: Runners, app: str) -> None:
    """Sixty runs while somebody kills runners: each gives its result or says that its runner died."""
    chance = random.Random(7)
    killed: list[int] = []

    async def kill() -> None:
        while True:
            await asyncio.sleep(chance.random() / 20)
            for runner in list(runners._busy)[:1]:
                killed.append(runner.pid)
                os.kill(runner.pid, signal.SIGKILL)

    killer = asyncio.create_task(kill())
    results = await asyncio.gather(*(once(runners, app, "asks_in_threads") for _ in range(60)), return_exceptions=True)
    killer.cancel()
    for result in results:
        if isinstance(result, BaseException):
            assert isinstance(result, RunFailed | Unavailable), result
            assert "died (signal 9" in str(result) or "did not come up" in str(result)
        else:
            assert result.value == list(range(50))
    assert killed
    assert runners.counts["busy"] == 0
    assert (await once(runners, app, "hello", name="after")).value == "hello after"


@pytest.mark.parametrize(
    ("function", "arguments", "kind", "said"),
    [
        ("hello", {"nam": "x"}, Invalid, "takes no 'nam'"),
        ("hello", {}, Invalid, "needs 'name'"),
        ("hello", {"name": 3}, Invalid, "argument 'name' of app:hello does not fit"),
        ("wrong", {}, RunFailed, "app.py:[0-9]+: app:wrong returned a value of type str, but says it returns Answer"),
        ("unjson", {}, RunFailed, "not a JSON value"),
        ("nan", {}, RunFailed, "not a JSON value"),
        ("boom", {}, RunFailed, "app.py:[0-9]+: app:boom raised ValueError: no luck"),
        ("leave", {}, RunFailed, r"called sys.exit\(3\)"),
        ("leave_hard", {}, RunFailed, r"ended itself \(status 7\)"),
        ("dies", {}, RunFailed, r"died \(signal 9, SIGKILL\)"),
        ("floods", {}, RunFailed, "printed more than 8 MB"),
        ("hungry", {}, RunFailed, "ran out of memory"),
        ("nonsense", {}, RunFailed, "talked nonsense"),
        ("deaf", {}, RunFailed, r"ended itself \(status 0\)|closed its socket"),
        ("nothing", {}, RunFailed, "app has no 'nothing'"),
        ("asks", {"name": "nobody"}, NotFound, "no component/nobody"),
    ],
)
async def test_what_goes_wrong_is_told_and_harms_nothing_else(
    runners: Runners, app: str, function: str, arguments: dict[str, Any], kind: type[Exception], said: str
) -> None:
    beside = asyncio.create_task(once(runners, app, "asks", name="c"))
    with pytest.raises(kind, match=said):
        await once(runners, app, function, **arguments)
    assert (await beside).value == {"name": "c", "n": 1}
    assert (await once(runners, app, "hello", name="again")).value == "hello again"


async def test_a_run_that_hangs_is_ended_at_its_limit(runners: Runners, app: str) -> None:
    async with runners.lease(app) as runner:
        pid = runner.pid
        with pytest.raises(RunFailed, match=r"longer than 0.5 s"):
            await runner.run(Start(entry="app:hangs", arguments={}), Echo(), seconds=0.5)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import nosuchpackage\ndef f(): pass", r"app.py:1: app imports 'nosuchpackage', which is not installed"),
        ("def f(:\n", r"app.py:1: app cannot be imported: SyntaxError"),
        ("x = 1\nraise OSError('at import')\ndef f(): pass", r"app.py:2: app cannot be imported: OSError: at import"),
        ("from __future__ import annotations\ndef f(x: Missing): pass", r"names 'Missing', which is not defined"),
        ("f = 3", r"app:f is not a function"),
    ],
)
async def test_a_module_that_cannot_be_imported(runners: Runners, source: str, said: str) -> None:
    with pytest.raises(RunFailed, match=said):
        await once(runners, snapshot(runners, {"app.py": source}), "f")


async def test_what_is_printed_is_kept_apart_from_frames(runners: Runners, app: str) -> None:
    ran = await once(runners, app, "prints")
    assert ran.value == "done"
    assert sorted(ran.printed.split("\n")) == ["", "from a child", "to standard error", "to standard output"]
    assert (await once(runners, app, "hello", name="x")).printed == ""


async def test_calls_from_threads_tasks_and_streams(runners: Runners, app: str) -> None:
    assert (await once(runners, app, "asks_in_threads")).value == list(range(50))
    assert (await once(runners, app, "asks_async")).value == list(range(50))
    for function in ("letters", "letters_async"):
        pieces: list[str] = []

        async def take(value: Any, pieces: list[str] = pieces) -> None:
            pieces.append(value)

        assert (await once(runners, app, function, yielded=take)).value == "abc"
        assert pieces == ["a", "b", "c"]
    assert (await once(runners, app, "first_letter")).value == "a"


@pytest.mark.parametrize("function", ["tidies", "waits_async"])
async def test_cancelling_reaches_the_call_and_ends_the_process(runners: Runners, app: str, function: str) -> None:
    calls = Echo()
    run = asyncio.create_task(once(runners, app, function, calls))
    await calls.waiting.wait()
    (runner,) = runners._busy
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert calls.cancelled == ["slow"]
    assert not runner.alive
    assert runners.counts == {"busy": 0, "idle": 0}


async def test_a_call_that_user_code_drops_is_cancelled(runners: Runners, app: str) -> None:
    calls = Echo()
    assert (await once(runners, app, "drops", calls)).value == "dropped"
    assert calls.cancelled == ["slow"]


async def test_a_killed_runner_fails_its_run(runners: Runners, app: str) -> None:
    calls = Echo()
    run = asyncio.create_task(once(runners, app, "tidies", calls))
    await calls.waiting.wait()
    (runner,) = runners._busy
    os.kill(runner.pid, signal.SIGKILL)
    with pytest.raises(RunFailed, match=r"died \(signal 9, SIGKILL\)"):
        await run
    assert calls.cancelled == ["slow"]


async def test_no_key_is_visible_in_a_run(runners: Runners, app: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-secret")
    monkeypatch.setenv("WINDLASS_KEY", "planted-too")
    async with runners.lease(app) as runner:
        start = Start(entry="app:environment", arguments={}, environment={"OPENAI_API_KEY": "run-token"})
        first = (await runner.run(start, Echo())).value
        second = (await runner.run(Start(entry="app:environment", arguments={}), Echo())).value
    assert "planted" not in repr(first)
    assert first["environ"]["OPENAI_API_KEY"] == "run-token"
    assert "OPENAI_API_KEY" not in second["environ"]
    assert second["pid"] == first["pid"]


@pytest.mark.skipif(abi() == 0, reason="this system has no Landlock")
async def test_the_sandbox_closes_files_and_the_servers_environment(runners: Runners, app: str, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret")
    seen = (await once(runners, app, "spy", paths=[str(token), "app.py"])).value
    assert seen.pop("app.py") == APP
    assert set(seen.values()) == {None}
    assert len(seen) == 2
    with pytest.raises(RunFailed, match="PermissionError"):
        await once(runners, app, "scribble")
    assert "Landlock" in runners.isolation()


async def test_a_run_may_change_folder_without_harming_the_next(runners: Runners, app: str) -> None:
    first, second = (await once(runners, app, "where")).value, (await once(runners, app, "where")).value
    assert first == second


async def test_more_runs_than_places_wait_in_order(tmp_path: Path) -> None:
    order: list[int] = []
    runners = Runners(tmp_path, MemoryBlobs(), RunnerSettings(processes=1))
    app = snapshot(runners, {"app.py": APP})

    async def one(n: int) -> None:
        async with runners.lease(app) as runner:
            order.append(n)
            await runner.run(Start(entry="app:count", arguments={}), Echo())

    given_up = asyncio.create_task(one(99))
    others = [asyncio.create_task(one(n)) for n in range(6)]
    given_up.cancel()
    await asyncio.gather(*others)
    assert order == list(range(6))
    assert runners.counts == {"busy": 0, "idle": 1}
    await runners.close()


async def test_two_versions_by_turns_keep_their_runners_and_a_third_ends_the_oldest(tmp_path: Path) -> None:
    """A gate runs the candidate and what is in production by turns."""
    pool = Runners(tmp_path, MemoryBlobs(), RunnerSettings(processes=1))
    one, two, three = (snapshot(pool, {"app.py": f"{APP}\n# {n}"}) for n in range(3))

    async def served(app: str) -> int:
        async with pool.lease(app) as runner:
            return runner.pid

    by_turns = [await served(app) for app in (one, two, one, two, one)]
    assert by_turns == [by_turns[0], by_turns[1]] * 2 + [by_turns[0]]
    await served(three)
    assert pool.counts == {"busy": 0, "idle": 2}
    assert await served(one) == by_turns[0] and await served(two) != by_turns[1]
    await pool.close()


async def test_a_run_within_a_run_has_a_place_of_its_own(runners: Runners, app: str) -> None:
    async with runners.lease(app), runners.lease(app), runners.lease(app, depth=1) as inner:
        assert (await inner.run(Start(entry="app:hello", arguments={"name": "x"}), Echo())).value == "hello x"
    with pytest.raises(RunFailed, match="8 deep"):
        async with runners.lease(app, depth=8):
            pass


async def test_idle_runners_are_ended(tmp_path: Path) -> None:
    pool = Runners(tmp_path, MemoryBlobs(), RunnerSettings(idle_seconds=0.05))
    app = snapshot(pool, {"app.py": APP})
    async with pool.lease(app) as runner:
        pass
    while runner.alive:
        await asyncio.sleep(0.02)
    assert pool.counts == {"busy": 0, "idle": 0}
    await pool.close()


async def test_a_runner_dies_with_its_server(tmp_path: Path) -> None:
    """A server is killed in mid-run; its runner must not live on."""
    script = (
        "import asyncio, pathlib, sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        "from tests.runtime.runners import MemoryBlobs\n"
        "from windlass.runtime.runner import Runners\n"
        "async def main():\n"
        "    blobs = MemoryBlobs()\n"
        f"    pool = Runners(pathlib.Path({str(tmp_path)!r}), blobs)\n"
        "    async with pool.lease(blobs.snapshot({'app.py': ''})) as runner:\n"
        "        print(runner.pid, flush=True)\n"
        "        await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    import sys

    server = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    assert server.stdout is not None
    pid = int(await server.stdout.readline())
    server.kill()
    await server.wait()
    while _runs(pid):
        await asyncio.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
