"""Erasing one person from a platform that is full of them: traces, journal, rows, evaluations, reviews, and whatever quotes them."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.evaluate.application import APP, App

from windlass.core.errors import Conflict, Invalid, Unavailable
from windlass.core.operations.alerts import Event
from windlass.core.operations.erasures import Erasure
from windlass.core.operations.reviews import NewReview
from windlass.store.meta import write

ANN, MAIL, BOB = "user-4711", "ann@letters.example", "user-0815"
SECRET = "Saint Quokka operated on my left knee 7"  # only Ann says this
OTHERS = "What does the harbour ferry cost 8"


class Shop(App):
    """Ann and Bob asked something; what Ann asked went everywhere it can go."""

    def fill(self) -> None:
        lines = [{"key": f"r{n:04}", "question": f"question {n}", "expected": f"answer {n}"} for n in range(8)]
        lines.append({"key": "c-1", "question": f"{SECRET}1", "expected": "answer 71", "customer": MAIL})
        lines.append({"key": "c-2", "question": f"{OTHERS}2", "expected": "answer 82", "customer": "bob@letters.example"})
        self.write("data/rows.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
        self.write(
            "app.py",
            APP.replace(
                "-> float:\n    return float(output == row.expected)",
                '-> dict:\n    return {"value": 1.0, "explanation": f"asked: {row.question}"}',
            ),
        )
        self.push()
        self.ann = self.client.run("chain/answer", SECRET, user=ANN, session="s-1")
        self.more = self.client.run("chain/answer", f"{SECRET} again 9", session="s-1")  # no user: the session says whose it is
        self.bob = self.client.run("chain/answer", OTHERS, user=BOB, session="s-2")
        self.otlp = "ab" * 16
        self._send(self.otlp, MAIL, f"{SECRET} by wire")
        self._send("cd" * 16, "bob@letters.example", OTHERS)
        self.evaluation = self.done(self.client.evaluations.start("answers"))
        self.client.datasets.harvest("harvested", [self.ann.trace, self.bob.trace])
        self.client.datasets.edit("harvested", [{"key": f"trace-{self.bob.trace[:16]}", "question": OTHERS, "note": "changed"}], drift=True)
        self.client.reviews.add("looked-at", [self.ann.trace, self.bob.trace])
        self.client.reviews.add("pairs", items=[NewReview(input=f"{SECRET}?", outputs=("a", "b"))])
        told = Event(project="default", kind="topic", monitor="watch", severity="info", title="a new topic", facts={"n": 3},
                     sentence=f"3% of what is asked is about knees. Such as: “{SECRET}”")  # fmt: skip
        with write(self.platform.engine) as c:
            self.event = self.platform.alerts.note(c, told).event

    def _send(self, trace: str, user: str, text: str) -> None:
        request = ExportTraceServiceRequest()
        span = request.resource_spans.add().scope_spans.add().spans.add()
        span.trace_id, span.span_id, span.name = bytes.fromhex(trace), bytes.fromhex("12" * 8), "ask"
        span.start_time_unix_nano = time.time_ns()
        span.end_time_unix_nano = span.start_time_unix_nano + 1000
        for name, value in (("user.id", user), ("input.value", text)):
            span.attributes.add(key=name).value.string_value = value
        answer = self.transport.send("POST", "/v1/traces", body=request.SerializeToString(), kind="application/x-protobuf")
        assert answer.status == 200

    def done(self, job: Any) -> Any:
        while (job := self.client.evaluations.show(job.id)).status not in ("done", "failed"):
            time.sleep(0.02)
        return job

    def erase(self, *names: str, mentions: bool = False) -> Erasure:
        made = self.client.erasures.make(*names, mentions=mentions, reason="ticket 12")
        while (made := self.client.erasures.show(made.id)).status in ("queued", "running"):
            time.sleep(0.02)
        assert made.status == "done", made
        return made

    def holds(self, *texts: str) -> dict[str, str]:
        """Every file of the data folder in which one of the texts stands, also after decompression."""
        found = {}
        for path in sorted(p for p in self.home.path.rglob("*") if p.is_file()):
            data = path.read_bytes()
            text = data.decode("utf-8", "replace") + _unpacked(path, data)
            for wanted in texts:
                if wanted in text:
                    found[str(path.relative_to(self.home.path))] = wanted
        return found


def _unpacked(path: Path, data: bytes) -> str:
    """What lies compressed in a file: rows of Parquet and of DuckDB; rows of SQLite as well."""
    if data[:4] == b"PAR1":
        return repr(duckdb.execute(f"FROM read_parquet('{path}')").fetchall())
    if data[8:12] == b"DUCK":
        copy = path.with_suffix(".copy")
        copy.write_bytes(data)
        try:
            with duckdb.connect(str(copy)) as db:
                return repr(db.execute("FROM spans").fetchall())
        finally:
            copy.unlink()
    if data.startswith(b"SQLite format 3"):
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
            return "\n".join(db.iterdump())
    return ""


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    made.fill()
    yield made
    made.close()


def counts(places: Any) -> dict[str, int]:
    return {p.place: p.count for p in places}


def test_a_person_is_gone_from_every_file(shop: Shop) -> None:
    """The proof is a search through every file of the data folder, decompressed: what was planted is found before, and nowhere after."""
    folder = str((shop.folder / "data").name)
    assert folder == "data"
    shop.client.traces.list()  # projected
    shop.close()
    before = shop.holds(SECRET, ANN, MAIL)
    assert {name.split("/")[0] for name in before} >= {"journal", "spans", "blobs", "windlass.db"}
    shop.open()

    preview = shop.client.erasures.preview(ANN, MAIL)
    assert counts(preview.places)["traces"] >= 3
    assert counts(preview.places)["rows"] == 2
    assert set(preview.datasets) == {"rows", "harvested"}
    assert shop.holds(SECRET), "a preview changes nothing"

    made = shop.erase(ANN, MAIL)
    assert counts(made.erased)["rows"] == 2
    assert not made.left, made.left
    shop.close()
    assert shop.holds(SECRET, ANN, MAIL) == {}
    assert shop.holds(OTHERS), "what others said is still there"
    shop.open()

    # what others have is as it was
    assert {t.trace_id for t in shop.client.traces.list().items} == {shop.bob.trace, "cd" * 16}
    assert [r["key"] for r in shop.client.datasets.all("rows") if r["key"].startswith("c")] == ["c-2"]
    assert [r["key"] for r in shop.client.datasets.all("harvested")] == [f"trace-{shop.bob.trace[:16]}"]
    assert len(shop.client.reviews.list("looked-at").items) == 1
    assert shop.client.versions.verify().problems == ()


def test_what_was_measured_stays_and_what_was_said_goes(shop: Shop) -> None:
    before = {o.row: o for o in shop.client.evaluations.outcomes(shop.evaluation.id).items}
    version = shop.client.versions.show("dataset/rows").version
    made = shop.erase(ANN, MAIL)
    after = {o.row: o for o in shop.client.evaluations.outcomes(shop.evaluation.id).items}
    assert after["c-2"] == before["c-2"]
    assert after["c-1"].scores[0].value == before["c-1"].scores[0].value == 1.0
    assert after["c-1"].scores[0].explanation is None
    assert after["c-1"].input == {"erased": "[erased]"}
    event = shop.client.alerts.show(shop.event).state.event
    assert event.sentence == "[erased]"
    assert event.facts == {"n": 3}
    # the version is what it was, less the row; what is made next has a row less
    assert version.digest == shop.client.versions.show(f"dataset/rows@{version.digest}").version.digest
    assert len(list(shop.client.datasets.all(f"dataset/rows@{version.digest}"))) == 9
    assert shop.client.datasets.rows("rows").count == 9
    assert any("uses 1 erased row" in a.why for a in made.affected), made.affected


def test_words_that_others_say_too_are_nobodys(shop: Shop) -> None:
    """Ann asks what Bob asks. Bob's review of it and an alert that quotes it stay; her own words go."""
    asked = "How do I get a new password for the shop 4"
    both = [self.trace for self in (shop.client.run("chain/answer", asked, user=u, session=u) for u in (ANN, BOB))]
    shop.client.reviews.add("asked", both[1:])
    with write(shop.platform.engine) as c:
        told = {"project": "default", "kind": "topic", "monitor": "watch", "severity": "info", "title": "a new topic"}
        common = shop.platform.alerts.note(c, Event(sentence=f"Such as: “{asked}”", key="a", **told)).event
        own = shop.platform.alerts.note(c, Event(sentence=f"Such as: “{SECRET}”", key="b", **told)).event
    shop.erase(ANN, MAIL)
    assert len(shop.client.reviews.list("asked").items) == 1
    assert asked in shop.client.alerts.show(common).state.event.sentence
    assert shop.client.alerts.show(own).state.event.sentence == "[erased]"


