"""How the baseline model answers: it ranks the passages and their sentences against the question and copies the best.

A passage's score is BM25 over stems, where a term tells a little more if few of the passages at hand hold it, plus what its key
(a symbol's name) shares with the question, more if little else is in the key, times a little for standing early. Examples and
hints widen the question: an example whose question resembles this one lends the terms of its answer. It answers only when the
best passage covers enough of the question's own terms; told to say so when nothing fits, it needs more. Ties go to the earlier
passage and sentence. Frozen with `model/baseline@1`; writes no word of its own but `NO_ANSWER` and `NO_CONTEXT`.
"""

from __future__ import annotations

import math
import re
from collections import Counter

import msgspec

from windlass.runtime.models.baseline_prompt import Brief, Passage
from windlass.runtime.models.baseline_text import sentences, terms

NO_ANSWER = "The passages do not answer this."
NO_CONTEXT = "There is nothing here to answer from: the baseline model only reads passages given as lines of the form [key] text."

# Frozen constants; the vectors hold them.
K1, B = 0.9, 0.3
SPREAD = 0.2  # how much more a term tells that few of the passages hold
KEY_WEIGHT = 0.8  # a question's term in a passage's key, against one in its text
PLAIN = 0.5  # what of that counts however much else the key says; the rest by the share of the key that was asked for
NAMED = 6.0  # the question writes the key itself
EARLY = 0.1  # what standing first is worth, divided by the place
ENOUGH = 6  # terms of a question that count as all of it: a long question need not be met word for word
FIRM, LOOSE = 0.45, 0.15  # share of the question a passage must cover: told to abstain, or not
EXAMPLE_LIKENESS = 0.3  # how alike an example's question must be to lend its answer
LENT = 1.0  # weight of a term from a hint; from an example, times the square root of the likeness
KEEP = 0.6  # further passages must reach this share of the best one's score


class Extract(msgspec.Struct, frozen=True):
    """What was found. `sources` are the passages used with the sentences taken from each, best first."""

    answered: bool
    sources: tuple[tuple[Passage, tuple[str, ...]], ...]
    confidence: float  # share of the question's terms the best passage covers, 0 to 1
    had_context: bool = True

    @property
    def text(self) -> str:
        if not self.answered:
            return NO_ANSWER if self.had_context else NO_CONTEXT
        return " ".join(s for _, taken in self.sources for s in taken)

    @property
    def keys(self) -> list[str]:
        return list(dict.fromkeys(p.key for p, _ in self.sources if p.key)) if self.answered else []


def read(brief: Brief) -> Extract:
    """Answer a brief from its passages."""
    passages = [p for p in brief.passages if p.text.strip() or p.key]
    if not passages:
        return Extract(False, (), 0.0, had_context=False)
    asked = dict.fromkeys(terms(brief.question), 1.0)
    wanted = {**lent(brief), **asked}
    bags = [Counter(terms(p.text)) for p in passages]
    keys = [Counter(terms(p.key)) for p in passages]
    rarity = _rarity(wanted, bags, keys)
    scores = [_score(wanted, rarity, bags, keys, i, named(brief.question, passages[i].key)) for i in range(len(passages))]
    order = sorted(range(len(passages)), key=lambda i: (-scores[i], i))
    best = order[0]
    sure = _coverage(wanted, asked, bags[best], keys[best], named(brief.question, passages[best].key))
    if scores[best] <= 0 or sure < (FIRM if brief.strict else LOOSE):
        return Extract(False, (), round(sure, 3))
    kept = [i for i in order if scores[i] >= KEEP * scores[best]][: brief.keys]
    taken = _take(passages, kept, scores, wanted, rarity, brief.sentences)
    sources = tuple((passages[i], tuple(taken[i])) for i in kept if i in taken)
    return Extract(bool(sources), sources, round(sure, 3))


def lent(brief: Brief) -> dict[str, float]:
    """Terms that hints and like examples add to the question, with their weights."""
    asked = set(terms(brief.question))
    found: dict[str, float] = {}
    for left, right in brief.hints:
        if any(set(group) and set(group) <= asked for group in (terms(alternative) for alternative in left.split(","))):
            for term in terms(right):
                found[term] = max(found.get(term, 0.0), LENT)
    for example in brief.examples:
        theirs = set(terms(example.question))
        likeness = len(asked & theirs) / max(1, min(len(asked), len(theirs)))
        if likeness >= EXAMPLE_LIKENESS and len(asked & theirs) >= min(2, len(theirs)):
            for term in terms(example.answer):
                found[term] = max(found.get(term, 0.0), LENT * math.sqrt(likeness))
    return found


