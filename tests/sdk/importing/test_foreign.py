"""Reading another platform's server: it is asked again when it is worth it, and errors say what to mend and never the key."""

from __future__ import annotations

import pytest
from tests.sdk.importing.served import Asked, Told, served, told

from windlass.core.errors import Invalid, NotFound, Unauthenticated, Unavailable, WindlassError
from windlass.sdk.importing.bring import source_of
from windlass.sdk.importing.foreign import TRIES, Foreign

SECRET = "sk-very-secret-1234567890"


def of(address: str, waited: list[float]) -> Foreign:
    return Foreign("Phoenix", address, {"authorization": f"Bearer {SECRET}"}, "PHOENIX_API_KEY", waited.append)


def test_it_waits_as_it_is_told_and_asks_again() -> None:
    waited: list[float] = []
    answers = [told({}, 429, retry_after="7"), told({}, 503), Told(500, "text/plain", b"oh"), told({"data": 1})]
    with served(lambda asked: answers.pop(0)) as address:
        assert of(address, waited).get("/x") == {"data": 1}
    assert len(waited) == 3 and waited[0] == 7 and 0.5 < waited[1] < 2 < waited[2] + 1


def test_what_it_fails_on_is_asked_once_more() -> None:
    waited: list[float] = []
    with served(lambda asked: told({}, 500)) as address, pytest.raises(Unavailable, match="500 2 times"):
        of(address, waited).get("/x")
    assert len(waited) == 1


def test_it_gives_up_and_says_that_nothing_is_lost() -> None:
    waited: list[float] = []
    with served(lambda asked: told({"error": "busy"}, 503)) as address, pytest.raises(Unavailable, match=f"503 {TRIES} times") as caught:
        of(address, waited).get("/x")
    assert len(waited) == TRIES - 1 and "goes on" in (caught.value.remedy or "")
    with pytest.raises(Unavailable, match="does not answer"):
        of(address, waited).get("/x")  # nobody is there any more


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (told({}, 401), Unauthenticated, "PHOENIX_API_KEY"),
        (told({}, 403), Unauthenticated, "PHOENIX_API_KEY"),
        (Told(404, "text/html", b"<h1>no</h1>"), NotFound, "address of Phoenix"),
        (Told(200, "text/html", b"<html>a page</html>"), NotFound, "no JSON"),
        (Told(302, "text/html", b"", (("location", "https://elsewhere.example/login"),)), Invalid, "https://elsewhere.example"),
        (told({"detail": "limit is too large"}, 422), Invalid, "limit is too large"),
    ],
)
def test_what_it_refuses_is_told(answer: Told, kind: type[WindlassError], words: str) -> None:
    asked: list[Asked] = []

    def answering(one: Asked) -> Told:
        asked.append(one)
        return answer

    with served(answering) as address, pytest.raises(kind) as caught:
        of(address, []).get("/x", [("a", "b c")])
    assert words in str(caught.value) and SECRET not in str(caught.value)
    assert len(asked) == 1 and asked[0].headers["authorization"] == f"Bearer {SECRET}" and asked[0].query == (("a", "b c"),)


def test_an_address_is_one_and_holds_no_key() -> None:
    for address in ("localhost:5000", "ftp://host", "http://"):
        with pytest.raises(Invalid, match="no address"):
            of(address, [])
    with pytest.raises(Invalid, match="hold no key") as caught:
        of(f"http://user:{SECRET}@host", [])
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("product", ["mlflow", "phoenix", "langfuse"])
@pytest.mark.parametrize("answer", [Told(200, "text/html", b"<html>a page</html>"), told({}, 404)])
def test_another_product_is_told_apart(product: str, answer: Told) -> None:
    with served(lambda asked: answer) as address, pytest.raises(NotFound, match="this is no "):
        source_of(product, address, {}).version()


def test_a_product_that_is_not_read() -> None:
    with pytest.raises(Invalid, match="'weave' is not read here"):
        source_of("weave", "http://127.0.0.1:1", {})


def test_an_old_mlflow_is_told_so() -> None:
    with served(lambda asked: Told(200, "text/plain", b"2.22.1")) as address, pytest.raises(Invalid, match=r"2\.22\.1 is too old"):
        source_of("mlflow", address, {}).version()