def test_an_erased_row_does_not_come_back(shop: Shop) -> None:
    """Neither from the folder it came from, nor by an edit; and what was refused leaves nothing behind."""
    shop.erase(ANN, MAIL)
    with pytest.raises(Conflict, match="'c-1'"):
        shop.push()
    path = shop.folder / "data/rows.jsonl"
    shop.write("data/rows.jsonl", path.read_text() + '{"key": "new", "question": "question 9", "expected": "answer 9"}\n')
    with pytest.raises(Invalid, match="'c-1' was erased"):
        shop.client.push(shop.folder, over=True)
    with pytest.raises(Invalid, match="'c-1' was erased"):
        row = {"key": "c-1", "question": f"{SECRET}1", "expected": "answer 71", "customer": MAIL}
        shop.client.datasets.edit("rows", [row])
    shop.close()
    assert shop.holds(SECRET) == {}
    shop.open()
    shop.write("data/rows.jsonl", "".join(line + "\n" for line in path.read_text().splitlines() if "c-1" not in line))
    shop.push()
    evaluation = shop.done(shop.client.evaluations.start("answers"))
    assert (evaluation.rows, evaluation.done, evaluation.failed) == (10, 10, 0)


def test_an_evaluation_on_a_version_with_erased_rows(shop: Shop) -> None:
    """The suite still names the version: it runs on what is left of it."""
    shop.erase(ANN, MAIL)
    evaluation = shop.done(shop.client.evaluations.start("answers", fresh=True))
    assert evaluation.status == "done", evaluation.error
    assert (evaluation.done, evaluation.failed) == (9, 0)


