"""What the documents say is there: links, commands with their options, Python that compiles, settings as they are."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest
import typer

from windlass.doors.cli.main import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]
PAGES = [p for p in PAGES if "prompts" not in p.parts]
COMMAND = re.compile(r"(?:^\s*(?:\$ )?|`)(?:[A-Z_]+=\S+ )*(windlass [a-z][^`\n#·]*)", re.M)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_exist_with_their_options(page: Path) -> None:
    known = typer.main.get_command(app).commands
    for line in COMMAND.findall(page.read_text()):
        words = shlex.split(re.sub(r"\[|\]|…|\(.*", " ", line).split("&&")[0].split(" | ")[0], posix=True)[1:]
        assert words[0] in known, line
        command = known[words[0]]
        if inner := getattr(command, "commands", None):
            assert words[1] in inner, line
            command = inner[words[1]]
        options = {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
        for word in words:
            if word.startswith("--"):
                assert word.split("=")[0] in options, line


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_python_is_python(page: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.S):
        ast.parse(block.replace("[…]", "[]"))


def test_words_name_files_that_are_there() -> None:
    for path in re.findall(r"`([a-z_]+/[a-z_/]+\.py)`", (ROOT / "docs" / "words.md").read_text()):
        assert (ROOT / "src" / "windlass" / path).exists(), path
    for room in re.findall(r"`([a-z_]+)/`", (ROOT / "docs" / "words.md").read_text()):
        assert (ROOT / "src" / "windlass" / room).is_dir(), room


def test_nothing_speaks_of_the_machine_it_was_written_on() -> None:
    for path in [*(ROOT / "src").rglob("*"), *(ROOT / "docs").rglob("*.md"), ROOT / "README.md", *(ROOT / "tests").rglob("*.py")]:
        if path.is_file() and path.suffix in (".py", ".md", ".toml", ".html", ".js", ".css", ".json"):
            text = path.read_text(errors="replace")
            assert "/" + "work/main" not in text and "pypi" + "-more" not in text, path
