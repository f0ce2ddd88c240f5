"""What a person wants to read of a version: a prompt's text, code's source, a schema; else its body."""

from __future__ import annotations

from typing import Any

import msgspec

from windlass.core.artifacts import Version
from windlass.store.blobs import BlobStore

SHOWN = 200_000  # characters


def content_of(version: Version, blobs: BlobStore) -> str:
    """Readable text of a version. Never raises for a blob that is gone: the page says so instead."""
    body = version.body
    if version.kind == "prompt":
        return "\n".join(f"{m['role']}: {m['text']}" for m in body["messages"])
    if source := version.neutral.get("source"):
        return str(source)
    if version.kind in ("dataset", "fewshot"):
        return f"{body['count']} rows"
    if version.kind == "index":
        encoder = f"\nencoder {body['encoder']['name']}, {body['encoder']['dimensions']} dimensions" if body.get("encoder") else ""
        return f"chunks {body['chunks']}\nchunker {_pretty(body['chunker'])}\nengine {body.get('engine', 'fts5@1')}{encoder}"
    if version.kind == "pin":
        return f"{body['spec']['endpoint']}\n{body['spec'].get('query') or ''}".rstrip()
    return _pretty({k: v for k, v in body.items() if k != "closure"})[:SHOWN]


def _pretty(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value, order="sorted"), indent=2).decode()
