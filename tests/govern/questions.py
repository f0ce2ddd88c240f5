"""For every operation something to ask of the world of `world.py`, and for every other route a request: the rows of the matrix."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

from tests.govern.world import MARK, OPIK, World

from windlass.core.digest import TAG
from windlass.core.operations.limits import LimitRequest, Measured, Window
from windlass.doors.otlp.senders import PATHS
from windlass.govern.limits import identity_of


def limit_id(subject: str, measured: Measured, window: Window) -> str:
    return identity_of(LimitRequest(subject, measured, 0, window))


def operations(w: World) -> dict[str, dict[str, Any]]:
    """Parameters by operation; each with its project, where it has one. In an order in which all of them can be done."""
    release, chain, rows = (f"{n}@{w.digests[n]}" for n in ("release/answer", "chain/answer", "dataset/rows"))
    d = {"project": "default"}
    idle = {
        "registry.push": {"workspace": "shop", "versions": [], "snapshot": w.blob, **d},
        "blobs.missing": {"digests": [w.blob]},
        "artifacts.list": d,
        "versions.list": {"ref": "chain/answer", **d},
        "versions.show": {"ref": chain, **d},
        "versions.diff": {"a": rows, "b": "dataset/rows:more", **d},
        "versions.why": {"ref": chain, **d},
        "versions.impact": {"ref": chain, **d},
        "versions.reproduce": {"what": w.run.trace, **d},
        "lineage.walk": {"ref": release, **d},
        "labels.move": {"ref": "chain/answer:looked", "digest": w.digests["chain/answer"], **d},
        "rows.compare": {"kind": "dataset", "name": "rows", "rows": "sha256:" + "0" * 64, "leaves": [], **d},
        "rows.pack": {"lines": ['{"key":"r1","question":"x"}'], **d},
        "rows.keep": {"rows": "sha256:" + "0" * 64, **d},
        "rows.why": {"ref": "dataset/rows", "key": "r1", **d},
        "datasets.rows": {"ref": rows, **d},
        "datasets.diff": {"a": rows, "b": "dataset/rows:more", **d},
        "datasets.edit": {"ref": "dataset/rows:more", "set": [{"key": "r2", "question": f"{MARK} edited"}], **d},
        "datasets.merge": {"ours": "dataset/rows:main", "theirs": "dataset/rows:more", **d},
        "datasets.duplicates": {"ref": rows, **d},
        "datasets.harvest": {"ref": "dataset/harvested-2", "traces": [w.run.trace], **d},
        "pins.add": {"name": "others", "source": str(w.folder / "pinned"), **d},
        "pins.list": d,
        "pins.show": {"name": "files", **d},
        "pins.read": {"name": "files", **d},
        "pins.keep": {"name": "files", **d},
        "pins.compare": {"name": "files", **d},
        "pins.job": {"id": w.look.id, **d},
        "indexes.list": d,
        "indexes.show": {"ref": "index/handbook", **d},
        "indexes.chunks": {"ref": "index/handbook", **d},
        "indexes.search": {"ref": "index/handbook", "query": "travel", **d},
        "indexes.diff": {"a": "index/handbook", "b": "index/handbook", **d},
        "registry.verify": d,
        "weights.add": {"name": "tiny", "files": {"config.json": w.blob}, "licence": "MIT", **d},
        "weights.list": d,
        "weights.show": {"which": "tiny", **d},
        "weights.check": {"which": "tiny", **d},
        "loadtests.start": {"target": release, "data": "rows", "objectives": {"per_second": 5, "seconds": 1}, **d},
        "loadtests.list": d,
        "loadtests.show": {"id": w.loadtest, **d},
        "loadtests.cancel": {"id": w.loadtest, **d},
        "batches.start": {"target": release, "data": "rows", **d},
        "batches.list": d,
        "batches.show": {"id": w.batch, **d},
        "batches.cancel": {"id": w.batch, **d},
        "batches.resume": {"id": w.batch, **d},
        "tune.start": {"method": "sft", "name": "desk", "base": "tiny", "data": "rows", **d},
        "tune.show": {"id": w.tune, **d},
        "tune.list": d,
        "tune.points": {"id": w.tune, **d},
        "tune.cancel": {"id": w.tune, **d},
        "tune.resume": {"id": w.tune, **d},
        "tune.compare": {"id": w.tune, "suite": "answers", **d},
        "tune.compared": {"tune": w.tune, **d},
        "runs.start": {"target": "release/answer:production", "input": "who?", **d},
        "runs.stream": {"target": "release/answer:production", "input": "who?", **d},
        "models.list": {},
        "models.search": {"search": "baseline"},
        "models.measured": d,
        "discover.start": {"suite": "answers", "models": ["baseline", "baseline/lead"], "rows": 5, **d},
        "discover.show": {"id": w.bakeoff.id, **d},
        "discover.list": d,
        "reviews.add": {"queue": "pairs", "items": [{"input": f"{MARK} more", "outputs": ["a", "b"]}], **d},
        "reviews.list": {"queue": "looked-at", **d},
        "reviews.show": {"id": w.item, **d},
        "reviews.decide": {"id": w.item, "fields": {"question": MARK}, **d},
        "reviews.keep": {"queue": "looked-at", **d},
        "evaluations.start": {"suite": "answers", **d},
        "evaluations.list": d,
        "evaluations.show": {"id": w.evaluation.id, **d},
        "evaluations.outcomes": {"id": w.evaluation.id, **d},
        "evaluations.compare": {"a": w.evaluation.id, "b": w.evaluation.id, "only": "all", **d},
        "gate.start": {"suite": "answers", **d},
        "gate.show": {"id": w.gate.id, **d},
        "verdicts.list": d,
        "verdicts.show": {"id": w.again.verdict.id, **d},
        "releases.approve": {"release": "answer", **d},
        "releases.withdraw": {"release": "answer", **d},
        "releases.approvals": {"release": "answer", "verdict": w.again.verdict.id, **d},
        "rollouts.start": {"release": "answer", **d},
        "rollouts.list": d,
        "rollouts.show": {"id": w.rollout, **d},
        "rollouts.step": {"id": w.rollout, "why": MARK, **d},
        "rollouts.back": {"id": w.rollout, "why": MARK, **d},
        "rollouts.stop": {"id": w.rollout, "why": MARK, **d},
        "releases.promote": {"release": "answer", **d},
        "releases.rollback": {"release": "answer", **d},
        "releases.history": d,
        "evidence.make": {"release": release, **d},
        "releases.list": d,
        "routes.set": {"name": "fast", "route": {"upstreams": [{"model": "baseline"}]}, **d},
        "routes.list": d,
        "routes.show": {"name": "kept", **d},
        "routes.remove": {"name": "fast", **d},
        "sessions.list": d,
        "sessions.show": {"id": w.run.trace, **d},
        "sessions.keep": {"id": w.run.trace, "ref": "dataset/kept-runs", "runs": [w.run.trace], **d},
        "prompts.get": {"ref": "note:main", **d},
        "traces.list": d,
        "traces.fields": d,
        "traces.show": {"id": w.run.trace, **d},
        "traces.tree": {"id": w.run.trace, **d},
        "traces.calls": {"id": w.run.trace, **d},
        "traces.costs": {"id": w.run.trace, **d},
        "views.save": {"name": "mine", "asked": {"filter": MARK}, **d},
        "views.list": d,
        "views.remove": {"name": "mine", **d},
        "traces.sql": {"sql": "SELECT name FROM spans", **d},
        "traces.text": {"id": w.run.trace, "span": w.span, **d},
        "traces.live": d,
        "traces.figures": {"by": "model", **d},
        "metrics.list": d,
        "metrics.show": {"name": "calls", "by": "who", **d},
        "traces.remap": {},
        "traces.ledger": d,
        "traces.audit": d,
        "traces.score": {"trace": w.run.trace, "name": "helpful", "value": True, "comment": MARK, **d},
        "traces.why": {"id": w.run.trace, **d},
        "logs.list": d,
        "monitors.set": {"name": "watch-2", "suite": "answers", **d},
        "monitors.list": d,
        "monitors.show": {"name": "watch", **d},
        "monitors.look": {"name": "watch", **d},
        "monitors.pause": {"name": "watch", **d},
        "monitors.drift": {"name": "watch", **d},
        "monitors.quality": {"release": "answer", **d},
        "alerts.set": {"name": "quiet", "monitors": ["watch"], **d},
        "alerts.list": d,
        "alerts.events": d,
        "alerts.show": {"id": w.event, **d},
        "alerts.acknowledge": {"id": w.event, **d},
        "alerts.look": {"name": "slow", **d},
        "alerts.test": {"name": "letters", **d},
        "tools.list": d,
        "tools.show": {"name": "refund", **d},
        "grants.make": {"agent": "desk", "task": f"More {MARK}", "tools": [{"tool": "tool/refund"}], **d},
        "grants.list": d,
        "grants.show": {"id": w.grant, **d},
        "grants.check": {"id": w.grant, "tool": "refund", "arguments": {"order": MARK}, **d},
        "grants.token": {"id": w.grant, **d},
        "grants.revoke": {"id": w.grant, **d},
        "approvals.list": d,
        "approvals.decide": {"id": w.approval, "allow": True, **d},
        "stops.set": {"subject": "agent/nobody-else", "reason": MARK, **d},
        "stops.lift": {"subject": "agent/nobody", **d},
        "stops.list": d,
        "limits.set": {"subject": "user:ann", "measured": "requests", "amount": 7, "window": "day", **d},
        "limits.list": d,
        "limits.spend": {"by": "key", **d},
        "limits.remove": {"id": limit_id("user:ann", "requests", "day"), **d},
        "system.status": {},
        "masking.show": d,
        "erasures.preview": {"names": ["nobody-9"], **d},
        "erasures.make": {"names": ["nobody-9"], **d},
        "erasures.list": d,
        "erasures.show": {"id": w.erasure, **d},
        "masking.try": {"text": "Bearer abcdefgh12345678", **d},
        "audit.list": d,
        "audit.verify": {},
        "policy.show": {},
        "policy.why": {"actor": "viewer", "action": "write", **d},
        "people.list": {},
        "people.providers": {},
        "people.block": {"id": w.person},
        "people.admit": {"id": w.person},
        "providers.list": d,
        "providers.key": {"provider": "openai", "secret": f"sk-{MARK}-another", **d},
        "providers.remove": {"id": w.provider_key},
        "providers.test": {"provider": "mine", **d},
        "providers.rekey": {},
        "keys.create": {"name": "another", "role": "caller", **d},
        "keys.list": {},
        "keys.change": {"id": w.keys["viewer"], "forever": True},
        "keys.revoke": {"id": w.keys["revoked"]},
    }
    return {name: dict(asked) for name, asked in idle.items()}


# what an owner is answered where it is not 200: allowed, but there is nothing of it in this world
LATER = {
    "rows.keep": ({400}, "those rows were not sent"),
    "weights.add": ({400}, "no model lies there"),
    "weights.show": ({404}, "no weights were added"),
    "weights.check": ({404}, "no weights were added"),
    "loadtests.cancel": ({409}, "it is done"),
    "batches.cancel": ({409}, "it is done"),
    "batches.resume": ({409}, "it is done"),
    "tune.start": ({404, 503}, "no weights were added; or PyTorch is not there"),
    "tune.cancel": ({409}, "it is done"),
    "tune.resume": ({409, 503}, "it is done; or PyTorch is not there"),
    "tune.compare": ({400}, "it left no model"),
    "releases.approve": ({400}, "nobody demands approvals"),
    "releases.withdraw": ({400}, "nobody approved it"),
    "registry.push": ({400}, "a push of nothing"),
    "rollouts.start": ({409}, "one is under way"),
}
# what a rule beyond the role asks for more: the same operation, and what it needs then
MORE: dict[str, tuple[dict[str, Any], str]] = {
    "registry.verify": ({"project": None}, "admin"),
    "alerts.set": ({"name": "letters", "email": ["a@b.example"]}, "admin"),
    "labels.move": ({"ref": "alert/letters:main"}, "admin"),
}
MORE_ELSEWHERE = {
    "views.save": "tests/traces/test_views.py: for everybody",
    "views.remove": "tests/traces/test_views.py: of a shared one",
    "traces.score": "tests/traces/test_scoring.py: by the start of an id",
    "pins.read": "tests/registry/test_pins.py: rows that lie only at their source",
    "releases.promote": "tests/deploy/test_approvals.py: an override where approvals are demanded",
    "releases.approve": "tests/deploy/test_approvals.py: by whoever proposed it",
    "rollouts.start": "tests/deploy/test_approvals.py: the approvals that are demanded",
    "keys.change": "tests/govern/test_actors.py: of the last owner's key",
    "keys.revoke": "tests/govern/test_actors.py: of the last owner's key",
}


class Asked(NamedTuple):
    """One request: what it needs, and how it is made. `needs` is a permission, or `public`, `grant` or `known`: anybody who is somebody;
    `leads` is public, and an address that leads to another."""

    needs: str
    method: str
    path: str
    body: bytes = b""
    kind: str = "application/json"
    query: dict[str, str] = {}


def form(needs: str, path: str, **fields: str) -> Asked:
    return Asked(needs, "POST", path, urlencode(fields).encode(), "application/x-www-form-urlencoded")


CHAT = b'{"model": "baseline", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}'
SPAN = b'{"traceId": "%s", "spanId": "%s", "name": "x", "startTimeUnixNano": "1", "endTimeUnixNano": "2"}' % (b"ab" * 16, b"cd" * 8)
SENT = {
    "traces": b'{"resourceSpans": [{"scopeSpans": [{"spans": [%s]}]}]}' % SPAN,
    "logs": b'{"resourceLogs": [{"scopeLogs": [{"logRecords": [{"body": {"stringValue": "x"}}]}]}]}',
    "metrics": b'{"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "x", "gauge": {"dataPoints": [{"asInt": "1"}]}}]}]}]}',
}


def doors(w: World) -> dict[str, Asked]:
    """Requests to what is no operation and no page, by method and path of the route."""
    ping = b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list"}'
    return {
        "GET /healthz": Asked("public", "GET", "/healthz"),
        "GET /static": Asked("public", "GET", "/static/style.css"),
        "GET /api/v1/openapi.json": Asked("public", "GET", "/api/v1/openapi.json"),
        "ANY /api/{rest:path}": Asked("nothing", "GET", "/api/v1/nothing"),
        "GET /api/v1/blobs/{digest}": Asked("read", "GET", f"/api/v1/blobs/{w.blob}"),
        "PUT /api/v1/blobs/{digest}": Asked("write", "PUT", f"/api/v1/blobs/{TAG}{NEW_DIGEST}", NEW_BLOB),
        "POST /login": Asked("login", "POST", "/login", b"key=nonsense", "application/x-www-form-urlencoded"),
        "GET /login/{name}": Asked("login", "GET", "/login/nobody"),
        "GET /login/{name}/back": Asked("login", "GET", "/login/company/back", query={"code": "x", "state": "x"}),
        "POST /logout": Asked("logout", "POST", "/logout"),
        "ANY /mcp/{agent:path}": Asked("grant", "POST", "/mcp/desk", ping),
        **{f"POST {path}": Asked("trace", "POST", path, SENT[signal]) for path, (_, signal) in PATHS.items()},
        "POST /api/public/scores": Asked(
            "trace", "POST", "/api/public/scores", b'[{"traceId": "%s", "name": "x", "value": 1}]' % (b"ab" * 16)
        ),
        "GET /api/public/v2/prompts/{name:path}": Asked("call", "GET", "/api/public/v2/prompts/note?label=latest"),
        "GET /api/public/projects": Asked("trace", "GET", "/api/public/projects"),
        "GET /api/public/v2/datasets": Asked("read", "GET", "/api/public/v2/datasets"),
        "GET /api/public/v2/datasets/{name:path}": Asked("read", "GET", "/api/public/v2/datasets/rows"),
        "POST /api/public/v2/datasets": Asked("write", "POST", "/api/public/v2/datasets", b'{"name": "new-set"}'),
        "GET /api/public/dataset-items": Asked("read", "GET", "/api/public/dataset-items", query={"datasetName": "rows"}),
        "GET /api/public/dataset-items/{id:path}": Asked("read", "GET", "/api/public/dataset-items/r1"),
        "POST /api/public/dataset-items": Asked(
            "write", "POST", "/api/public/dataset-items", b'{"datasetName": "rows", "id": "r1", "input": 1}'
        ),
        "DELETE /api/public/dataset-items/{id:path}": Asked("write", "DELETE", "/api/public/dataset-items/r39"),
        "POST /api/public/dataset-run-items": Asked(
            "run", "POST", "/api/public/dataset-run-items", b'{"runName": "a", "datasetItemId": "r1", "traceId": "%s"}' % (b"ab" * 16)
        ),
        **{
            f"{method} /api/v1/private/{path}": Asked("trace", method, f"/api/v1/private/{path.replace('{id:uuid}', OPIK)}", body.encode())
            for what in ("traces", "spans")
            for method, path, body in (
                ("POST", f"{what}/batch", f'{{"{what}": []}}'),
                ("PATCH", f"{what}/{{id:uuid}}", f'{{"trace_id": "{OPIK}"}}'),
                ("POST", what, f'{{"id": "{OPIK}", "trace_id": "{OPIK}", "start_time": "2026-01-01T00:00:00Z"}}'),
                ("PUT", f"{what}/feedback-scores", '{"scores": []}'),
            )
        },
        "PUT /api/v1/private/traces/threads/feedback-scores": Asked(
            "trace", "PUT", "/api/v1/private/traces/threads/feedback-scores", b'{"scores": []}'
        ),
        **{
            f"{method} /api/v1/private/{path}": Asked(
                needs,
                method,
                f"/api/v1/private/{path.replace('{id:uuid}', OPIK).replace('{id}', name)}",
                body.encode(),
                query={"experiment_ids": f'["{OPIK}"]'} if path.endswith("experiments/items") and method == "GET" else {},
            )
            for needs, method, path, name, body in (
                ("read", "GET", "traces/{id:uuid}", "", ""),
                ("read", "GET", "datasets", "", ""),
                ("read", "GET", "datasets/{id}", "rows", ""),
                ("read", "POST", "datasets/retrieve", "", '{"dataset_name": "rows"}'),
                ("read", "GET", "datasets/{id}/items", "rows", ""),
                ("read", "POST", "datasets/items/stream", "", '{"dataset_name": "rows"}'),
                ("read", "GET", "datasets/{id}/versions", "rows", ""),
                ("read", "POST", "datasets/{id}/versions/retrieve", "rows", '{"version_name": "abcd"}'),
                ("write", "POST", "datasets", "", '{"name": "new-set"}'),
                ("write", "PUT", "datasets/items", "", '{"dataset_name": "rows", "items": [{"id": "r1", "data": {"input": 1}}]}'),
                ("write", "POST", "datasets/items/delete", "", '{"dataset_name": "rows", "item_ids": ["r39"]}'),
                ("run", "POST", "experiments", "", f'{{"id": "{OPIK}", "name": "a", "dataset_name": "rows"}}'),
                ("trace", "POST", "experiments/items", "", '{"experiment_items": []}'),
                ("trace", "POST", "experiments/finish", "", "{}"),
                ("trace", "PATCH", "experiments/{id:uuid}", "", '{"metadata": {}}'),
                ("read", "GET", "experiments", "", ""),
                ("read", "GET", "experiments/{id:uuid}", "", ""),
                ("read", "POST", "experiments/stream", "", '{"name": "a"}'),
                ("read", "GET", "datasets/{id}/items/experiments/items", "rows", ""),
                ("write", "POST", "prompts", "", '{"name": "new", "template": "x"}'),
                ("read", "GET", "prompts", "", ""),
                ("write", "POST", "prompts/versions", "", '{"name": "new", "version": {"template": "x"}}'),
                ("call", "POST", "prompts/versions/retrieve", "", '{"name": "note"}'),
                ("run", "GET", "prompts/{id}/versions", "note", ""),
                ("read", "GET", "auth/workspace", "", ""),
                ("trace", "POST", "auth", "", "{}"),
                ("read", "POST", "projects/retrieve", "", '{"name": "shop"}'),
                ("read", "GET", "projects/{id}", "shop", ""),
            )
        },
        "ANY /api/v1/private/{rest:path}": Asked("nothing", "GET", "/api/v1/private/optimizations"),
        "GET /api/is-alive/ver": Asked("public", "GET", "/api/is-alive/ver"),
        "GET /{workspace}/experiments/{name}/compare": Asked("leads", "GET", "/default/experiments/rows/compare"),
        "GET /{workspace}/projects/{project}/datasets/{name}/items": Asked("leads", "GET", "/default/projects/p/datasets/rows/items"),
        "GET /api/is-alive/ping": Asked("public", "GET", "/api/is-alive/ping"),
        "GET /api/v1/session/redirect/projects/": Asked("leads", "GET", "/api/v1/session/redirect/projects/", query={"trace_id": OPIK}),
        "GET /project/{project}/traces/{id}": Asked("leads", "GET", "/project/p/traces/abc"),
        "GET /project/{project}/experiments/results": Asked("leads", "GET", "/project/p/experiments/results"),
        "GET /project/{project}/datasets/dataset/{name}/runs/{run}": Asked("leads", "GET", "/project/p/datasets/dataset/rows/runs/x"),
        "POST /api/public/ingestion": Asked("trace", "POST", "/api/public/ingestion", b'{"batch": []}'),
        "POST /v1/chat/completions": Asked("call", "POST", "/v1/chat/completions", CHAT),
        "POST /v1/messages": Asked("call", "POST", "/v1/messages", CHAT),
        "POST /v1/messages/count_tokens": Asked("call", "POST", "/v1/messages/count_tokens", CHAT),
        "POST /v1/embeddings": Asked("call", "POST", "/v1/embeddings", b'{"model": "baseline", "input": "x"}'),
        "POST /v1/responses": Asked("call", "POST", "/v1/responses", b'{"model": "baseline", "input": "x"}'),
        "GET /v1/models": Asked("call", "GET", "/v1/models"),
        "GET /v1/models/": Asked("call", "GET", "/v1/models/answer"),
        "POST /invoke/": Asked("call", "POST", "/invoke/answer", b'{"question": "who?"}'),
    }


NEW_BLOB = b"what nobody has sent yet"
NEW_DIGEST = hashlib.sha256(NEW_BLOB).hexdigest()


def pages(w: World) -> dict[str, Asked]:
    """Requests to pages by route; each has a twin."""
    release = f"release/answer@{w.digests['release/answer']}"
    rows = f"dataset/rows@{w.digests['dataset/rows']}"
    found = {
        "/": "/",
        "/artifacts": "/artifacts",
        "/artifacts/{kind}/{name}": "/artifacts/chain/answer",
        "/artifacts/{kind}/{name}/{digest}": f"/artifacts/chain/answer/{w.digests['chain/answer']}",
        "/diff": f"/diff?a={rows}&b=dataset/rows:more",
        "/datasets": "/datasets",
        "/datasets/runs": "/datasets/runs?of=rows",
        "/datasets/{kind}/{name}": "/datasets/dataset/rows",
        "/datasets/{kind}/{name}/diff": f"/datasets/dataset/rows/diff?a={rows}&b=dataset/rows:more",
        "/datasets/{kind}/{name}/rows/{key:path}": "/datasets/dataset/rows/rows/r1",
        "/datasets/{kind}/{name}/merge": "/datasets/dataset/rows/merge?ours=dataset/rows:main&theirs=dataset/rows:more",
        "/datasets/{kind}/{name}/duplicates": "/datasets/dataset/rows/duplicates",
        "/pins": "/pins",
        "/pins/{name}": "/pins/files",
        "/pins/jobs/{id}": f"/pins/jobs/{w.look.id}",
        "/indexes": "/indexes",
        "/indexes/{name}": "/indexes/handbook",
        "/indexes/{name}/diff": "/indexes/handbook/diff?a=index/handbook&b=index/handbook",
        "/lineage": f"/lineage?ref={release}",
        "/impact": f"/impact?ref={release}",
        "/evaluations": "/evaluations",
        "/evaluations/{id}": f"/evaluations/{w.evaluation.id}",
        "/compare": f"/compare?a={w.evaluation.id}&b={w.evaluation.id}",
        "/verdicts": "/verdicts",
        "/verdicts/{id}": f"/verdicts/{w.again.verdict.id}",
        "/gates/{id}": f"/gates/{w.gate.id}",
        "/reviews": "/reviews",
        "/reviews/{queue}": "/reviews/looked-at",
        "/reviews/{queue}/{id}": f"/reviews/looked-at/{w.item}",
        "/releases": "/releases",
        "/routes": "/routes",
        "/providers": "/providers?provider=mine",
        "/limits": "/limits",
        "/rollouts": "/rollouts",
        "/rollouts/{id}": f"/rollouts/{w.rollout}",
        "/tools": "/tools",
        "/tools/{name}": "/tools/refund",
        "/grants": "/grants",
        "/grants/{id}": f"/grants/{w.grant}",
        "/views": "/views",
        "/stops": "/stops?subject=all",
        "/approvals": "/approvals",
        "/alerts": "/alerts",
        "/alerts/{id}": f"/alerts/{w.event}",
        "/sessions": "/sessions",
        "/sessions/{id:path}": f"/sessions/{w.run.trace}",
        "/traces": "/traces",
        "/traces/fields": "/traces/fields?filter=kind:model&fields=open",
        "/dashboards": "/dashboards?by=model",
        "/traces/{id}": f"/traces/{w.run.trace}",
        "/traces/compare": f"/traces/compare?trace={w.run.trace},{w.run.trace}",
        "/sql": "/sql?sql=SELECT+name+FROM+spans",
        "/traces/{id}/calls": f"/traces/{w.run.trace}/calls",
        "/traces/{id}/tree": f"/traces/{w.run.trace}/tree?order=slow",
        "/traces/{id}/text": f"/traces/{w.run.trace}/text?span={w.span}",
        "/logs": "/logs?severity=warn",
        "/metrics": "/metrics",
        "/metrics/{name:path}": "/metrics/calls?by=who",
        "/ledger": "/ledger",
        "/monitors": "/monitors",
        "/monitors/{name}": "/monitors/watch",
        "/monitors/{name}/drift": "/monitors/watch/drift",
        "/quality": "/quality?release=answer",
        "/playground": "/playground",
        "/models": "/models",
        "/models/{id:path}": "/models/baseline",
        "/bakeoffs": "/bakeoffs",
        "/bakeoffs/{id}": f"/bakeoffs/{w.bakeoff.id}",
        "/loadtests": "/loadtests",
        "/loadtests/{id}": f"/loadtests/{w.loadtest}",
        "/batches": "/batches",
        "/batches/{id}": f"/batches/{w.batch}",
        "/tunes": "/tunes",
        "/tunes/{id}": f"/tunes/{w.tune}",
        "/weights": "/weights?which=tiny",
        "/masking": "/masking",
        "/erasures": "/erasures",
        "/erasures/{id}": f"/erasures/{w.erasure}",
        "/evidence": f"/evidence?release={release}",
        "/audit": "/audit?action=registry.",
        "/people": "/people",
        "/policy": "/policy",
        "/status": "/status",
    }
    asked = {}
    for route, path in found.items():
        place, _, query = path.partition("?")
        # what a merge would come to is asked by the operation that does it
        needs = "write" if route.endswith("/merge") else "admin" if route == "/people" else "read"
        asked[route] = Asked(needs, "GET", place, query=dict(parse_qsl(query)))
    return asked


def forms(w: World) -> dict[str, Asked]:
    """Requests to forms by route."""
    return {
        "/artifacts/{kind}/{name}/label": form("write", "/artifacts/chain/answer/label", label="mine", digest=w.digests["chain/answer"]),
        "/datasets/harvest": form("write", "/datasets/harvest", traces=w.run.trace, dataset="harvested-3", fields='{"a": 1}'),
        "/datasets/{kind}/{name}/edit": form("write", "/datasets/dataset/rows/edit", branch="edits", rows='{"key": "r9", "question": "x"}'),
        "/datasets/{kind}/{name}/merge": form(
            "write", "/datasets/dataset/rows/merge", ours="dataset/rows:main", theirs="dataset/rows:more"
        ),
        "/pins": form("admin", "/pins", name="by-form", source=str(w.folder / "pinned"), key="key"),
        "/pins/{name}/compare": form("write", "/pins/files/compare"),
        "/pins/{name}/keep": form("write", "/pins/files/keep"),
        "/sessions/{id:path}/keep": form("write", f"/sessions/{w.run.trace}/keep", dataset="kept-by-form", run=w.run.trace, fields="{}"),
        "/sessions/{id:path}/scores": form("trace", f"/sessions/{w.run.trace}/scores", value="up"),
        "/traces/{id}/scores": form("trace", f"/traces/{w.run.trace}/scores", value="down", comment=MARK),
        "/reproduce": form("run", "/reproduce", what=w.run.trace),
        "/evaluations": form("run", "/evaluations", suite="answers"),
        "/bakeoffs": form("run", "/bakeoffs", suite="answers", models="baseline baseline/lead", rows="5"),
        "/loadtests": form(
            "run", "/loadtests", target=f"release/answer@{w.digests['release/answer']}", data="rows", per_second="5", seconds="1"
        ),
        "/loadtests/{id}/cancel": form("run", f"/loadtests/{w.loadtest}/cancel"),
        "/batches": form("run", "/batches", target=f"release/answer@{w.digests['release/answer']}", data="rows"),
        "/batches/{id}/cancel": form("run", f"/batches/{w.batch}/cancel"),
        "/batches/{id}/resume": form("run", f"/batches/{w.batch}/resume"),
        "/tunes": form("run", "/tunes", method="sft", name="desk", base="tiny", data="rows"),
        "/tunes/{id}/cancel": form("run", f"/tunes/{w.tune}/cancel"),
        "/tunes/{id}/resume": form("run", f"/tunes/{w.tune}/resume"),
        "/tunes/{id}/compare": form("run", f"/tunes/{w.tune}/compare", suite="answers"),
        "/weights": form("run", "/weights", which="tiny"),
        "/gates": form("run", "/gates", suite="answers"),
        "/reviews": form("write", "/reviews", queue="by-form", kind="label", raters="1"),
        "/reviews/add": form("write", "/reviews/add", traces=w.run.trace, dataset="looked-at"),
        "/reviews/{queue}/keep": form("write", "/reviews/looked-at/keep"),
        "/reviews/{queue}/{id}": form("run", f"/reviews/looked-at/{w.item}", skip="no idea", do="skip"),
        "/releases/{name}/promote": form("deploy", "/releases/answer/promote", verdict=w.again.verdict.id, environment="production"),
        "/releases/{name}/approve": form("deploy", "/releases/answer/approve", verdict=w.again.verdict.id),
        "/releases/{name}/withdraw": form("deploy", "/releases/answer/withdraw", verdict=w.again.verdict.id),
        "/rollouts": form("deploy", "/rollouts", release="answer", share="5"),
        "/rollouts/{id}": form("deploy", f"/rollouts/{w.rollout}", do="stop", why="enough"),
        "/releases/{name}/rollback": form("deploy", "/releases/answer/rollback", environment="production"),
        "/routes": form("deploy", "/routes", name="by-form", text='[[upstreams]]\nmodel = "baseline"'),
        "/routes/remove": form("deploy", "/routes/remove", name="by-form"),
        "/providers/keys": form("admin", "/providers/keys", provider="openai", secret=f"sk-{MARK}-by-form"),
        "/providers/keys/{id}/remove": form("admin", f"/providers/keys/{w.provider_key_too}/remove"),
        "/providers/{name}/test": form("admin", "/providers/mine/test"),
        "/providers/rekey": form("admin", "/providers/rekey"),
        "/limits": form("admin", "/limits", subject="user:by-form", measured="requests", amount="7", window="day"),
        "/limits/{id}/remove": form("admin", f"/limits/{limit_id('user:by-form', 'requests', 'day')}/remove"),
        "/tools/{name}/suspend": form("write", "/tools/refund/suspend", reason="look first"),
        "/tools/{name}/resume": form("deploy", "/tools/refund/resume"),
        "/grants": form("deploy", "/grants", agent="desk", task="by form", tools="refund", arguments="{}"),
        "/views": form("read", "/views", name="by form", page="traces", asked="filter=x"),
        "/views/remove": form("read", "/views/remove", name="by form"),
        "/stops": form("write", "/stops", subject="agent/by-form", reason="enough"),
        "/stops/lift": form("deploy", "/stops/lift", subject="agent/nobody"),
        "/grants/{id}/revoke": form("deploy", f"/grants/{w.grant}/revoke"),
        "/grants/{id}/token": form("deploy", f"/grants/{w.grant}/token"),
        "/approvals/{id}": form("deploy", f"/approvals/{w.approval}", answer="deny"),
        "/monitors": form("write", "/monitors", name="by-form", suite="answers"),
        "/monitors/{name}/look": form("run", "/monitors/watch/look"),
        "/monitors/{name}/pause": form("write", "/monitors/watch/pause", paused="1"),
        "/alerts": form("write", "/alerts", name="by-form", monitors="watch"),
        "/alerts/{id}/acknowledge": form("write", f"/alerts/{w.event}/acknowledge"),
        "/alerts/rules/{name}/look": form("write", "/alerts/rules/slow/look"),
        "/alerts/rules/{name}/test": form("write", "/alerts/rules/letters/test"),
        "/erasures": form("admin", "/erasures", names="nobody-9"),
        "/erasures/preview": form("admin", "/erasures/preview", names="nobody-9"),
        "/masking/try": form("read", "/masking/try", text="Bearer abcdefgh12345678"),
        "/audit/verify": form("read", "/audit/verify"),  # somebody who may not verify sees the list without
        "/people/keys": form("admin", "/people/keys", name="by form", role="caller"),
        "/people/keys/{id}/change": form("admin", f"/people/keys/{w.keys['viewer']}/change", role="viewer"),
        "/people/keys/{id}/revoke": form("admin", f"/people/keys/{w.keys['revoked']}/revoke"),
        "/people/{id:path}/block": form("admin", f"/people/{w.person}/block"),
        "/people/{id:path}/admit": form("admin", f"/people/{w.person}/admit"),
        "/status/verify": form("read", "/status/verify"),
        "/status/remap": form("admin", "/status/remap"),
        "/ledger/audit": form("admin", "/ledger/audit"),
    }
