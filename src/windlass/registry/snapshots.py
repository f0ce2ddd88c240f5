"""Snapshots: a workspace's files as one blob, canonical JSON `{path: digest}`. Knows of versions what their code says of files."""

from __future__ import annotations

from pathlib import PurePosixPath

import msgspec

from windlass.core.artifacts import Code, Version
from windlass.core.digest import canonical, is_digest, short
from windlass.core.errors import Invalid, WindlassError
from windlass.sdk.code import disagreeing
from windlass.store.blobs import BlobStore


def read_snapshot(data: bytes) -> dict[str, str]:
    """Path → digest of each file. Raises `Invalid` for bytes that are no snapshot, or a path that leads out of the workspace."""
    try:
        files = msgspec.json.decode(data, type=dict[str, str])
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise Invalid(f"not a snapshot: {e}", where="the snapshot") from e
    if canonical(files) != data:
        raise Invalid("it is not canonical JSON", where="the snapshot")
    for path, digest in files.items():
        parts = PurePosixPath(path).parts
        if not parts or path != "/".join(parts) or parts[0] == "/" or ".." in parts or "\\" in path or "\0" in path:
            raise Invalid(f"{path!r} is not a path in the workspace", where="the snapshot")
        if not is_digest(digest):
            raise Invalid(f"{digest!r} is not a whole digest", where=path)
    return files


def read_files(version: Version, files: dict[str, str]) -> list[str]:
    """What a version's code reads and the snapshot does not have as it says, one sentence each."""
    code = version.body.get("code") or {}
    wanted = {str(PurePosixPath(path)): digest for path, digest in code.get("files", {}).items()}  # code may say ./data.csv
    return [
        f"its code reads {path} as {short(digest, 12)}, and the snapshot has {short(files[path], 12) if path in files else 'no such file'}"
        for path, digest in sorted(wanted.items())
        if files.get(path) != digest
    ]


def read_code(version: Version, files: dict[str, str], blobs: BlobStore) -> list[str]:
    """Symbols of a version's code that the snapshot's source does not give, one sentence each. Parses, and runs nothing."""
    if "code" not in version.body or not version.body["code"].get("symbols"):
        return []

    def source(module: str) -> bytes | None:
        stem = module.replace(".", "/")
        digest = files.get(f"{stem}.py") or files.get(f"{stem}/__init__.py")
        try:
            return blobs.get(digest) if digest else None
        except WindlassError:
            return None

    return disagreeing(msgspec.convert(version.body["code"], Code), source)
