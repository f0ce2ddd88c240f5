"""Routes: which upstreams answer for a model's id, in which order, how long each is waited for, and what happens when one fails.

A route's name is a plain word (`fast`) or a model's whole id (`openai/gpt-5-mini`, so that applications stay as they are). Upstreams are
ids of models as they are at their providers: a route never leads to a route.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Literal

import msgspec

from windlass.core.digest import digest_json
from windlass.core.operations import Operation

PREFIX = "route/"  # before a plain name, where an id of a model is written
Sticky = Literal["user", "session", "trace"]
Failure = Annotated[str, msgspec.Meta(pattern=r"^(connection|timeout|nonsense|context|[45]xx|[45][0-9]{2})$")]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=3600)]
FALL_BACK: tuple[Failure, ...] = ("connection", "timeout", "nonsense", "408", "409", "429", "5xx")
RouteName = Annotated[
    str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9@][A-Za-z0-9@:._/-]*)?$")
]


class RouteUpstream(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """A model that may answer. Of those of one `tier` each is first for its share of the weights; later tiers answer when all before
    failed. `concurrency` is how many calls at once a worker has under way there; None for no limit."""

    model: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    weight: Annotated[float, msgspec.Meta(gt=0, le=1_000_000)] = 1.0
    tier: Annotated[int, msgspec.Meta(ge=1, le=20)] = 1
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=100_000)] | None = None


class RouteRetries(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One upstream is asked `attempts` times at most. Before the nth time again it is waited between 0 and `base_s` × 2ⁿ⁻¹ seconds, at most
    `cap_s`, by chance; at least as long as it asked for. All waiting of a call is within `budget_s`."""

    attempts: Annotated[int, msgspec.Meta(ge=1, le=10)] = 2
    budget_s: Annotated[float, msgspec.Meta(ge=0, le=600)] = 10.0
    base_s: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.5
    cap_s: Annotated[float, msgspec.Meta(ge=0, le=600)] = 8.0


class RouteTimeouts(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Seconds; None for the server's setting. `total_s` bounds a call with all its attempts, `attempt_s` one attempt at an answer that
    comes whole (None: only `total_s` does, and a hang leaves no time for another upstream); `queue_s` the wait for a place at an upstream
    that has a limit."""

    connect_s: Seconds | None = None
    first_token_s: Seconds | None = None
    between_tokens_s: Seconds | None = None
    total_s: Seconds | None = None
    attempt_s: Seconds | None = None
    queue_s: Annotated[float, msgspec.Meta(ge=0, le=600)] = 5.0


class RouteBreaker(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """An upstream rests for `open_s` seconds once `failures` calls, and at least this `share` of all, failed within `window_s`. Then one
    call tries whether it is back."""

    failures: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 5
    share: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.5
    window_s: Seconds = 30.0
    open_s: Seconds = 15.0


class Route(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a route says. `sticky` is whose calls go to the same upstream: a user's (else a session's, else each trace's), a session's, or
    nobody's. `fall_back_on` are the failures after which the next upstream is asked: `connection`, `timeout`, `nonsense` (no answer at
    all), a status such as `429`, `5xx`, or `context` (the request is too long); nothing else is. `same_vectors` says that upstreams of
    other names embed alike."""

    upstreams: Annotated[tuple[RouteUpstream, ...], msgspec.Meta(min_length=1, max_length=50)]
    sticky: Sticky = "user"
    fall_back_on: tuple[Failure, ...] = FALL_BACK
    retries: RouteRetries = RouteRetries()
    timeouts: RouteTimeouts = RouteTimeouts()
    breaker: RouteBreaker = RouteBreaker()
    same_vectors: bool = False

    def digest(self) -> str:
        """The identity of who may answer: what a recorded draw depends on. How long one waits is none of it."""
        return _digest(self.upstreams, self.sticky, self.fall_back_on)


@lru_cache(maxsize=1024)  # asked for with every call
def _digest(upstreams: tuple[RouteUpstream, ...], sticky: str, fall_back_on: tuple[str, ...]) -> str:
    return digest_json([[[u.model, u.weight, u.tier] for u in upstreams], sticky, sorted(set(fall_back_on))])


class RouteSet(msgspec.Struct, omit_defaults=True):
    """Again under the same name replaces."""

    name: RouteName
    route: Route
    project: str = "default"


class RouteQuery(msgspec.Struct, omit_defaults=True):
    project: str = "default"


class RouteShow(msgspec.Struct, omit_defaults=True):
    name: str
    project: str = "default"


BreakerState = Literal["closed", "open", "half-open"]


class UpstreamHealth(msgspec.Struct, frozen=True, omit_defaults=True):
    """How an upstream of a route does, as one process sees it. Counts are of calls since that process began; `until_ns` is when an open
    breaker lets one call try, or until when the upstream asked to be left alone; `last_failure` a word as in `fall_back_on`."""

    project: str
    route: str
    model: str
    state: BreakerState
    asked: int = 0
    failed: int = 0
    under_way: int = 0
    waiting: int = 0
    since_ns: int = 0
    until_ns: int = 0
    last_failure: str = ""


class WorkerHealth(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one process has seen of upstreams, and when it said so. Each has breakers of its own."""

    process: str
    pid: int
    at_ns: int
    upstreams: tuple[UpstreamHealth, ...] = ()


class RouteKept(msgspec.Struct, omit_defaults=True):
    """A route as it is kept. `problems` are upstreams that cannot be called from here now, and a release of the same name; `health` is
    what each worker has seen."""

    name: str
    route: Route
    by: str
    at_ns: int
    digest: str
    problems: tuple[str, ...] = ()
    health: tuple[WorkerHealth, ...] = ()


class RouteList(msgspec.Struct):
    """By name."""

    items: tuple[RouteKept, ...]


class RouteAttempt(msgspec.Struct, frozen=True, omit_defaults=True):
    """One upstream asked, or passed over, in the order it was. Seconds. `failed` is empty where it answered; of one that was passed over
    `passed_over` says why. Tokens and dollars are those of an attempt that failed, as far as it told."""

    upstream: str
    waited_s: float = 0.0
    took_s: float = 0.0
    failed: str = ""
    said: str = ""
    passed_over: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: float | None = None


ROUTES = Operation("routes.list", "GET", RouteQuery, RouteList, "read")
ROUTE = Operation("routes.show", "GET", RouteShow, RouteKept, "read")
SET_ROUTE = Operation("routes.set", "POST", RouteSet, RouteKept, "deploy")
REMOVE_ROUTE = Operation("routes.remove", "POST", RouteShow, RouteKept, "deploy")