def test_erasing_again_finds_nothing_and_knows_it_was_done(shop: Shop) -> None:
    made = shop.erase(ANN, MAIL)
    again = shop.client.erasures.preview(ANN)
    assert again.places == ()
    assert again.before == (made.id,)
    assert shop.client.erasures.preview("somebody else").before == ()
    assert shop.erase(ANN).erased == ()
    with sqlite3.connect(shop.home.path / "windlass.db") as db:
        kept = " ".join(str(row) for row in db.execute("SELECT * FROM erasures"))
    assert ANN not in kept and MAIL not in kept
    assert ANN not in str(shop.client.audit.list(action="erasures.").items)


def test_mentions_of_a_person_by_others(shop: Shop) -> None:
    said = shop.client.run("chain/answer", f"Please write to {MAIL} for me 3", user=BOB)
    made = shop.erase(ANN, MAIL)
    assert "spans" in {f.place for f in made.left}, "what is left is said"
    assert said.trace in {t.trace_id for t in shop.client.traces.list().items}
    made = shop.erase(MAIL, mentions=True)
    assert not made.left
    assert said.trace not in {t.trace_id for t in shop.client.traces.list().items}
    shop.close()
    assert shop.holds(MAIL) == {}
    shop.open()


def test_what_was_said_of_a_persons_answers_goes_with_them(shop: Shop) -> None:
    """Scores of traces, of steps, of the session, and one that was taken back: by others, on hers. Those on his stay."""
    hers, his, gone = shop.ann.trace, shop.bob.trace, "Saint Wombat of the left knee"
    give = shop.client.traces.score
    give(hers, "helpful", True, comment=f"{gone} 1")
    give(hers, "helpful", False, comment=f"{gone} 2")
    give(hers, "tone", "plain", comment=f"{gone} 3", span=shop.client.traces.show(hers).spans[-1].span_id)
    give(None, "comment", comment=f"{gone} 4", session="s-1")
    give(shop.otlp, "comment", comment=f"{gone} 5")
    give(shop.otlp, "comment", withdraw=True)
    give(his, "helpful", True, comment="The harbour master agrees")
    shop.client.traces.list()  # projected
    shop.close()
    assert {name.split("/")[0] for name in shop.holds(gone)} == {"journal", "spans"}
    shop.open()
    assert not shop.erase(ANN, MAIL).left
    shop.close()
    assert shop.holds(gone) == {}
    shop.open()
    assert [s.comment for s in shop.client.traces.show(his).scores] == ["The harbour master agrees"]


