"""`import windlass` is light: it loads next to nothing until a name is used."""

import subprocess
import sys

import windlass

HEAVY = {
    "httpx2",
    "opentelemetry",
    "jinja2",
    "yaml",
    "typer",
    "rich",
    "sqlalchemy",
    "duckdb",
    "numpy",
    "dbos",
    "granian",
    "jsonschema_rs",
    "aiohttp",
}


def loaded(code: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True, text=True, check=True)
    return {m.split(".")[0] for m in done.stdout.split()}


def test_import_loads_nothing_heavy() -> None:
    bare = loaded("pass")
    assert not (loaded("import windlass") - bare - {"windlass"}) & HEAVY
    assert not (loaded("import windlass as w; w.chain, w.component, w.tool, w.suite, w.index, w.Output") - bare) & HEAVY


def test_every_public_name_is_there() -> None:
    for name in dir(windlass):
        assert getattr(windlass, name) is not None
