"""How ClickHouse is reached, and asked so that no text is ever read as SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from windlass.core.errors import Invalid

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

PASSWORD = "WINDLASS_SPANS_PASSWORD"
REMEDY = "write clickhouse://user@host:8123/database"
BY_TYPE = {bool: "Bool", int: "Int64", str: "String", float: "Float64", list: "Array(String)"}


def connecting(setting: str, environ: Mapping[str, str]) -> tuple[Callable[[], Client], str]:
    """What makes a client by the setting `spans`, and what the place is called. Raises `Invalid`, which does not repeat the setting."""
    parts = urlsplit(setting)
    options = dict(parse_qsl(parts.query))
    try:
        port = parts.port
    except ValueError:
        port = 0
    if parts.scheme != "clickhouse" or not parts.hostname or port == 0 or "/" in (database := parts.path.strip("/")) or not database:
        raise Invalid("the setting is no address of a ClickHouse database", where="spans", remedy=REMEDY)
    if parts.password is not None or any("pass" in name for name in options):
        raise Invalid("a secret does not belong in a setting", where="spans", remedy=f"put the password in {PASSWORD}")
    if options.keys() - {"secure"}:
        raise Invalid("this is no option of ClickHouse", where="spans", remedy="there is secure=1")
    try:
        import clickhouse_connect
    except ModuleNotFoundError as e:
        raise Invalid("what speaks to ClickHouse is not installed", where="spans", remedy='pip install "windlass[clickhouse]"') from e
    secure = options.get("secure") == "1"

    def connect() -> Client:
        return clickhouse_connect.get_client(
            host=parts.hostname, port=port or (8443 if secure else 8123), secure=secure, database=database,
            username=parts.username or "default", password=environ.get(PASSWORD, ""), connect_timeout=5, send_receive_timeout=60,
            form_encode_query_params=True, autogenerate_session_id=False, query_retries=0,
        )  # fmt: skip

    return connect, f"clickhouse://{parts.hostname}/{database}"


def by_name(sql: str, values: Sequence[Any]) -> tuple[str, dict[str, Any]]:
    """A question with its parameters by name and type."""
    parts = sql.split("?")
    assert len(parts) == len(values) + 1
    named = "".join(f"{part}{{p{n}:{BY_TYPE[type(v)]}}}" for n, (part, v) in enumerate(zip(parts[:-1], values, strict=True)))
    return named + parts[-1], {f"p{n}": value for n, value in enumerate(values)}


def first_line(e: Exception) -> str:
    """The first line of an error without the address and whatever it names beside it."""
    text = (str(e).strip().splitlines() or [""])[0]
    code = text.partition("DB::Exception")[0].strip() if "DB::Exception" in text else ""
    return code or type(e).__name__
