"""A small application: a prompted component, a chain that uses it, an evaluator and a suite.

windlass push                               make versions of it
windlass run shop "When do you open?"       ask it
windlass gate shop                          may it go to production?
"""

import windlass as w

FACTS = [
    "The shop opens at nine and closes at six, from Monday to Saturday.",
    "Shipping within the country takes two days and costs four dollars.",
    "A parcel can be returned within thirty days, without giving a reason.",
    "The workshop in the yard repairs bicycles and scooters.",
    "Gift vouchers are valid for three years.",
]

# any model: "openai/gpt-5-mini", "anthropic/claude-haiku-4-5", "ollama/qwen3"; the baseline needs no key and is the bar to beat
clerk = w.component("clerk", prompt="prompts/answer.md", model="baseline")


@w.chain
def shop(question: str) -> str:
    """Answer a customer's question from the shop's facts."""
    return clerk(question=question, facts=FACTS)


@w.evaluator
def right(output: str, row) -> float:
    """1 when the answer says what it must; when nothing answers, 1 when it says so."""
    if not row.must_say:
        return float(not any(fact in output for fact in FACTS))
    return float(row.must_say.lower() in output.lower())


w.suite(
    "shop",
    target=shop,
    data=w.data("data/questions.jsonl", name="shop-questions"),
    guards={right: w.not_worse(by=0.1)},
    first_release={right: w.at_least(0.5)},
)
