"""`windlass data`: rows between a file, the server and its branches."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.doors.cli.conftest import Shell
from tests.doors.server import Server, until


def rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_rows_go_up_are_curated_and_come_back_into_the_file(shop: Shell) -> None:
    shop("push")
    file = shop.cwd / "data" / "questions.jsonl"
    before = file.read_text()
    more = shop.cwd / "more.jsonl"
    broken = ['{"key": "n1", "question": "Do you sell rope?", "must_say": "rope"}', "not json", '{"question": "no key"}']
    more.write_text("\n".join([*broken, '{"key": "n2", "question": 7}']))
    added = shop("data", "add", "shop-questions", "more.jsonl", "-m", "asked by phone")
    assert "1 added" in added.stdout
    assert [line.split(": ", 2)[1:] for line in added.stderr.splitlines()] == [
        ["more.jsonl:2", "not JSON: JSON is malformed: invalid character (byte 4)"],
        ["more.jsonl", "line 3 has no key"],
        ["more.jsonl:4", "question is a number, and in this dataset it is text"],
    ]
    said = shop.json("data", "add", "shop-questions", "more.jsonl")["problems"]
    assert [p.split(": ")[0] for p in said] == ["more.jsonl:2", "more.jsonl", "more.jsonl:4"]
    refused = shop("push", code=1)
    assert "1 row of the server's is not in the workspace as it is there: 'n1'" in refused.stderr
    assert "windlass data pull shop-questions" in refused.stderr
    pulled = shop("data", "pull", "shop-questions")
    assert "1 added" in pulled.stdout
    assert file.read_text().startswith(before) and rows(file)[-1] == {"key": "n1", "question": "Do you sell rope?", "must_say": "rope"}
    assert "unchanged" in shop("push").stdout
    file.write_text(before)
    assert shop("push", "--over").returncode == 0
    assert shop.json("rows", "shop-questions")["count"] == len(before.splitlines())


def test_a_file_with_rows_of_its_own_is_not_overwritten(shop: Shell) -> None:
    shop("push")
    file = shop.cwd / "data" / "questions.jsonl"
    mine = file.read_text() + '{"key": "mine", "question": "?", "must_say": "x"}\n'
    file.write_text(mine)
    assert "rows that were never pushed" in shop("data", "pull", "shop-questions", code=1).stderr
    assert file.read_text() == mine
    shop("push", "--branch", "mine")
    shop("data", "remove", "shop-questions", "q01")
    done = shop("data", "merge", "shop-questions", "dataset/shop-questions:mine")
    assert "1 added" in done.stdout
    shop("data", "pull", "shop-questions")
    assert {r["key"] for r in rows(file)} >= {"mine", "q02"} and "q01" not in {r["key"] for r in rows(file)}


def test_differences_clashes_and_doubles_in_the_terminal(shop: Shell) -> None:
    asked = ("How do I sort a dict by its value?", "how do I sort a dict by its value")
    (shop.cwd / "a.jsonl").write_text("".join(json.dumps({"key": k, "q": q}) + "\n" for k, q in zip("ab", asked, strict=True)))
    (shop.cwd / "b.jsonl").write_text('{"key": "a", "q": "theirs"}\n{"key": "c", "q": "new"}\n')
    (shop.cwd / "c.jsonl").write_text('{"key": "a", "q": "ours"}\n')
    first = shop.json("data", "add", "things", "a.jsonl")["ref"]
    doubles = shop("data", "duplicates", "things")
    assert "1 pair, 1 of them the same, 0 leaks" in doubles.stdout and "windlass data remove things b" in doubles.stdout
    shop("data", "add", "things:other", "b.jsonl")
    shop("data", "add", "things", "c.jsonl")
    shown = shop("data", "diff", first, "things:main").stdout
    assert "1 changed" in shown and '- q: "How do I sort a dict by its value?"' in shown and '+ q: "ours"' in shown
    clash = shop("data", "merge", "things", "dataset/things:other", code=1)
    assert "1 row clashes" in clash.stdout and 'theirs  q: "theirs"' in clash.stdout
    assert "2 added" not in shop("data", "merge", "things", "dataset/things:other", "--choose", "a=theirs").stdout
    assert {r["key"]: r["q"] for r in shop.json("rows", "things")["items"]}["a"] == "theirs"
    assert "is no side" in shop("data", "merge", "things", first, "--prefer", "mine", code=1).stderr


def test_what_was_asked_becomes_a_row(shop: Shell) -> None:
    shop("push")
    asked = shop.json("run", "shop", "Do you open on Sundays?")
    done = shop("data", "from-traces", "shop-questions", asked["trace"], "--set", "must_say=Monday to Saturday", "--set", 'tags=["phone"]')
    assert "1 added" in done.stdout
    row = next(r for r in shop.json("rows", "shop-questions", "--limit", "200")["items"] if r["key"].startswith("trace-"))
    assert (row["question"], row["must_say"], row["tags"]) == ("Do you open on Sundays?", "Monday to Saturday", ["phone"])
    assert row["origin"]["trace"] == asked["trace"]
    again = shop("data", "from-traces", "shop-questions", asked["trace"], code=1)
    assert f"it is row '{row['key']}' already" in again.stderr
    twin = shop.json("run", "shop", "do you open on sundays")["trace"]
    other = shop.json("run", "shop", "May my dog come in?")["trace"]
    both = shop("data", "from-traces", "shop-questions", twin, other, "--set", "must_say=yes")
    assert f"it says what row '{row['key']}' says" in both.stdout + both.stderr and "1 added" in both.stdout
    assert shop.json("why", asked["trace"])["rows"] == [f"shop-questions#{row['key']}"]


def test_a_csv_file_takes_what_was_curated_and_gives_it_back(shop: Shell) -> None:
    app = shop.cwd / "app.py"
    app.write_text(app.read_text().replace("data/questions.jsonl", "data/questions.csv"))
    file = shop.cwd / "data" / "questions.csv"
    file.write_bytes(
        b'\xef\xbb\xbfkey,question,must_say\r\nq1,"When do you open, and close?",nine\r\nq2,Do you ship?,two days\r\nq3,short\r\n'
    )
    assert "data/questions.csv:4: 2 cells, and the first line has 3" in shop("push").stderr
    asked = shop.json("run", "shop", "Do you open on Sundays?")["trace"]
    shop("data", "from-traces", "shop-questions", asked, "--set", "must_say=Saturday", "--set", "level=3")
    assert "1 added · 3 rows" in shop("data", "pull", "shop-questions").stdout
    assert file.read_text().splitlines()[0] == "key,question,must_say,level:json,origin:json"
    assert "unchanged" in shop("push").stdout
    assert "nothing differs" in shop("data", "pull", "shop-questions").stdout
    (shop.cwd / "typo.csv").write_text("key,level:json\nq1,two\nq2,2\n")
    added = shop("data", "add", "shop-questions", "typo.csv")
    assert "typo.csv:2: level:json is not JSON" in added.stderr and "1 changed" in added.stdout
    assert "Is a directory" in shop("data", "add", "shop-questions", ".", code=1).stderr


def many(path: Path, count: int, said: str = "question") -> None:
    path.write_text("".join(f'{{"key": "m{i:06}", "q": "{said} {i} {"and so on " * 12}"}}\n' for i in range(count)))


def test_a_large_file_is_one_version(served: Server, shop: Shell) -> None:
    many(shop.cwd / "many.jsonl", 45_000)
    said = shop.json("data", "add", "many", "many.jsonl")
    assert said["rows"]["added"] == said["count"] == 45_000 and not said.get("before")
    assert shop.json("rows", "many", "--limit", "1")["count"] == 45_000
    assert len(served.client().versions.list("dataset/many").items) == 1


def test_who_is_killed_while_a_large_file_is_added_leaves_the_dataset_as_it_was(shop: Shell) -> None:
    """The client, then the server, each in the middle of sending; then it is done again, and comes to what it would have come to."""
    home = Path(shop.env["WINDLASS_HOME"])
    server = Server(home)
    (shop.cwd / "one.jsonl").write_text('{"key": "m000001", "q": "as it was"}\n')
    before = shop.json("data", "add", "many", "one.jsonl")["ref"].partition("@")[2]
    many(shop.cwd / "many.jsonl", 150_000)
    command = [sys.executable, "-m", "windlass.doors.cli.main", "data", "add", "many", "many.jsonl"]

    def begun() -> subprocess.Popen[bytes]:
        blobs = len(list((home / "blobs").glob("*/*")))
        adding = subprocess.Popen(command, cwd=shop.cwd, env=shop.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        until(lambda: len(list((home / "blobs").glob("*/*"))) > blobs or adding.poll() is not None)
        assert adding.poll() is None
        return adding

    adding = begun()
    adding.kill()
    adding.communicate()
    assert [v.digest for v in server.client().versions.list("dataset/many").items] == [before]
    many(shop.cwd / "many.jsonl", 150_000, "asked")
    adding = begun()
    for part in server.parts().values():
        os.kill(part["pid"], signal.SIGKILL)
    server.stop(signal.SIGKILL)
    said = adding.communicate()[1].decode()
    assert adding.returncode == 1 and ("does not answer" in said or "broke off" in said)
    server = Server(home)
    assert [v.digest for v in server.client().versions.list("dataset/many").items] == [before]
    done = shop.json("data", "add", "many", "many.jsonl")
    assert (done["count"], done["rows"]["added"], done["rows"]["changed"]) == (150_000, 149_999, 1)
    server.stop()
    assert not shop.json("verify").get("problems")


def test_rows_that_others_changed_are_refused_in_every_part_of_a_large_file(shop: Shell) -> None:
    """Only the first 20,000 rows of a file were held against `--from`; the others went over what somebody else had written."""
    (shop.cwd / "many.jsonl").write_text("".join(f'{{"key": "m{i:06}", "q": "question {i}"}}\n' for i in range(20_001)))
    first = shop.json("data", "add", "parts", "many.jsonl")["ref"].partition("@")[2]
    (shop.cwd / "one.jsonl").write_text('{"key": "m020000", "q": "by somebody else"}\n')
    shop("data", "add", "parts", "one.jsonl")
    (shop.cwd / "many.jsonl").write_text("".join(f'{{"key": "m{i:06}", "q": "mine {i}"}}\n' for i in range(20_001)))
    assert "changed meanwhile by somebody else: 'm020000'" in shop("data", "add", "parts", "many.jsonl", "--from", first, code=1).stderr
