"""From authored definitions to versions: each becomes a body, links and neutral facts; dependencies first."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from windlass.core.artifacts import (
    SEARCH_ENTRY,
    AgentBody,
    ChainBody,
    Code,
    ComponentBody,
    DatasetBody,
    EvaluatorBody,
    Guard,
    IndexBody,
    Link,
    McpServer,
    McpTool,
    PromptBody,
    ReleaseBody,
    SuiteBody,
    ToolBody,
    Version,
    make_version,
)
from windlass.core.dataset import FORM, Rows, make_rows
from windlass.core.encoding import HYBRID, LANCE, WORDS, LanceSettings
from windlass.core.errors import Invalid, WindlassError
from windlass.core.models import named
from windlass.core.trajectory import entry_of
from windlass.core.untrusted import signs
from windlass.sdk.chain import Chain, Evaluator, Function
from windlass.sdk.code import Closure, Workspace, code_of
from windlass.sdk.component import Agent, Called, Component
from windlass.sdk.definitions import Definition
from windlass.sdk.index import Index, IndexTool, chunk_lines
from windlass.sdk.mcp import Found, ServerTool, check_found, definitions
from windlass.sdk.output import schema_of, signature_schema
from windlass.sdk.prompts import ENGINE, parse_prompt
from windlass.sdk.rowfile import read_rows
from windlass.sdk.suite import Data, Foreign, Suite
from windlass.sdk.tool import Hosted, Tool, secret_names
from windlass.sdk.trajectory import Trajectory
from windlass.sdk.workspace import Folder

HOSTED = (Called, Index, Hosted, Tool)  # what code calls through the host, by name


class Builder:
    """Builds the versions of one workspace. `blob` and `rows` take what they are made of; `warnings` names rows that were left out."""

    def __init__(self, folder: Folder, definitions: list[Definition], blob: Callable[[bytes], str], rows: Callable[[Rows], None]) -> None:
        self.folder = folder
        self._give_rows = rows
        self.warnings: list[str] = []
        self._blob = blob
        self._modules = Workspace(folder.root)
        self._project = folder.manifest.project
        self._done: dict[tuple[str, str], Version] = {}
        self._definitions: dict[tuple[str, str], Definition] = {}
        self._at: dict[tuple[str, str], Definition] = {}
        for d in definitions:
            key = (d.kind, d.name)
            other = self._definitions.get(key)
            if other is not None and not (isinstance(d, Data) and isinstance(other, Data) and d.path == other.path):
                raise Invalid(f"{d.kind}/{d.name} is made twice", where=self._where(d), remedy=f"the other is at {self._where(other)}")
            self._definitions[key] = d
        self._building: list[Definition] = []
        self._splits: dict[str, set[str]] = {}  # of each dataset
        self._servers: dict[str, dict[str, Found]] = {}
        self.read: dict[str, str] = {}  # files that code names by their path, and who names them

    def build(self) -> tuple[Version, ...]:
        """All versions, with the releases. Raises `Invalid` with file and line for what is wrong."""
        self._name_objects()
        for d in self._definitions.values():
            self._version(d)
        for name, target in self._releases().items():
            self._release(name, target)
        return tuple(self._done.values())

    def _name_objects(self) -> None:
        """Which top-level names of the workspace's modules are authored objects."""
        import sys

        for d in self._definitions.values():
            module = sys.modules.get(d.module)
            for name, value in vars(module).items() if module else ():
                if isinstance(value, Definition):
                    self._at[(d.module, name)] = value

    def _where(self, d: Definition) -> str:
        path, _, line = d.where.rpartition(":")
        try:
            return f"{Path(path).resolve().relative_to(self.folder.root)}:{line}"
        except ValueError:
            return d.where

    def _keep(self, kind: str, name: str, body: msgspec.Struct, links: list[Link], **neutral: Any) -> Version:
        kept = {k: v for k, v in neutral.items() if v not in (None, "", [], {})}
        version = make_version(kind, name, body, links=tuple(links), neutral=kept, project=self._project)
        self._done[(kind, name)] = version
        return version

    def _version(self, d: Definition) -> Version:
        if done := self._done.get((d.kind, d.name)):
            return done
        if d in self._building:
            circle = " → ".join(f"{x.kind}/{x.name}" for x in [*self._building[self._building.index(d) :], d])
            raise Invalid(f"these refer to each other in a circle: {circle}", where=self._where(d))
        self._building.append(d)
        try:
            return self._make(d)
        except Invalid as e:
            e.where = e.where or self._where(d)
            raise
        finally:
            self._building.pop()

    def _make(self, d: Definition) -> Version:
        if isinstance(d, Agent):
            return self._agent(d)
        if isinstance(d, Component):
            return self._component(d)
        if isinstance(d, Chain):
            return self._chain(d)
        if isinstance(d, Tool):
            return self._tool(d)
        if isinstance(d, Evaluator):
            return self._evaluator(d)
        if isinstance(d, ServerTool):
            return self._server_tool(d)
        if isinstance(d, Trajectory):
            return self._trajectory(d)
        if isinstance(d, Index):
            return self._index(d)
        if isinstance(d, IndexTool):
            return self._index_tool(d)
        if isinstance(d, Data):
            return self._data(d.name, d.path, self._where(d), d.description)
        assert isinstance(d, Suite)
        return self._suite(d)

    def _component(self, d: Component[Any]) -> Version:
        prompt, model = self._prompt(d.prompt, self._where(d)), self._model(d.model, self._where(d))
        body = ComponentBody(prompt.digest, model.digest, d.parameters, _output(d.output))
        links = [_uses(prompt, "prompt"), _uses(model, "model")]
        return self._keep("component", d.name, body, links, description=d.description, where=self._where(d))

    def _agent(self, d: Agent[Any]) -> Version:
        prompt, model = self._prompt(d.prompt, self._where(d)), self._model(d.model, self._where(d))
        tools = [self._version(t) for t in d.tools]
        limits = msgspec.to_builtins(d.limits)
        body = AgentBody(prompt.digest, model.digest, tuple(t.digest for t in tools), limits, d.parameters, _output(d.output))
        links = [_uses(prompt, "prompt"), _uses(model, "model"), *(_uses(t, "tool") for t in tools)]
        return self._keep("agent", d.name, body, links, description=d.description, where=self._where(d))

    def _prompt(self, path: str, where: str) -> Version:
        name = path.rsplit("/", 1)[-1].rsplit(".", 1)[0].replace("_", "-").lower()
        if done := self._done.get(("prompt", name)):
            if done.neutral.get("path") != path:
                raise Invalid(f"{path} and {done.neutral.get('path')} give the same prompt name {name!r}", where=where)
            return done
        text = self.folder.read_text(path, where)
        parsed = parse_prompt(text, path)
        output = parsed.output
        if isinstance(output, str):
            beside = (Path(path).parent / output).as_posix()
            found = output if (self.folder.root / output).is_file() else beside
            try:
                output = json.loads(self.folder.read_text(found, path))
            except json.JSONDecodeError as e:
                raise Invalid(f"not JSON: {e.msg}", where=f"{found}:{e.lineno}") from e
        links, fewshot = [], None
        if parsed.fewshot:
            found = parsed.fewshot if (self.folder.root / parsed.fewshot).is_file() else (Path(path).parent / parsed.fewshot).as_posix()
            examples = self._data(f"{name}-examples", found, path, "", kind="fewshot")
            fewshot = examples.digest
            links.append(_uses(examples, "fewshot"))
        body = PromptBody(parsed.messages, parsed.inputs, ENGINE, parsed.parameters, output, fewshot)
        return self._keep("prompt", name, body, links, description=parsed.description, path=path)

    def _model(self, model: str, where: str) -> Version:
        try:
            name, body, description = named(model)
        except Invalid as e:
            raise Invalid(e.message, where=where, remedy=e.remedy) from e
        said = {"description": description} if description else {}
        return self._done.get(("model", name)) or self._keep("model", name, body, [], **said)

    def _code(self, d: Function[Any, Any], *, docstring: bool = False) -> tuple[Code, list[Version]]:
        """The identity of a function's code, and the versions it calls through the host."""
        module = self._modules.module(d.function.__module__)
        if module is None:
            raise Invalid(f"{d.entry} is not in the workspace", remedy="define it in a module of the workspace")
        if "." in d.function.__qualname__ or "<" in d.function.__qualname__:
            raise Invalid(
                f"{d.function.__qualname__} is not at the top level of its module", remedy="a runner finds it by name; move it there"
            )
        closure = Closure(self._modules, lambda m, n: isinstance(at := self._at.get((m, n)), HOSTED) and at is not d)
        closure.enter(module, d.function.__name__, docstring=docstring)
        called = {self._at[o].name: self._at[o] for o in sorted(closure.objects)}
        self.read |= dict.fromkeys(closure.files, f"{d.kind}/{d.name}")
        return code_of(closure, d.entry), [self._version(x) for x in called.values()]

    def _source(self, d: Function[Any, Any]) -> str:
        return inspect.getsource(d.function)

    def _chain(self, d: Chain[Any, Any]) -> Version:
        code, called = self._code(d)
        schema, returns = signature_schema(d.function)
        output = {} if d.shape.endswith("generator") else schema_of(returns)
        chat = "messages" in schema["properties"]
        body = ChainBody(code, tuple(sorted(v.digest for v in called)), schema, output, d.shape, chat)
        links = [_uses(v, v.kind) for v in called]
        return self._keep("chain", d.name, body, links, description=d.description, where=self._where(d), source=self._source(d))

    def _tool(self, d: Tool[Any, Any]) -> Version:
        code, called = self._code(d, docstring=True)
        schema, _ = signature_schema(d.function)
        if not d.description:
            raise Invalid(f"tool {d.name} has no docstring; a model could not know what it is for")
        body = ToolBody(code, d.name, d.description, schema, d.effects, tuple(sorted(v.digest for v in called)), d.secrets)
        links = [_uses(v, v.kind) for v in called]
        return self._keep("tool", d.name, body, links, description=d.description, where=self._where(d), source=self._source(d))

    def _index_tool(self, d: IndexTool) -> Version:
        index = self._version(d.index)
        parameters = {
            "type": "object",
            "properties": {"query": {"type": "string"}, "k": {"type": "integer", "minimum": 1, "maximum": 20, "default": 5}},
            "required": ["query"],
            "additionalProperties": False,
        }
        code = Code(SEARCH_ENTRY + d.index.name, {}, "any")
        body = ToolBody(code, d.name, d.description, parameters, "read", (index.digest,))
        return self._keep("tool", d.name, body, [_uses(index, "index")], description=d.description, where=self._where(d))

    def _server_tool(self, d: ServerTool) -> Version:
        """A server's tool as it is defined now. Its hints do not count: it changes the world unless the workspace says it reads."""
        server = self.folder.manifest.mcp.get(d.server)
        if server is None:
            raise Invalid(f"there is no server {d.server!r}", where=self._where(d), remedy=f"name it in windlass.toml: [mcp.{d.server}]")
        found = self._served(d.server, server)
        where = f"[mcp.{d.server}] {d.tool}"
        if d.tool not in found:
            raise Invalid(f"it has no tool {d.tool!r}", where=where, remedy="it has " + (", ".join(sorted(found)[:20]) or "none"))
        said = found[d.tool]
        check_found(said, where)
        names = secret_names((*server.secrets, *([server.bearer] if server.bearer else [])))
        body = ToolBody(
            Code(f"mcp:{d.server}", {}, "any"), d.name.replace("-", "_").replace(".", "_"), said.description, said.parameters,
            "read" if d.tool in server.read else "write", (), names,
            McpTool(msgspec.structs.replace(server, read=()), d.tool, said.returns),
        )  # fmt: skip
        if suspicious := signs(said.description):
            self.warnings.append(f"{where}: its description {'; it '.join(suspicious)}")
        return self._keep("tool", d.name, body, [], where=self._where(d), description=said.description)

    def _served(self, name: str, server: McpServer) -> dict[str, Found]:
        if name not in self._servers:
            secrets = {
                n: os.environ.get(f"WINDLASS_SECRET_{n}", "") for n in (*server.secrets, *([server.bearer] if server.bearer else []))
            }
            if gone := [n for n, value in secrets.items() if not value]:
                raise Invalid(f"it needs the secret {gone[0]}", where=f"[mcp.{name}]", remedy=f"set WINDLASS_SECRET_{gone[0]}")
            try:
                self._servers[name] = asyncio.run(definitions(server, secrets))
            except WindlassError as e:
                e.where = f"[mcp.{name}]"
                raise
            if odd := sorted(set(server.read) - set(self._servers[name])):
                raise Invalid(f"it has no tool {odd[0]!r}", where=f"[mcp.{name}].read", remedy="it has " + ", ".join(self._servers[name]))
        return self._servers[name]

    def _evaluator(self, d: Evaluator[Any, Any]) -> Version:
        code, called = self._code(d)
        body = EvaluatorBody(code, d.needs, d.range, tuple(sorted(v.digest for v in called)))
        links = [_uses(v, v.kind) for v in called]
        return self._keep("evaluator", d.name, body, links, description=d.description, where=self._where(d), source=self._source(d))

    def _trajectory(self, d: Trajectory) -> Version:
        body = EvaluatorBody(Code(entry_of(d.metric), {}, "any"), d.metric.needs, d.range)
        return self._keep("evaluator", d.name, body, [], where=self._where(d))

    def _data(self, name: str, path: str, where: str, description: str, kind: str = "dataset") -> Version:
        if done := self._done.get((kind, name)):
            return done
        found = read_rows(self.folder.read_text(path, where), path)
        self.warnings += found.problems
        self._splits[name] = {row["split"] for row in found.rows if isinstance(row.get("split"), str)}
        return self._rows(kind, name, found.rows, path, description=description, path=path)

    def _rows(self, kind: str, name: str, rows: list[dict[str, Any]], where: str, **neutral: Any) -> Version:
        made = make_rows(rows, where=where)
        self._give_rows(made)
        return self._keep(kind, name, DatasetBody(made.tree.root, made.tree.count, FORM), [], **neutral)

    def _index(self, d: Index) -> Version:
        where = self._where(d)
        if isinstance(d.source, str):
            found = read_rows(self.folder.read_text(d.source, where), d.source)
            self.warnings += found.problems
            rows = found.rows
        else:
            try:
                rows = list(d.source())
            except Exception as e:
                raise Invalid(f"the source of index/{d.name} raised {type(e).__name__}: {e}", where=where) from e
        for row in rows:
            if not isinstance(row, dict):
                raise Invalid(f"{repr(row)[:60]} is not a document", where=where, remedy="documents are {key, text, symbol?, …}")
            if not isinstance(row.get("text"), str):
                raise Invalid(f"document {row.get('key')!r} has no text", where=where, remedy="documents are {key, text, symbol?, …}")
        if not rows:
            raise Invalid(f"the source of index/{d.name} gave no documents", where=where, remedy="an index of nothing finds nothing")
        for row in rows:
            if suspicious := signs(row["text"]):
                self.warnings.append(
                    f"{where}: document {row.get('key')!r} of index/{d.name} {suspicious[0]}; its passages are marked untrusted"
                )
        documents = self._rows("dataset", f"{d.name}-documents", rows, where, description=f"documents of index/{d.name}")
        chunks = b"".join(line + b"\n" for row in sorted(rows, key=lambda r: str(r["key"])) for line in chunk_lines(row, d.chunk))
        chunker = {"name": d.chunk.name, **d.chunk.settings}
        engine, encoder = (HYBRID, d.encoder.identity) if d.encoder else (WORDS, {})
        settings: dict[str, Any] = {}
        if d.engine == "lance":
            engine, settings = LANCE, msgspec.to_builtins(LanceSettings())
        body = IndexBody(documents.digest, self._blob(chunks), chunker, engine, settings, encoder)
        return self._keep("index", d.name, body, [_uses(documents, "documents")], description=d.description, where=where)

    def _suite(self, d: Suite) -> Version:
        dataset = self._version(d.data)
        if d.data.split is not None and d.data.split not in self._splits[d.data.name]:
            there = ", ".join(sorted(self._splits[d.data.name])) or "none, as no row has the field split"
            self.warnings.append(f"{self._where(d)}: no row of {d.data.path} is in split {d.data.split!r}; splits there: {there}")
        links = [_uses(dataset, "dataset")]
        folder = {}
        if isinstance(d.target, Foreign):
            if d.target.how != "url":  # where it is started; says nothing about what it is
                folder["folder"] = str(self.folder.root)
            target: str | dict[str, Any] = {d.target.how: d.target.address, "version": d.target.version, "input": d.target.input}
        else:
            self._version(d.target)
            target = f"{d.target.kind}/{d.target.name}"
        guards = []
        for e in dict.fromkeys([*d.guards, *d.first_release]):
            evaluator = self._version(e)
            links.append(_uses(evaluator, e.name))
            margin, floor = d.guards.get(e), d.first_release.get(e)
            guards.append(Guard(e.name, evaluator.digest, margin.by if margin else None, floor.floor if floor else None))
        body = SuiteBody(target, dataset.digest, tuple(guards), d.data.split, d.error, d.repeats, d.seed)
        return self._keep("suite", d.name, body, links, where=self._where(d), **folder)

    def _releases(self) -> dict[str, tuple[str, str]]:
        """Release names and what each runs: those `windlass.toml` lists, and every suite's target under its own name."""
        found: dict[str, tuple[str, str]] = {}
        for name, target in self.folder.manifest.releases.items():
            kind, _, entry = target.partition("/")
            if (kind, entry) not in self._done or kind not in ("chain", "agent", "component"):
                raise Invalid(f"release {name!r} runs {target!r}, which the workspace does not make", where="windlass.toml")
            found[name] = (kind, entry)
        for d in self._definitions.values():
            if isinstance(d, Suite) and not isinstance(d.target, Foreign) and (d.target.kind, d.target.name) not in found.values():
                found.setdefault(d.target.name, (d.target.kind, d.target.name))
        return found

    def _release(self, name: str, target: tuple[str, str]) -> None:
        entry = self._done[target]
        by_digest = {v.digest: v for v in self._done.values()}
        reached, waiting = {}, [entry]
        while waiting:
            version = waiting.pop()
            if version.digest not in reached:
                reached[version.digest] = version
                waiting += [by_digest[k.digest] for k in version.links if k.relation == "uses"]
        body = ReleaseBody(entry.kind, entry.digest, tuple(sorted(reached)))
        links = [_uses(v, "entry" if v is entry else "part") for v in reached.values()]
        self._keep("release", name, body, links, description=entry.neutral.get("description"))


def _uses(version: Version, role: str) -> Link:
    return Link("uses", version.kind, version.name, version.digest, role)


def _output(kind: Any) -> dict[str, Any] | None:
    return None if kind is None or kind is str else schema_of(kind)
