"""Folders: what is a row, what is not, and that nothing outside of the folder is ever read."""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.registry.sources.conftest import Reader

from windlass.core.errors import Forbidden, Invalid, Unavailable
from windlass.registry.sources.folder import COLUMNS, MOST_TEXT
from windlass.registry.sources.source import Gone


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / "a.md").write_text("# é\n", "utf-8")
    (folder / "empty").touch()
    (folder / "sub" / "b.bin").write_bytes(b"\xff\x00\x01")
    (folder / "sub" / "deep" / "c d.txt").write_text("c")
    return folder


def test_every_file_is_a_row(reader: Reader, root: Path) -> None:
    rows, incoming = reader.read(reader.spec(str(root)))
    assert {r["key"]: r.get("text") for r in rows} == {"a.md": "# é\n", "empty": "", "sub/b.bin": None, "sub/deep/c d.txt": "c"}
    assert rows[0] == {"key": "a.md", "sha256": hashlib.sha256("# é\n".encode()).hexdigest(), "bytes": 5, "text": "# é\n"}
    assert "text" not in next(r for r in rows if r["key"] == "sub/b.bin")
    assert incoming.problems == [] and incoming.columns == COLUMNS and incoming.principal == f"uid {os.getuid()}"


@pytest.mark.parametrize("write", [str, Path.as_uri, lambda p: f"file://localhost{p}", lambda p: f"{p}/sub/..//"])
def test_every_way_to_write_the_path(reader: Reader, root: Path, write: object) -> None:
    spec = reader.spec(write(root))  # type: ignore[operator]
    assert spec.endpoint == root.as_uri() and len(reader.read(spec)[0]) == 4


def test_a_path_with_signs_in_it(reader: Reader, tmp_path: Path) -> None:
    folder = tmp_path / "100% #1 ä?"
    folder.mkdir()
    (folder / "x").write_text("x")
    assert [r["key"] for r in reader.rows(str(folder))] == ["x"]
    assert [r["key"] for r in reader.rows(folder.as_uri())] == ["x"]


def test_a_large_file_is_a_row_by_its_digest(reader: Reader, root: Path) -> None:
    body = b"x" * (MOST_TEXT + 1) + b"y" * 2**20
    (root / "a.md").write_bytes(body)
    row = next(r for r in reader.rows(str(root)) if r["key"] == "a.md")
    assert row == {"key": "a.md", "sha256": hashlib.sha256(body).hexdigest(), "bytes": len(body)}


