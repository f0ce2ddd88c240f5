from __future__ import annotations

from pathlib import Path


def bqemulator() -> Path | None:
    return None


class BigQueryServer:
    def __init__(self, program: Path, environ: dict[str, str]) -> None: ...
    def close(self) -> None: ...
