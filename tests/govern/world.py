"""A data folder with something of everything in the project `default`, and one key of each role: what the matrix asks about.

All that somebody could want to read there says `MARK`.
"""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import msgspec
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from sqlalchemy import select

from windlass.agentops.broker import Asked, Attempt
from windlass.core.actor import OWNER, Actor
from windlass.core.digest import canonical, digest_bytes
from windlass.core.operations.alerts import Event
from windlass.core.operations.bakeoffs import BakeoffRequest
from windlass.core.operations.loadtests import Objectives
from windlass.core.operations.pins import COMPARE_PIN, PinCompare
from windlass.core.operations.reviews import NewReview
from windlass.core.operations.tuning import Tune, TuneRequest
from windlass.doors.app import Application
from windlass.platform import Platform
from windlass.sdk.client import Client
from windlass.sdk.transport import Answer, InProcessTransport
from windlass.settings import load_settings
from windlass.store.home import Home
from windlass.store.meta import read, write
from windlass.store.tables import metadata, people, tune_points, tunes
from windlass.traces.envelope import METRICS, seal

MARK = "quokka7"
APP = f'''
import windlass as w

note = w.component("note", prompt="prompts/note.md", model="baseline")
docs = w.index("handbook", source="data/handbook.jsonl", chunk=w.by_heading())


@w.chain
def answer(question: str) -> str:
    """Answer: {MARK}."""
    docs.search(question, k=1)
    note(question=question)
    return f"{MARK} {{question}}"


@w.tool(effects="write")
def refund(order: str) -> str:
    """Refund: {MARK}."""
    return f"refunded {MARK} {{order}}"


guide = w.agent("guide", prompt="prompts/note.md", model="baseline", tools=[refund])


@w.evaluator
def right(output: str, row) -> float:
    return float("{MARK}" in output)


w.suite("answers", target=answer, data=w.data("data/rows.jsonl"), guards={{right: w.not_worse(by=0.5)}},
        first_release={{right: w.at_least(0.5)}})
'''
OIDC = f"""
[[provider]]
name = "company"
issuer = "https://127.0.0.1:9"
client_id = "{MARK}"
audience = "https://{MARK}.example"

[[provider.rule]]
claims = {{ groups = "{MARK}" }}
role = "developer"
"""


def _metric() -> bytes:
    """A point of a counter, by OTLP."""
    made = ExportMetricsServiceRequest()
    metric = made.resource_metrics.add().scope_metrics.add().metrics.add(name="calls", description=MARK)
    point = metric.sum.data_points.add(as_int=7, time_unix_nano=time.time_ns())
    point.attributes.add(key="who").value.string_value = MARK
    return made.SerializeToString()


OPIK = "01a22b6a-df15-7b39-a930-05d75c1c456a"  # of a trace and an experiment that Opik's SDK told
ROLES = ("owner", "developer", "viewer", "caller", "run", "grant", "other", "scoped", "revoked", "nobody")


