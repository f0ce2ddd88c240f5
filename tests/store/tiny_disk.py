"""A disk of one megabyte, or some: a script runs in a mount namespace of its own with a small tmpfs at the path it is given."""

import subprocess
import sys
from pathlib import Path

import pytest


def run_on_tiny_disk(folder: Path, script: str, megabytes: int = 1) -> str:
    """What the script printed. Skips the test where a user may not mount."""
    mounted = ["unshare", "-rm", "mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if subprocess.run(mounted, capture_output=True).returncode:
        pytest.skip("this system lets no user mount a tmpfs")
    command = f'mount -t tmpfs -o size={megabytes}m tmpfs "$1" && exec "$2" -c "$3" "$1"'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", command, "sh", str(folder), sys.executable, script], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
