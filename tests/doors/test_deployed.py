"""deploy/: what is written there is what Compose and Kubernetes take, every variable is one of ours, and a server starts with them.

Neither is run here, nor are their images: a server gets the environment of the file, with the stores of the tests in the place of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.clickhouse_server import PASSWORD as HOUSE_PASSWORD
from tests.clickhouse_server import ClickHouseServer
from tests.doors.server import Server
from tests.registry.sources.postgresql_server import PASSWORD, PostgreSqlServer
from tests.s3_server import KEY, SECRET, S3Server

from windlass.settings import Settings
from windlass.store import meta_postgres, spans_clickhouse

FOLDER = Path(__file__).parents[2] / "deploy"
COMPOSE = (FOLDER / "compose.yaml").read_text()
KUBERNETES = list(yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text()))
OWNER_KEY = "a-key-of-an-owner-that-is-long-enough"
# with no default in the file, so that nothing starts without them
NEEDED = {"WINDLASS_OWNER_KEY": OWNER_KEY, "POSTGRES_PASSWORD": PASSWORD, "CLICKHOUSE_PASSWORD": HOUSE_PASSWORD, "STORAGE_PASSWORD": SECRET}
SECRETS = {"WINDLASS_OWNER_KEY", meta_postgres.PASSWORD, spans_clickhouse.PASSWORD}


def interpolated(text: str, given: dict[str, str]) -> dict[str, Any]:
    """The file as Compose reads it: `${NAME:?why}` must be given, `${NAME:-else}` may be, `$$` is a dollar."""

    def value(found: re.Match[str]) -> str:
        name, how, rest = found["name"], found["how"], found["rest"]
        if how == ":?" and name not in given:
            raise KeyError(f"{name}: {rest}")
        return given.get(name) or (rest if how == ":-" else "")

    def every(part: Any) -> Any:
        if isinstance(part, str):
            return re.sub(r"(?<!\$)\$\{(?P<name>\w+)(?:(?P<how>:[-?])(?P<rest>[^}]*))?\}", value, part)
        if isinstance(part, dict):
            return {name: every(inner) for name, inner in part.items()}
        return [every(inner) for inner in part] if isinstance(part, list) else part

    made: dict[str, Any] = every(yaml.safe_load(text))
    return made


def variables(compose: dict[str, Any]) -> dict[str, str]:
    found: dict[str, str] = compose["services"]["windlass"]["environment"]
    return found


def test_compose_takes_the_file() -> None:
    """By the specification of Compose, in which a service has no unknown field."""
    spec = pytest.importorskip("compose_spec")
    made = interpolated(COMPOSE, NEEDED)
    spec.PyCompose.from_yaml(yaml.safe_dump(made)).validate()
    made["services"]["windlass"]["imagee"] = "x"
    with pytest.raises(ValueError, match="imagee"):
        spec.PyCompose.from_yaml(yaml.safe_dump(made)).validate()


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_nothing_starts_without_its_secrets(name: str) -> None:
    with pytest.raises(KeyError, match=name):
        interpolated(COMPOSE, {k: v for k, v in NEEDED.items() if k != name})
    for secret in NEEDED.values():
        assert secret not in COMPOSE


def test_services_and_volumes_that_are_named_are_there() -> None:
    compose = interpolated(COMPOSE, NEEDED)
    services = compose["services"]
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)
        assert {v.partition(":")[0] for v in service.get("volumes", ())} <= set(compose["volumes"])
        assert "build" in service or ":" in service["image"], "an image that is not ours is pinned"
    for host in re.findall(r"(?:@|//)([a-z]+):\d+", " ".join(variables(compose).values())):
        assert host in services


def test_every_variable_is_one_of_ours() -> None:
    (config,) = (d for d in KUBERNETES if d["kind"] == "ConfigMap")
    for name in {*variables(interpolated(COMPOSE, NEEDED)), *config["data"]}:
        if name.startswith("WINDLASS_") and name not in SECRETS:
            assert name.removeprefix("WINDLASS_").lower() in Settings.__struct_fields__, name
    assert not SECRETS & config["data"].keys(), "secrets are in a Secret"


def test_kubernetes_takes_the_file() -> None:
    """By the JSON schemas that Kubernetes publishes, in which no field is unknown."""
    validate = pytest.importorskip("kubernetes_validate")
    for document in KUBERNETES:
        validate.validate(document, "1.33", strict=True)
    wrong = {**KUBERNETES[2], "spec": {**KUBERNETES[2]["spec"], "replica": 1}}
    with pytest.raises(validate.ValidationError):
        validate.validate(wrong, "1.33", strict=True)


def test_one_server_at_a_time_has_the_folder() -> None:
    (deployment,) = (d for d in KUBERNETES if d["kind"] == "Deployment")
    assert deployment["spec"]["replicas"] == 1 and deployment["spec"]["strategy"] == {"type": "Recreate"}
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["volumeMounts"] == [{"name": "data", "mountPath": "/data"}]


@pytest.fixture
def stores(postgresql: PostgreSqlServer, s3_server: S3Server, tmp_path: Path) -> Iterator[dict[str, str]]:
    """What stands in the files for a store, and the store of this test."""
    pytest.importorskip("chdb", reason="there is no chDB here: make .stamps/clickhouse installs it")
    house, name = ClickHouseServer(tmp_path / "clickhouse"), postgresql.empty_store(migrated=False)
    bucket = s3_server.bucket("deployed" + name.replace("_", ""))
    yield {
        "postgresql://windlass@postgres:5432/windlass": postgresql.store_url(name),
        "clickhouse://windlass@clickhouse:8123/windlass": house.setting(),
        "s3://windlass/main?endpoint=http://storage:9000": f"s3://{bucket}/main?endpoint={s3_server.endpoint}",
        "s3://windlass/main": f"s3://{bucket}/main?endpoint={s3_server.endpoint}",
    }
    house.kill()
    postgresql.drop(name)


@pytest.mark.slow
@pytest.mark.parametrize("file", ["compose", "kubernetes"])
def test_a_server_starts_with_the_environment_of_the_file(stores: dict[str, str], tmp_path: Path, file: str) -> None:
    if file == "compose":
        written = variables(interpolated(COMPOSE, NEEDED))
    else:
        secret = {meta_postgres.PASSWORD: PASSWORD, spans_clickhouse.PASSWORD: HOUSE_PASSWORD, "AWS_SECRET_ACCESS_KEY": SECRET}
        written = KUBERNETES[0]["data"] | secret | {"WINDLASS_OWNER_KEY": OWNER_KEY}
    given = {name: stores.get(value, value) for name, value in written.items()} | {"AWS_ACCESS_KEY_ID": KEY}
    assert sum(value in stores for value in written.values()) == 3
    up = Server(tmp_path / "home", env=given, host="0.0.0.0")
    with up.client() as client:
        found = client.status()
        assert {store.state for store in found.stores.values()} == {"ready"}, found.stores
        assert {what: store.engine for what, store in found.stores.items()} == {
            "tables": "PostgreSQL",
            "blobs": "S3",
            "spans": "ClickHouse",
        }
    assert up.http(host="10.1.2.3:4747").get("/healthz").status_code == 200, "a probe comes by an address"
    named = [up.http(host=name).get("/").status_code for name in (written["WINDLASS_NAMES"].split(",")[-1], "evil.example.com")]
    assert named == [401, 403], "whoever comes by its name may log in; by another, nothing is answered"
    assert up.stop() == 0
