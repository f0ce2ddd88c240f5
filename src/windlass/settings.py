"""Every setting: name, type, default, one sentence. Read from arguments, then `WINDLASS_<NAME>`, then `settings.toml` in the
data folder, then the default. `docs/settings.md` is made from this file and tested to be current."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import msgspec

from windlass.core.errors import Invalid

MB = 1_000_000


def _says(sentence: str, **limits: Any) -> msgspec.Meta:
    return msgspec.Meta(description=sentence, **limits)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    host: Annotated[str, _says("The address to listen on; anything but loopback needs an owner key.")] = "127.0.0.1"
    names: Annotated[str, _says("Names this server is reached by besides its addresses, separated by commas.")] = ""
    port: Annotated[int, _says("The port to listen on.", ge=0, le=65535)] = 4747
    workers: Annotated[int, _says("Processes that serve requests.", ge=1, le=64)] = 1
    body_limit: Annotated[int, _says("Bytes of one request to the API or the gateway.", ge=1000)] = 32 * MB
    blob_limit: Annotated[int, _says("Bytes of one uploaded blob.", ge=1000)] = 512 * MB
    otlp_limit: Annotated[int, _says("Bytes of one OTLP request after decompression.", ge=1000)] = 64 * MB
    grpc_port: Annotated[
        Annotated[int, msgspec.Meta(ge=0, le=65535)] | Literal["off"],
        _says("The port for OTLP by gRPC: 0 for any that is free, off for none. Where it is in use, the server starts without."),
    ] = 4317
    otlp_pending: Annotated[
        int,
        _says(
            "Bytes of OTLP requests that a process reads, or has waiting for the disk, at once; beyond, senders are told to wait.", ge=1000
        ),
    ] = 256 * MB
    forward_to: Annotated[
        str,
        _says(
            "Where OTLP that is taken here is sent on to: addresses with spaces between, such as"
            " https://host:4318?headers=VARIABLE&signals=traces; empty for nowhere."
        ),
    ] = ""
    forward_hours: Annotated[float, _says("Hours that OTLP waits for such an address that is away, before it is skipped.", gt=0)] = 72.0
    journal_segment: Annotated[int, _says("Bytes after which a journal segment is closed and the next begins.", ge=4096)] = 64 * MB
    database: Annotated[
        str, _says("The relational store: empty for SQLite in the data folder, or postgresql://user@host:5432/database.")
    ] = ""
    blobs: Annotated[
        str,
        _says("Where blobs are: empty for the data folder, or s3://bucket/prefix, with ?endpoint=http://host:9000 for what is not AWS."),
    ] = ""
    spans: Annotated[str, _says("Where spans are asked: empty for DuckDB in the data folder, or clickhouse://user@host:8123/database.")] = (
        ""
    )
    spans_cluster: Annotated[
        str, _says("The cluster over which ClickHouse spreads spans, by its name in remote_servers; empty for one server.")
    ] = ""
    spans_replica_path: Annotated[
        str, _says("Where a table of such a cluster stands in Keeper, with ClickHouse's macros; one that differs by {shard} and {table}.")
    ] = "/clickhouse/tables/{shard}/{database}/{table}"
    spans_replica_name: Annotated[str, _says("How a node of such a cluster is called among the replicas of its shard.")] = "{replica}"
    span_memory: Annotated[int, _says("Megabytes DuckDB may use in the projector.", ge=64)] = 256
    retention_days: Annotated[
        int, _says("Days (UTC) for which traces are kept after the one on which they came; 0 for ever.", ge=0, le=36_500)
    ] = 0
    rest_seconds: Annotated[float, _says("Seconds without work after which processes give memory back.", gt=0)] = 20.0
    runner_processes: Annotated[
        int, _says("Runner processes at work at once at each depth; 0 means one a core, at least four. As many again are kept warm.", ge=0)
    ] = 0
    runner_memory: Annotated[int, _says("Bytes of address space of one runner.", ge=256 * MB)] = 2048 * MB
    runner_seconds: Annotated[float, _says("Seconds of wall time for one run of a chain, tool or evaluator.", gt=0)] = 120.0
    runner_idle_seconds: Annotated[float, _says("Seconds after which an idle runner is ended.", gt=0)] = 30.0
    approval_seconds: Annotated[float, _says("Seconds that a call of a tool waits for a person before it is refused.", gt=0)] = 300.0
    evaluation_concurrency: Annotated[int, _says("Rows of an evaluation under way at once.", ge=1)] = 8
    ray: Annotated[
        str, _says("The Ray cluster that rows of evaluations are worked on: empty for this machine, auto, host:6379 or ray://host:10001.")
    ] = ""
    connect_seconds: Annotated[float, _says("Seconds to connect to a model provider.", gt=0)] = 10.0
    first_token_seconds: Annotated[float, _says("Seconds to a provider's first byte.", gt=0)] = 120.0
    between_tokens_seconds: Annotated[float, _says("Seconds between two pieces of a provider's stream.", gt=0)] = 60.0
    total_seconds: Annotated[float, _says("Seconds for one whole answer of a provider.", gt=0)] = 600.0
    encoder_threads: Annotated[int, _says("Processor threads of one encoding on this machine.", ge=1, le=64)] = 1
    pin_folders: Annotated[str, _says("Folders that pins may read, separated by commas; empty for any that the server's user may.")] = ""
    monitor_seconds: Annotated[float, _says("Seconds after which a monitor looks again by itself.", gt=0)] = 300.0
    rollout_seconds: Annotated[float, _says("Seconds after which a rollout is looked at again.", gt=0)] = 5.0
    public_url: Annotated[
        str,
        _says(
            "Where people reach the pages, for links in e-mail and webhooks, and for OpenID providers; empty for the server's own address."
        ),
    ] = ""
    smtp_url: Annotated[
        str, _says("The mail server: smtp://host:25, or starttls:// or smtps:// with names of variables for user and password.")
    ] = ""
    smtp_from: Annotated[str, _says("Whom e-mail comes from, such as Windlass <windlass@your.host>.")] = ""
    model_idle_seconds: Annotated[float, _says("Seconds after which the process of a model on this machine is ended.", gt=0)] = 60.0
    tune_threads: Annotated[int, _says("Processor threads of one tuning or of one model on this machine.", ge=1, le=256)] = 1
    tune_memory: Annotated[int, _says("Megabytes that one tuning may take; 0 for what is free.", ge=0)] = 0
    retries: Annotated[int, _says("Times a failed call to a provider is tried again.", ge=0, le=10)] = 3


def describe() -> list[tuple[str, str, str]]:
    """Name, default and sentence of every setting, in order."""
    hints = get_type_hints(Settings, include_extras=True)
    defaults = Settings()
    return [(n, str(getattr(defaults, n)), str(hints[n].__metadata__[0].description)) for n in Settings.__struct_fields__]


PAGE = """# Settings

