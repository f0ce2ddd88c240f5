"""E-mail by a real mail server: what arrives, over TLS and with a password, and that nothing a monitor writes begins a header."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword
from tests.monitor.application import Watch

from windlass.core.actor import OWNER
from windlass.core.errors import Invalid
from windlass.core.operations.alerts import EventQuery
from windlass.monitor import mail
from windlass.monitor.receipt import Receipt

PASSWORD = "correct horse"
FROM = "Windlass <windlass@shop.example>"


class Box:
    """Keeps what arrives; refuses whom a test says."""

    def __init__(self) -> None:
        self.letters: list[Envelope] = []
        self.refuse: dict[str, str] = {}

    async def handle_RCPT(self, server: Any, session: Any, envelope: Envelope, address: str, options: list[str]) -> str:
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:
        self.letters.append(envelope)
        return "250 kept"

    def newest(self) -> EmailMessage:
        return message_from_bytes(self.letters[-1].content, policy=default)  # type: ignore[arg-type, return-value]


@pytest.fixture
def box() -> Box:
    return Box()


@pytest.fixture
def serve(box: Box) -> Iterator[Callable[..., str]]:
    """Starts mail servers. Returns `host:port`."""
    made: list[Controller] = []

    def start(**options: Any) -> str:
        controller = Controller(box, hostname="127.0.0.1", port=0, **options)
        with socket.create_server(("127.0.0.1", 0)) as s:
            controller.port = s.getsockname()[1]
        controller.start()
        made.append(controller)
        return f"localhost:{controller.port}"

    yield start
    for one in made:
        one.stop()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """One for localhost that nobody but these tests trusts: the file, and a server's side of it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .add_extension(x509.BasicConstraints(True, None), True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    file = tmp_path_factory.mktemp("tls") / "localhost.pem"
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write_bytes(made.public_bytes(pem) + private)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    return file, context


def mailing(tmp_path: Path, url: str, **environ: str) -> Watch:
    watch = Watch(tmp_path, smtp_url=url, smtp_from=FROM)
    watch.environ |= environ
    return watch


def attempt(watch: Watch, **event: Any) -> Any:
    noted = watch.note(**event)
    watch.work()
    return watch.show(noted.event).deliveries


def test_a_letter_arrives_for_each_address(tmp_path: Path, serve: Callable[..., str], box: Box) -> None:
    watch = mailing(tmp_path, f"smtp://{serve()}")
    assert watch.set(email=("a@b.example", "c@d.example")).problems == ()
    found = attempt(watch, facts={"p": 0.001, "rows": [1, 2], "field": "question"}, release="release/answer@sha256:00")
    assert [(d.to, d.status) for d in found] == [("a@b.example", "delivered"), ("c@d.example", "delivered")]
    assert [e.rcpt_tos for e in box.letters] == [["a@b.example"], ["c@d.example"]]
    letter = box.newest()
    assert letter["Subject"] == "[Windlass] warning: inputs have moved" and letter["From"] == FROM and letter["To"] == "c@d.example"
    assert letter["Message-ID"] == f"<{found[1].id}@windlass.invalid>" and letter["Auto-Submitted"] == "auto-generated" and letter["Date"]
    text = letter.get_content()
    event = watch.alerts.events(OWNER, EventQuery()).items[0].event.id
    assert letter.get_content_type() == "text/plain"
    for line in (
        "The questions asked are no longer those you tested with.", "https://windlass.example/monitors/inputs",
        f"To acknowledge it: https://windlass.example/alerts/{event}", "p   0.001", "rows   [1,2]",
        "field   question", "release   release/answer@sha256:00", "You are told by alert/ops of project default.",
    ):  # fmt: skip
        assert line in text.splitlines(), line


TITLES = (
    "x\r\nBcc: e@x.example", "x\nBcc: e@x.example\n\nbody", "x\u2028Bcc: e@x.example", "x\x85Bcc: e@x.example", "x\0",
    "é…\U0001f600" * 90,
)  # fmt: skip


@pytest.mark.parametrize("title", TITLES, ids=range(len(TITLES)))
def test_no_title_begins_a_header(tmp_path: Path, serve: Callable[..., str], box: Box, title: str) -> None:
    watch = mailing(tmp_path, f"smtp://{serve()}")
    watch.set(email=("a@b.example",))
    (found,) = attempt(watch, title=title, sentence=f"{title}\r\n.\r\nQUIT", monitor="inputs")
    assert found.status == "delivered", found.attempts
    assert box.letters[0].rcpt_tos == ["a@b.example"] and len(box.letters) == 1
    letter = box.newest()
    assert "Bcc" not in letter and "\n" not in letter["Subject"] and "QUIT" in letter.get_content()


@pytest.mark.parametrize(
    "to", ["a@b.example\r\nBcc: x@y.example", "a@b.example,x@y.example", "a b@c.example", "@b.example", "a@", "<a@b.example>"]
)
def test_no_address_begins_a_header(to: str) -> None:
    body = b'{"timestamp":"","data":{}}'
    with pytest.raises(Invalid, match="no e-mail address"):
        mail.make_message(FROM, to, "id", body)


