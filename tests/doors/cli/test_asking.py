"""`why`, `impact` and `reproduce` on a workspace of one's own."""

import json

from tests.doors.cli.conftest import Edit, Shell


def test_the_graph_answers(shop: Shell, edit: Edit) -> None:
    shop("push")
    shop("gate")
    shop("promote")
    asked = shop.json("run", "release/shop:production", "When do you open?")
    touched = shop.json("impact", "prompt/answer")
    assert {t["kind"] for t in touched["touched"]} >= {"component", "chain", "release"}
    (released,) = [t for t in touched["touched"] if t["kind"] == "release"]
    assert "production" in released["labels"] and released["answers"] >= 1 and touched["answers"] == released["answers"]
    assert [s.partition("@")[0] for s in touched["suites"]] == ["suite/shop"]
    said = shop("impact", "dataset/shop-questions").stdout
    assert "suite/shop@" in said and "to test again: suite/shop@" in said
    why = shop("why", "release/shop").stdout
    assert "pushed from shop" in why and "production" in why and "by verdict" in why
    again = shop("reproduce", asked["trace"])
    assert "the same answer" in again.stdout and "differs" not in again.stdout
    assert "derived again from its bytes" in shop("reproduce", "release/shop").stdout


def test_a_row_tells_where_it_came_from_and_how_it_was_answered(shop: Shell) -> None:
    shop("push")
    first = shop.json("rows", "shop-questions", "--limit", "1")["items"][0]
    ref = f"dataset/shop-questions#{first['key']}"
    assert [(c["how"], c["workspace"]) for c in shop.json("why", ref)["changes"]] == [("added", "shop")]
    shop("eval")
    (shop.cwd / "fix.jsonl").write_text(json.dumps({**first, "note": "looked at"}) + "\n")
    shop("data", "add", "shop-questions", "fix.jsonl", "--message", "a look")
    why = shop.json("why", ref)
    assert [(c["how"], c.get("fields"), c.get("message")) for c in why["changes"]] == [
        ("changed", ["note"], "a look"), ("added", None, None)
    ]  # fmt: skip
    assert why["row"]["note"] == "looked at" and len(why["scored"]) == 1 and why["scored"][0]["scores"][0]["value"] is not None
    shop("data", "remove", "shop-questions", first["key"])
    gone = shop.json("why", ref)
    assert gone["row"] is None and gone["changes"][0]["how"] == "removed"
    assert "removed" in shop("why", ref).stdout and "there no more" in shop("why", ref).stdout
    assert "has no row 'nobody'" in shop("why", "dataset/shop-questions#nobody", code=1).stderr


def test_the_history_of_a_row_follows_the_side_it_came_by(shop: Shell) -> None:
    def add(dataset: str, message: str, *rows: tuple[str, str]) -> str:
        (shop.cwd / "in.jsonl").write_text("".join(json.dumps({"key": k, "q": q}) + "\n" for k, q in rows))
        return str(shop.json("data", "add", dataset, "in.jsonl", "--message", message)["ref"])

    first = add("things", "first", ("a", "old"), ("b", "old"))
    add("things:side", "theirs", ("a", "theirs"))
    add("things:side", "of b", ("b", "theirs"))
    ours = add("things", "ours", ("a", "ours"))
    shop("data", "merge", "things", "dataset/things:side", "--choose", "a=ours")
    why = shop.json("why", "dataset/things#a")
    assert [(c["how"], c["message"], c["ref"]) for c in why["changes"]] == [("changed", "ours", ours), ("added", "first", first)]
    assert [(c["how"], c["message"]) for c in shop.json("why", "dataset/things#b")["changes"]] == [
        ("changed", "of b"), ("added", "first"),
    ]  # fmt: skip
    add("things", "later", ("c", "new"))
    assert [c["message"] for c in shop.json("why", "dataset/things#c")["changes"]] == ["later"]


def test_what_does_not_come_to_the_same_is_said(shop: Shell) -> None:
    shop("push")
    listed = shop.json("show", "dataset/shop-questions")["version"]
    blobs = [p for p in (shop.folder / "home" / "blobs").rglob("*") if p.is_file() and p.read_bytes()[:4] == b"PAR1"]
    assert listed["body"]["count"] and blobs
    for blob in blobs:
        blob.unlink()
    done = shop("reproduce", "dataset/shop-questions", code=1)
    assert "differs" in done.stdout and "is not here" in done.stdout
