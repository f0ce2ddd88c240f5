"""How the baseline model reads a prompt: which text is the question, which lines are passages, what it was told to do.

It understands these forms and no others (documented for those who write prompts):

- a passage: a line `[key] text` and the lines after it, up to the next such line, a lone tag, or a line `Question:`;
- the question: the text after the last `Question:` (or `Q:`), else the last user message without its passages;
- an example: a user and an assistant turn before the last one, or lines `Q: …` and `A: …`;
- a hint: a line `words -> words` (or `→`, `=>`): a question with the words on the left is also about those on the right;
- `one sentence`, `at most N sentences`; `one symbol`, `at most N passages` (or sources, citations, …);
- `if they don't answer it, say so`, `do not guess`: then it needs firmer ground before it answers.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence

import msgspec

from windlass.core.message import Message, ToolCallPart, ToolResultPart


class Passage(msgspec.Struct, frozen=True):
    key: str  # empty when it came without one
    text: str


class Example(msgspec.Struct, frozen=True):
    question: str
    answer: str  # the keys it cites, or its words where it cites none


class Brief(msgspec.Struct, frozen=True):
    """What a prompt asks. `strict`: it was told what to do when nothing fits."""

    question: str
    passages: tuple[Passage, ...]
    examples: tuple[Example, ...] = ()
    hints: tuple[tuple[str, str], ...] = ()
    sentences: int = 2
    keys: int = 3
    strict: bool = False


_KEYED = re.compile(r"^\[([^\[\]\s,]{1,200})\](?:\s+(.*))?$")
_QUESTION = re.compile(r"^\s*(?:\*\*)?(?:question|q)(?:\*\*)?\s*:\s*(?:\*\*)?\s*(.*)$", re.IGNORECASE)
_ANSWER = re.compile(r"^\s*(?:\*\*)?(?:answer|a)(?:\*\*)?\s*:\s*(?:\*\*)?\s*(.*)$", re.IGNORECASE)
_TAG = re.compile(r"^\s*</?[A-Za-z][\w-]*>\s*$")
_HINT = re.compile(r"^\s*(?:[-*•]\s+)?([^.?!<>=→]{2,200}?)\s*(?:->|=>|→)\s*(\S.{0,200}?)\s*$")
_CITED = re.compile(r"\[([^\[\]\s,]{1,200})\]")

_NUMBERS = {"one": 1, "a single": 1, "single": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8}
_COUNT = r"(\d{1,2}|one|a single|single|two|three|four|five|six|seven|eight)"
_SENTENCES = re.compile(rf"\b{_COUNT}\s+(?:short\s+|complete\s+)?sentences?\b", re.IGNORECASE)
_KEYS = re.compile(
    rf"\b{_COUNT}\s+(?:best\s+)?(?:symbol|source|passage|citation|reference|key|document|entry|entries)e?s?\b(?!\s+below)", re.IGNORECASE
)
_STRICT = re.compile(
    r"\bsay so\b|\bsay (?:that )?(?:you|it|they) (?:do not|don't|cannot|can't|does not|doesn't)|\b(?:do not|don't|never) guess\b"
    r"|\b(?:if|when)\b[^.\n]{0,100}\b(?:not|n't|don't|doesn't|no|none|nothing|cannot)\b[^.\n]{0,100}"
    r"\b(?:say|answer that|reply|respond|admit|leave|return|empty|null)\b",
    re.IGNORECASE,
)


def read_prompt(messages: Sequence[Message]) -> Brief:
    """The brief in a conversation. Context is what the system, the last user message and tool results after it hold;
    where those hold no passage, earlier messages count."""
    last = max((i for i, m in enumerate(messages) if m.role == "user"), default=-1)
    final = _split(messages[last].text) if last >= 0 else _Split()
    systems = [_split(m.text) for m in messages if m.role == "system"]
    passages = [p for s in systems for p in s.passages] + final.passages
    calls = {c.id: c for m in messages for c in m.tool_calls}
    passages += [p for m in messages[last + 1 :] for p in _tool_passages(m, calls)]
    if not passages:
        passages = [p for m in messages[:last] for p in (*_split(m.text).passages, *_tool_passages(m, calls))]
    examples = [e for s in (*systems, final) for e in s.examples] + _turns(messages[:last])
    told = "\n".join([*(s.outside for s in systems), final.outside if final.question else ""])
    return Brief(
        question=final.question or final.outside.strip(),
        passages=tuple(passages),
        examples=tuple(examples),
        hints=tuple((m[1], m[2]) for line in told.split("\n") if (m := _HINT.match(line))),
        sentences=_limit(_SENTENCES, told, 2),
        keys=_limit(_KEYS, told, 3),
        strict=bool(_STRICT.search(told)),
    )


class _Split(msgspec.Struct):
    """One text taken apart: `outside` is what belongs to no passage, example or labelled question."""

    outside: str = ""
    question: str = ""
    passages: list[Passage] = []
    examples: list[Example] = []


def _split(text: str) -> _Split:
    outside: list[str] = []
    passages: list[tuple[str, list[str]]] = []
    dialogue: list[tuple[str, list[str]]] = []  # ("q" or "a", lines)
    sink = outside
    for line in text.split("\n"):
        if keyed := _KEYED.match(line):
            sink = [keyed[2] or ""]
            passages.append((keyed[1], sink))
        elif asked := _QUESTION.match(line):
            sink = [asked[1]]
            dialogue.append(("q", sink))
        elif (answered := _ANSWER.match(line)) and dialogue and dialogue[-1][0] == "q":
            sink = [answered[1]]
            dialogue.append(("a", sink))
        elif _TAG.match(line) or (sink is not outside and not line.strip() and dialogue and sink is dialogue[-1][1]):
            sink = outside
        else:
            sink.append(line)
    found = _Split("\n".join(outside), "", [Passage(k, "\n".join(lines).strip()) for k, lines in passages], [])
    for i, (who, lines) in enumerate(dialogue):
        following = "\n".join(dialogue[i + 1][1]).strip() if i + 1 < len(dialogue) and dialogue[i + 1][0] == "a" else ""
        if who == "q" and following:
            found.examples.append(Example("\n".join(lines).strip(), _cited(following)))
        elif who == "q":
            found.question = "\n".join(lines).strip()
    return found


def _turns(messages: Sequence[Message]) -> list[Example]:
    """Question and answer pairs among earlier turns."""
    pairs: list[Example] = []
    for before, after in itertools.pairwise(messages):
        if before.role == "user" and after.role == "assistant" and after.text.strip():
            asked = _split(before.text)
            pairs.append(Example(asked.question or asked.outside.strip(), _cited(after.text)))
    return pairs


def _cited(answer: str) -> str:
    """The keys an example's answer cites: in square brackets, or the lists of a JSON answer; else its words."""
    try:
        value = json.loads(answer)
    except ValueError:
        return " ".join(_CITED.findall(answer)) or answer
    lists = [v for v in value.values() if isinstance(v, list)] if isinstance(value, dict) else []
    return " ".join(str(item) for found in lists for item in found) or (answer if not isinstance(value, dict) else "")


