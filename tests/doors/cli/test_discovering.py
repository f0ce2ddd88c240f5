"""`discover` and `bakeoffs` in the terminal."""

from tests.doors.cli.conftest import Shell

POLICY = '[[rule]]\nname = "house"\nnot_models = ["baseline/lead"]\n'


def test_a_bake_off_prints_its_recommendation_and_is_found_again(shop: Shell) -> None:
    shop("push")
    (shop.cwd / "policy.toml").write_text(POLICY)
    said = shop("discover", "--policy", "policy.toml", "--budget", "0").stdout
    assert "left out: baseline/lead: baseline/lead is ruled out (rule: house)" in said
    assert "baseline/silent" in said and "spared" in said and "no other is better, cheaper and quicker at once" in said
    listed = shop.json("bakeoffs")["items"]
    assert len(listed) == 1 and listed[0]["status"] == "done" and listed[0]["recommendation"]["model"]
    again = shop("bakeoffs", listed[0]["id"][-8:]).stdout
    assert listed[0]["recommendation"]["why"][:40] in again.replace("\n", " ")
    measured = shop.json("bakeoffs", "--measured")["items"]
    assert {"baseline", "baseline/silent"} <= {m["model"] for m in measured}
    assert "baseline/silent" in shop("bakeoffs", "--measured").stdout
    assert "here, suite/shop@" in shop("models", "baseline/silent").stdout


def test_wrong_questions_are_answered_in_a_sentence(shop: Shell) -> None:
    assert "no suite" in shop("discover", code=1).stderr
    shop("push")
    assert "either --models or" in shop("discover", "--models", "baseline", "--open", code=1).stderr
    assert "no model is left to compare with" in shop("discover", "--models", "baseline", code=1).stderr
    assert "policy cannot be read" in shop("discover", "--policy", "nowhere.toml", code=1).stderr
    assert "OPENAI_API_KEY is not set" in shop("discover", "--models", "openai/gpt-5-mini", code=1).stderr
