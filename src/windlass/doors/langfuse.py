"""Scores as Langfuse's SDKs send them, and prompts as they read them. Their spans come by OTLP (`otlp/senders.py`), their datasets by
`langfuse_datasets.py`.

    GET  /api/public/v2/prompts/{name}    what production's release uses; ?label= (`latest` is the newest), ?version= (from 1)
    POST /api/public/scores       one score, or a list: 200, 202 where all are kept, 207 where some are not
    POST /api/public/ingestion    a batch of events, of which `score-create` is taken: 207 with what came of each

A prompt of one message is told as text, of several as a chat. Their SDK fills in `{{ name }}` and nothing else: a prompt with more than
that in its texts is refused. A score keeps the id it was given there: the same id again replaces, and two of one name stand side by side,
as there.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from windlass.core.actor import Actor
from windlass.core.errors import Invalid, Unavailable, WindlassError
from windlass.core.ids import uuid7
from windlass.core.operations.prompts import GET as PROMPT
from windlass.core.operations.prompts import PromptQuery, PromptVersion
from windlass.core.operations.query import complaint
from windlass.core.operations.traces import GIVE_SCORE, ScoreRequest
from windlass.core.ref import check_label, check_name
from windlass.doors import api
from windlass.doors.auth import headers_of, read_body
from windlass.doors.otlp import Intake
from windlass.doors.otlp.senders import Sender
from windlass.platform import Platform
from windlass.sdk.importing.prompt_bodies import is_plain

SENDER = Sender("/api/public", ("basic", "bearer"))
WORDS = ("TEXT", "CORRECTION")  # kinds whose value is longer than a category
LOGS = "sdk-log"  # an event about the SDK itself
PRODUCTION, LATEST = "production", "latest"
_WHOLE, _SPAN = re.compile("[0-9a-f]{32}"), re.compile("[0-9a-f]{16}")


class _Score(msgspec.Struct, rename="camel"):
    """What is read of one of theirs; what else it says is not kept."""

    name: str
    value: float | str | bool | None = None
    id: str | None = None
    trace_id: str | None = None
    observation_id: str | None = None
    session_id: str | None = None
    dataset_run_id: str | None = None
    comment: str | None = None
    data_type: str | None = None


class _Event(msgspec.Struct):
    type: str
    id: str = ""
    body: Any = None


class _Batch(msgspec.Struct):
    batch: list[Any]


class Langfuse:
    """The door.

    Args:
        platform: gives the scores.
        intake: knows who sends, by the key that stands for theirs.
    """

    def __init__(self, platform: Platform, intake: Intake) -> None:
        self._platform = platform
        self._intake = intake

    def routes(self) -> list[Route]:
        return [
            Route(f"{SENDER.base}/{name}", api.answering(endpoint), methods=[method])
            for method, name, endpoint in (
                ("GET", "v2/prompts/{name:path}", self._prompt), ("POST", "scores", self._scores), ("POST", "ingestion", self._ingestion),
            )
        ]  # fmt: skip

    async def _prompt(self, request: Request) -> Response:
        actor = await self._intake.admit(SENDER, headers_of(request.scope))
        name, asked = check_name(request.path_params["name"]), request.query_params
        label, number = asked.get("label") or PRODUCTION, asked.get("version")
        if number is not None and not (number.isascii() and number.isdecimal() and int(number[:9]) > 0):
            raise Invalid(f"{number[:20]!r} is no version", where="version", remedy="give a number from 1")
        if number is not None or label == LATEST:
            query = PromptQuery(f"prompt/{name}", actor.project, number=int((number or "0")[:9]))
        else:
            query = PromptQuery(f"prompt/{name}:{check_label(label)}", actor.project)
        found: PromptVersion = await self._platform.ask(PROMPT, actor, query)
        return told(200, _theirs(name, found, {label} if number is None else set()))

    async def _scores(self, request: Request) -> Response:
        actor, given = await self._read(request)
        if not isinstance(given, list):
            return told(200, {"id": await self._keep(actor, given)})
        errors = [error for one in given if (error := await self._tried(actor, one))]
        if not errors:
            return told(202, {"message": "Accepted"})
        said = [{"message": str(error)} for error in errors]
        return told(207, {"accepted": len(given) - len(errors), "rejected": len(errors), "errors": said})

    async def _ingestion(self, request: Request) -> Response:
        actor, given = await self._read(request)
        kept, refused = list[dict[str, Any]](), list[dict[str, Any]]()
        for one in converted(given, _Batch).batch:
            id, error = "", None
            try:
                event = converted(one, _Event)
                id = event.id
                if event.type == "score-create":
                    error = await self._tried(actor, event.body)
                elif event.type != LOGS:
                    remedy = "send spans by OpenTelemetry, as the SDKs of today do"
                    raise Invalid(f"{event.type[:40]!r} is not taken here, only scores are", where="type", remedy=remedy)
            except Invalid as e:
                error = e
            if error is None:
                kept.append({"id": id, "status": 201})
            else:
                refused.append({"id": id, "status": error.status, "message": str(error), "error": error.code})
        return told(207, {"successes": kept, "errors": refused})

    async def _read(self, request: Request) -> tuple[Actor, Any]:
        """Who sends, and what. Raises `Unauthenticated`, `Forbidden`, `TooLarge`, `Invalid`."""
        actor = await self._intake.admit(SENDER, headers_of(request.scope))
        return actor, await read_json(request, self._platform)

    async def _tried(self, actor: Actor, given: Any) -> WindlassError | None:
        """Why a score of several is not kept. Raises `Unavailable`, after which all of them may be sent again."""
        try:
            await self._keep(actor, given)
        except Unavailable:
            raise
        except WindlassError as e:
            return e
        return None

    async def _keep(self, actor: Actor, given: Any) -> str:
        """Its id. Raises as `traces.score` does."""
        score = converted(given, _Score)
        id = score.id or uuid7()
        await self._platform.ask(GIVE_SCORE, actor, _request(score, id, actor.project))
        return id


def _theirs(name: str, found: PromptVersion, asked: set[str]) -> dict[str, Any]:
    """One of our prompts as one of theirs. Raises `Invalid` for one whose texts their SDK cannot fill in."""
    if found.rows or not all(is_plain(m.text) for m in found.body.messages):
        why = "has examples" if found.rows else "has more in its texts than {{ name }}"
        raise Invalid(f"prompt/{name} {why}", where="prompt", remedy=f'windlass.prompt("{name}") renders it')
    said = [{"role": m.role, "content": m.text} for m in found.body.messages]
    labels = {*found.labels, *asked} | ({LATEST} if found.number == found.versions else set())
    return {
        "id": found.ref, "name": name, "version": found.number, "config": found.body.parameters, "labels": sorted(labels), "tags": [],
        "type": "text" if len(said) == 1 else "chat", "prompt": said[0]["content"] if len(said) == 1 else said,
    }  # fmt: skip


def _request(score: _Score, id: str, project: str) -> ScoreRequest:
    """One of theirs as one of ours. Raises `Invalid`."""
    trace, span = whole_trace(score.trace_id) if score.trace_id else None, whole_span(score.observation_id)
    value, comment = score.value, score.comment or None
    if score.data_type == "BOOLEAN" and value in (0, 1):
        value = bool(value)
    elif score.data_type in WORDS and isinstance(value, str):
        value, comment = None, "\n\n".join(text for text in (value, comment) if text)
    run = (score.dataset_run_id or None) if trace is None else None
    session = (score.session_id or None) if trace is None and run is None else None
    return ScoreRequest(score.name.strip(), value, comment, trace, span, session, id, project=project, run=run)


def whole_trace(given: str) -> str:
    """The id of a trace as 32 hex digits. Raises `Invalid`."""
    trace = given.replace("-", "").lower()
    if not _WHOLE.fullmatch(trace):
        raise Invalid(f"{trace[:40]!r} is not a whole trace id", where="traceId", remedy="give 32 hex digits")
    return trace


def whole_span(given: str | None) -> str | None:
    """The id of an observation, where one is told. Raises `Invalid`."""
    if given and not _SPAN.fullmatch(given):
        raise Invalid(f"{given[:40]!r} is not a whole span id", where="observationId", remedy="give 16 hex digits")
    return given or None


async def read_json(request: Request, platform: Platform) -> Any:
    """The body. Raises `TooLarge`, `Invalid`."""
    try:
        return msgspec.json.decode(await read_body(request, platform.settings.body_limit))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise Invalid(f"the body must be JSON: {e}", where="body") from e


def converted(given: Any, kind: type[Any]) -> Any:
    """What was sent as the struct it should be. Raises `Invalid` naming the place."""
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as e:
        wrong = complaint(e)
        wrong.where = wrong.where or "body"
        raise wrong from e


def told(status: int, said: Any) -> Response:
    return Response(msgspec.json.encode(said), status, media_type=api.JSON)
