"""One small application over a real data folder: what the tests of the registry push and look at."""

from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from windlass.core.actor import OWNER
from windlass.core.artifacts import (
    ComponentBody,
    DatasetBody,
    Link,
    ModelBody,
    PromptBody,
    ReleaseBody,
    TemplateMessage,
    Version,
    make_version,
)
from windlass.core.dataset import FORM, make_rows
from windlass.core.digest import canonical
from windlass.core.operations.registry import Bundle
from windlass.jobs.durable import DurableJobs
from windlass.registry.datasets import Datasets
from windlass.registry.diff import Diffs
from windlass.registry.edits import Edits
from windlass.registry.labels import Labels
from windlass.registry.lineage import Lineage
from windlass.registry.push import Push
from windlass.registry.rows import Rows
from windlass.registry.uploads import Uploads
from windlass.registry.verify import Verify
from windlass.registry.versions import Versions
from windlass.store.blobs_folder import FolderBlobs
from windlass.store.home import Home
from windlass.store.meta import open_meta, write
from windlass.store.packs import Packs


class Registry:
    """All services over one data folder."""

    def __init__(self, path: Path, database: str = "") -> None:
        self.home = Home(path)
        self.database = database
        self.engine: Engine = open_meta(database or self.home.database_url)
        self.blobs = FolderBlobs(self.home.path / "blobs")
        self.versions = Versions(self.engine, self.blobs)
        self.rows = Rows(self.engine, self.blobs, Packs(self.blobs, self.home.path / "run"))
        self.datasets = Datasets(self.engine, self.versions, self.rows, self.blobs)
        self.uploads = Uploads(self.engine, self.versions, self.datasets, self.rows)
        self.edits = Edits(self.engine, self.versions, self.datasets, self.rows)
        self.push_service = Push(self.engine, self.blobs, self.datasets, DurableJobs())
        self.labels = Labels(self.engine)
        self.lineage = Lineage(self.engine)
        self.diffs = Diffs(self.versions, self.datasets, self.blobs)
        self.verify = Verify(self.engine, self.blobs, self.datasets)

    def dataset(self, *rows: dict[str, Any], name: str = "questions") -> Version:
        """A dataset whose rows were sent."""
        made = make_rows(rows)
        prepared = self.rows.change("default", None, made.lines)
        with write(self.engine) as c:
            root = self.rows.keep(c, "default", prepared)
        return make_version("dataset", name, DatasetBody(root, made.tree.count, FORM))

    def push(self, *versions: Version, branch: str = "main", **more: Any) -> Any:
        snapshot = self.blobs.put(canonical({"app.py": self.blobs.put(b"print()")}))
        return self.push_service.push(OWNER, Bundle("default", "helpdesk", versions, snapshot, branch, **more))


def prompt(text: str = "Answer.", name: str = "reply") -> Version:
    body = PromptBody((TemplateMessage("system", text), TemplateMessage("user", "{{ q }}")), {"q": {"type": "string"}}, "jinja2@3.1")
    return make_version("prompt", name, body, neutral={"description": "answers"})


MODEL = make_version("model", "baseline", ModelBody("baseline", "baseline@1", True))


def component(p: Version) -> Version:
    links = (Link("uses", "prompt", p.name, p.digest, "prompt"), Link("uses", "model", "baseline", MODEL.digest, "model"))
    return make_version("component", "reply", ComponentBody(p.digest, MODEL.digest), links=links)


def release(c: Version) -> Version:
    return make_version(
        "release", "answer", ReleaseBody("component", c.digest, (c.digest,)), links=(Link("uses", "component", "reply", c.digest, "entry"),)
    )


def application(text: str = "Answer.") -> tuple[Version, ...]:
    p = prompt(text)
    c = component(p)
    return (p, MODEL, c, release(c))
