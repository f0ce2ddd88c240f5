"""The documentation of the standard library of the interpreter that runs this: one document for each public symbol."""

import contextlib
import importlib
import inspect
import io
import pkgutil
import sys
import warnings
from collections.abc import Iterator
from types import ModuleType

# Importing these opens a window, a browser or a joke, or they are no public documentation.
LEFT_OUT = {"antigravity", "this", "idlelib", "lib2to3", "turtledemo", "test", "tkinter", "turtle", "ensurepip", "distutils", "pydoc_data"}
LEFT_OUT |= {"ntpath", "nturl2path", "genericpath", "posix", "nt", "encodings"}  # seen as os and os.path; one codec is like the next
PUBLIC = {"posixpath": "os.path"}
HOMES = {
    "posixpath": {"genericpath", "posix"},
    "os": {"posix", "nt"},
    "threading": {"thread"},
    "collections.abc": {"collections_abc"},
    "re": {"sre"},
    "importlib": {"frozen_importlib", "frozen_importlib_external"},
}


def modules() -> Iterator[ModuleType]:
    """Every public module of the standard library that imports here, packages before what is in them."""
    names = [n for n in sorted(sys.stdlib_module_names - LEFT_OUT) if not n.startswith("_")]
    while names:
        name = names.pop(0)
        module = _import(name)
        if module is None:
            continue
        yield module
        inside = sorted(i.name for i in pkgutil.iter_modules(getattr(module, "__path__", [])))
        names[:0] = [f"{name}.{i}" for i in inside if not i.startswith("_") and i not in ("tests", "test")]


def _import(name: str) -> ModuleType | None:
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    except (Exception, SystemExit):  # a module of another platform
        return None


def documented(owner: object, prefix: str) -> Iterator[tuple[str, str, object]]:
    """Public names of a module or class with a documentation of their own: qualified name, text, object. An object with two
    names comes by its own name first."""
    found = []
    for name in sorted({*vars(owner), *getattr(owner, "__all__", ())}):
        value = vars(owner).get(name, None) or getattr(owner, name, None)
        target = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
        if name.startswith("_") or inspect.ismodule(target) or not (callable(target) or isinstance(target, property)):
            continue
        text = inspect.getdoc(target)
        if text and len(text) >= 20:
            found.append((getattr(target, "__name__", name) != name, name, text, target))
    for _, name, text, target in sorted(found, key=lambda f: f[:2]):
        yield f"{prefix}.{name}" if prefix else name, text, target


def belongs(value: object, module: ModuleType) -> bool:
    """Whether people know the object by this module's name: it was defined in it, in a part of it, or in its C twin."""
    home = (getattr(value, "__module__", None) or module.__name__).lstrip("_")
    return home in HOMES.get(module.__name__, ()) or home.split(".")[0] == module.__name__.split(".")[0]


def documents() -> Iterator[dict[str, str]]:
    """One row for each module, class, function and method: `{key, symbol, text}`; `key` is the symbol. What a package shows
    under a shorter name (asyncio.wait_for, not asyncio.tasks.wait_for) is listed once, by that name."""
    seen: set[int] = set()
    for module in modules():
        prefix = "" if module.__name__ == "builtins" else PUBLIC.get(module.__name__, module.__name__)
        text = inspect.getdoc(module)
        if text and len(text) >= 20 and prefix:
            yield row(prefix, text)
        for symbol, doc, value in documented(module, prefix):
            if id(value) in seen or not belongs(value, module):
                continue
            seen.add(id(value))
            yield row(symbol, doc)
            if inspect.isclass(value):
                yield from (row(member, member_doc) for member, member_doc, _ in documented(value, symbol))


def row(symbol: str, text: str) -> dict[str, str]:
    return {"key": symbol, "symbol": symbol, "text": text}
