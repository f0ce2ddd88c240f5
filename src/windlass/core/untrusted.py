"""Signs that a text tries to command whoever reads it: words that address a model, and characters that people do not see.

A sign is no proof, and its absence none either: it is said, for people to look and for prompts to mark, and nothing is refused for it.
The sorts are those of OWASP's LLM01 (indirect prompt injection).
"""

from __future__ import annotations

import re

_COMMANDS = re.compile(
    r"\b(?:ignore|disregard|forget|override)\b[^.]{0,40}\b(?:previous|prior|above|earlier|your|system)\b[^.]{0,30}"
    r"\b(?:instructions?|prompts?|rules?|directions?|messages?)\b"
    r"|\b(?:ignore|disregard|forget)\s+(?:all|any)\s+(?:instructions|prompts|rules)\b"
    r"|\b(?:new|updated|real|actual)\s+(?:system\s+)?instructions?\s*:"
    r"|\byou\s+are\s+now\s+(?:a|an|in|the)\b"
    r"|\b(?:do\s+not|don't|never)\s+(?:tell|reveal|mention)\b[^.]{0,40}\b(?:user|human)s?\b"
    r"|<\|?(?:im_start|im_end|system|assistant|endoftext)\|?>|\[/?INST\]",
    re.IGNORECASE,
)
# zero-width, bidirectional controls and tag characters; a soft hyphen and joiners within words are common and harmless
_UNSEEN = re.compile("[\u200b\u2060\ufeff\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]")


def signs(text: str) -> list[str]:
    """What is suspicious in a text, a phrase each; empty for most."""
    found = []
    if match := _COMMANDS.search(" ".join(text.split())):
        found.append(f"speaks to a model: {match[0][:60]!r}")
    if count := len(_UNSEEN.findall(text)):
        found.append(f"holds {count} character{'s' if count > 1 else ''} that people do not see")
    return found
