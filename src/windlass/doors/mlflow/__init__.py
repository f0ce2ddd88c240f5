"""MLflow's own interface, as far as its SDKs need it to trace, to say what an answer was worth, and to have prompts. Spans come by OTLP
(`otlp/senders.py`); what all of it means is in `traces/mlflow_records.py`.

`door` knows who asks and how theirs are answered; `experiments`, `traces`, `assessments` and `prompts` are what is served. Anything else of
theirs is refused in the form that they know.
"""

from __future__ import annotations

from starlette.routing import Route

from windlass.doors.mlflow.assessments import Assessments
from windlass.doors.mlflow.door import Door, server_info, unserved, version
from windlass.doors.mlflow.experiments import Experiments
from windlass.doors.mlflow.prompts import Prompts
from windlass.doors.mlflow.traces import Traces
from windlass.doors.otlp import Intake
from windlass.platform import Platform
from windlass.sdk.importing.prompt_links import PromptLinks

VERBS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def routes(platform: Platform, intake: Intake, links: PromptLinks) -> list[Route]:
    """All of it. `links` knows which versions of prompts traces name."""
    door = Door(platform, intake, links)
    return [
        Route("/version", version, methods=["GET"]),
        Route("/api/3.0/mlflow/server-info", server_info, methods=["GET"]),
        *(route for part in (Experiments, Traces, Assessments, Prompts) for route in part(door).routes()),
        *(Route(f"{base}/{{rest:path}}", unserved, methods=VERBS) for base in ("/api/2.0", "/api/3.0", "/ajax-api")),
    ]