def test_links_are_named_and_not_followed(reader: Reader, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("s3cret")
    (root / "file").symlink_to(outside / "secret")
    (root / "sub" / "folder").symlink_to(outside)
    (root / "inside").symlink_to("a.md")
    (root / "broken").symlink_to("nowhere")
    (root / "loop").symlink_to("loop")
    rows, incoming = reader.read(reader.spec(str(root)))
    assert sorted(r["key"] for r in rows) == ["a.md", "empty", "sub/b.bin", "sub/deep/c d.txt"]
    named = ["broken", "file", "inside", "loop", "sub/folder"]
    assert incoming.problems == [f"{name} is a link, which is not followed" for name in named]


def test_a_folder_that_becomes_a_link_while_it_is_read_is_not_followed(reader: Reader, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    (outside / "secret").write_text("s3cret")
    with reader.sources.read(reader.spec(str(root))) as incoming:
        rows = [next(incoming.rows)]  # `sub` has been seen, and waits
        shutil.rmtree(root / "sub")
        (root / "sub").symlink_to(outside)
        rows += incoming.rows
    assert [r["key"] for r in rows] == ["a.md", "empty"]
    assert len(incoming.problems) == 1 and incoming.problems[0].startswith("sub cannot be read: ")


def test_a_folder_that_has_become_a_link_counts_as_where_it_leads(reader: Reader, root: Path, tmp_path: Path) -> None:
    allowed = Reader(tmp_path / "home", folders=f"{tmp_path / 'docs'}, {tmp_path / 'more'}")
    spec = allowed.spec(str(root))
    root.rename(tmp_path / "elsewhere")
    root.symlink_to(tmp_path / "elsewhere")
    unrestricted = Reader(tmp_path / "home")
    assert len(unrestricted.read(spec)[0]) == 4
    root.unlink()
    root.symlink_to(tmp_path / "home")
    for one in (allowed, unrestricted):
        with pytest.raises(Forbidden, match="data folder"):
            one.read(spec)
    root.unlink()
    (tmp_path / "elsewhere" / "in").mkdir()
    root.symlink_to(tmp_path / "elsewhere" / "in")
    root_of_links = Reader(tmp_path / "home", folders=str(tmp_path / "more"))
    with pytest.raises(Forbidden, match="pin_folders"):
        root_of_links.read(spec)


def test_pipes_and_sockets_are_named_and_do_not_hold_us_up(reader: Reader, root: Path) -> None:
    os.mkfifo(root / "pipe")
    rows, incoming = reader.read(reader.spec(str(root)))
    assert len(rows) == 4 and incoming.problems == ["pipe is no file"]


@contextmanager
def nobody() -> Iterator[None]:
    """Root may read everything: be somebody else for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(pwd.getpwnam("nobody").pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)


def test_what_may_not_be_read_is_named(root: Path) -> None:
    place = Path(tempfile.mkdtemp())  # pytest's own folders are closed to others
    try:
        place.chmod(0o755)
        shutil.copytree(root, place / "docs")
        reader = Reader(place / "home")
        spec = reader.spec(str(place / "docs"))
        (place / "docs" / "a.md").chmod(0)
        (place / "docs" / "sub").chmod(0)
        with nobody():
            rows, incoming = reader.read(spec)
        assert [r["key"] for r in rows] == ["empty"]
        assert incoming.problems == ["a.md cannot be read: Permission denied", "sub cannot be read: Permission denied"]
        (place / "docs").chmod(0)
        with nobody(), pytest.raises(Unavailable, match="may not read this folder"):
            reader.read(spec)
        (place / "docs").chmod(0o755)
        place.chmod(0)
        with nobody(), pytest.raises(Unavailable, match="may not read this folder"):
            reader.read(spec)
    finally:
        place.chmod(0o755)
        for path in (place / "docs", place / "docs" / "sub"):
            path.chmod(0o755)
        shutil.rmtree(place)


def test_names_that_are_not_utf8_are_named(reader: Reader, root: Path) -> None:
    raw = os.fsencode(root)
    (root / "é").write_text("fine")
    open(raw + b"/\xff", "w").close()
    os.mkdir(raw + b"/sub/\xfe")
    open(raw + b"/sub/\xfe/x", "w").close()
    os.symlink(b"x", raw + b"/sub/\xfe/link")
    rows, incoming = reader.read(reader.spec(str(root)))
    assert sorted(r["key"] for r in rows) == ["a.md", "empty", "sub/b.bin", "sub/deep/c d.txt", "é"]
    assert sorted(incoming.problems) == [
        r"b'\xff' has a name that is not UTF-8",
        r"b'sub/\xfe/link' is a link, which is not followed",
        r"b'sub/\xfe/x' has a name that is not UTF-8",
    ]
    assert all(p.encode() for p in incoming.problems)  # they are shown as text


def test_the_data_folder_is_never_read(reader: Reader, tmp_path: Path) -> None:
    (reader.home / "spans").mkdir()
    (tmp_path / "way").symlink_to(reader.home)
    for path in (reader.home, reader.home / "spans", tmp_path, Path("/"), tmp_path / "way", tmp_path / "way" / "spans"):
        with pytest.raises(Forbidden, match="data folder"):
            reader.rows(str(path))


def test_only_the_folders_that_are_allowed(root: Path, tmp_path: Path) -> None:
    reader = Reader(tmp_path / "home", folders=f" {root}/sub ,/no/such")
    assert sorted(r["key"] for r in reader.rows(str(root / "sub"))) == ["b.bin", "deep/c d.txt"]
    assert [r["key"] for r in reader.rows(str(root / "sub" / "deep"))] == ["c d.txt"]
    (tmp_path / "docs" / "sub2").mkdir()
    for path in (root, root / "sub2", root / "sub" / ".." / "sub2"):
        with pytest.raises(Forbidden, match="pin_folders"):
            reader.rows(str(path))


def test_what_is_not_there(reader: Reader, root: Path) -> None:
    spec = reader.spec(str(root))
    (root / "circle").symlink_to("circle")
    for path in (root / "nowhere", root / "circle"):
        with pytest.raises((Gone, Invalid)):
            reader.rows(str(path))
    with pytest.raises(Invalid, match="a file, not a folder"):
        reader.rows(str(root / "a.md"))
    shutil.rmtree(root)
    with pytest.raises(Gone, match="no such folder"):
        reader.read(spec)
    root.symlink_to(root)
    with pytest.raises(Gone, match="no such folder"):
        reader.read(spec)


@pytest.mark.parametrize(
    "source", ["./docs", "file://elsewhere/docs", "~no-such-user/docs", "/a\0b", "file:///a%ff", "file:///a#b", "file:///a?b"]
)
def test_paths_that_are_none(reader: Reader, source: str) -> None:
    with pytest.raises(Invalid):
        reader.spec(source)


def test_a_folder_answers_no_query_and_its_key_is_the_path(reader: Reader, root: Path) -> None:
    with pytest.raises(Invalid, match="answers no query"):
        reader.spec(str(root), "SELECT 1")
    with pytest.raises(Invalid, match="the key of a file is its path"):
        reader.spec(str(root), key=("sha256",))
