"""Tokens: a JWT against RFC 7515's own example and an independent library; fetching, ending, failing, against a scripted issuer."""

from __future__ import annotations

import asyncio
import base64
import json
import time
import urllib.parse
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from windlass.core.errors import Invalid, ModelFailed
from windlass.discover import oauth
from windlass.discover.oauth import GOOGLE_SCOPE, Tokens, assertion, entra_tokens, google_file, google_tokens, rs256

KEY = rsa.generate_private_key(65537, 2048)
PEM = KEY.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
).decode()  # fmt: skip
# RFC 7515, appendix A.2: the key, what is signed, and the signature
A2_N = (
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOW"
    "vG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT"
    "6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"
)
A2_D = (
    "Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46sui395IW_GO-pWJ1O0BkTGoVEn2bKVRUCg"
    "u-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8"
    "bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ"
)
A2_TOKEN = (
    "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4"
    "BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqv"
    "hJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
)


def number(text: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(text + "=="))


def service_account(**more: str) -> str:
    told = {"type": "service_account", "project_id": "p-1", "private_key_id": "k1", "private_key": PEM, "client_email": "sa@p-1.iam"}
    return json.dumps({**told, "token_uri": "http://127.0.0.1:9/token", **more})


def test_the_signature_is_what_an_independent_library_verifies() -> None:
    jwt = pytest.importorskip("jwt")
    file = google_file(service_account())
    token = assertion(file, now=time.time())
    read = jwt.decode(token, KEY.public_key(), algorithms=["RS256"], audience="http://127.0.0.1:9/token")
    assert read["iss"] == "sa@p-1.iam" and read["scope"] == GOOGLE_SCOPE and read["exp"] - read["iat"] == 3600  # RFC 7523, 3
    assert jwt.get_unverified_header(token) == {"alg": "RS256", "typ": "JWT", "kid": "k1"}
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(token[:-4] + "AAAA", KEY.public_key(), algorithms=["RS256"], audience="http://127.0.0.1:9/token")


class Issuer:
    """Answers in turn; the last one for ever. Checks assertions as Google does."""

    def __init__(self, *answers: tuple[int, Any]) -> None:
        self.answers = list(answers)
        self.forms: list[dict[str, str]] = []

    async def __call__(self, url: str, form: bytes) -> tuple[int, bytes]:
        self.forms.append(dict(urllib.parse.parse_qsl(form.decode())))
        await asyncio.sleep(0)
        status, said = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(said, Exception):
            raise said
        return status, json.dumps(said).encode()


def token(text: str, seconds: int = 3600) -> tuple[int, Any]:
    return 200, {"access_token": text, "expires_in": seconds, "token_type": "Bearer"}


async def test_a_token_is_fetched_once_and_again_before_it_ends() -> None:
    issuer, tokens = Issuer(token("t1"), token("t2")), google_tokens("vertex", google_file(service_account()))
    assert set(await asyncio.gather(*(tokens.get(issuer) for _ in range(20)))) == {"t1"} and len(issuer.forms) == 1
    assert issuer.forms[0]["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer" and issuer.forms[0]["assertion"].count(".") == 2
    assert "t1" in tokens.secrets and PEM in tokens.secrets
    tokens.forget()
    assert await tokens.get(issuer) == "t2"


async def test_a_token_that_still_holds_goes_on_where_no_new_one_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    issuer = Issuer(token("old", 3600), (503, {"error": "unavailable"}), (0, OSError("no route")), token("new"))
    tokens = entra_tokens("azure", "tenant", "client", "s3cret-of-the-client")
    assert await tokens.get(issuer) == "old"
    now = time.monotonic()
    monkeypatch.setattr(oauth.time, "monotonic", lambda: now + 3400)  # within the last five minutes
    assert await tokens.get(issuer) == "old" and await tokens.get(issuer) == "old"
    assert await tokens.get(issuer) == "new" and len(issuer.forms) == 4
    assert issuer.forms[0] == {
        "grant_type": "client_credentials", "client_id": "client", "client_secret": "s3cret-of-the-client",
        "scope": "https://cognitiveservices.azure.com/.default",
    }  # fmt: skip


async def test_what_went_wrong_is_said_without_the_secret() -> None:
    told = {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret s3cret-of-the-client."}
    with pytest.raises(ModelFailed, match=r"login.microsoftonline.com gave no token \(401\): invalid_client.*\[key\]") as caught:
        await entra_tokens("azure", "tenant", "client", "s3cret-of-the-client").get(Issuer((401, told)))
    assert "s3cret" not in str(caught.value) and caught.value.details["status"] == 401
    for answer in ((200, {}), (200, []), (200, {"access_token": 7}), (200, {"access_token": ""}), (302, "elsewhere")):
        with pytest.raises(ModelFailed, match="gave no token"):
            await entra_tokens("azure", "t", "c", "s").get(Issuer(answer))
    with pytest.raises(ModelFailed, match="could not be asked for a token"):
        await entra_tokens("azure", "t", "c", "s").get(Issuer((0, TimeoutError())))


async def test_who_gives_up_does_not_end_the_fetch_for_others() -> None:
    issuer = Issuer(token("t"))
    tokens = Tokens("x", "https://issuer.example/token", dict, ())
    first = asyncio.create_task(tokens.get(issuer))
    second = asyncio.create_task(tokens.get(issuer))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == "t" and len(issuer.forms) == 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{}", "no file of Google"), ("not json", "no file of Google"), ('{"type": "external_account"}', "external_account"),
        ('{"type": "service_account", "client_email": "x"}', "no private_key"),
        ('{"type": "authorized_user", "client_id": "x"}', "no client_secret and no refresh_token"),
        (service_account(token_uri="http://evil.example/token"), "not https"),
        (service_account(private_key="sekret-pem"), "no RSA key"),
    ],
)  # fmt: skip
def test_a_file_that_is_none_is_refused_and_not_repeated(text: str, complaint: str) -> None:
    with pytest.raises(Invalid, match=complaint) as caught:
        google_file(text)
    assert "sekret" not in str(caught.value) and caught.value.__cause__ is None


async def test_a_persons_default_credentials() -> None:
    said = {"type": "authorized_user", "client_id": "c", "client_secret": "cs", "refresh_token": "rt", "quota_project_id": "q"}
    issuer = Issuer(token("user-token"))
    assert await google_tokens("vertex", google_file(json.dumps(said))).get(issuer) == "user-token"
    assert issuer.forms == [{"grant_type": "refresh_token", "client_id": "c", "client_secret": "cs", "refresh_token": "rt"}]


def test_rfc_7515_signs_so() -> None:
    n, d = number(A2_N), number(A2_D)
    p, q = rsa.rsa_recover_prime_factors(n, 65537, d)
    numbers = rsa.RSAPrivateNumbers(
        p, q, d, rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q), rsa.RSAPublicNumbers(65537, n)
    )
    pem = numbers.private_key().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    payload = b'{"iss":"joe",\r\n "exp":1300819380,\r\n "http://example.com/is_root":true}'
    assert rs256(b'{"alg":"RS256"}', payload, pem.decode()) == A2_TOKEN