@pytest.mark.filterwarnings("ignore:Requiring AUTH")  # the server of smtps does not know that it stands behind TLS
@pytest.mark.parametrize("scheme", ["starttls", "smtps"])
def test_over_tls_with_a_password(
    tmp_path: Path,
    serve: Callable[..., str],
    box: Box,
    certificate: tuple[Path, ssl.SSLContext],
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
) -> None:
    """A certificate that is not trusted is no mail server, and gets no password."""
    shown: list[LoginPassword] = []

    def authenticate(server: Any, session: Any, envelope: Any, mechanism: str, given: LoginPassword) -> AuthResult:
        shown.append(given)
        return AuthResult(success=given.password == PASSWORD.encode(), handled=False)

    file, context = certificate
    options = {"authenticator": authenticate, "auth_required": True}
    if scheme == "starttls":
        where = serve(tls_context=context, require_starttls=True, **options)
    else:
        where = serve(ssl_context=context, auth_require_tls=False, **options)
    watch = mailing(tmp_path, f"{scheme}://MAIL_USER:MAIL_PASSWORD@{where}", MAIL_USER="windlass", MAIL_PASSWORD=PASSWORD)
    watch.set(email=("a@b.example",), quiet=0)
    (found,) = attempt(watch)
    assert found.status == "waiting" and "certificate" in found.attempts[0].said.lower() and shown == []
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    (found,) = attempt(watch)
    assert found.status == "delivered", found.attempts
    assert len(box.letters) == 1
    watch.environ["MAIL_PASSWORD"] = "wrong horse"
    (found,) = attempt(watch)
    assert "does not take what MAIL_USER and MAIL_PASSWORD hold" in found.attempts[0].said
    watch.close()
    written = b"".join(p.read_bytes() for p in watch.home.path.rglob("*") if p.is_file())
    assert PASSWORD.encode() not in written and b"wrong horse" not in written


def test_who_is_refused_for_good_is_written_to_no_more(tmp_path: Path, serve: Callable[..., str], box: Box) -> None:
    watch = mailing(tmp_path, f"smtp://{serve()}")
    watch.set(email=("a@b.example", "full@b.example", "no@b.example"))
    box.refuse = {"no@b.example": "550 no such user\x1b[31m", "full@b.example": "452 mailbox full"}
    assert [(d.to, d.status) for d in attempt(watch)] == [
        ("a@b.example", "delivered"), ("full@b.example", "waiting"), ("no@b.example", "stopped"),
    ]  # fmt: skip


def test_a_mail_server_that_is_not_there(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
    watch = mailing(tmp_path, f"smtp://127.0.0.1:{port}")
    watch.set(email=("a@b.example",))
    (found,) = attempt(watch)
    assert found.status == "waiting" and "could not be spoken to" in found.attempts[0].said


@pytest.mark.parametrize("says", [b"220 ready\r\n", b"220-one\r\n", b"", b"\xff\xfe\r\n"])
def test_a_mail_server_that_goes_on_for_ever(monkeypatch: pytest.MonkeyPatch, says: bytes) -> None:
    """It says a word again and again, which no time-out for one answer ends."""
    monkeypatch.setattr(mail, "WHOLE_SECONDS", 1.0)
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                try:
                    while not ended.wait(0.05):
                        connection.sendall(says or b"2")
                except OSError:
                    pass

        thread = threading.Thread(target=serve)
        thread.start()
        body = b'{"timestamp":"","data":{"project":"default","severity":"info","title":"t","sentence":"s","page":"","url":"","monitor":"m",'
        body += b'"release":null,"facts":{},"alert":"a"}}'
        url = f"smtp://127.0.0.1:{listener.getsockname()[1]}"
        found: Receipt = asyncio.run(mail.send(url, FROM, "a@b.example", "id", body, {}))
        assert not found.delivered
        ended.set()
        thread.join()


@pytest.mark.parametrize(
    "url", ["mail.example", "http://h", "smtp://", "smtp://u:hunter2@h", "smtps://user:hunter2@h", "smtps://USER:hunter2@h", "smtps://hunter2@h",
            "smtp://h:x", "smtp://h/path", "smtp://USER:PASSWORD@mail.example"],
)  # fmt: skip
def test_a_wrong_setting_is_said_and_not_repeated(url: str) -> None:
    said = mail.problem(url, FROM, {"USER": "u", "PASSWORD": "p"})
    assert said.startswith("smtp_url") and "hunter2" not in said


def test_what_is_missing_is_said() -> None:
    url = "smtps://MAIL_USER:MAIL_PASSWORD@mail.example"
    assert "MAIL_USER is not set" in mail.problem(url, FROM, {})
    assert "MAIL_PASSWORD is not set" in mail.problem(url, FROM, {"MAIL_USER": "u"})
    assert "smtp_from" in mail.problem("smtp://h", "", {})
    assert mail.problem(url, "w@shop.example", {"MAIL_USER": "u", "MAIL_PASSWORD": "p"}) == ""
    assert mail.mail_server(url).port == 465 and mail.mail_server("smtp://[::1]").host == "::1"
