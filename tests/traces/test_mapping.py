"""What tracing libraries of others export is read as what it means. It was caught once; `sdks/captured/*/facts.toml` says what it means."""

from __future__ import annotations

import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.traces.sdks.test_captured import CAPTURED, exports

from windlass.store.spans import SpanRow
from windlass.traces.envelope import OTLP
from windlass.traces.mapping import PRICED, rows

COLUMNS = {
    "kind": "kind", "model": "model", "provider": "provider", "input_tokens": "tokens_in", "cached_tokens": "tokens_cached",
    "cache_write_tokens": "tokens_written", "output_tokens": "tokens_out", "reasoning_tokens": "tokens_reasoning", "session": "session",
    "user": "user", "prompt": "prompt", "tool": "tool", "cost": "cost",
}  # fmt: skip


def read(folder: Path) -> list[SpanRow]:
    found = [row for export in exports(folder) for row in rows(OTLP, "default", 1, export.SerializeToString())]
    return sorted(found, key=lambda r: r.start_ns)


def differences(folder: Path) -> list[str]:
    facts = {(f["name"], f["nth"]): f for f in tomllib.loads((folder / "facts.toml").read_text())["span"]}
    seen: Counter[str] = Counter()
    wrong = []
    for row in read(folder):
        fact: dict[str, Any] = facts[row.name, seen[row.name]]
        seen[row.name] += 1
        if fact.get("superseded"):
            continue
        where = f"{row.name} {seen[row.name] - 1}"
        for key, column in COLUMNS.items():
            told, expected = getattr(row, column), fact.get(key)
            if key == "prompt" and expected:
                expected = "@".join(str(expected[k]) for k in ("name", "version") if k in expected) if "name" in expected else None
            if key == "tool" and fact["kind"] != "tool":  # what a model wants
                continue
            if key == "provider" and fact["kind"] not in PRICED:  # some name their own library where nobody is asked
                continue
            if key == "cost" and expected:
                expected = pytest.approx(expected)
            if told != expected and not (key == "cache_write_tokens" and not told and not expected):
                wrong.append(f"{where}: {column} is {told!r}, not {expected!r}")
        if sorted(row.tags) != sorted(fact.get("tags", [])):
            wrong.append(f"{where}: tags are {row.tags}, not {fact.get('tags')}")
        for key in ("input", "output"):
            if (expected := fact.get(key)) and fact.get("content_in") != "logs" and expected not in plain(getattr(row, key)):
                wrong.append(f"{where}: {expected!r} is not in {key}: {(getattr(row, key) or '')[:300]}")
    return wrong


def plain(text: str | None) -> str:
    return (text or "").replace("\\", "")


@pytest.mark.parametrize("folder", CAPTURED, ids=lambda p: p.name)
def test_what_others_send_means_what_it_means(folder: Path) -> None:
    assert differences(folder) == []
