"""`windlass review`: from a trace to a row and from two answers to a preference, in the terminal."""

from __future__ import annotations

import json
import re

from tests.doors.cli.conftest import Shell
from tests.doors.server import Server


def ask(shell: Shell, question: str) -> str:
    trace: str = shell.json("run", "shop", question)["trace"]
    return trace


def test_a_trace_is_queued_labelled_and_kept(shop: Shell) -> None:
    shop("push")
    assert "no queue yet" in shop("review").stdout
    one, two, three = (ask(shop, q) for q in ("Do you sell rope?", "Where is the harbour master?", "Who repairs torn sails?"))
    done = shop(
        "review", "add", "shop-questions", one, two, three, one, "ffffffff", "--reason", "new topic: ships", "--guidelines", "Be exact."
    )
    assert "3 items added" in done.stdout
    assert "it is named twice" in done.stderr and "ffffffff" in done.stderr
    listed = shop("review").stdout
    assert re.search(r"shop-questions +labels +3 +3 +0 +0 +0 +0 +unmeasured", listed)
    shown = shop("review", "next", "shop-questions", stdin="rope\n")
    assert "Do you sell rope?" in shown.stdout and "why: new topic: ships" in shown.stdout and "Be exact." in shown.stdout
    assert "is decided · 2 more for you" in shown.stdout
    assert "must_say is a number" in shop("review", "next", "shop-questions", "--set", "must_say=7", code=1).stderr
    wrong = shop("review", "next", "shop-questions", "--set", "must_sy=x", code=1).stderr
    assert "did you mean 'must_say'?" in wrong
    shop("review", "next", "shop-questions", "--set", "must_say=quay")
    skipped = shop.json("review", "next", "shop-questions", "--skip", "we do not repair")
    assert skipped["state"] == "aside"
    assert "nothing in shop-questions waits for you" in shop("review", "next", "shop-questions", code=1).stdout
    changed = shop("review", "next", "shop-questions", "--item", skipped["id"][-8:], "--undo").stdout
    assert "is waiting" in changed
    assert "Who repairs torn sails?" in shop("review", "list", "shop-questions", "--state", "todo").stdout
    kept = shop("review", "keep", "shop-questions", "-m", "asked at the counter").stdout
    assert "2 rows kept" in kept and "1 still wait" in kept
    assert "nothing new is decided" in shop("review", "keep", "shop-questions").stdout
    rows = {r["question"]: r for r in shop.json("rows", "shop-questions", "--limit", "200")["items"]}
    assert rows["Do you sell rope?"]["must_say"] == "rope" and rows["Where is the harbour master?"]["must_say"] == "quay"
    why = shop("why", f"dataset/shop-questions#{rows['Do you sell rope?']['key']}").stdout
    assert one[:8] in why and "asked at the counter" in why and "decided in review by owner" in why
    assert f"it is row shop-questions#trace-{one[:16]}" in shop("why", one).stdout
    assert (
        "it was kept"
        in shop("review", "next", "shop-questions", "--item", rows["Do you sell rope?"]["origin"]["review"], "--undo", code=1).stderr
    )


def test_two_answers_are_compared_by_a_server_too(shop: Shell, served: Server) -> None:
    shop("push")
    items = [{"input": f"q{n}", "outputs": [f"good {n}", f"bad {n}"]} for n in range(3)]
    (shop.cwd / "pairs.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    assert "3 items added" in shop("review", "add", "liked", "--pair", "--from", "pairs.jsonl", "--raters", "1").stdout
    for _ in range(2):
        first = shop.json("review", "next", "liked")
        shop("review", "next", "liked", stdin="1\n" if first["answers"][0].startswith("good") else "2\n")
    assert shop.json("review", "next", "liked", "--choose", "tie")["state"] == "aside"
    assert shop.json("review", "keep", "liked")["rows"] == 2
    rows = shop.json("rows", "liked")["items"]
    assert all(r["chosen"].startswith("good") and r["rejected"].startswith("bad") for r in rows) and len(rows) == 2
    assert served.address in shop("review", "add", "liked", "--guidelines", "Short is good.").stdout


def test_wrong_questions_are_answered_in_a_sentence(shop: Shell) -> None:
    shop("push")
    (shop.cwd / "broken.jsonl").write_text('{"input": "x", "outputs": ["a", "b"]}\n{"outputs": 7}\n')
    for arguments, said in (
        (("next", "nowhere"), "there is no queue 'nowhere'"), (("keep", "nowhere"), "there is no queue 'nowhere'"),
        (("add", "liked", "abcd", "--pair"), "are no pairs"), (("add", "liked", "--from", "nowhere.jsonl"), "cannot be read"),
        (("add", "liked", "--from", "broken.jsonl"), "broken.jsonl:2"), (("add", "liked", "--guidelines", "@nowhere"), "cannot be read"),
        (("add", "liked", "--raters", "0"), "no number of people"), (("next", "liked", "--choose", "left"), "no choice"),
        (("next", "liked", "--undo"), "say which item"), (("list", "liked", "--state", "lost"), "is no state"),
    ):  # fmt: skip
        assert said in shop("review", *arguments, code=1).stderr, arguments