def named(question: str, key: str) -> bool:
    """Whether the question writes the key, or the dotted tail of it, as an identifier would be written."""
    if not key:
        return False
    tail = ".".join(key.split(".")[-2:])
    for name in {key, tail}:
        marked = "." in name or "_" in name or any(c.isupper() for c in name[1:])
        pattern = rf"(?<![\w.]){re.escape(name)}(?![\w])" if marked else rf"`{re.escape(name)}(?:\(\))?`|(?<![\w.]){re.escape(name)}\(\)"
        if re.search(pattern, question):
            return True
    return False


def _rarity(wanted: dict[str, float], bags: list[Counter[str]], keys: list[Counter[str]]) -> dict[str, float]:
    """How much a term tells: a term that few of these passages hold tells more, but never much more, since whoever found the
    passages looked for what they have in common."""
    n = len(bags)
    rarity = {}
    for term in wanted:
        holding = sum(1 for bag, key in zip(bags, keys, strict=True) if term in bag or term in key)
        rarity[term] = 1.0 + SPREAD * math.log(1 + (n - holding + 0.5) / (holding + 0.5))
    return rarity


def _score(
    wanted: dict[str, float], rarity: dict[str, float], bags: list[Counter[str]], keys: list[Counter[str]], i: int, by_name: bool
) -> float:
    mean = sum(b.total() for b in bags) / len(bags) or 1.0
    length = bags[i].total()
    score = named_part = 0.0
    for term, weight in wanted.items():
        count = bags[i][term]
        if count:
            score += weight * rarity[term] * count * (K1 + 1) / (count + K1 * (1 - B + B * length / mean))
        if term in keys[i]:
            named_part += weight * rarity[term]
    if named_part:
        asked_for = sum(1 for k in keys[i] if k in wanted)
        score += KEY_WEIGHT * named_part * (PLAIN + (1 - PLAIN) * asked_for / len(keys[i]))
    if by_name:
        score += NAMED
    return score * (1 + EARLY / (i + 1))


def _coverage(wanted: dict[str, float], asked: dict[str, float], bag: Counter[str], key: Counter[str], by_name: bool) -> float:
    """The share of the question's own terms that the passage holds. A lent term it holds counts by its weight."""
    if by_name:
        return 1.0
    own = sum(1.0 for t in asked if t in bag or t in key)
    extra = sum(w for t, w in wanted.items() if t not in asked and (t in bag or t in key))
    total = min(len(asked), ENOUGH)
    return min(1.0, (own + extra) / total) if total else 0.0


def _take(
    passages: list[Passage], kept: list[int], scores: list[float], wanted: dict[str, float], rarity: dict[str, float], limit: int
) -> dict[int, list[str]]:
    """The best sentences of the kept passages: the best passage gives its best one first, then all compete."""
    ranked: list[tuple[float, int, int, str]] = []
    for place, i in enumerate(kept):
        share = scores[i] / scores[kept[0]]
        for number, sentence in enumerate(sentences(passages[i].text) or [passages[i].text.strip()]):
            if sentence:
                ranked.append((-share * _sentence(sentence, number, wanted, rarity), place, number, sentence))
    if not ranked:
        return {}
    first = min((r for r in ranked if r[1] == min(r[1] for r in ranked)), key=lambda r: r[0])
    rest = sorted((r for r in ranked if r is not first and r[0] <= 0.6 * first[0] and r[0] < 0), key=lambda r: r[:3])
    chosen = [first, *rest[: limit - 1]]
    taken: dict[int, list[str]] = {}
    for _, place, _, sentence in chosen:
        taken.setdefault(kept[place], []).append(sentence)
    return taken


def _sentence(sentence: str, number: int, wanted: dict[str, float], rarity: dict[str, float]) -> float:
    found = terms(sentence)
    matched = sum(wanted[t] * rarity[t] for t in set(found) if t in wanted)
    return (matched + (0.8 if number == 0 else 0.0)) / (1 + 0.015 * len(found))
