"""Prompt files: read, check, render.

    ---
    description: what it is for                 (neutral)
    inputs: {question: string, passages: list}  names → a type word, or a JSON Schema
    output: schemas/answer.json                 a path, or a JSON Schema
    parameters: {temperature: 0}
    fewshot: ../data/examples.jsonl
    ---
    system: One line.
    user: |
      {{ question }}

After the front matter stand messages: a line that begins with `system:`, `user:` or `assistant:` opens one; its text is the rest
of the line, or after `|` the indented block that follows. A body without any such line is one user message. `.prompty` files
are read too: `model.parameters`, `inputs`/`sample`, and roles on lines of their own (`system:`).
Text is Jinja2 in a sandbox. Rendering does no I/O: the server renders with the same code.
"""

from __future__ import annotations

import ast
import difflib
import functools
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

import jinja2
import jinja2.meta
import jinja2.nodes
import jinja2.sandbox
import msgspec
import yaml

from windlass.core.artifacts import PromptBody, TemplateMessage
from windlass.core.errors import Invalid
from windlass.core.message import Message, TextPart

ENGINE = "jinja2@3"
LONGEST = 2_000_000  # characters of one rendered message
LARGEST_POWER = 1000
TYPES: dict[str, dict[str, Any]] = {
    "string": {"type": "string"}, "str": {"type": "string"}, "text": {"type": "string"},
    "number": {"type": "number"}, "float": {"type": "number"}, "integer": {"type": "integer"}, "int": {"type": "integer"},
    "boolean": {"type": "boolean"}, "bool": {"type": "boolean"}, "list": {"type": "array"}, "array": {"type": "array"},
    "object": {"type": "object"}, "dict": {"type": "object"}, "any": {},
}  # fmt: skip
FRONT = ("name", "description", "inputs", "output", "parameters", "fewshot", "model", "sample", "authors", "tags", "version", "template")

_ROLE = re.compile(r"(system|user|assistant):[ \t]*(.*)\Z", re.DOTALL)


class PromptFile(msgspec.Struct, frozen=True):
    """A parsed file. `lines` is where each message's text begins in the file, for errors. `output` and `fewshot` may still be
    paths; the workspace reads them."""

    messages: tuple[TemplateMessage, ...]
    lines: tuple[int, ...]
    inputs: dict[str, Any]
    parameters: dict[str, Any]
    output: str | dict[str, Any] | None
    fewshot: str | None
    description: str
    model: str | None


def parse_prompt(text: str, where: str) -> PromptFile:
    """Read a prompt file. Raises `Invalid` with file and line for broken front matter, unknown fields, an undefined variable or a
    template that is no Jinja2."""
    front, body, first = _split(text, where)
    if unknown := [k for k in front if k not in FRONT]:
        near = difflib.get_close_matches(str(unknown[0]), FRONT, 1)
        remedy = f"did you mean {near[0]!r}?" if near else "fields: " + ", ".join(FRONT[:6])
        raise Invalid(f"{unknown[0]!r} is not a field of a prompt", where=f"{where}:{_line_of(text, str(unknown[0]))}", remedy=remedy)
    model = front.get("model")
    parameters = front.get("parameters")
    if isinstance(model, dict):  # Prompty
        parameters = parameters or model.get("parameters")
        configuration = model.get("configuration") or {}
        model = configuration.get("azure_deployment") or configuration.get("name")
    inputs = front.get("inputs") or front.get("sample") or {}
    messages, lines = _messages(body, first)
    if not messages:
        raise Invalid("the prompt has no text", where=f"{where}:{first}", remedy="write at least one message")
    parsed = PromptFile(
        messages=tuple(messages),
        lines=tuple(lines),
        inputs=_inputs(inputs, where, text, from_sample="inputs" not in front),
        parameters=_mapping(parameters or {}, "parameters", where, text),
        output=front.get("output"),
        fewshot=front.get("fewshot"),
        description=str(front.get("description") or ""),
        model=str(model) if model else None,
    )
    _check(parsed, where)
    return parsed


def _split(text: str, where: str) -> tuple[dict[str, Any], str, int]:
    """Front matter, body, and the line the body begins at."""
    lines = text.split("\n")
    if lines[0].strip() != "---":
        return {}, text, 1
    try:
        end = next(i for i, line in enumerate(lines[1:], 1) if line.strip() == "---")
    except StopIteration:
        raise Invalid("the front matter never ends", where=f"{where}:1", remedy="close it with a line of three dashes") from None
    try:
        front = yaml.safe_load("\n".join(lines[1:end])) or {}
    except yaml.YAMLError as e:
        mark = getattr(e, "problem_mark", None)
        line = mark.line + 2 if mark else 2
        raise Invalid(f"the front matter is not YAML: {getattr(e, 'problem', e)}", where=f"{where}:{line}") from e
    if not isinstance(front, dict):
        raise Invalid("the front matter is not a list of `name: value`", where=f"{where}:2")
    return front, "\n".join(lines[end + 1 :]), end + 2


