"""Something to be done when a library is imported, by whoever wants it: so that nobody loads what the application never uses."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

_lock = threading.Lock()
_waiting: dict[str, list[Callable[[], object]]] = {}


def when_imported(name: str, then: Callable[[], object]) -> None:
    """Call `then` when the module of this name has been imported; at once where it is. What it raises, whoever imports it gets."""
    with _lock:
        if not _is_there(name):
            _waiting.setdefault(name, []).append(then)
            if _FINDER not in sys.meta_path:
                sys.meta_path.insert(0, _FINDER)
            return
    then()


def _is_there(name: str) -> bool:
    """Imported, to its end: one that another thread is at is told by the finder."""
    module = sys.modules.get(name)
    spec = getattr(module, "__spec__", None)
    return module is not None and not getattr(spec, "_initializing", False)


class _Finder:  # no `MetaPathFinder`, which takes longer to import than all of this
    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """What the finders after this one find, with a loader that tells when it is done."""
        if fullname not in _waiting:
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            if (spec := finder.find_spec(fullname, path, target)) is not None:
                _tell(fullname, spec.loader)
                return spec
        return None


def _tell(name: str, loader: Any) -> None:
    if loader is None or isinstance(loader, type):  # a folder without code, or a part of Python itself
        return
    real = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        real(module)
        with _lock:
            waiting = _waiting.pop(name, [])
        for then in waiting:
            then()

    loader.exec_module = exec_module


_FINDER = _Finder()
