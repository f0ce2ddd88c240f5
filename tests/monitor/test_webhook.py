"""Webhooks against real receivers: what is signed is what the standard's own library takes, and no peer gets more than an attempt."""

from __future__ import annotations

import asyncio
import base64
import gzip
import hashlib
import hmac
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError
from tests.monitor.application import SECRET
from tests.monitor.peer import Peer, says

from windlass.core.errors import Forbidden, Invalid
from windlass.monitor import webhook
from windlass.monitor.receipt import Receipt, retry_after
from windlass.monitor.webhook import check_url, signature, signing_key

Start = Callable[..., Peer]
BODY = '{"type":"windlass.skew","data":{"sentence":"naïve … \u2014"}}'.encode()


def send(url: str, id: str = "msg_1") -> Receipt:
    return asyncio.run(webhook.send(url, signing_key(SECRET, "HOOK_SECRET"), id, BODY))


def test_the_published_vector() -> None:
    """Of the standard's specification and of the libraries of its reference implementation."""
    key = signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "X")
    body = b'{"test": 2432232314}'
    assert signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_what_arrives_is_taken_by_the_standards_own_library(peer: Start) -> None:
    there = peer()
    assert send(there.url) == Receipt(True, "status 200", 200)
    (asked,) = there.asked
    assert asked.line == "POST /hook HTTP/1.1" and asked.body == BODY and asked.headers["content-type"] == "application/json"
    assert asked.headers["webhook-id"] == "msg_1"
    assert Webhook(SECRET).verify(asked.body, asked.headers)["type"] == "windlass.skew"
    for changed in (asked.headers | {"webhook-id": "msg_2"}, asked.headers | {"webhook-timestamp": str(int(time.time()) + 5)}):
        with pytest.raises(WebhookVerificationError):
            Webhook(SECRET).verify(asked.body, changed)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(asked.body + b" ", asked.headers)


def test_a_raw_secret_signs_with_its_own_bytes() -> None:
    expected = base64.b64encode(hmac.new(b"plain words", b"a.1." + BODY, hashlib.sha256).digest()).decode()
    assert signature(signing_key("plain words", "X"), "a", 1, BODY) == f"v1,{expected}"


@pytest.mark.parametrize("secret", ["whsec_", "whsec_a", "whsec_é"])
def test_a_secret_that_is_none_is_not_repeated(secret: str) -> None:
    with pytest.raises(Invalid) as e:
        signing_key(secret, "HOOK_SECRET")
    assert "HOOK_SECRET" in e.value.message and secret not in str(e.value).replace("whsec_ and", "")


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_every_2xx_is_delivered(peer: Start, status: int) -> None:
    assert send(peer(says(status)).url).delivered


def test_what_a_receiver_says_is_on_record_in_one_line(peer: Start) -> None:
    found = send(peer(says(500, b"no\x1b[31m room\r\nleft " + b"x" * 5000)).url)
    assert (found.delivered, found.status, found.final) == (False, 500, False)
    assert found.said.startswith("status 500: no [31m room left xxx") and len(found.said) < 230
    assert send(peer(says(502, b"<html>bad gateway</html>")).url).said == "status 502"
    assert not send(peer(says(400)).url).final


def test_gone_is_final(peer: Start) -> None:
    found = send(peer(says(410)).url)
    assert found.final and "gone for good" in found.said


@pytest.mark.parametrize(("asked", "wait"), [("120", 120.0), ("0", 0.0), ("soon", None), ("-5", 0.0), ("1e9", 86400.0), ("nan", None)])
def test_how_long_to_wait_is_the_receivers_to_say(peer: Start, asked: str, wait: float | None) -> None:
    assert send(peer(says(429, Retry_After=asked)).url).wait_s == wait