def _line_of(text: str, word: str) -> int:
    """The line that begins with a word, else the first that has it."""
    lines = text.split("\n")
    begins = (i for i, line in enumerate(lines, 1) if line.lstrip().startswith(word))
    has = (i for i, line in enumerate(lines, 1) if re.search(rf"\b{re.escape(word)}\b", line))
    return next(begins, next(has, 1))


def _mapping(value: Any, field: str, where: str, text: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(k, str) for k in value):
        raise Invalid(f"{field} must be `name: value` pairs", where=f"{where}:{_line_of(text, field)}")
    return value


def _inputs(value: Any, where: str, text: str, *, from_sample: bool) -> dict[str, Any]:
    if isinstance(value, list):
        value = dict.fromkeys(map(str, value), "any")
    found: dict[str, Any] = {}
    for name, kind in _mapping(value, "inputs", where, text).items():
        if from_sample:
            found[name] = _schema_of_sample(kind)
        elif isinstance(kind, dict):
            found[name] = {k: v for k, v in kind.items() if k != "sample"}
        elif isinstance(kind, str) and kind.lower() in TYPES:
            found[name] = TYPES[kind.lower()]
        else:
            near = difflib.get_close_matches(str(kind).lower(), TYPES, 1)
            remedy = (
                f"did you mean {near[0]!r}?" if near else "types: string, number, integer, boolean, list, object, any, or a JSON Schema"
            )
            raise Invalid(f"{kind!r} is not a type for input {name!r}", where=f"{where}:{_line_of(text, name)}", remedy=remedy)
    return found


def _schema_of_sample(value: Any) -> dict[str, Any]:
    words = {bool: "boolean", int: "integer", float: "number", str: "string", list: "list", dict: "object"}
    return TYPES[words.get(type(value), "any")]


def _messages(body: str, first: int) -> tuple[list[TemplateMessage], list[int]]:
    found: list[tuple[str, list[str], int]] = []
    for offset, line in enumerate(body.split("\n")):
        opened = _ROLE.match(line)
        if opened:
            rest = opened[2].strip()
            inline = rest not in ("", "|")
            found.append((opened[1], [_unquoted(rest)] if inline else [], first + offset + (0 if inline else 1)))
        elif found:
            found[-1][1].append(line)
        elif line.strip():
            return [TemplateMessage("user", body.strip("\n"))], [first + len(body) - len(body.lstrip("\n"))]
    texts = [(role, _dedented(lines), at) for role, lines, at in found]
    kept = [(role, text, at) for role, text, at in texts if text]
    return [TemplateMessage(role, text) for role, text, _ in kept], [at for _, _, at in kept]  # type: ignore[arg-type]


def _unquoted(text: str) -> str:
    """An inline text in quotes, as YAML would read it."""
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "\"'":
        try:
            return str(ast.literal_eval(text))
        except (ValueError, SyntaxError):
            return text
    return text


def _dedented(lines: list[str]) -> str:
    import textwrap

    head, rest = (lines[0], lines[1:]) if lines and lines[0] and not lines[0][0].isspace() else (None, lines)
    block = textwrap.dedent("\n".join(rest)).strip("\n").rstrip()
    return (head or "") + (f"\n{block}" if head is not None and block else block)


def _check(prompt: PromptFile, where: str) -> None:
    for message, line in zip(prompt.messages, prompt.lines, strict=True):
        for name, at in undefined(message.text, where, line):
            if name not in prompt.inputs and name != "fewshot":
                near = difflib.get_close_matches(name, prompt.inputs, 1)
                remedy = f"did you mean {near[0]!r}?" if near else "declare it under `inputs`"
                raise Invalid(f"variable {name!r} is not an input", where=f"{where}:{at}", remedy=remedy)


def undefined(text: str, where: str, first: int = 1) -> list[tuple[str, int]]:
    """Variables a template asks for, with the line of their first use. Raises `Invalid` for what is no Jinja2."""
    try:
        tree = _environment().parse(text)
        _environment().compile(tree)  # filters and tests that are not there show only here
    except jinja2.TemplateSyntaxError as e:
        raise Invalid(f"the template is malformed: {e.message}", where=f"{where}:{first + e.lineno - 1}") from e
    wanted = jinja2.meta.find_undeclared_variables(tree)
    lines: dict[str, int] = {}
    for node in tree.find_all(jinja2.nodes.Name):
        if node.name in wanted:
            lines.setdefault(node.name, first + node.lineno - 1)
    return sorted(lines.items(), key=lambda item: (item[1], item[0]))


