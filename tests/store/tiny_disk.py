"""A disk of one megabyte: a script runs in a mount namespace of its own with a small tmpfs at the path it is given."""

import subprocess
import sys
from pathlib import Path

import pytest


def run_on_tiny_disk(folder: Path, script: str) -> str:
    """What the script printed. Skips the test where a user may not mount."""
    if subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True).returncode:
        pytest.skip("this system lets no user mount a tmpfs")
    command = 'mount -t tmpfs -o size=1m tmpfs "$1" && exec "$2" -c "$3" "$1"'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", command, "sh", str(folder), sys.executable, script], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
