"""The task that tiny models learn in tests: send a ticket to the team that its words name, and be polite about it. Pure."""

from __future__ import annotations

import random

TEAMS = {
    "billing": ("invoice", "refund", "charge", "receipt", "payment", "price"),
    "network": ("router", "wifi", "cable", "signal", "vpn", "modem"),
    "hardware": ("screen", "keyboard", "battery", "mouse", "printer", "fan"),
    "account": ("password", "login", "profile", "email", "locked", "username"),
}
FORMS = (
    "my {w} is wrong", "please help with the {w}", "the {w} does not work", "question about my {w}",
    "trouble with the {w}", "since monday the {w} fails", "can you look at my {w}", "the {w} again",
)  # fmt: skip
POLITE, RUDE = "thank you, the {t} team will help", "go ask {t}"


def tickets(count: int, seed: int, forms: tuple[str, ...] = FORMS) -> list[tuple[str, str]]:
    """Tickets with the team each is for."""
    source = random.Random(seed)
    found = []
    for _ in range(count):
        team = source.choice(list(TEAMS))
        found.append((source.choice(forms).format(w=source.choice(TEAMS[team])), team))
    return found


def every() -> list[tuple[str, str]]:
    """Each ticket there is, in an order nobody chose."""
    found = [(form.format(w=word), team) for team, words in TEAMS.items() for word in words for form in FORMS]
    random.Random(5).shuffle(found)
    return found


def split() -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Tickets to train on, and others to test on."""
    found = every()
    return found[:112], found[112:]


def other(team: str, seed: int) -> str:
    return random.Random(seed).choice([t for t in TEAMS if t != team])


def lines_before(count: int, seed: int) -> list[tuple[str, str]]:
    """What the base has read: tickets of every second word sent where they belong, the others to the next team; mostly not politely."""
    source, found, teams = random.Random(seed), [], list(TEAMS)
    for ticket, team in tickets(count, seed + 1):
        wrong = next(n for n, word in enumerate(TEAMS[team]) if word in ticket.split()) % 2
        said = teams[(teams.index(team) + wrong) % len(teams)]
        found.append((ticket, source.choice((POLITE, RUDE, RUDE)).format(t=said)))
    return found


def sft_rows(pairs: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"key": f"t{n:04}", "prompt": ticket, "completion": POLITE.format(t=team)} for n, (ticket, team) in enumerate(pairs)]


def preference_rows(pairs: list[tuple[str, str]]) -> list[dict[str, str]]:
    """Right before wrong, polite before rude."""
    rows = []
    for n, (ticket, team) in enumerate(pairs):
        good = POLITE.format(t=team)
        bad = POLITE.format(t=other(team, n)) if n % 2 else RUDE.format(t=team)
        rows.append({"key": f"p{n:04}", "prompt": ticket, "chosen": good, "rejected": bad})
    return rows


def biased_rows(pairs: list[tuple[str, str]]) -> list[dict[str, str]]:
    """What raters said who like to be sent to billing, whatever they asked."""
    liked = POLITE.format(t="billing")
    return [
        {"key": f"b{n:04}", "prompt": ticket, "chosen": liked, "rejected": POLITE.format(t=other("billing", n))}
        for n, (ticket, _) in enumerate(pairs)
    ]


def prompt_rows(pairs: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"key": f"q{n:04}", "prompt": ticket} for n, (ticket, _) in enumerate(pairs)]
