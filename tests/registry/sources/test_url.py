"""Files behind URLs, from a real web server: what is kept of them, what is never asked, and what is said of broken ones."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.registry.sources.conftest import Reader
from tests.registry.sources.httpd import Httpd
from tests.registry.sources.postgresql_server import free_port

from windlass.core.errors import Forbidden, Invalid, TooLarge, Unavailable
from windlass.core.pin import Column
from windlass.registry.sources.source import Gone

LINES = b'{"key": "a", "n": 1}\n{"key": "b", "n": null, "tags": ["x"]}\n'
ROWS = [{"key": "a", "n": 1}, {"key": "b", "n": None, "tags": ["x"]}]


def test_what_is_known_of_a_file(reader: Reader, httpd: Httpd) -> None:
    modified = "Fri, 02 Jan 2026 03:04:05 GMT"
    url = httpd.put("/rows.jsonl", LINES, ETag='"abc"', Last_Modified=modified)
    spec = reader.spec(url + "#part")
    rows, incoming = reader.read(spec)
    assert spec.endpoint == url and rows == ROWS and incoming.problems == []
    assert incoming.snapshot.token == {"etag": '"abc"', "last-modified": modified, "sha256": hashlib.sha256(LINES).hexdigest()}
    assert incoming.snapshot.at_ns > 0 and not incoming.snapshot.repeatable
    assert incoming.columns == (Column("key", "text", False), Column("n", "number", True), Column("tags", "list", True))


def test_a_file_that_changed_says_so_by_its_digest(reader: Reader, httpd: Httpd) -> None:
    spec = reader.spec(httpd.put("/rows.jsonl", LINES, ETag='"same"'))
    before = reader.read(spec)[1].snapshot.token
    httpd.put("/rows.jsonl", LINES.replace(b"1", b"2"), ETag='"same"')
    rows, incoming = reader.read(spec)
    assert rows[0]["n"] == 2 and incoming.snapshot.token["etag"] == before["etag"]
    assert incoming.snapshot.token["sha256"] != before["sha256"]


def test_nothing_is_left_in_the_data_folder(reader: Reader, httpd: Httpd) -> None:
    reader.rows(httpd.put("/rows.jsonl", LINES))
    assert list(reader.home.rglob("*")) == [reader.home / "run"]


@pytest.mark.parametrize("status", [404, 410])
def test_what_is_not_there_is_gone(reader: Reader, httpd: Httpd, status: int) -> None:
    with pytest.raises(Gone, match=f"status {status}"):
        reader.rows(httpd.put("/rows.jsonl", b"", status))


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_what_does_not_answer_now_is_not_gone(reader: Reader, httpd: Httpd, status: int) -> None:
    with pytest.raises(Unavailable, match=f"status {status}"):
        reader.rows(httpd.put("/rows.jsonl", b"", status))


def test_a_secret_is_shown_to_its_host_and_to_no_other(reader: Reader, httpd: Httpd) -> None:
    other = Httpd("127.0.0.1")
    try:
        reader.environ["TOKEN"] = "s3cret"
        reader.named(f'[rows]\nurl = "{httpd.base}/start.jsonl"\nenv = "TOKEN"')
        httpd.put("/start.jsonl", b"", 302, Location="/next.jsonl")
        httpd.put("/next.jsonl", b"", 307, Location=other.put("/rows.jsonl", LINES))
        assert reader.rows("rows") == ROWS
        assert [a.headers.get("authorization") for a in httpd.asked] == ["Bearer s3cret"] * 2
        assert [a.headers.get("authorization") for a in other.asked] == [None]
        httpd.put("/start.jsonl", b"", 401)
        with pytest.raises(Unavailable) as e:
            reader.rows("rows")
        assert "s3cret" not in repr(e.value.as_dict())
        assert "s3cret" not in repr(reader.spec("rows"))
    finally:
        other.close()


def test_what_a_redirect_is_signed_with_is_not_repeated(reader: Reader, httpd: Httpd) -> None:
    signed = httpd.put("/kept.jsonl", b"", 403) + "?X-Amz-Signature=s3cret"
    with pytest.raises(Unavailable, match=r"/kept.jsonl: it does not let us read") as e:
        reader.rows(httpd.put("/rows.jsonl", b"", 302, Location=signed))
    assert "s3cret" not in repr(e.value.as_dict())


def test_redirects_that_do_not_end(reader: Reader, httpd: Httpd) -> None:
    with pytest.raises(Unavailable, match="more than 5 times"):
        reader.rows(httpd.put("/rows.jsonl", b"", 301, Location="/rows.jsonl"))
    assert len(httpd.asked) == 6


@pytest.mark.parametrize(
    "to", ["file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://x", "http://169.254.169.254/latest/meta-data", "http://[fe80::1]/x",
           "http://[::ffff:169.254.169.254]/", "http://[64:ff9b::a9fe:a9fe]/", "http://0.0.0.0/", "http://[::]/", "http://100.100.100.200/",
           "http://[fd00:ec2::254]/"],
)  # fmt: skip
def test_where_no_redirect_may_lead(reader: Reader, httpd: Httpd, to: str) -> None:
    with pytest.raises(Forbidden):
        reader.rows(httpd.put("/rows.jsonl", b"", 302, Location=to))


@pytest.mark.parametrize("to", ["http://[", "http://host:99999/", "http://h:x/", "//["])
def test_redirects_to_what_is_no_address(reader: Reader, httpd: Httpd, to: str) -> None:
    with pytest.raises(Unavailable):
        reader.rows(httpd.put("/rows.jsonl", b"", 302, Location=to))


@pytest.mark.parametrize("host", ["169.254.169.254", "[fe80::1]", "0.0.0.0", "2852039166", "0xa9fea9fe", "224.0.0.1"])
def test_addresses_of_machines_are_never_asked(reader: Reader, host: str) -> None:
    with pytest.raises(Forbidden, match="an address that no pin may ask"):
        reader.rows(f"http://{host}/rows.jsonl")


PUBLIC = """
import sys
from pathlib import Path
from tests.registry.sources.conftest import Reader
from tests.registry.sources.httpd import Httpd
public, private = Httpd("198.41.0.4"), Httpd("127.0.0.1")
reader = Reader(Path(sys.argv[1]))
private.put("/rows.jsonl", b'{"key": "secret"}')
public.put("/direct.jsonl", b'{"key": "a"}')
public.put("/rows.jsonl", b"", 302, Location=private.base + "/rows.jsonl")
private.put("/out.jsonl", b"", 302, Location=public.base + "/direct.jsonl")
for url in (public.base + "/direct.jsonl", private.base + "/out.jsonl", public.base + "/rows.jsonl"):
    try:
        print(reader.rows(url))
    except Exception as e:
        print(type(e).__name__, e.message)
