"""A small workspace on a real platform in this process: a chain whose mistakes are a number in its code."""

from __future__ import annotations

import json
import time
from pathlib import Path

from windlass.core.operations.evaluation import Evaluation, GateJob
from windlass.doors.app import Application
from windlass.platform import Platform
from windlass.sdk.client import Client
from windlass.sdk.transport import InProcessTransport
from windlass.settings import load_settings
from windlass.store.home import Home

ROWS = 80
APP = '''
import windlass as w

MISTAKES = 0  # of every ten rows

note = w.component("note", prompt="prompts/note.md", model="baseline")


@w.chain
def answer(question: str) -> str:
    """Answer."""
    number = int(question.rsplit(" ", 1)[1])
    note(text=question)
    if number % 10 < MISTAKES:
        return "something else"
    return f"answer {number}"


@w.evaluator
def right(output: str, row) -> float:
    return float(output == row.expected)


w.suite("answers", target=answer, data=w.data("data/rows.jsonl"), guards={right: w.not_worse(by=0.08)},
        first_release={right: w.at_least(0.6)})
'''


class App:
    """The workspace, and a client of the platform it is pushed to."""

    def __init__(self, folder: Path, rows: int = ROWS) -> None:
        self.folder = folder / "workspace"
        (self.folder / "prompts").mkdir(parents=True)
        (self.folder / "data").mkdir()
        self.write("windlass.toml", 'name = "shop"\n')
        self.write("prompts/note.md", "---\ninputs: {text: string}\n---\nuser: Note this. {{ text }}\n")
        self.write("app.py", APP)
        lines = [{"key": f"r{n:04}", "question": f"question {n}", "expected": f"answer {n}"} for n in range(rows)]
        self.write("data/rows.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
        self.home = Home(folder / "home")
        self.home.lock()
        self.open()

    def open(self) -> None:
        self.platform = Platform(self.home, load_settings(self.home.path))
        token = {"authorization": "Bearer " + self.home.token()}
        self.transport = InProcessTransport(Application(self.platform), headers=token)
        self.client = Client(transport=self.transport)

    def close(self) -> None:
        self.transport.run(self.platform.close())
        self.transport.close()

    def write(self, path: str, text: str) -> None:
        (self.folder / path).write_text(text)

    def edit(self, path: str, old: str, new: str) -> None:
        text = (self.folder / path).read_text()
        assert old in text
        self.write(path, text.replace(old, new))

    def push(self) -> str:
        """Push; the release's ref."""
        report, warnings = self.client.push(self.folder)
        assert not warnings
        return report.releases[0] if report.releases else ""

    def mistakes(self, count: int) -> str:
        """The workspace with so many mistakes in every ten rows, pushed."""
        text = (self.folder / "app.py").read_text()
        line = next(x for x in text.splitlines() if x.startswith("MISTAKES"))
        self.edit("app.py", line, f"MISTAKES = {count}  # of every ten rows")
        return self.push()

    def gate(self, candidate: str | None = None, suite: str = "answers") -> GateJob:
        return self.wait(self.client.gates.start(suite, candidate))

    def wait(self, job: GateJob) -> GateJob:
        while (job := self.client.gates.show(job.id)).status not in ("done", "failed"):
            time.sleep(0.05)
        return job

    def evaluate(self, suite: str = "answers", target: str | None = None, *, fresh: bool = False) -> Evaluation:
        found = self.client.evaluations.start(suite, target, fresh=fresh)
        while (found := self.client.evaluations.show(found.id)).status not in ("done", "failed"):
            time.sleep(0.05)
        return found

    def release(self, mistakes: int = 0) -> str:
        """A first release in production."""
        ref = self.mistakes(mistakes)
        job = self.gate()
        assert job.verdict and job.verdict.decision == "promote", job
        self.client.releases.promote("answer")
        return ref