def test_how_long_to_wait_may_be_a_date() -> None:
    assert 80_000 < (retry_after("Fri, 01 Jan 2100 00:00:00 GMT") or 0) <= 86_400
    assert retry_after("Thu, 01 Jan 1970 00:00:00 GMT") == 0
    assert retry_after("Thu, 99 Jan 1970") is None


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
def test_no_redirect_is_followed(peer: Start, status: int) -> None:
    other = peer()
    there = peer(says(status, Location=other.url + "?token=s3cret"))
    found = send(there.url)
    assert not found.delivered and other.asked == [] and other.url in found.said and "s3cret" not in found.said


@pytest.mark.parametrize("to", ["http://169.254.169.254/latest/meta-data", "//[", "http://user:s3cret@10.0.0.1/", ""])
def test_where_a_redirect_would_lead_is_said(peer: Start, to: str) -> None:
    found = send(peer(says(302, Location=to)).url)
    assert not found.delivered and "points" in found.said and "s3cret" not in found.said


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorter limits, for peers that use them up."""
    monkeypatch.setattr(webhook, "SECONDS", 1.0)
    monkeypatch.setattr(webhook, "READ_SECONDS", 0.5)


def test_a_peer_that_hangs(peer: Start, soon: None) -> None:
    there: Peer = peer(lambda connection: there.ended.wait() and None)
    assert send(there.url).said == "no answer within 1 s"


def test_a_peer_that_takes_nothing(soon: None) -> None:
    """It listens, and accepts no connection: its backlog is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        filling = [socket.socket() for _ in range(3)]
        for s in filling:
            s.setblocking(False)
            s.connect_ex(("127.0.0.1", port))
        assert not send(f"http://127.0.0.1:{port}/hook").delivered
        for s in filling:
            s.close()


def test_a_peer_that_drips_its_head(peer: Start, soon: None) -> None:
    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        for n in range(10_000):
            if there.ended.wait(0.05):
                return
            connection.sendall(f"X-{n}: y\r\n".encode())

    there = peer(drip)
    assert not send(there.url).delivered


def test_a_peer_whose_head_never_ends(peer: Start, soon: None) -> None:
    def flood(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.sendall(b"X-More: " + b"y" * 5000 + b"\r\n")

    assert not send(peer(flood).url).delivered


def test_a_peer_that_drips_its_answer_has_answered(peer: Start, soon: None) -> None:
    """The status came: sending it again would tell it twice."""

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not there.ended.wait(0.05):
            connection.sendall(b"y")

    there = peer(drip)
    assert send(there.url) == Receipt(True, "status 200", 200)


def test_a_peer_that_answers_ten_gigabytes(peer: Start) -> None:
    sent = 0

    def flood(connection: socket.socket) -> None:
        nonlocal sent
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
        piece = b"y" * 65536
        while sent < 10_000_000_000:
            connection.sendall(piece)
            sent += len(piece)

    assert send(peer(flood).url).delivered
    assert sent < 50_000_000  # what lay in the buffers between


def test_an_answer_that_is_packed_is_not_unpacked(peer: Start) -> None:
    packed = gzip.compress(b"y" * 50_000_000)
    assert len(send(peer(says(500, packed, Content_Encoding="gzip")).url).said) < 300


def test_a_peer_that_talks_nonsense(peer: Start) -> None:
    for nonsense in (b"", b"\0\xff\r\n\r\n", b"HTTP/9.9 banana\r\n\r\n", b"SSH-2.0-x\r\n"):
        assert not send(peer(lambda c, said=nonsense: c.sendall(said)).url).delivered


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
    assert "could not be reached" in send(f"http://127.0.0.1:{port}/").said
    assert "there is no host" in send("http://no-such-host.invalid/").said


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "[fe80::1]", "[::ffff:169.254.169.254]", "[64:ff9b::a9fe:a9fe]", "0.0.0.0", "[::]", "224.0.0.1",
             "100.100.100.200", "[fd00:ec2::254]", "168.63.129.16"],
)  # fmt: skip
def test_addresses_of_machines_are_never_asked(host: str) -> None:
    with pytest.raises(Forbidden, match="no alert may ask"):
        check_url(f"http://{host}/hook")
    assert "no alert may ask" in send(f"http://{host}/hook").said


