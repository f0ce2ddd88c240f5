"""A tuned model behind a release, asked with OpenAI's client on a real server; and a tuning whose server is killed under it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import openai
import psutil
import pytest
from tests.doors.server import Server, until
from tests.tune.application import HELPED, QUICK, copied, process_with, write_desk

from windlass.core.operations.tuning import Tune, TuneRequest

pytestmark = [pytest.mark.torch, pytest.mark.slow]
ASKED = [{"role": "user", "content": "my invoice is wrong"}]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, prepared: Path) -> Path:
    made = tmp_path_factory.mktemp("served") / "home"
    copied(prepared, made)
    return made


@pytest.fixture(scope="module")
def helped(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Tune]]:
    """A server on which the tuned model was gated and promoted."""
    server = Server(home)
    workspace = tmp_path_factory.mktemp("workspace")
    with server.client() as client:
        tune = client.tunes.list("helped").items[0]
        write_desk(workspace, tune.id_of_model)
        client.push(workspace)
        job = client.gates.start("desk")
        while (job := client.gates.show(job.id)).status not in ("done", "failed"):
            time.sleep(0.1)
        assert job.verdict and job.verdict.decision == "promote", job
        client.releases.promote("reply")
    yield server, tune
    server.stop()


def serving(server: Server) -> list[psutil.Process]:
    """The processes of models that answer for a server."""
    found = psutil.Process(server.parts()["doors"]["pid"]).children(recursive=True)
    return [p for p in found if "windlass.runtime.local.serve" in p.cmdline()]


def test_a_release_on_tuned_weights_answers_openais_client(helped: tuple[Server, Tune]) -> None:
    server, _ = helped
    client = openai.OpenAI(base_url=server.address + "/v1", api_key=server.token, max_retries=0)
    said = client.chat.completions.create(model="reply", messages=ASKED).choices[0].message.content
    assert said and said.startswith("thank you, the ") and said.endswith(" team will help")
    pieces = client.chat.completions.create(model="reply", messages=ASKED, stream=True)
    assert "".join(p.choices[0].delta.content or "" for p in pieces if p.choices) == said
    # the process is one, and stays; killed, the next question starts another
    (process,) = serving(server)
    process.kill()
    process.wait(10)
    assert client.chat.completions.create(model="reply", messages=ASKED).choices[0].message.content == said
    (after,) = serving(server)
    assert after.pid != process.pid
    # what it is told is no secret of the server's
    assert not {name for name in after.environ() if name.startswith(("WINDLASS", "OPENAI", "ANTHROPIC"))}
    # and the answer says what it came of
    with server.client() as c:
        trace = c.traces.list().items[0]
        assert any(v.startswith("model/local--helped@") for v in c.traces.why(trace.trace_id).versions)


def test_a_server_killed_under_a_tuning_goes_on_with_it_to_the_same_bits(helped: tuple[Server, Tune], home: Path) -> None:
    server, tune = helped
    with server.client() as client:
        request = TuneRequest("sft", "again", "tiny", "tickets", parameters=msgspec.structs.replace(QUICK, **HELPED))
        again = client.tunes.start(request)
        until(lambda: client.tunes.show(again.id).step >= 45, 300)
    trainer = psutil.Process(process_with(str(home / "tunes" / again.id)))
    models = serving(server)
    for pid in (server.process.pid, *(p["pid"] for p in server.parts().values())):
        os.kill(pid, signal.SIGKILL)
    server.process.communicate()
    _, alive = psutil.wait_procs([trainer, *models], timeout=10)
    assert not alive  # nobody's process goes on, and none holds the files
    other = Server(home)
    try:
        with other.client() as client:
            done = until(lambda: (t := client.tunes.show(again.id)).status in ("done", "failed") and t, 300)
        assert done.status == "done", done.error
        assert done.weights == tune.weights and done.adapter != tune.adapter  # another name, the same numbers
        assert len(done.samples) == len(tune.samples)
    finally:
        other.stop()


def test_models_end_with_their_server(prepared: Path, tmp_path: Path) -> None:
    copied(prepared, tmp_path / "home")
    server = Server(tmp_path / "home")
    with server.client() as client:
        write_desk(tmp_path / "workspace", client.tunes.list("helped").items[0].id_of_model)
        client.push(tmp_path / "workspace")
        assert "team will help" in client.run("component/reply", "my invoice is wrong").text
    models = serving(server)
    assert models
    assert server.stop() == 0
    _, alive = psutil.wait_procs(models, timeout=10)
    assert not alive
