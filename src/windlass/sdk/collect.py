"""Collecting a workspace: `python -m windlass.sdk.collect FOLDER OUT`, a child process that imports the user's modules.

It writes `OUT/bundle.json`, `OUT/blobs/<hex>`, `OUT/rows/<hex>.tree` and `.lines`, and `OUT/warnings.json`, or `OUT/error.json` in
the one error shape. What the user's code prints goes to standard error. `collect` runs the child and reads what it wrote.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from windlass.core.dataset import Rows
from windlass.core.digest import TAG, canonical, digest_bytes
from windlass.core.errors import Invalid, WindlassError, error_from_dict
from windlass.core.operations.registry import Bundle
from windlass.sdk.build import Builder
from windlass.sdk.definitions import DEFINED
from windlass.sdk.workspace import Folder

PASSED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "VIRTUAL_ENV", "SYSTEMROOT", "PYTHONPATH")
SECONDS = 600


class Collected(msgspec.Struct):
    """A workspace as versions. `blobs` maps digests to files that hold their bytes, `rows` is the folder of what its datasets hold;
    both are alive as long as the context."""

    bundle: Bundle
    blobs: dict[str, Path]
    rows: Path
    warnings: list[str]


@contextlib.contextmanager
def collect(folder: Path, *, branch: str | None = None) -> Iterator[Collected]:
    """The versions of a workspace, made in a child process with a scrubbed environment. Raises what is wrong with the workspace."""
    with tempfile.TemporaryDirectory(prefix="windlass-") as out:
        environment = {k: v for k, v in os.environ.items() if k in PASSED} | {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        servers = Folder(folder).manifest.mcp.values()  # what they are asked with is theirs, and is not kept
        wanted = {f"WINDLASS_SECRET_{name}" for s in servers for name in (*s.secrets, s.bearer)}
        environment |= {name: os.environ[name] for name in wanted if name in os.environ}
        command = [sys.executable, "-m", "windlass.sdk.collect", str(folder), out]
        try:
            done = subprocess.run(command, env=environment, cwd=folder, stdout=sys.stderr.fileno(), timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise Invalid(f"importing the workspace took more than {SECONDS} s", where=str(folder)) from None
        error = Path(out) / "error.json"
        if error.exists():
            raise error_from_dict(msgspec.json.decode(error.read_bytes()))
        if done.returncode:
            raise Invalid(
                f"importing the workspace ended the process (exit {done.returncode})", where=str(folder), remedy="see what it printed above"
            )
        bundle = msgspec.json.decode((Path(out) / "bundle.json").read_bytes(), type=Bundle)
        if branch:
            bundle.branch = branch
        blobs = {TAG + p.name: p for p in (Path(out) / "blobs").iterdir()}
        yield Collected(bundle, blobs, Path(out) / "rows", msgspec.json.decode((Path(out) / "warnings.json").read_bytes()))


def main(root: Path, out: Path) -> None:
    """The child: import, build, write."""
    os.dup2(2, 1)
    (out / "blobs").mkdir()
    (out / "rows").mkdir()
    try:
        folder = Folder(root)
        _import(folder)
        builder = Builder(folder, list(DEFINED), lambda data: _blob(out, data), lambda rows: _rows(out, rows))
        versions = builder.build()
        files = {path: _blob(out, full.read_bytes()) for path, full in folder.files(builder.read)}
        snapshot = _blob(out, canonical(files))
        manifest = folder.manifest
        bundle = Bundle(manifest.project, manifest.name, versions, snapshot, manifest.branch, folder.source())
        (out / "warnings.json").write_bytes(msgspec.json.encode(builder.warnings))
        (out / "bundle.json").write_bytes(msgspec.json.encode(bundle))
    except WindlassError as e:
        if e.where and e.where.startswith(f"{root}/"):
            e.where = _relative(folder, e.where)
        (out / "error.json").write_bytes(msgspec.json.encode(e.as_dict()))
    except Exception as e:
        defect = WindlassError(
            f"a defect in Windlass: {type(e).__name__}: {e}", where=_line(Folder(root), e), remedy="please report it",
            traceback=traceback.format_exc(),
        )  # fmt: skip
        (out / "error.json").write_bytes(msgspec.json.encode(defect.as_dict()))


def _blob(out: Path, data: bytes) -> str:
    digest = digest_bytes(data)
    path = out / "blobs" / digest.removeprefix(TAG)
    if not path.exists():
        path.write_bytes(data)
    return digest


def _rows(out: Path, rows: Rows) -> None:
    path = out / "rows" / rows.tree.root.removeprefix(TAG)
    path.with_suffix(".tree").write_bytes(rows.tree.encode())
    path.with_suffix(".lines").write_bytes(b"".join(line + b"\n" for line in rows.lines.values()))


def _import(folder: Folder) -> None:
    sys.path.insert(0, str(folder.root))
    for app in folder.manifest.apps:
        module = app.removesuffix(".py").replace("/", ".")
        try:
            importlib.import_module(module)
        except WindlassError as e:
            e.where = e.where or _line(folder, e)
            raise
        except ModuleNotFoundError as e:
            raise Invalid(
                f"it imports {e.name!r}, which is not installed", where=_line(folder, e), remedy=f"pip install what provides {e.name!r}"
            ) from e
        except SyntaxError as e:
            raise Invalid(f"not Python: {e.msg}", where=f"{_relative(folder, e.filename or app)}:{e.lineno or 1}") from e
        except (Exception, SystemExit) as e:
            said = f"{type(e).__name__}: {e}" if str(e) else type(e).__name__
            raise Invalid(f"importing it raised {said}", where=_line(folder, e)) from e


def _line(folder: Folder, error: BaseException) -> str | None:
    """The innermost line of the workspace in a traceback."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(str(folder.root))]
    return f"{_relative(folder, frames[-1].filename)}:{frames[-1].lineno}" if frames else None


def _relative(folder: Folder, path: Any) -> str:
    return str(path).removeprefix(f"{folder.root}/")


if __name__ == "__main__":
    # the module the user's objects register with must be the one `build` reads, so nothing here is defined twice
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]))
