"""What the system offers to keep a runner from the rest of the machine: Landlock on Linux, nothing elsewhere.

Where there is Landlock, a runner reads only Python, the system's folders, its snapshot and what a setting names, writes
only its scratch folder, and cannot signal or inspect other processes (their environments included). The network stays open.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446  # system calls, the same on every architecture
VERSION_FLAG, RULE_PATH_BENEATH, PR_SET_NO_NEW_PRIVS = 1, 1, 38
READ = 1 << 0 | 1 << 2 | 1 << 3  # execute, read a file, list a folder
ON_FILES = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15  # the rights a rule on a single file may name
SCOPES = 1 << 0 | 1 << 1  # abstract sockets and signals stay inside (ABI 6)
OVER_FILES = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
SYSTEM = ("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/etc", "/opt", "/dev", "/proc", "/sys", "/nix", "/run/systemd/resolve")


@cache
def abi() -> int:
    """The version of Landlock here; 0 where there is none."""
    if sys.platform != "linux":
        return 0
    version = _syscall(CREATE_RULESET, None, 0, VERSION_FLAG)
    return max(version, 0)


def isolation() -> str:
    """What a runner is kept from, in words for people."""
    if abi() == 0:
        return "faults only: this system has no Landlock, so code in a run can read what the server's user can read"
    signals = " and signals" if abi() >= 6 else ""
    return f"faults, and by Landlock (ABI {abi()}) other files, processes{signals}; the network is open"


def restrict(writable: Iterable[str], readable: Iterable[str]) -> bool:
    """Restrict this thread and all it starts from now on, for ever. False where the system has no Landlock.

    Raises `OSError` when Landlock is there and refuses: a sandbox that was promised must not be missing silently.
    """
    version = abi()
    if version == 0:
        return False
    everything = _rights(version)
    attributes = struct.pack("QQQ", everything, 0, SCOPES if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = _checked(_syscall(CREATE_RULESET, attributes, size, 0))
    try:
        for path in {*SYSTEM, *readable, *_python()}:
            _allow(ruleset, path, READ & everything)
        for path in {*writable, "/dev/null", "/dev/shm"}:  # noqa: S108 - semaphores of multiprocessing
            _allow(ruleset, path, everything)
        _checked(_libc().prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        _drop_capabilities()
        _checked(_syscall(RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)
    return True


def _rights(version: int) -> int:
    """All file rights this version knows: 13 at first, then refer (2), truncate (3), device control (5)."""
    return (1 << 13) - 1 | (version >= 2) << 13 | (version >= 3) << 14 | (version >= 5) << 15


def _python() -> set[str]:
    """Where this interpreter and its packages lie."""
    return {sys.prefix, sys.base_prefix, sys.exec_prefix, *(p for p in sys.path if p), str(Path(__file__).parents[2])}


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # nothing there to allow
    try:
        allowed = rights if Path(path).is_dir() else rights & ON_FILES
        _checked(_syscall(ADD_RULE, ruleset, RULE_PATH_BENEATH, struct.pack("=Qi", allowed, fd), 0))
    finally:
        os.close(fd)


def _drop_capabilities() -> None:
    """As root in a container, capabilities would open what Landlock closes (CAP_PERFMON reads any environment). Those
    over file permissions stay: Landlock holds against them, and a data folder may belong to another user."""
    header = struct.pack("=Ii", 0x20080522, 0)  # version 3, this thread
    held = ctypes.create_string_buffer(24)  # twice: effective, permitted, inheritable
    _checked(_libc().capget(header, held))
    effective, permitted, *_ = struct.unpack("=6I", held.raw)
    _checked(_libc().capset(header, struct.pack("=6I", effective & OVER_FILES, permitted & OVER_FILES, 0, 0, 0, 0)))


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _syscall(*arguments: int | bytes | None) -> int:
    return int(_libc().syscall(*(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments)))


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"Landlock: {os.strerror(code)}")
    return result