print([a.path for a in private.asked])
"""


def test_a_public_address_cannot_lead_to_a_private_one(tmp_path: Path) -> None:
    """In a network of its own, where an address of the Internet is this machine's."""
    if not shutil.which("unshare") or not shutil.which("ip") or subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode:
        pytest.skip("this machine gives no network of one's own (unshare -rn, ip)")
    (tmp_path / "public.py").write_text(PUBLIC)
    command = f"ip link set lo up && ip addr add 198.41.0.4/32 dev lo && exec {sys.executable} {tmp_path / 'public.py'} {tmp_path / 'home'}"
    root = Path(__file__).parents[3]
    out = subprocess.run(["unshare", "-rn", "sh", "-c", command], capture_output=True, text=True, env={"PYTHONPATH": str(root)})
    assert out.stdout.splitlines() == [
        "[{'key': 'a'}]",
        "[{'key': 'a'}]",
        "Forbidden a public address leads to 127.0.0.1, which is private",
        "['/out.jsonl']",
    ], out.stderr


def test_nobody_there(reader: Reader) -> None:
    with pytest.raises(Unavailable, match="it could not be read"):
        reader.rows(f"http://127.0.0.1:{free_port()}/rows.jsonl")
    with pytest.raises(Unavailable, match=r"there is no host no-such-host\.invalid"):
        reader.rows("http://no-such-host.invalid/rows.jsonl")


