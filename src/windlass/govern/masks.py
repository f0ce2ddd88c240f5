"""What secrets and personal data look like: one `Mask` each, with what must stand in a text before a pattern is worth trying, and a check
of what a pattern found. Patterns begin neither inside a word nor at the letter of an escape such as `\\n`, since much text is JSON."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import NamedTuple

from windlass.core.operations.masking import Group

Check = Callable[[str], "str | None"]  # what of a find is masked: all or the beginning of it; None for nothing


class Mask(NamedTuple):
    """In every text the pattern could find something in, one of `needs` stands, or one of `hints` finds something; where neither is given,
    any text may hold it. Where the pattern has a group, only that is masked."""

    name: str
    group: Group
    said: str
    pattern: re.Pattern[str]
    needs: tuple[str, ...] = ()
    check: Check | None = None
    on: bool = True
    hints: tuple[str, ...] = ()


BEGIN = r"(?:(?<=\\[nrtbf])|(?<![\w\\]))"
KEYS = (
    r"sk-(?:ant-|proj-|or-v1-|svcacct-)?[A-Za-z0-9_-]{20,}", r"[sr]k_(?:live|test)_[A-Za-z0-9]{16,}", r"(?:AKIA|ASIA)[A-Z0-9]{16}(?!\w)",
    r"AIza[A-Za-z0-9_-]{35}", r"gh[pousr]_[A-Za-z0-9]{36,}", r"github_pat_[A-Za-z0-9_]{22,}", r"glpat-[A-Za-z0-9_-]{20,}",
    r"xox[abeoprs]-[A-Za-z0-9-]{10,}", r"hf_[A-Za-z0-9]{30,}", r"gsk_[A-Za-z0-9]{40,}", r"xai-[A-Za-z0-9]{40,}", r"r8_[A-Za-z0-9]{37,}",
    r"pplx-[A-Za-z0-9]{40,}", r"npm_[A-Za-z0-9]{36}", r"pypi-[A-Za-z0-9_-]{50,}", r"SG\.[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{40,}",
    r"wl(?:o_[A-Za-z0-9_-]{40,}|_[0-9a-f]{12}_[A-Za-z0-9_-]{40,}|[rg]_[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{40,})",
    r"whsec_[A-Za-z0-9+/=]{24,}",
)  # fmt: skip
# looked for in all that is observed, so as few as can be: the other keys have a long word after an underscore, or after a hyphen
KEY_NEEDS = ("sk-", "AKIA", "ASIA", "AIza", "xox", "glpat-", "SG.", "wlo_", "wl_", "wlr_", "wlg_", "whsec_")
KEY_HINTS = (r"_[A-Za-z0-9]{16}", r"-[A-Za-z0-9_-]{40}")
# lengths of IBANs by country, from the registry that SWIFT keeps (release 99)
IBAN_LENGTHS = {
    code: length
    for length, codes in {
        15: "NO", 16: "BE", 18: "DK FI FO GL NL SD FK", 19: "MK SI", 20: "AT BA EE KZ LT LU XK MN", 21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM TL SO", 24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "LY PT ST",
        26: "IS TR", 27: "FR GR IT MC MR SM BI DJ", 28: "AL AZ BY CY DO GT HN HU LB NI PL SV", 29: "BR EG PS QA UA", 30: "JO KW MU YE",
        31: "MT SC", 32: "LC", 33: "RU",
    }.items()
    for code in codes.split()
}  # fmt: skip
_CARD = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}|3[47]\d{13}|3(?:0[0-5]|[689]\d)\d{11,13}"
    r"|6(?:011|5\d\d|4[4-9]\d)\d{12}|35(?:2[89]|[3-8]\d)\d{12}|62\d{14,17}"
)


def luhn(digits: str) -> bool:
    """The check of payment card numbers (ISO/IEC 7812-1)."""
    doubled = [int(d) * (2 if n % 2 else 1) for n, d in enumerate(reversed(digits))]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


def mod97(iban: str) -> bool:
    """The check of IBANs (ISO 13616, by ISO 7064): letters as 10 to 35, the first four characters last."""
    return int("".join(str(int(c, 36)) for c in iban[4:] + iban[:4])) % 97 == 1


def _card(found: str) -> str | None:
    digits = re.sub(r"\D", "", found)
    return found if _CARD.fullmatch(digits) and luhn(digits) else None


def _iban(found: str) -> str | None:
    """As much of it as an IBAN of its country is long; words may follow."""
    length, taken = IBAN_LENGTHS.get(found[:2].upper(), 0), 0
    for end, character in enumerate(found, 1):
        taken += not character.isspace()
        if taken == length:
            whole = "".join(found[:end].split()).upper()
            rest = found[end : end + 1]
            return found[:end] if mod97(whole) and not rest.isalnum() else None
    return None


def _phone(found: str) -> str | None:
    return found if 8 <= sum(c.isdigit() for c in found) <= 15 else None


def _address(found: str) -> str | None:
    try:
        ipaddress.ip_address(found)
    except ValueError:
        return None
    return found


def _has_digit(found: str) -> str | None:
    return found if any(c.isdigit() for c in found) else None


MASKS: tuple[Mask, ...] = (
    Mask(
        "private-key", "secrets", "private keys in PEM",
        re.compile(
            r"-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY[A-Z ]{0,10}-----(?:(?!-----END)[\s\S])*"
            r"(?:-----END [A-Z0-9 ]{0,30}PRIVATE KEY[A-Z ]{0,10}-----)?"
        ),
        ("PRIVATE KEY",),
    ),
    Mask(
        "jwt", "secrets", "JSON Web Tokens",
        re.compile(BEGIN + r"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]*"), ("eyJ",),
    ),
    Mask(
        "api-key", "secrets", "keys by their form: OpenAI, Anthropic, AWS, Google, GitHub, GitLab, Slack, Stripe, Hugging Face and others, "
        "and Windlass's own",
        re.compile(BEGIN + "(?:" + "|".join(KEYS) + ")"), KEY_NEEDS, _has_digit, hints=KEY_HINTS,
    ),
    Mask(
        "aws-secret", "secrets", "AWS secret keys after their name",
        re.compile(r"(?:aws_secret_(?:access_)?key|AWS_SECRET_ACCESS_KEY|[sS]ecretAccessKey)[\"'\\ :=]{1,8}"
            r"([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+])"
        ),
        ("aws_secret", "AWS_SECRET", "ecretAccessKey"),
    ),
    Mask(
        "bearer", "secrets", "what follows Bearer, or Basic in an authorization header",
        re.compile(r"(?i:\bbearer\s+|authorization[\"'\\ :=]{1,8}basic\s+)([A-Za-z0-9._~+/=-]{16,})"),
        ("earer", "EARER", "uthorization", "UTHORIZATION"),
        _has_digit,
    ),
    Mask(
        "email", "personal", "e-mail addresses",
        re.compile(BEGIN + r"[\w%+][\w.%+'-]{0,63}@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+[^\W\d_]{2,24}"), ("@",), on=False,
    ),
    Mask(
        "card", "personal", "payment cards whose check digit fits",
        re.compile(r"(?:(?<=\\[nrtbf])|(?<![\w.\\-]))\d(?:[ -]?\d){12,18}(?![\w-]|\.\d)"),
        (), _card, on=False, hints=(r"\d(?:[ -]?\d){12}",),
    ),
    Mask(
        "iban", "personal", "IBANs whose check digits fit",
        re.compile(BEGIN + r"[A-Z]{2}\d{2}(?: ?[A-Za-z0-9]){11,40}"), (), _iban, on=False, hints=(r"[A-Z]{2}\d{2} ?[A-Z0-9]",),
    ),
    Mask(
        "phone", "personal", "phone numbers with + and a country, or as in North America",
        re.compile(
            r"(?:(?<=\\[nrtbf])|(?<![\w+\\]))(?:\+\d{1,3}(?:[ ./-]?(?:\(\d{1,5}\)|\d{1,5})){2,6}"
            r"|(?:\([2-9]\d{2}\)|[2-9]\d{2})[ .-][2-9]\d{2}[.-]\d{4})(?!\w)"
        ),
        ("+",), _phone, on=False, hints=(r"\d{3}[.-]\d{4}",),
    ),
    Mask(
        "ip", "network", "IP addresses",
        re.compile(r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4})(?![\w:]|\.\d)"), (".", ":"),
        _address, on=False,
    ),
)  # fmt: skip
