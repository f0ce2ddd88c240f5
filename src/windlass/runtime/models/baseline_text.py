"""How the baseline model sees text: words, stems, sentences, tokens. Frozen with `model/baseline@1`; knows no messages.

A word is a run of letters and digits; `read_text`, `readText` and `os.path` are also split into their parts, so that a
question's plain words meet an identifier. A token, for counting only, is up to six letters or digits, or one other
character that is not white space.
"""

from __future__ import annotations

import re
from functools import lru_cache

# Words that say how a question is put, not what it is about. Frozen.
STOPWORDS = frozenset(
    re.findall(
        r"\S+",
        """a about all also am an and any are as at be been being but by can cannot could did do does doing done for from get gets
    getting give gives given go got had has have having he her his how i if in into is it its just know let lets like make
    makes making may me might my need needs no not now of off on one or our out please python s shall she should so some t
    than that the their them then there these they this those to too up us use used uses using via want wants was way we
    well were what when where which while who whom whose why will with without would you your something someone anything
    thing things library standard module stdlib function class method call called there's i'm don't doesn't can't isn't""",
    )
)

_WORD = re.compile(r"[^\W_]+(?:_+[^\W_]+)*", re.UNICODE)
_CAMEL = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+|[^\W\dA-Za-z_]+", re.UNICODE)
_TOKEN = re.compile(r"[^\W_]{1,6}|[^\w\s]|_", re.UNICODE)
_VOWEL = re.compile(r"[aeiouy]")
_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[`]?[A-Z0-9])")
_ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|etc|cf|vs|Dr|Mr|Ms|No|Fig|approx)|\b[A-Z])\.$")


def count_tokens(text: str) -> int:
    """Tokens by the baseline's own rule: see the top of the file."""
    return len(_TOKEN.findall(text))


@lru_cache(maxsize=16384)
def stem(word: str) -> str:
    """A lower-case word without its commonest English endings. Not linguistics: the same rule on both sides."""
    if len(word) <= 3 or not word.isascii():
        return word
    if word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    elif word.endswith(("sses", "shes", "ches", "xes", "zes")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ing", "ed"):
        base = word.removesuffix(ending)
        if base != word and len(base) >= 3 and _VOWEL.search(base):
            word = base[:-1] if base[-1] == base[-2] and base[-1] not in "lsz" else base
            break
    if word.endswith("ly") and len(word) > 6:
        word = word[:-2]
    if word.endswith(("tion", "sion")) and len(word) > 6:
        word = word[:-3]
    elif word.endswith("ator") and len(word) > 6:
        word = word[:-2]
    if word.endswith("e") and len(word) > 4:
        word = word[:-1]
    return word


@lru_cache(maxsize=8192)
def word_terms(word: str) -> tuple[str, ...]:
    """The stems one written word stands for: its parts, and the whole where it has several. Stop words give none."""
    lower = word.lower()
    if lower in STOPWORDS:
        return ()
    pieces = [p.lower() for p in _CAMEL.findall(word)]
    if len(pieces) <= 1:
        return (stem(lower),)
    whole = lower.replace("_", "")
    found = [stem(p) for p in pieces if p not in STOPWORDS]
    return (*dict.fromkeys(found), whole)


def terms(text: str) -> list[str]:
    """All terms of a text in order, repeats kept."""
    found: list[str] = []
    for word in _WORD.findall(text):
        found.extend(word_terms(word))
    return found


def sentences(text: str) -> list[str]:
    """The sentences of a passage in order, white space collapsed. Lines of code and prompts (`>>> `) are left out;
    a blank line, a list item or a heading ends a sentence."""
    found: list[str] = []
    for paragraph in _paragraphs(text):
        start = 0
        for end in _END.finditer(paragraph):
            piece = paragraph[start : end.start()]
            if _ABBREVIATION.search(piece):
                continue
            found.append(paragraph[start : end.end()].strip())
            start = end.end()
        if rest := paragraph[start:].strip():
            found.append(rest)
    return found


def _paragraphs(text: str) -> list[str]:
    paragraphs: list[str] = []
    current: list[str] = []

    def close() -> None:
        if current:
            paragraphs.append(" ".join(current))
            current.clear()

    code = False
    for line in text.split("\n"):
        stripped = line.strip()
        if stripped.startswith(">>>"):
            close()
            code = True
        elif not stripped or not any(c.isalnum() for c in stripped):
            close()
            code = False
        elif not code:
            if stripped.startswith(("- ", "* ", "• ")):
                close()
            current.append(" ".join(stripped.split()))
    close()
    return paragraphs
