"""Every error Windlass raises on purpose. The tree:

    WindlassError            a sentence, where it happened, what to do
    ├── Invalid              the input is wrong (400)
    ├── Unauthenticated      nobody we know (401)
    ├── Forbidden            somebody, but not allowed (403)
    ├── NotFound             no such thing (404)
    ├── Conflict             somebody else was first (409)
    ├── TooLarge             over a stated limit (413)
    ├── Busy                 try again later (429)
    ├── RunFailed            a chain, agent, tool or evaluator failed (422)
    ├── ModelFailed          a provider failed, refused or talked nonsense (502)
    └── Unavailable          a part of Windlass is not there (503)
        └── StoreAway        the relational store cannot be had now: what was begun can be begun again

Anything else that escapes is a defect. This file knows nothing of HTTP but the status each class carries.
"""

from __future__ import annotations

from typing import Any, ClassVar


class WindlassError(Exception):
    """A mistake told in one sentence, with where it is and how to mend it.

    Attributes:
        message: what is wrong, one sentence.
        where: the file and line, row, field or address it concerns.
        remedy: what the reader can do about it.
        details: machine-readable extras, JSON values only, never a secret.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500

    def __init__(self, message: str, *, where: str | None = None, remedy: str | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.remedy = remedy
        self.details = details

    def __str__(self) -> str:
        """`where: message (remedy)`, the one line a terminal shows."""
        head = f"{self.where}: {self.message}" if self.where else self.message
        return f"{head} ({self.remedy})" if self.remedy else head

    def as_dict(self) -> dict[str, Any]:
        """The one JSON shape of an error: `{"error": {code, message, where?, remedy?, details?}}`."""
        body: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.where:
            body["where"] = self.where
        if self.remedy:
            body["remedy"] = self.remedy
        if self.details:
            body["details"] = self.details
        return {"error": body}


class Invalid(WindlassError):
    code, status = "invalid", 400


class Unauthenticated(WindlassError):
    code, status = "unauthenticated", 401


class Forbidden(WindlassError):
    code, status = "forbidden", 403


class NotFound(WindlassError):
    code, status = "not_found", 404


class Conflict(WindlassError):
    code, status = "conflict", 409


class TooLarge(WindlassError):
    code, status = "too_large", 413


class RunFailed(WindlassError):
    code, status = "run_failed", 422


class Busy(WindlassError):
    code, status = "busy", 429


class ModelFailed(WindlassError):
    code, status = "model_failed", 502


class Unavailable(WindlassError):
    code, status = "unavailable", 503


class StoreAway(Unavailable):
    """Long work is gone on with where it would fail for good, also when this reached it through a runner."""

    code = "store_away"


def error_from_dict(payload: dict[str, Any], status: int = 500) -> WindlassError:
    """The error a server sent, as the same class here. Unknown codes become `WindlassError`."""
    body = payload.get("error") if isinstance(payload.get("error"), dict) else {}
    assert isinstance(body, dict)
    classes: list[type[WindlassError]] = [
        Invalid, Unauthenticated, Forbidden, NotFound, Conflict, TooLarge, RunFailed, Busy, ModelFailed, Unavailable, StoreAway,
    ]  # fmt: skip
    chosen = next((c for c in classes if c.code == body.get("code")), None)
    chosen = chosen or next((c for c in classes if c.status == status), WindlassError)
    details = body.get("details")
    return chosen(
        str(body.get("message") or f"the server answered {status}"),
        where=body.get("where"),
        remedy=body.get("remedy"),
        **(details if isinstance(details, dict) else {}),
    )
