"""Identity of code: the closure of symbols an entry point reaches, by reading the source and never running it.

From the entry's top-level symbol follow every name it mentions to the top-level definition that gives it, in this module or
another of the workspace: functions, classes, constants, defaults, decorators, bases. Where Python is too dynamic to tell
(`globals()`, `getattr` on a module, star imports, `exec`, code that runs at import), the whole module counts. Imports from
outside the workspace are not followed: the distribution and all it requires count by installed version; the standard library
counts by Python's minor. Files that reached code names by literal path count by their bytes.
Too wide is safe (a test runs again for nothing); too narrow is not.
"""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from windlass.core.artifacts import Code
from windlass.core.digest import digest_bytes
from windlass.core.errors import Invalid
from windlass.sdk.normal import VERSION, normal_digest

_DYNAMIC = {"globals", "locals", "vars", "exec", "eval", "compile", "__import__", "import_module", "setattr", "delattr"}


class Module:
    """One module of the workspace, read once: its top-level definitions by name, its imports, what runs at import."""

    def __init__(self, name: str, path: Path, source: bytes | None = None) -> None:
        self.name = name
        self.path = path
        try:
            self.tree = ast.parse(path.read_bytes() if source is None else source, str(path))
        except (SyntaxError, ValueError) as e:
            raise Invalid(f"not Python: {getattr(e, 'msg', e)}", where=f"{path}:{getattr(e, 'lineno', 1) or 1}") from e
        self.definitions: dict[str, list[ast.stmt]] = {}
        self.imports: dict[str, tuple[str, str | None]] = {}  # local name → (module, attribute)
        self.effects: list[ast.stmt] = []
        self.star = False
        for statement in self.tree.body:
            self._read(statement)

    @property
    def dynamic(self) -> bool:
        """Whether names of this module cannot be told by reading: the whole of it counts."""
        return self.star or any(_is_dynamic(n) for n in ast.walk(self.tree))

    def _read(self, statement: ast.stmt) -> None:
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                self.imports[alias.asname or alias.name.split(".")[0]] = (alias.name if alias.asname else alias.name.split(".")[0], None)
                if not alias.asname and "." in alias.name:
                    self.imports[alias.name] = (alias.name, None)
        elif isinstance(statement, ast.ImportFrom):
            base = _absolute(self.name, self.path, statement)
            for alias in statement.names:
                self.star = self.star or alias.name == "*"
                self.imports[alias.asname or alias.name] = (base, alias.name)
        elif isinstance(statement, (ast.If, ast.Try, ast.With)):
            self._block(statement)
        else:
            names = _defined(statement)
            for name in names:
                self.definitions.setdefault(name, []).append(statement)
            if not names and not isinstance(statement, ast.Pass) and not _is_docstring(statement) and not self._authors(statement):
                self.effects.append(statement)

    def _authors(self, statement: ast.stmt) -> bool:
        """A bare call of Windlass, such as `w.suite(...)`: it makes an artifact and changes nothing here."""
        return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call) and self._makes(statement.value)

    def _makes(self, call: ast.Call) -> bool:
        root: ast.expr = call.func
        while isinstance(root, ast.Attribute):
            root = root.value
        return isinstance(root, ast.Name) and self.imports.get(root.id, ("",))[0].split(".")[0] == "windlass"

    def given(self, tree: ast.AST) -> set[ast.expr]:
        """What calls of Windlass are given: `w.data("rows.jsonl")` names an artifact's file, which has an identity of its own."""
        calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and self._makes(n)]
        return {value for c in calls for value in (*c.args, *(k.value for k in c.keywords))}

    def _block(self, statement: ast.stmt) -> None:
        """A conditional or guarded block: every name it defines stands for the whole block."""
        found = False
        for inner in ast.walk(statement):
            if isinstance(inner, (ast.Import, ast.ImportFrom)):
                self._read(inner)
            elif isinstance(inner, ast.stmt) and inner is not statement:
                for name in _defined(inner):
                    found = True
                    self.definitions.setdefault(name, []).append(statement)
        if not found:
            self.effects.append(statement)


