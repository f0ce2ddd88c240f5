"""E-mail, by the server's own mail server: `smtp_url` and `smtp_from` among the settings.

    smtp://host:25     starttls://USER_VARIABLE:PASSWORD_VARIABLE@host:587     smtps://USER_VARIABLE:PASSWORD_VARIABLE@host:465

Where an address has a user and a password, this has the names of two variables of the environment that hold them.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import smtplib
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from urllib.parse import urlsplit

import msgspec

from windlass.core.errors import Invalid, WindlassError
from windlass.monitor.message import letter, subject
from windlass.monitor.receipt import Receipt, shown
from windlass.monitor.variables import VARIABLE, value_of

SECONDS = 10.0  # for each answer
WHOLE_SECONDS = 30.0  # for all of it
PORTS = {"smtp": 25, "starttls": 587, "smtps": 465}
ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\Z")
REMEDY = "write smtp://host:25, or starttls://USER_VARIABLE:PASSWORD_VARIABLE@host:587, or smtps://…@host:465"


class MailServer(msgspec.Struct, frozen=True):
    """Where e-mail goes. `user` and `password` are names of variables."""

    scheme: str
    host: str
    port: int
    user: str = ""
    password: str = ""


def check_address(address: str) -> str:
    """Raises `Invalid` for what is no address of one person."""
    if len(address) > 254 or not ADDRESS.match(address):
        raise Invalid(f"{address[:80]!r} is no e-mail address", where="email", remedy="write name@host, in ASCII")
    return address


def mail_server(url: str) -> MailServer:
    """The setting `smtp_url`. Raises `Invalid`, which does not repeat it: a secret may have been written there."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise Invalid("the setting is no address of a mail server", where="smtp_url", remedy=REMEDY) from None
    if parts.scheme not in PORTS or not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
        raise Invalid("the setting is no address of a mail server", where="smtp_url", remedy=REMEDY)
    user, password = parts.username or "", parts.password or ""
    if (user or password) and not (VARIABLE.match(user) and VARIABLE.match(password)):
        raise Invalid("user and password must be the names of variables that hold them", where="smtp_url", remedy=REMEDY)
    if user and parts.scheme == "smtp" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        raise Invalid("smtp:// would send the password for all to read", where="smtp_url", remedy="use starttls:// or smtps://")
    return MailServer(parts.scheme, parts.hostname, port or PORTS[parts.scheme], user, password)


def problem(url: str, sender: str, environ: Mapping[str, str]) -> str:
    """What keeps e-mail from being sent now; empty where nothing does."""
    if not url:
        return "no mail server is set: set smtp_url in settings.toml and restart the server"
    try:
        server = mail_server(url)
        for name in (server.user, server.password):
            if name:
                value_of(name, environ)
        if not ADDRESS.match(parseaddr(sender)[1]):
            raise Invalid("it is no e-mail address", where="smtp_from", remedy='set smtp_from = "Windlass <windlass@your.host>"')
    except WindlassError as e:
        return str(e)
    return ""


async def send(url: str, sender: str, to: str, id: str, body: bytes, environ: Mapping[str, str]) -> Receipt:
    """One attempt, in a thread. It ends, whatever the mail server does."""
    try:
        message = make_message(sender, to, id, body)
        server = mail_server(url)
        credentials = (value_of(server.user, environ), value_of(server.password, environ)) if server.user else None
        receipt = await asyncio.to_thread(_send, server, credentials, message)
    except WindlassError as e:
        return Receipt(False, e.message)
    for secret in credentials or ():
        receipt = msgspec.structs.replace(receipt, said=receipt.said.replace(secret, "[secret]"))
    return receipt


def make_message(sender: str, to: str, id: str, body: bytes) -> EmailMessage:
    """The e-mail. What monitors and people wrote can begin no header: the policy refuses line ends, and none is left by then."""
    told = msgspec.json.decode(body)
    name, address = parseaddr(sender)
    message = EmailMessage(policy=SMTP)
    message["From"] = f"{shown(name)} <{check_address(address)}>" if name else check_address(address)
    message["To"] = check_address(to)
    message["Subject"] = shown(subject(told["data"]))
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = f"<{id}@windlass.invalid>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter(told))
    return message


def _send(server: MailServer, credentials: tuple[str, str] | None, message: EmailMessage) -> Receipt:
    try:
        with _connected(server) as smtp:
            if credentials:
                smtp.login(*credentials)
            smtp.send_message(message)
            return Receipt(True, f"accepted by {server.host}")
    except smtplib.SMTPAuthenticationError as e:
        return Receipt(False, f"{server.host} does not take what {server.user} and {server.password} hold", e.smtp_code)
    except smtplib.SMTPRecipientsRefused as e:
        code, said = next(iter(e.recipients.values()))
        return Receipt(False, f"{server.host} refuses the address: {code} {_text(said)}", code, final=code >= 500)
    except smtplib.SMTPResponseException as e:
        return Receipt(False, f"{server.host} answered {e.smtp_code} {_text(e.smtp_error)}", e.smtp_code)
    except (smtplib.SMTPException, OSError, ValueError) as e:
        return Receipt(False, f"{server.host} could not be spoken to: {shown(str(e)) or type(e).__name__}")


@contextmanager
def _connected(server: MailServer) -> Iterator[smtplib.SMTP]:
    """A conversation that ends: a server that says a word every few seconds has its connection cut."""
    context = ssl.create_default_context()
    smtp = smtplib.SMTP_SSL(timeout=SECONDS, context=context) if server.scheme == "smtps" else smtplib.SMTP(timeout=SECONDS)
    smtp._host = server.host  # type: ignore[attr-defined]  # whom the certificate is to name; smtplib notes it only where it connects at once
    cut = threading.Timer(WHOLE_SECONDS, _cut, (smtp,))
    cut.daemon = True
    cut.start()
    try:
        smtp.connect(server.host, server.port)
        if server.scheme == "starttls":
            smtp.starttls(context=context)
        yield smtp
        with contextlib.suppress(smtplib.SMTPException, OSError, ValueError):
            smtp.quit()  # it has the message; what goes wrong from here on must not send it twice
    finally:
        cut.cancel()
        smtp.close()


def _cut(smtp: smtplib.SMTP) -> None:
    if smtp.sock is not None:
        with contextlib.suppress(OSError):
            socket.socket.shutdown(smtp.sock, socket.SHUT_RDWR)  # of the bare connection, also under TLS


def _text(said: bytes | str) -> str:
    return shown(said.decode("utf-8", "replace") if isinstance(said, bytes) else said)