Each can be given as an argument where a command has it, as `WINDLASS_<NAME>` in the environment, or in `settings.toml` in the data
folder; the first of these counts. The data folder itself is named by `--home` or `WINDLASS_HOME`.

| name | default | what it does |
|---|---|---|
"""


def page() -> str:
    """`docs/settings.md`: `python -c "from windlass.settings import page; print(page(), end='')" > docs/settings.md`."""
    return PAGE + "".join(f"| `{name}` | `{default}` | {sentence} |\n" for name, default, sentence in describe())


def load_settings(home: Path | None = None, given: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Settings by precedence. `given` are arguments; None values among them do not count.

    Raises `Invalid` naming the setting and where it stands; a name that is no setting is one, with the nearest that is.
    """
    environ = os.environ if environ is None else environ
    merged: dict[str, tuple[Any, str]] = {}
    path = home / "settings.toml" if home else None
    if path and path.exists():
        try:
            table = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
            raise Invalid(f"not TOML: {e}", where=str(path)) from e
        except OSError as e:
            raise Invalid(f"the settings cannot be read: {e.strerror}", where=str(path)) from e
        for name, value in table.items():
            if name not in Settings.__struct_fields__:
                near = difflib.get_close_matches(name, Settings.__struct_fields__, 1)
                raise Invalid(
                    f"{name!r} is not a setting", where=str(path), remedy=f"did you mean {near[0]!r}?" if near else "see docs/settings.md"
                )
            merged[name] = (value, str(path))
    for name in Settings.__struct_fields__:
        variable = f"WINDLASS_{name.upper()}"
        if variable in environ:
            merged[name] = (environ[variable], variable)
        if given and given.get(name) is not None:
            merged[name] = (given[name], f"--{name.replace('_', '-')}")
    for name, (value, where) in merged.items():
        try:
            msgspec.convert({name: value}, Settings, strict=False)
        except msgspec.ValidationError as e:
            raise Invalid(f"setting {name}: {str(e).split(' - at')[0]}", where=where) from e
    return msgspec.convert({n: v for n, (v, _) in merged.items()}, Settings, strict=False)
