"""One declaration, four ways in: every operation has a service, a method of the client, a command and a page; or a reason not to."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import windlass
from windlass.core.operations import (
    OPERATIONS,
    Operation,
    alerts,
    approvals,
    audit,
    bakeoffs,
    batches,
    calls,
    costs,
    datasets,
    deploy,
    discover,
    erasures,
    evaluation,
    evidence,
    figures,
    grants,
    graph,
    indexes,
    ledger,
    limits,
    loadtests,
    logs,
    masking,
    metrics,
    monitors,
    people,
    pins,
    policy,
    prompts,
    providers,
    registry,
    reviews,
    rollouts,
    routes,
    runs,
    sessions,
    sql,
    system,
    tools,
    traces,
    trees,
    tuning,
    views,
    weights,
)
from windlass.doors.cli import main
from windlass.doors.cli.commands import DOES
from windlass.platform import Platform
from windlass.settings import Settings
from windlass.store.home import Home

SOURCE = Path(windlass.__file__).parent
CONSTANTS = {
    name: value.name
    for module in (
        alerts,
        approvals,
        audit,
        bakeoffs,
        batches,
        calls,
        costs,
        datasets,
        deploy,
        discover,
        erasures,
        evaluation,
        evidence,
        figures,
        grants,
        graph,
        indexes,
        ledger,
        limits,
        loadtests,
        logs,
        masking,
        metrics,
        monitors,
        people,
        pins,
        prompts,
        policy,
        providers,
        registry,
        reviews,
        rollouts,
        routes,
        runs,
        sessions,
        sql,
        system,
        tools,
        traces,
        trees,
        tuning,
        views,
        weights,
    )
    for name, value in vars(module).items()
    if isinstance(value, Operation)
}
NO_PAGE = {
    "registry.push": "a workspace lies in a folder, which a browser does not have",
    "blobs.missing": "part of a push",
    "rows.compare": "part of a push",
    "rows.pack": "part of a push",
    "rows.keep": "part of a push",
    "weights.add": "a model lies in a folder, which a browser does not have",
    "prompts.get": "for applications; the page of a version shows its text",
    "runs.start": "the playground runs by runs.stream",
}


def mentioned(folder: Path) -> set[str]:
    """Operations that the modules of a folder name."""
    found = set()
    for path in [folder] if folder.is_file() else folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else None
            found |= {CONSTANTS[name]} if name in CONSTANTS else set()
    return found


def test_every_operation_has_a_name_of_its_own() -> None:
    assert set(CONSTANTS.values()) == OPERATIONS.keys()
    assert len(CONSTANTS) == len(OPERATIONS)


def test_every_operation_has_a_service_that_takes_what_it_declares(tmp_path: Path) -> None:
    platform = Platform(Home(tmp_path / "home"), Settings())
    assert platform.handlers.keys() == OPERATIONS.keys()
    for name, handler in platform.handlers.items():
        hints = inspect.get_annotations(handler.__func__, eval_str=True)
        taken = [t for n, t in hints.items() if n != "return"]
        assert taken[-1] is OPERATIONS[name].params, name
        assert OPERATIONS[name].streams or hints["return"] is OPERATIONS[name].result, name


def test_every_operation_has_a_method_of_the_client() -> None:
    sdk = SOURCE / "sdk"
    assert set().union(*map(mentioned, (sdk / "client.py", sdk / "upload.py", *(sdk / "nouns").glob("*.py")))) == OPERATIONS.keys()


def test_every_operation_has_a_command() -> None:
    assert main.app
    assert DOES.keys() == OPERATIONS.keys()


def test_every_operation_has_a_page() -> None:
    web = SOURCE / "doors" / "web"
    shown = mentioned(web)
    for script in (web / "static").glob("*.js"):
        shown |= {name for name, op in OPERATIONS.items() if op.path in script.read_text()}
    for template in (web / "templates").glob("*.html"):
        shown |= {name for name, op in OPERATIONS.items() if op.path in template.read_text()}
    assert OPERATIONS.keys() - shown == NO_PAGE.keys()


def test_no_operation_is_asked_of_a_service_without_leave() -> None:
    """Each service method asks `guard` before it does anything; here that nobody with no rights gets through is in test_api."""
    assert all(op.permission in ("read", "write", "run", "deploy", "admin", "call", "trace") for op in OPERATIONS.values())