def _tool_passages(message: Message, calls: dict[str, ToolCallPart]) -> list[Passage]:
    """Passages in a tool's results: `[key] text` lines, a JSON list of objects with a text, or the whole as one passage, whose
    key is then the name that was asked for."""
    found: list[Passage] = []
    for part in message.parts:
        if isinstance(part, ToolResultPart) and not part.error:
            asked = [v for v in calls[part.id].arguments.values() if isinstance(v, str)] if part.id in calls else []
            found.extend(_result_passages(part.content, asked[0] if len(asked) == 1 and " " not in asked[0] else ""))
    return found


def _result_passages(content: str, name: str) -> list[Passage]:
    try:
        value = json.loads(content)
    except ValueError:
        value = content
    if isinstance(value, dict):
        value = next((v for v in value.values() if isinstance(v, list)), [value])
    if isinstance(value, list):
        rows = [v for v in value if isinstance(v, dict) and isinstance(v.get("text"), str)]
        return [Passage(str(r.get("symbol") or r.get("key") or r.get("id") or name), r["text"]) for r in rows]
    text = value if isinstance(value, str) else content
    return _split(text).passages or ([Passage(name, text)] if text.strip() else [])


def _limit(pattern: re.Pattern[str], told: str, default: int) -> int:
    found = pattern.search(told)
    if not found:
        return default
    word = found[1].lower()
    return max(1, int(word)) if word.isdigit() else _NUMBERS[word]
