"""MLflow's prompts as versions of ours, and back. A version of theirs is a model's, with all it says in tags."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from windlass.core.artifacts import Version, make_version
from windlass.core.errors import Invalid, NotFound
from windlass.core.operations.prompts import PromptVersion
from windlass.sdk.client import Client
from windlass.sdk.importing.foreign import Foreign
from windlass.sdk.importing.prompt_bodies import body_of, is_plain
from windlass.sdk.importing.prompts import Refs, bring
from windlass.sdk.importing.source import Left

IS_PROMPT, TEXT, TYPE = "mlflow.prompt.is_prompt", "mlflow.prompt.text", "_mlflow_prompt_type"
OUTPUT, CONFIG, EXPERIMENTS = "_mlflow_prompt_response_format", "_mlflow_prompt_model_config", "_mlflow_experiment_ids"
OWN = frozenset({IS_PROMPT, TEXT, TYPE, OUTPUT, CONFIG, EXPERIMENTS, "mlflow.prompt.associatedRunIds"})
MODELS, VERSIONS = "/api/2.0/mlflow/registered-models/search", "/api/2.0/mlflow/model-versions/search"
ONLY = f"tags.`{IS_PROMPT}` = 'true'"
PAGE = 100


def tags_in(told: Any) -> dict[str, str]:
    """A list of tags as they send it. Raises `Invalid`."""
    if not isinstance(told or [], list):
        raise Invalid("tags are a list of key and value", where="tags")
    return {str(one["key"]): str(one.get("value", "")) for one in told or [] if isinstance(one, dict) and "key" in one}


def version_of(name: str, tags: Mapping[str, str], note: str, project: str) -> Version:
    """One of theirs, by its tags, as one of ours. Raises `Invalid` for what cannot be said here."""
    if TEXT not in tags:
        raise Invalid("they have no text", where=TEXT)
    prompt = _json(tags, TEXT) if tags.get(TYPE) == "chat" else tags[TEXT]
    body = body_of(prompt, _json(tags, CONFIG), _json(tags, OUTPUT))
    said = {key: value for key, value in tags.items() if key not in OWN}
    neutral = {**({"message": note} if note else {}), **({"tags": said} if said else {})}
    return make_version("prompt", name, body, neutral=neutral, project=project)


def tags_of(name: str, found: PromptVersion) -> dict[str, str]:
    """One of ours as the tags of one of theirs. Raises `Invalid` for one that their SDK cannot fill in."""
    if found.rows or any(_unfillable(m.text) for m in found.body.messages):
        why = "has examples" if found.rows else "has more in its texts than {{ name }}"
        raise Invalid(f"prompt/{name} {why}", where="prompt", remedy=f'windlass.prompt("{name}") renders it')
    said = [{"role": m.role, "content": m.text} for m in found.body.messages]
    one = len(said) == 1 and said[0]["role"] == "user"
    made = {**found.tags, IS_PROMPT: "true", TYPE: "text" if one else "chat", TEXT: said[0]["content"] if one else _text(said)}
    made |= {CONFIG: _text(found.body.parameters)} if found.body.parameters else {}
    return made | ({OUTPUT: _text(found.body.output)} if found.body.output else {})


def _unfillable(text: str) -> bool:
    """Their SDK renders Jinja where there is a block of it, and else fills in names alone."""
    return "{%" not in text and not is_plain(text)


def bring_prompts(client: Client, server: Foreign, left: Counter[Left], *, dry: bool) -> tuple[Refs, int]:
    """Bring all prompts. Returns which is which, and how many versions are new here. Raises what reading and pushing do."""
    refs, new = Refs(), 0
    try:
        names = [str(one["name"]) for one in _all(server, MODELS, "registered_models", ONLY)]
    except (NotFound, Invalid):  # other stores of it have none
        return refs, new
    for name in names:
        told = _all(server, VERSIONS, "model_versions", f"name = '{name}' AND {ONLY}") if "'" not in name else []
        by_number = {int(one["version"]): one for one in told}

        def version(number: int, name: str = name, known: dict[int, Any] = by_number) -> Version:
            said = known[number]
            note = f"version {number} in MLflow" + (f": {said['description']}" if said.get("description") else "")
            return version_of(name, tags_in(said.get("tags")), note, client.project)

        new += bring(client, "mlflow", name, sorted(by_number), version, refs, left, dry=dry)
    return refs, new


def _all(server: Foreign, path: str, what: str, filter: str) -> list[dict[str, Any]]:
    found, token = list[dict[str, Any]](), ""
    while True:
        asked = [("filter", filter), ("max_results", str(PAGE)), *([("page_token", token)] if token else [])]
        told = server.get(path, asked)
        found += told.get(what, [])
        if not (token := told.get("next_page_token", "")):
            return found


def _json(tags: Mapping[str, str], field: str) -> Any:
    if field not in tags:
        return None
    try:
        return msgspec.json.decode(tags[field])
    except (msgspec.DecodeError, RecursionError) as e:
        raise Invalid("this is no JSON", where=field) from e


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
