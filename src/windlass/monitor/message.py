"""What is told: the body of a webhook, of which e-mail is made too. Its shape is promised in docs/alerts.md."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from windlass.core.operations.alerts import Event

MOST_FACTS = 16_000  # bytes; receivers take 20 kB or so
SHOWN_FACTS = 20


def compose(event: Event, alert: str, address: str) -> bytes:
    """The body of every attempt to deliver this event for this alert. `address` is where people reach the pages; empty where nobody
    knows, and then the message has a path only."""
    facts = event.facts if len(msgspec.json.encode(event.facts)) <= MOST_FACTS else {"left_out": "they are too long; the page has them"}
    at = datetime.fromtimestamp(event.at_ns / 1e9, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    data = {
        "event": event.id, "project": event.project, "kind": event.kind, "monitor": event.monitor, "severity": event.severity,
        "title": event.title, "sentence": event.sentence, "url": f"{address}/alerts/{event.id}", "page": f"{address}{event.path}",
        "release": event.release, "alert": alert, "facts": facts,
    }  # fmt: skip
    return msgspec.json.encode({"type": f"windlass.{event.kind}", "timestamp": at, "data": data})


def subject(data: dict[str, Any]) -> str:
    project = "" if data["project"] == "default" else f" {data['project']}"
    return f"[Windlass{project}] {data['severity']}: {data['title']}"


def letter(message: dict[str, Any]) -> str:
    """The plain text of an e-mail."""
    data = message["data"]
    lines = [data["sentence"], "", data["page"], f"To acknowledge it: {data['url']}", ""]
    lines += [f"monitor   {data['monitor']}", f"found     {message['timestamp']}"]
    lines += [f"release   {data['release']}"] if data["release"] else []
    for name, value in list(data["facts"].items())[:SHOWN_FACTS]:
        said = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        lines.append(f"{name}   {said[:200]}")
    return "\n".join([*lines, "", f"You are told by alert/{data['alert']} of project {data['project']}.", ""])