@pytest.mark.parametrize("host", ["2852039166", "0xa9fea9fe", "0251.0376.0251.0376"])
def test_addresses_of_machines_in_other_spellings(host: str) -> None:
    assert "no alert may ask" in send(f"http://{host}/hook").said


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "localhost.localdomain"])
def test_a_private_address_must_be_named_plainly(peer: Start, host: str) -> None:
    there = peer()
    found = send(f"http://{host}:{there.port}/hook")
    assert not found.delivered and there.asked == []


def test_a_private_address_that_the_alert_names_is_asked(peer: Start) -> None:
    there = peer()
    assert send(there.url).delivered and send(f"http://localhost:{there.port}/hook").delivered


INWARD = """
import asyncio, socket, sys
from tests.monitor.peer import Peer
from windlass.monitor import webhook

real, there, public = socket.getaddrinfo, Peer(), Peer(host="198.41.0.4")
names = {"inward.example": ["127.0.0.1"], "both.example": ["198.41.0.4", "127.0.0.1"], "out.example": ["198.41.0.4"]}
asked = []

def lookup(host, port, *rest, **more):
    asked.append(host)
    found = names.get(host)
    # whoever looks a second time is led inward
    if host == "turns.example":
        found = ["198.41.0.4"] if asked.count(host) == 1 else ["127.0.0.1"]
    return real(host, port, *rest, **more) if found is None else [x for f in found for x in real(f, port, *rest, **more)]

socket.getaddrinfo = lookup
for name, port in zip(("inward", "both", "out", "turns"), (there.port, there.port, public.port, public.port)):
    name += ".example"
    found = asyncio.run(webhook.send(f"http://{name}:{port}/hook", b"k", "m", b"{}"))
    print(name, found.said)
print(len(there.asked), len(public.asked), public.asked[0].headers["host"].partition(":")[0])
"""


def test_a_name_that_leads_inward(tmp_path: Path) -> None:
    """In a network of its own, where an address of the Internet is this machine's, and with names as an attacker's server tells them."""
    if not shutil.which("unshare") or not shutil.which("ip") or subprocess.run(["unshare", "-rn", "true"], capture_output=True).returncode:
        pytest.skip("this machine gives no network of one's own (unshare -rn, ip)")
    (tmp_path / "inward.py").write_text(INWARD)
    command = f"ip link set lo up && ip addr add 198.41.0.4/32 dev lo && exec {sys.executable} {tmp_path / 'inward.py'}"
    root = Path(__file__).parents[2]
    out = subprocess.run(["unshare", "-rn", "sh", "-c", command], capture_output=True, text=True, env={"PYTHONPATH": str(root)})
    assert out.stdout.splitlines() == [
        "inward.example inward.example leads to 127.0.0.1, which is private",
        "both.example both.example leads to 127.0.0.1, which is private",
        "out.example status 200",
        "turns.example status 200",
        "0 2 out.example",
    ], out.stderr


@pytest.mark.parametrize(
    "url", ["", "hook", "ftp://host/x", "file:///etc/passwd", "https://", "https:///x", "http://[", "http://h:99999/", "http://h:0/",
            "https://host/a b", "https://host/\r\nX: y", "https://höst/", "https://host/" + "x" * 3000],
)  # fmt: skip
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(Invalid, match="no address"):
        check_url(url)


@pytest.mark.parametrize(
    "url", ["https://u:s3cret@host/", "https://s3cret@host/", "https://host/?token=s3cret", "https://host/?api-key=s3cret"]
)
def test_an_address_that_holds_a_secret_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(Invalid, match="looks like a secret") as e:
        check_url(url)
    assert "s3cret" not in repr(e.value.as_dict())