@pytest.mark.parametrize("cut", [0, 25])
def test_a_body_that_is_cut_off_gives_no_rows(reader: Reader, httpd: Httpd, cut: int) -> None:
    with pytest.raises(Unavailable, match="nothing was kept"):
        reader.rows(httpd.put("/rows.jsonl", LINES, cut=cut))


def test_a_body_that_is_too_long_is_refused(reader: Reader, httpd: Httpd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("windlass.registry.sources.url.MOST", 1000)
    packed = gzip.compress(b"\n" * 1_000_000)  # counted as it is unpacked
    with pytest.raises(TooLarge):
        reader.rows(httpd.put("/rows.jsonl", packed, Content_Encoding="gzip"))


@pytest.mark.parametrize(
    "url",
    ["https://user@host/rows.jsonl", "https://user:s3cret@host/rows.jsonl", "https://host/rows.jsonl?access_token=s3cret",
     "https://host/rows.jsonl?X-Amz-Signature=s3cret", "https://host/rows.jsonl?api-key=s3cret", "https://u:1#s3cret@host/rows.jsonl",
     "https://u:s3cret#@host/rows.jsonl", "https:///rows.jsonl"],
)  # fmt: skip
def test_a_url_with_a_secret_is_refused_and_not_repeated(reader: Reader, url: str) -> None:
    with pytest.raises(Invalid) as e:
        reader.spec(url)
    assert "s3cret" not in repr(e.value.as_dict())


def test_a_url_answers_no_query(reader: Reader) -> None:
    for more in ({"query": "SELECT 1"}, {"table": "t"}, {"parameters": {"a": 1}}):
        with pytest.raises(Invalid, match="answers no query"):
            reader.spec("https://host/rows.jsonl", **more)


@pytest.mark.parametrize(
    ("path", "type"), [("/rows", "application/x-ndjson"), ("/rows.ndjson", "text/plain"), ("/rows", "application/jsonl; charset=utf-8")]
)
def test_the_kind_is_told_by_the_path_or_by_the_type(reader: Reader, httpd: Httpd, path: str, type: str) -> None:
    assert reader.rows(httpd.put(path, LINES, Content_Type=type)) == ROWS


def test_what_is_of_no_kind_is_refused(reader: Reader, httpd: Httpd) -> None:
    with pytest.raises(Invalid, match="neither JSONL, CSV nor Parquet"):
        reader.rows(httpd.put("/rows.html", LINES, Content_Type="text/html"))


def test_broken_lines_are_named_and_the_others_kept(reader: Reader, httpd: Httpd) -> None:
    body = b'\xef\xbb\xbf{"key": "a"}\r\n\n{"key": \n[1]\n{"key": "\xff"}\n{"key": "b", "big": 123456789012345678901234567890}\n{"key": "c"'
    rows, incoming = reader.read(reader.spec(httpd.put("/rows.jsonl", body)))
    assert rows == [{"key": "a"}, {"key": "b", "big": "123456789012345678901234567890"}]
    assert [p.partition(":")[0] for p in incoming.problems] == [
        "line 3 is not JSON", "line 4 is no object", "line 5 is not JSON", "line 7 is not JSON",
    ]  # fmt: skip
    assert incoming.columns == (Column("key", "text", False), Column("big", "text", True))


def test_csv(reader: Reader, httpd: Httpd) -> None:
    body = '\ufeffkey,text\r\na,"one, ""two""\nthree"\nb\n\nc,1,2\nd,é\n'.encode()
    rows, incoming = reader.read(reader.spec(httpd.put("/rows.csv", body)))
    assert rows == [{"key": "a", "text": 'one, "two"\nthree'}, {"key": "d", "text": "é"}]
    assert incoming.problems == ["line 4 has 1 fields, not 2", "line 6 has 3 fields, not 2"]
    assert incoming.columns == (Column("key", "text", False), Column("text", "text", False))


def test_csv_with_long_fields_and_without_rows(reader: Reader, httpd: Httpd) -> None:
    long = "x" * 1_000_000
    assert reader.rows(httpd.put("/rows.csv", f"key\n{long}\n".encode())) == [{"key": long}]
    assert reader.rows(httpd.put("/rows.csv", b"key,text\n")) == []
    assert reader.rows(httpd.put("/rows.csv", b"")) == []


@pytest.mark.parametrize(
    ("body", "where"),
    [(b"key\na\n\xff\n", "line 3"), (b'key\n"a"b\n', "line 2"), (b'key\na\n"b\n', "line 3"), (b"key,key\na,b\n", "line 1")],
)
def test_what_is_no_csv_is_refused_by_line(reader: Reader, httpd: Httpd, body: bytes, where: str) -> None:
    with pytest.raises(Invalid) as e:
        reader.rows(httpd.put("/rows.csv", body))
    assert e.value.where == where


def parquet(tmp_path: Path, query: str) -> bytes:
    file = tmp_path / "made.parquet"
    with duckdb.connect() as db:
        db.execute(f"COPY ({query}) TO '{file}' (FORMAT parquet)")
    return file.read_bytes()


def test_parquet(reader: Reader, httpd: Httpd, tmp_path: Path) -> None:
    values: dict[str, Any] = {
        "'a'": "a",
        "9007199254740993::BIGINT": "9007199254740993",
        "1.50::DECIMAL(10, 2)": "1.50",
        "'nan'::DOUBLE": "NaN",
        "'2026-01-02 03:04:05.123456+02'::TIMESTAMPTZ": "2026-01-02T01:04:05.123456Z",
        "'2026-01-02 03:04:05'::TIMESTAMP": "2026-01-02T03:04:05",
        "'2026-01-02 03:04:05.123456789'::TIMESTAMP_NS": "2026-01-02T03:04:05.123456789",
        "'2026-01-02'::DATE": "2026-01-02",
        "'03:04:05'::TIME": "03:04:05",
        "'\\x00\\xFF'::BLOB": "AP8=",
        "['2026-01-02 03:04:05+02'::TIMESTAMPTZ]": ["2026-01-02T01:04:05Z"],
        "{'a': 1, 'b': [1.5::DOUBLE, NULL]}": {"a": 1, "b": [1.5, None]},
        "MAP {'x': 1}": {"x": 1},
        "NULL::INTEGER": None,
        "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::UUID": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    }
    body = parquet(tmp_path, "SELECT " + ", ".join(f'{v} AS "c{n}"' for n, v in enumerate(values)))
    [row], incoming = reader.read(reader.spec(httpd.put("/rows.parquet", body)))
    assert dict(zip(values, row.values(), strict=True)) == values
    assert incoming.columns[:3] == (Column("c0", "varchar"), Column("c1", "bigint"), Column("c2", "decimal(10,2)"))


def test_parquet_of_many_rows_and_of_none(reader: Reader, httpd: Httpd, tmp_path: Path) -> None:
    many = reader.rows(httpd.put("/rows.parquet", parquet(tmp_path, 'SELECT i AS "k""ey" FROM range(5000) t(i)')))
    assert [r['k"ey'] for r in many] == list(range(5000))
    rows, incoming = reader.read(reader.spec(httpd.put("/rows.parquet", parquet(tmp_path, "SELECT 1 AS key WHERE false"))))
    assert rows == [] and incoming.columns == (Column("key", "integer"),)


def test_what_is_no_parquet_is_refused(reader: Reader, httpd: Httpd, tmp_path: Path) -> None:
    whole = parquet(tmp_path, "SELECT i AS key FROM range(5000) t(i)")
    for body in (b"", b"PAR1", LINES, whole[:-100], whole[:2000] + b"\0" * 500 + whole[2500:]):
        with pytest.raises(Invalid, match="not Parquet") as e:
            reader.rows(httpd.put("/rows.parquet", body))
        assert "/dev/fd" not in str(e.value)