class Workspace:
    """The modules of a folder, found by name."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._modules: dict[str, Module | None] = {}

    def module(self, name: str) -> Module | None:
        """A module of this folder; None for one from elsewhere."""
        if name not in self._modules:
            relative = Path(*name.split("."))
            found = next((p for p in (self.root / relative.with_suffix(".py"), self.root / relative / "__init__.py") if p.is_file()), None)
            self._modules[name] = Module(name, found) if found else None
        return self._modules[name]


class Closure:
    """Collects what an entry reaches. `stop` says of a top-level name that it is an authored object, whose identity is an
    artifact of its own: it is reached (`objects`) and not followed."""

    def __init__(self, workspace: Workspace, stop: Callable[[str, str], bool]) -> None:
        self._workspace = workspace
        self._stop = stop
        self.symbols: dict[str, str] = {}
        self.modules: dict[str, str] = {}
        self.files: dict[str, str] = {}
        self.outside: set[str] = set()
        self.objects: set[tuple[str, str]] = set()

    def enter(self, module: Module, name: str, *, docstring: bool = False, annotations: bool = False) -> None:
        """Start from a top-level name. Raises `Invalid` when the module has none."""
        if name not in module.definitions:
            raise Invalid(f"{module.name} has no {name!r} at its top level", where=str(module.path))
        self._take(module, name, docstring=docstring, annotations=annotations)

    def _take(self, module: Module, name: str, *, docstring: bool = False, annotations: bool | None = None) -> None:
        key = f"{module.name}:{name}"
        if key in self.symbols:
            return
        if module.dynamic:
            self._whole(module)
        self.symbols[key] = symbol_digest(module, name, docstring=docstring, annotations=bool(annotations))
        for s in dict.fromkeys(module.definitions[name]):
            self._follow(module, s)
        if module.effects:
            self._whole(module)

    def _whole(self, module: Module) -> None:
        """Count the whole module, and follow everything in it."""
        if module.name in self.modules:
            return
        self.modules[module.name] = normal_digest(module.tree)
        for statement in module.tree.body:
            self._follow(module, statement)
        if module.star:
            for base, attribute in module.imports.values():
                if attribute == "*":
                    inner = self._workspace.module(base)
                    self._whole(inner) if inner else self.outside.add(base.split(".")[0])

    def _follow(self, module: Module, statement: ast.AST) -> None:
        given = module.given(statement)
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                self._name(module, node.id)
            elif isinstance(node, ast.Attribute):
                self._dotted(module, node)
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                inner = Module.__new__(Module)
                inner.name, inner.path, inner.definitions, inner.imports = module.name, module.path, {}, {}
                inner.effects, inner.star = [], False
                inner._read(node)
                for base, attribute in inner.imports.values():
                    self._import(base, attribute)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in given:
                self._file(node.value)

    def _name(self, module: Module, name: str) -> None:
        if self._stop(module.name, name):
            self.objects.add((module.name, name))
        elif name in module.definitions:
            self._take(module, name)
        elif name in module.imports:
            self._import(*module.imports[name])

    def _dotted(self, module: Module, node: ast.Attribute) -> None:
        """`helpers.clean` where `helpers` is a module of the workspace: that symbol; all of it where the name is not there."""
        parts = [node.attr]
        value: ast.expr = node.value
        while isinstance(value, ast.Attribute):
            parts.append(value.attr)
            value = value.value
        if not isinstance(value, ast.Name) or value.id not in module.imports:
            return
        base, attribute = module.imports[value.id]
        path = [base, *([attribute] if attribute else []), *reversed(parts)]
        for cut in range(len(path), 0, -1):
            inner = self._workspace.module(".".join(path[:cut]))
            if inner and cut < len(path):
                self._import(inner.name, path[cut])
                return

    def _import(self, base: str, attribute: str | None) -> None:
        deeper = self._workspace.module(f"{base}.{attribute}") if attribute else None
        module = deeper or self._workspace.module(base)
        if module is None:
            self.outside.add(base.split(".")[0])
            return
        if module.effects or module.dynamic:
            self._whole(module)
        if attribute and not deeper and attribute != "*":
            if self._stop(module.name, attribute) or attribute in module.definitions or attribute in module.imports:
                self._name(module, attribute)
            else:
                self._whole(module)

    def _file(self, text: str) -> None:
        """A literal that is the path of a file of the workspace."""
        if not re.fullmatch(r"[\w.\-]+(/[\w.\-]+)*\.\w+", text) or ".." in text.split("/"):
            return
        path = self._workspace.root / text
        if path.is_file() and path.suffix != ".py":
            self.files[text] = digest_bytes(path.read_bytes())


def symbol_digest(module: Module, name: str, *, docstring: bool = False, annotations: bool = False) -> str:
    """The digest of what gives a top-level name. Annotations of a class always count: they are its fields."""
    digests = []
    for s in dict.fromkeys(module.definitions[name]):
        keep = annotations or not isinstance(s, (ast.FunctionDef, ast.AsyncFunctionDef))
        digests.append(normal_digest(s, docstring=docstring, annotations=keep))
    return digests[0] if len(digests) == 1 else digest_bytes("".join(digests).encode())


def disagreeing(code: Code, source: Callable[[str], bytes | None]) -> list[str]:
    """Symbols and modules of a code identity that the source does not give, one sentence each. `source` is the source of a
    module, None where there is none."""
    if code.normaliser != VERSION:
        return []
    problems = []
    modules: dict[str, Module | None] = {}
    for key, digest in [*code.symbols.items(), *code.modules.items()]:
        name, _, symbol = key.partition(":")
        if name not in modules:
            data = source(name)
            try:
                modules[name] = None if data is None else Module(name, Path(f"{name}.py"), data)
            except (Invalid, RecursionError, MemoryError):
                modules[name] = None
        module = modules[name]
        if module is None or (symbol and symbol not in module.definitions):
            problems.append(f"its code has {key}, and the snapshot does not")
        elif digest not in _forms(module, symbol):
            problems.append(f"its code says that {key} is {digest[:19]}…, and the snapshot gives another")
    return problems


def _forms(module: Module, symbol: str) -> set[str]:
    """Every digest that a symbol may stand under: with the docstring a model reads or without, with annotations or without."""
    if not symbol:
        return {normal_digest(module.tree)}
    return {symbol_digest(module, symbol, docstring=d, annotations=a) for d in (False, True) for a in (False, True)}


def code_of(closure: Closure, entry: str) -> Code:
    """The identity of what a closure collected, with the versions of the distributions it reaches."""
    python = ".".join(map(str, sys.version_info[:2]))
    return Code(
        entry=entry,
        symbols=dict(sorted(closure.symbols.items())),
        python=python,
        normaliser=VERSION,
        modules=dict(sorted(closure.modules.items())),
        files=dict(sorted(closure.files.items())),
        packages=locked(closure.outside),
    )


def locked(modules: Iterable[str]) -> dict[str, str]:
    """Distributions that give these top-level modules, and all they require, with their installed versions. The standard
    library and Windlass itself (whose code acts through versioned engines) are left out."""
    foreign = {m for m in modules if m not in sys.stdlib_module_names and m != "windlass"}
    owners = _owners(tuple(sys.path), tuple(map(_changed, sys.path))) if foreign else {}
    waiting = sorted({d for m in foreign for d in owners.get(m, ())})
    found: dict[str, str] = {}
    while waiting:
        name = _canonical(waiting.pop())
        if name in found or name == "windlass":
            continue
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        found[name] = distribution.version
        for requirement in distribution.requires or ():
            if "extra ==" not in requirement:
                waiting.append(re.split(r"[\s;<>=!~\[(]", requirement, maxsplit=1)[0])
    return dict(sorted(found.items()))


@functools.lru_cache(maxsize=1)
def _owners(path: tuple[str, ...], changed: tuple[int, ...]) -> Mapping[str, list[str]]:
    """Which distributions give which modules. It reads the list of files of everything installed, 0.3 s in a large environment, so once
    for all code of a push; an installation changes the folder it goes to."""
    return importlib.metadata.packages_distributions()


def _changed(folder: str) -> int:
    try:
        return Path(folder or ".").stat().st_mtime_ns
    except OSError:
        return 0


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _defined(statement: ast.stmt) -> list[str]:
    """Top-level names a statement gives."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [statement.name]
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, (ast.AnnAssign, ast.AugAssign)):
        targets = [statement.target]
    elif statement.__class__.__name__ == "TypeAlias":
        targets = [statement.name]  # type: ignore[attr-defined]
    return [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)]


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _is_dynamic(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    function = node.func
    name = function.id if isinstance(function, ast.Name) else function.attr if isinstance(function, ast.Attribute) else ""
    if name == "compile" and isinstance(function, ast.Attribute):
        return False  # re.compile
    if name == "getattr":
        return len(node.args) > 1 and not isinstance(node.args[1], ast.Constant)
    return name in _DYNAMIC and (isinstance(function, ast.Name) or name == "import_module")


def _absolute(module: str, path: Path, statement: ast.ImportFrom) -> str:
    if not statement.level:
        return statement.module or ""
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    kept = package[: len(package) - statement.level + 1]
    return ".".join([*kept, *((statement.module or "").split(".") if statement.module else [])])
