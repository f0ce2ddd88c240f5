"""Snapshots on disk: whole, read-only, healed; a manifest cannot leave its folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.runtime.runners import MemoryBlobs

from windlass.core.digest import canonical, digest_bytes
from windlass.core.errors import Invalid, Unavailable
from windlass.runtime.snapshots import Snapshots


def laid_out(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}


def test_damage_is_put_right(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    files = {"app.py": "x = 1", "prompts/reply.md": "hello", "a/b/c.txt": "deep"}
    digest = blobs.snapshot(files)
    folder = Snapshots(tmp_path, blobs).ensure(digest)
    assert laid_out(folder) == files
    assert not (folder / "app.py").stat().st_mode & 0o222

    (folder / "app.py").unlink()
    (folder / "app.py").mkdir()
    (folder / "prompts/reply.md").chmod(0o644)
    (folder / "prompts/reply.md").write_text("changed")
    (folder / "stranger.py").write_text("import os")
    (folder / "a/b/c.txt").unlink()
    (folder / "a/b/c.txt").symlink_to("/etc/passwd")
    (folder / "strange").mkdir()
    assert laid_out(Snapshots(tmp_path, blobs).ensure(digest)) == files
    assert not (folder / "strange").exists()
    assert not (folder / "a/b/c.txt").is_symlink()


@pytest.mark.parametrize("path", ["/etc/x", "../x", "a/../../x", "a//b", ".", "", "a\\b", "a\0b", "./a"])
def test_a_manifest_cannot_leave_its_folder(tmp_path: Path, path: str) -> None:
    blobs = MemoryBlobs()
    with pytest.raises(Invalid, match="outside its folder"):
        Snapshots(tmp_path, blobs).ensure(blobs.put(canonical({path: blobs.put(b"x")})))


def test_what_is_wrong_in_the_store_is_told(tmp_path: Path) -> None:
    blobs = MemoryBlobs()
    with pytest.raises(Invalid, match="malformed"):
        Snapshots(tmp_path, blobs).ensure(blobs.put(b"[]"))
    with pytest.raises(Invalid, match="not the digest"):
        Snapshots(tmp_path, blobs).ensure("../../etc")
    digest = blobs.snapshot({"app.py": "x"})
    blobs.blobs[digest_bytes(b"x")] = b"rotten"
    with pytest.raises(Unavailable, match="damaged in the blob store"):
        Snapshots(tmp_path, blobs).ensure(digest)
