"""A suite for an application in another language: gated by its declared version, whatever it is made of."""

import windlass as w


@w.evaluator
def names_the_capital(output, row) -> float:
    """1 when the capital stands in the answer."""
    return float(row.capital in output["text"])


w.suite(
    "capitals",
    target=w.url("http://127.0.0.1:3000/", version=w.git_sha(), input="question"),
    data=w.data("data/capitals.jsonl"),
    guards={names_the_capital: w.not_worse(by=0.08)},
    first_release={names_the_capital: w.at_least(0.7)},
)