def test_erased_while_it_is_being_written(shop: Shop) -> None:
    """Somebody goes on sending while Ann is erased: all that came before the question is gone, all of the others is there, and what
    comes after is Ann's again, whole."""
    sent: list[tuple[str, str]] = []
    stop = threading.Event()

    def send() -> None:
        n = 0
        while not stop.is_set():
            n += 1
            for user in (ANN, BOB):
                trace = f"{n:031x}{'a' if user == ANN else 'b'}"
                shop._send(trace, user, f"written {n}")
                sent.append((user, trace))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        while len(sent) < 40:
            time.sleep(0.01)
        asked = list(sent)
        shop.erase(ANN, MAIL)
    finally:
        stop.set()
        thread.join()
    there = {t.trace_id for t in _every_trace(shop)}
    assert not {t for user, t in asked if user == ANN} & there
    assert {t for user, t in sent if user == BOB} <= there
    late = [t for user, t in sent if user == ANN and t not in {t for _, t in asked}]
    assert late, "it was still being written"
    shop.erase(ANN)
    assert not {t for user, t in sent if user == ANN} & {t.trace_id for t in _every_trace(shop)}
    assert shop.client.status().ingest["damaged_bytes"] == 0


def _every_trace(shop: Shop) -> list[Any]:
    page = shop.client.traces.list(limit=200)
    found = list(page.items)
    while page.next:
        page = shop.client.traces.list(limit=200, cursor=page.next)
        found += page.items
    return found


def test_one_that_was_cut_off_is_gone_on_with(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off after each room, and begun again from the table."""
    erasures = shop.platform.erasures
    with monkeypatch.context() as patched:
        patched.setattr(shop.platform.jobs, "begin", lambda *work: None)
        id = shop.client.erasures.make(ANN, MAIL).id

    async def break_off(subject: Any) -> Any:
        raise SystemError("cut off")

    save = erasures._save
    for room in erasures._rooms:
        with monkeypatch.context() as patched:
            patched.setattr(room, "erase", break_off)
            patched.setattr(
                erasures, "_save", lambda made, **held: None if made.status == "failed" else save(made, **held)
            )  # who is killed says nothing
            with pytest.raises(SystemError):
                shop.transport.run(erasures.run("default", id))
    shop.transport.run(shop.platform.erasures.run("default", id))
    assert shop.client.erasures.show(id).status == "done"
    shop.close()
    assert shop.holds(SECRET, ANN, MAIL) == {}
    shop.open()


def test_one_that_failed_is_gone_on_with_by_the_next(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traces are gone when the disk fills up; the rows made of them are found all the same."""
    full = Unavailable("the disk is full", remedy="make room")

    async def fail(subject: Any) -> Any:
        raise full

    with monkeypatch.context() as patched:
        patched.setattr(shop.platform.erasures._rooms[1], "erase", fail)
        made = shop.client.erasures.make(ANN, MAIL)
        while (made := shop.client.erasures.show(made.id)).status in ("queued", "running"):
            time.sleep(0.02)
    assert made.status == "failed"
    assert made.error and made.error["error"]["message"] == "the disk is full"
    done = shop.erase(MAIL, ANN)
    assert counts(done.erased)["rows"] == 2
    shop.close()
    assert shop.holds(SECRET, ANN, MAIL) == {}
    shop.open()
