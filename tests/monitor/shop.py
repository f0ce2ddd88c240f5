"""A small shop on a real platform: what its evaluation asks, what its customers ask, and what they begin to ask."""

from __future__ import annotations

import json
import random
from pathlib import Path

from tests.evaluate.application import App

APP = '''
import windlass as w

note = w.component("note", prompt="prompts/note.md", model="baseline")


@w.chain
def answer(question: str) -> str:
    """Answer."""
    return "Sorry." if "rude" in question else "Thank you for asking. " + question


@w.evaluator
def right(output: str, row) -> float:
    return float(output.endswith(row.question))


@w.evaluator
def polite(output: str) -> float:
    return float(output.startswith("Thank you"))


w.suite("answers", target=answer, data=w.data("data/rows.jsonl"), guards={right: w.not_worse(by=0.1), polite: w.not_worse(by=0.1)},
        first_release={right: w.at_least(0.6), polite: w.at_least(0.6)})
'''
SUBJECTS = ["order", "parcel", "delivery", "invoice", "refund", "account", "voucher", "shoes", "jacket", "size"]
ASKED = [
    "Where is my {a} now, and when does the {b} come?", "How do I change the {a} after I paid for the {b}?",
    "The {a} came broken, can I send the {b} back?", "Can you tell me what the {a} costs without the {b}?",
    "I would like to cancel my {a} because of the {b}.", "Is there a {a} for people who have a {b} already?",
]  # fmt: skip
COINS = ["bitcoin", "ethereum", "dogecoin", "litecoin", "stablecoin"]
PLACES = ["wallet", "exchange", "blockchain", "hardware wallet", "ledger", "mining pool"]
NEW = [
    "Do you accept {coin} from a crypto {place}?", "Which crypto {place} may I pay {coin} from?",
    "Is {coin} paid by a crypto {place} safe?",
    "Can I pay by {coin} with the crypto {place} of my brother?", "What does paying {coin} cost at a crypto {place}?",
    "My {coin} left the crypto {place}, did it reach you?", "Is {coin} or the crypto {place} cheaper to pay with?",
]  # fmt: skip


def usual(rnd: random.Random) -> str:
    a, b = rnd.sample(SUBJECTS, 2)
    return rnd.choice(ASKED).format(a=a, b=b) + " " + rnd.choice(["Thanks", "Please", "Regards", "Best"])


def new(rnd: random.Random) -> str:
    return rnd.choice(NEW).format(coin=rnd.choice(COINS), place=rnd.choice(PLACES))


class Shop(App):
    """`count` rows are evaluated."""

    def __init__(self, folder: Path, count: int = 300) -> None:
        super().__init__(folder, 0)
        self.write("app.py", APP)
        rnd = random.Random(1)
        rows = [{"key": f"r{n:04}", "question": usual(rnd), "topic": "usual"} for n in range(count)]
        self.write("data/rows.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        self.rnd = random.Random(2)

    def let_out(self) -> None:
        """Push, gate, promote."""
        self.push()
        verdict = self.gate().verdict
        assert verdict and verdict.decision == "promote", verdict
        self.client.releases.promote("answer")

    def ask(self, count: int, share_new: float = 0.0, **more: str) -> list[str]:
        """Customers ask; the traces."""
        found = []
        for _ in range(count):
            question = new(self.rnd) if self.rnd.random() < share_new else usual(self.rnd)
            found.append(self.client.run("release/answer:production", question, **more).trace)
        return found
