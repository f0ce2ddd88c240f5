"""`make bench`: every benchmark, one JSON line or table each. Figures depend on the machine; ratios less so."""

from __future__ import annotations

import subprocess
import sys

BENCHES = (
    ("bench.gateway",),
    ("bench.gateway", "--stream"),
    ("bench.gateway", "--masking"),
    ("bench.paced",),
    ("bench.streams",),
    ("bench.ingest",),
    ("bench.tracing",),
    ("bench.kill_ingest",),
    ("bench.datasets",),
    ("bench.retrieval",),
    ("bench.vectors",),
    ("bench.skew",),
    ("bench.tuning",),
    ("bench.agentops",),
    ("bench.mcp",),
    ("bench.growing",),
    ("bench.erasing",),
    ("bench.scale",),
)


def main() -> None:
    failed = [" ".join(bench) for bench in BENCHES if subprocess.run([sys.executable, "-m", *bench], check=False).returncode]
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
