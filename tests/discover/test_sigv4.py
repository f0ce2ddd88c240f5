"""Signature Version 4 against AWS's own suite of vectors, and against botocore for what goes to Bedrock."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from windlass.discover.sigv4 import signed

VECTORS = json.loads(Path(__file__).with_name("sigv4_vectors.json").read_text("utf-8"))
AT = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
SECRET = VECTORS["secret_access_key"]


@pytest.mark.parametrize("vector", VECTORS["vectors"], ids=lambda v: v["name"])
def test_aws_own_vectors(vector: dict[str, Any]) -> None:
    """Left out are those with a header twice or over several lines,
    paths with dots to be resolved, and a token that is not signed: we send none such."""
    headers = {k: v for k, v in vector["headers"].items() if k.lower() != "host"}
    done = signed(
        vector["method"], f"https://example.amazonaws.com{vector['path']}", headers, vector["body"].encode(),
        access_key_id=VECTORS["access_key_id"], secret_access_key=SECRET, region="us-east-1", service="service",
        session_token=vector["token"], at=AT,
    )  # fmt: skip
    assert done["Authorization"] == vector["authorization"]
    assert done["X-Amz-Date"] == "20150830T123600Z" and done.get("X-Amz-Security-Token", "") == vector["token"]


@settings(max_examples=40, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=40), st.binary(max_size=200))
def test_a_call_of_bedrock_is_signed_as_botocore_signs_it(model: str, body: bytes) -> None:
    auth = pytest.importorskip("botocore.auth")
    import urllib.parse
    from unittest import mock

    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    url = f"https://bedrock-runtime.eu-central-1.amazonaws.com/model/{urllib.parse.quote(model, safe='-_.~')}/invoke"
    if {".", ".."} & {urllib.parse.unquote(part) for part in url.split("/")}:
        return  # refused before it is signed: see test_hosting
    theirs = AWSRequest("POST", url, headers={"Content-Type": "application/json"}, data=body)
    with mock.patch("botocore.auth.get_current_datetime", lambda *a: AT.replace(tzinfo=None)):
        auth.SigV4Auth(Credentials("AKID", SECRET, "token"), "bedrock", "eu-central-1").add_auth(theirs)
    ours = signed(
        "POST", url, {"Content-Type": "application/json"}, body, access_key_id="AKID", secret_access_key=SECRET, region="eu-central-1",
        service="bedrock", session_token="token", at=AT,
    )  # fmt: skip
    assert ours["Authorization"] == theirs.headers["Authorization"]