class _Sandbox(jinja2.sandbox.ImmutableSandboxedEnvironment):
    """No attribute that begins with an underscore, no mutation, a bounded `range`, and no operation whose result is beyond what a
    message may hold: `'x' * 10**10` would be made before anybody could refuse it."""

    intercepted_binops = frozenset(("*", "**", "%"))

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        del self.globals["lipsum"]
        for name in ("center", "indent", "format"):
            self.filters[name] = _bounded(self.filters[name])

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        if operator == "**" and isinstance(left, (int, float)) and isinstance(right, (int, float)) and abs(right) > LARGEST_POWER:
            raise OverflowError(f"a power of {right}")
        if operator == "*":
            for many, times in ((left, right), (right, left)):
                if isinstance(many, (str, list, tuple)) and isinstance(times, int) and len(many) * times > LONGEST:
                    raise OverflowError(f"it would be longer than {LONGEST:,}")
        if operator == "%" and isinstance(left, str):
            _check_widths(left, right)
        return super().call_binop(context, operator, left, right)


def _bounded(filter: Any) -> Any:
    """A filter that refuses numbers no message needs."""

    @functools.wraps(filter)
    def checked(*given: Any, **named: Any) -> Any:
        _check_widths(*given, *named.values())
        return filter(*given, **named)

    return checked


def _check_widths(*given: Any) -> None:
    """Raises `OverflowError` for a number, or one in a format, that asks for more than a message may hold."""
    for value in given:
        if isinstance(value, int) and abs(value) > LONGEST:
            raise OverflowError(f"a width of {value}")
        if isinstance(value, str) and any(int(n) > LONGEST for n in re.findall(r"%[^a-zA-Z%]*?(\d{6,})", value)):
            raise OverflowError("a width in a format")
        if isinstance(value, tuple):
            _check_widths(*value)


@functools.lru_cache(maxsize=1)
def _environment() -> _Sandbox:
    return _Sandbox(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=False, autoescape=False)


@functools.lru_cache(maxsize=1024)
def _template(text: str) -> jinja2.Template:
    return _environment().from_string(text)


@functools.lru_cache(maxsize=1024)
def _places_examples(text: str) -> bool:
    """Whether a template says itself where the examples stand."""
    return any(name == "fewshot" for name, _ in undefined(text, "prompt"))


def render_body(body: PromptBody, inputs: dict[str, Any], fewshot: Iterable[dict[str, Any]] = ()) -> tuple[Message, ...]:
    """The messages of a prompt. Examples stand before the last user message as turns of their own, unless the template uses
    `fewshot` itself. Raises `Invalid` for a template that fails on these inputs, or that writes without end."""
    rows = list(fewshot)
    uses = any(_places_examples(m.text) for m in body.messages)
    messages = [_rendered(m, {**inputs, **({"fewshot": rows} if uses else {})}) for m in body.messages]
    if rows and not uses:
        last = max((i for i, m in enumerate(messages) if m.role == "user"), default=len(messages))
        messages[last:last] = [turn for row in rows for turn in example(row, body)]
    return tuple(messages)


def _rendered(message: TemplateMessage, inputs: dict[str, Any]) -> Message:
    pieces: list[str] = []
    size = 0
    try:
        for piece in _template(message.text).generate(**inputs):
            size += len(piece)
            if size > LONGEST:
                raise Invalid(f"the {message.role} message grows beyond {LONGEST:,} characters", remedy="give it fewer or shorter inputs")
            pieces.append(piece)
    except jinja2.UndefinedError as e:
        raise Invalid(f"the {message.role} message cannot be rendered: {e.message}") from e
    except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, OverflowError, MemoryError) as e:
        raise Invalid(f"the {message.role} message cannot be rendered: {e}") from e
    return Message(message.role, (TextPart("".join(pieces)),))


def example(row: dict[str, Any], body: PromptBody) -> Sequence[Message]:
    """One example as a user and an assistant turn: inputs of the prompt that the row has, then the rest as the answer; the row's
    `key` and `split` say nothing."""
    asked = {k: row[k] for k in body.inputs if k in row}
    said = {k: v for k, v in row.items() if k not in asked and k not in ("key", "split")}
    question = next(iter(asked.values())) if len(asked) == 1 else json.dumps(asked, ensure_ascii=False)
    answer = next(iter(said.values())) if len(said) == 1 else json.dumps(said, ensure_ascii=False)
    return (Message("user", (TextPart(str(question)),)), Message("assistant", (TextPart(str(answer)),)))
