"""A folder with a model, as model hubs lay one out: which of its files are taken, and how they are written out again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from windlass.core.digest import TAG
from windlass.core.errors import Invalid, Unavailable
from windlass.core.weights import PICKLES, SUFFIXES

PIECE = 2**20


def read_folder(folder: Path) -> dict[str, str]:
    """Path → digest of each file a model needs. Raises `Invalid` for what is no folder, and for weights that are pickles only."""
    if not folder.is_dir():
        raise Invalid("this is not a folder", where=str(folder))
    paths = [p for p in sorted(folder.rglob("*")) if p.is_file() and not any(part.startswith(".") for part in p.relative_to(folder).parts)]
    names = [p.relative_to(folder).as_posix() for p in paths]
    if not any(n.endswith(".safetensors") for n in names):
        pickle = next((n for n in names if n.endswith(PICKLES)), None)
        if pickle:
            raise Invalid(
                f"{pickle} is a pickle, and reading one can run anything", where=str(folder), remedy="save the model with safetensors"
            )
        raise Invalid("there is no safetensors file here", where=str(folder), remedy="save the model with safetensors")
    return {name: _digest(path) for name, path in zip(names, paths, strict=True) if name.endswith(SUFFIXES)}


def write_folder(folder: Path, files: Mapping[str, Iterator[bytes]], digests: Mapping[str, str]) -> None:
    """Write files, each whole and as its digest says. Raises `Invalid` for a folder with something in it, `Unavailable`."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Invalid("this folder is not empty", where=str(folder), remedy="name another")
    for name, pieces in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        partial, hashed = path.with_name(f".{path.name}.{os.getpid()}"), hashlib.sha256()
        with partial.open("wb") as file:
            for piece in pieces:
                hashed.update(piece)
                file.write(piece)
        if TAG + hashed.hexdigest() != digests[name]:
            partial.unlink()
            raise Unavailable(f"{name} did not come as its digest says", where=str(folder), remedy="try again")
        partial.replace(path)


def _digest(path: Path) -> str:
    hashed = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            hashed.update(piece)
    return TAG + hashed.hexdigest()