class World:
    """The platform in this process, what there is in it, and who there is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = Home(folder / "home")
        self.home.lock()
        self.platform = Platform(self.home, load_settings(self.home.path))
        self.app = Application(self.platform)
        self.transport = InProcessTransport(self.app, headers={"authorization": f"Bearer {self.home.token()}"})
        self.client = Client(transport=self.transport)
        self._push()
        self._prove()
        self._observe()
        self._agents()
        self._tune()
        self.batch = self._done(
            self.client.batches.start(f"release/answer@{self.digests['release/answer']}", "rows"), self.client.batches.show
        ).id
        release = f"release/answer@{self.digests['release/answer']}"
        self.loadtest = self._done(self.client.loadtests.start(release, "rows", Objectives(10, 1)), self.client.loadtests.show).id
        self.erasure = self._done(self.client.erasures.make("nobody-9"), self.client.erasures.show).id
        self.secrets = self._people()
        self._come_by_a_provider()
        self._give_provider_keys()
        self._rest()

    def _rest(self) -> None:
        """Wait until what was begun has ended, so that whatever changes after this was asked for."""
        seen, still = self.state(), 0
        while still < 5:
            time.sleep(0.1)
            now = self.state()
            seen, still = now, still + 1 if now == seen else 0

    def _write(self, path: str, text: str) -> None:
        file = self.folder / "workspace" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def _push(self) -> None:
        self._write("windlass.toml", 'name = "shop"\nproject = "default"\n')
        self._write("prompts/note.md", f"---\ninputs: {{question: string}}\n---\nuser: {MARK}. {{{{ question }}}}\n")
        self._write("data/rows.jsonl", "".join(f'{{"key": "r{n}", "question": "{MARK} question {n}"}}\n' for n in range(40)))
        self._write("data/handbook.jsonl", f'{{"key": "travel", "text": "# {MARK}\\nTeam leads approve travel."}}\n')
        self._write("app.py", APP)
        self.client.push(self.folder / "workspace")
        self.client.datasets.edit("rows:more", [{"key": "r1", "question": f"{MARK} other"}])
        self.digests = {v.kind + "/" + v.name: v.digest for v in self.client.artifacts.list(limit=200).items}
        self.blob = digest_bytes(MARK.encode())
        self.client.put_blob(self.blob, MARK.encode())
        (self.folder / "pinned").mkdir()
        (self.folder / "pinned" / "a.txt").write_text(MARK)

    def _prove(self) -> None:
        self.gate = self._done(self.client.gates.start("answers"), self.client.gates.show)
        assert self.gate.verdict and self.gate.verdict.decision == "promote", self.gate
        self.client.releases.promote("answer")
        self._write("app.py", APP.replace('return f"', 'return "" + f"'))
        self.client.push(self.folder / "workspace")
        self.again = self._done(self.client.gates.start("answers"), self.client.gates.show)
        self.rollout = self.client.rollouts.start("answer", min_hours=0).id
        self.evaluation = self._done(self.client.evaluations.start("answers"), self.client.evaluations.show)
        asked = self.client.bakeoffs.start(BakeoffRequest("answers", ("baseline", "baseline/lead"), rows=5))
        self.bakeoff = self._done(asked, self.client.bakeoffs.show)

    def _done(self, job: Any, show: Any) -> Any:
        while (job := show(job.id)).status not in ("done", "failed", "cancelled"):
            time.sleep(0.05)
        return job

    def _observe(self) -> None:
        self.run = self.client.run("release/answer:production", "who approves travel?", user="ann")
        self.span = self.client.traces.show(self.run.trace).spans[0].span_id
        self.platform.journal.append(seal("default", _metric(), METRICS))
        self._opik("traces", id=OPIK, name=MARK, start_time="2026-11-30T07:45:53Z")
        self._opik("experiments", id=OPIK, name=MARK, dataset_name="rows")
        self.client.datasets.harvest("harvested", [self.run.trace], {"split": MARK})
        self.client.monitors.set("watch", "answers")
        self.client.alerts.set("slow", metric={"name": MARK, "aggregate": "last", "above": 1})
        self.client.alerts.set("letters", email=(f"{MARK}@a.example",), monitors=("nowhere",))
        event = {"kind": "skew", "monitor": "watch", "severity": "warning", "title": MARK, "sentence": MARK, "facts": {"p": 0.1}}
        with write(self.platform.engine) as c:
            self.event = self.platform.alerts.note(c, Event(project="default", **event)).event
        (self.item,) = self.client.reviews.add("looked-at", [self.run.trace], reason=MARK).items
        self.client.reviews.add("pairs", items=[NewReview(input=f"{MARK}?", outputs=("a", f"b {MARK}"), reason=MARK)])
        self.client.pins.add("files", str(self.folder / "pinned"))
        self.look = self.client.call(COMPARE_PIN, PinCompare("files"))
        self._done(self.look, self.client.pins.job)

    def _opik(self, path: str, **said: str) -> None:
        answer = self.transport.send("POST", f"/api/v1/private/{path}", body=msgspec.json.encode(said), kind="application/json")
        assert answer.status in (201, 204), b"".join(answer.body)

    def _agents(self) -> None:
        tool = {"tool": "tool/refund", "arguments": {"properties": {"order": {"const": MARK}}}, "on_miss": "ask"}
        self.grant = self.client.grants.make("desk", f"Refund {MARK}.", [tool]).grant.id
        version = self.client.versions.show("tool/refund").version
        asked = self.platform.broker.admit(
            Attempt(
                actor=OWNER,
                project="default",
                agent="desk",
                tool=str(version.ref),
                name="tool/refund",
                arguments={"order": f"not {MARK}"},
                parameters=version.body["parameters"],
                effects="write",
                grant=self.grant,
            )
        )
        assert isinstance(asked, Asked)
        self.approval = self.client.approvals.list().items[0].id
        self.client.stops.set("agent/nobody", f"It loops: {MARK}")
        self.client.routes.set("kept", {"upstreams": [{"model": "baseline"}]})

    def _tune(self) -> None:
        """A tuning and weights as they lie in the tables; no PyTorch is asked."""
        tune = Tune(
            id="0190-tune-of-the-matrix", project="default", request=TuneRequest("sft", f"desk-{MARK}", "tiny", "rows"), status="done",
            created_ns=1, base=f"model/tiny@{self.digests['dataset/rows']}", data=f"dataset/rows@{self.digests['dataset/rows']}",
        )  # fmt: skip
        self.tune = tune.id
        body = msgspec.json.encode(tune).decode()
        with write(self.platform.engine) as c:
            c.execute(
                tunes.insert().values(
                    id=tune.id, project="default", name=tune.request.name, actor="owner", body=body, status="done", created_ns=1
                )
            )
            c.execute(tune_points.insert().values(tune=tune.id, step=1, body='{"loss":77.25}'))

    def _people(self) -> dict[str, str]:
        made = {role: self.client.keys.create(f"{role} {MARK}", role) for role in ("owner", "developer", "viewer", "caller")}
        made["scoped"] = self.client.keys.create(f"scoped {MARK}", "developer", scopes=("release/answer",))
        made["revoked"] = self.client.keys.create(f"revoked {MARK}", "owner")
        self.keys = {role: key.id for role, key in made.items()}
        other = Client(transport=self.client.transport, project="other").keys.create("stranger", "developer")
        self.client.keys.revoke(made["revoked"].id)
        tokens = self.platform.actors.tokens
        return {
            **{role: key.secret or "" for role, key in made.items()},
            "other": other.secret or "",
            "run": tokens.run("0190-a-run", "default", 3600),
            "grant": tokens.grant(self.grant, "default", "desk", int(time.time()) + 3600),
            "nobody": "",
        }

    def _come_by_a_provider(self) -> None:
        """A provider that nobody can reach, with a rule; and somebody who has come by it. Who comes so has a role as by a key."""
        (self.home.path / "oidc.toml").write_text(OIDC)
        self.person = "oidc:company:repo:org/app"
        told = {"provider": "company", "issuer": "https://127.0.0.1:9", "name": f"ann {MARK}", "claims": f'{{"groups": ["{MARK}"]}}'}
        with write(self.platform.engine) as c:
            c.execute(people.insert().values(id=self.person, first_ns=1, last_ns=1, login_ns=1, blocked_by="", **told))
        assert self.client.people.list().items[0].role == "developer"

    def _give_provider_keys(self) -> None:
        """Two keys of a provider that nobody can reach."""
        giver, fields = self.client.providers, {"base_url": "http://127.0.0.1:9/v1"}
        self.provider_key, self.provider_key_too = (
            giver.give("mine", f"sk-{MARK}-{n}", fields=fields, every_project=False, like="openai", note=MARK).id for n in range(2)
        )

    def actor(self, role: str) -> Actor:
        return self.platform.actors.of_secret(self.secrets[role])

    def send(
        self, role: str, method: str, path: str, body: bytes = b"", kind: str = "application/json", query: dict[str, str] | None = None
    ) -> Answer:
        """Ask one door as somebody, and take the whole answer."""
        owners = self.transport._headers
        self.transport._headers = [(b"authorization", f"Bearer {self.secrets[role]}".encode())] if role != "nobody" else []
        try:
            answer = self.transport.send(method, path, query=query, body=body, kind=kind)
            return Answer(answer.status, answer.headers, iter([b"".join(answer.body)]))
        finally:
            self.transport._headers = owners

    def state(self, project: str | None = None) -> dict[str, str]:
        """What there is: a digest of each table (of a project's rows, where one is named), and the files that are kept."""
        found: dict[str, str] = {}
        with read(self.platform.engine) as c:
            for table in metadata.sorted_tables:
                wanted = select(table)
                if project and "project" in table.c:
                    wanted = wanted.where(table.c.project == project)
                rows = sorted(repr(tuple(row)) for row in c.execute(wanted))
                found[table.name] = hashlib.sha256("\n".join(rows).encode()).hexdigest()
        for name in ("blobs", "journal", "indexes", "models", "tunes", "encoders"):
            files = sorted(
                (str(p.relative_to(self.home.path)), p.stat().st_size) for p in (self.home.path / name).rglob("*") if p.is_file()
            )
            found[name] = hashlib.sha256(canonical(list(map(list, files)))).hexdigest()
        for file in ("providers.toml", "policy.toml", "prices.toml", "sources.toml", "oidc.toml"):
            path = self.home.path / file
            found[file] = path.read_text() if path.exists() else ""
        return found

    def close(self) -> None:
        self.transport.run(self.platform.close())
        self.transport.close()
        self.home.unlock()
