"""Tuning: supervised (SFT), a reward model from preferences, reinforcement against it (GRPO, RLOO), and preferences directly (DPO)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from windlass.core.operations import Limit, Operation, Page
from windlass.core.operations.evaluation import IdQuery
from windlass.core.score import Decision, Interval

Method = Literal["sft", "reward", "dpo", "grpo", "rloo"]
TuneStatus = Literal["queued", "running", "checking", "done", "failed", "cancelled"]


class TuneParameters(msgspec.Struct, frozen=True, omit_defaults=True):
    """How to tune. What is None is the method's own: see `docs/tuning.md`. `longest` and `answer` in tokens."""

    steps: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 100
    batch: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 8
    learning_rate: float | None = None
    rank: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 8
    alpha: float = 16.0
    dropout: Annotated[float, msgspec.Meta(ge=0, lt=1)] = 0.0
    longest: Annotated[int, msgspec.Meta(ge=8, le=1_000_000)] = 512
    seed: Annotated[int, msgspec.Meta(ge=0, le=2**31)] = 0
    save_every: Annotated[int, msgspec.Meta(ge=1)] = 20
    beta: float | None = None
    generations: Annotated[int, msgspec.Meta(ge=2, le=256)] = 8
    answer: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 64
    temperature: Annotated[float, msgspec.Meta(gt=0, le=10)] = 1.0


class TuneRequest(msgspec.Struct, omit_defaults=True):
    """Tune `base` (weights: an id, a ref or a name) on the rows of `data`, and call what comes of it `name`.

    `split` are the rows to train on and `heldout` those to measure on, by their field `split`; without either a seeded tenth is held
    out. `prompt` names a prompt artifact that renders rows as a component would; else `question` is the field with the user's words.
    `reward` are the weights of a reward model, for grpo and rloo. `suites` are what the tuned model will be judged by, all of the
    project's where none is named: a row to train on that stands among their rows is refused.
    """

    method: Method
    name: str
    base: str
    data: str
    project: str = "default"
    parameters: TuneParameters = TuneParameters()
    split: str | None = None
    heldout: str | None = None
    prompt: str | None = None
    question: str = "prompt"
    completion: str = "completion"
    chosen: str = "chosen"
    rejected: str = "rejected"
    reward: str | None = None
    suites: tuple[str, ...] = ()


class Measure(msgspec.Struct, frozen=True, omit_defaults=True):
    """One figure on rows that were not trained on, before and after. `better` says which way is good; the interval is of the
    difference, row by row, at 95 %."""

    name: str
    before: float
    after: float
    difference: float
    low: float
    high: float
    rows: int
    better: Literal["higher", "lower"]

    @property
    def helped(self) -> bool:
        """Whether the difference is shown to be for the better."""
        return self.low > 0 if self.better == "higher" else self.high < 0


class Sample(msgspec.Struct, frozen=True):
    """What the model says to a held-out prompt. Step 0 is before tuning."""

    step: int
    prompt: str
    text: str


class Tune(msgspec.Struct, omit_defaults=True):
    """One tuning. Refs have digests; `fingerprint` is all that its weights depend on, and a resume that differs in it is refused."""

    id: str
    project: str
    request: TuneRequest
    status: TuneStatus
    created_ns: int
    base: str  # ref
    data: str  # ref
    reward: str | None = None  # ref
    prompt: str | None = None  # ref
    rows: int = 0
    heldout_rows: int = 0
    step: int = 0
    steps: int = 0
    saved: int = 0  # the step of the newest whole checkpoint
    resumed: int = 0  # how often it was gone on with
    device: str = ""
    hardware: str = ""  # memory needed and found, in a sentence
    fingerprint: dict[str, Any] = {}
    measure: Measure | None = None
    samples: tuple[Sample, ...] = ()
    warnings: tuple[str, ...] = ()
    canary: str = ""  # what the exported weights said in a fresh process
    weights: str = ""  # the digest of the trained tensors
    adapter: str = ""  # ref
    model: str = ""  # ref of what can be called
    id_of_model: str = ""
    started_ns: int | None = None
    finished_ns: int | None = None
    error: dict[str, Any] | None = None
    actor: str = ""


class TuneQuery(msgspec.Struct, omit_defaults=True):
    project: str = "default"
    name: str | None = None
    cursor: str | None = None
    limit: Limit = 20


class TunePage(Page):
    items: tuple[Tune, ...]


class PointsQuery(msgspec.Struct, omit_defaults=True):
    """The metrics of a tuning after a step."""

    id: str
    project: str = "default"
    after: int = -1


class TunePoint(msgspec.Struct, frozen=True):
    step: int
    values: dict[str, float]


class Points(msgspec.Struct):
    id: str
    status: TuneStatus
    step: int
    items: tuple[TunePoint, ...]


class CompareTune(msgspec.Struct, omit_defaults=True):
    """Hold a tuned model against the model it was made of and against the tuned one before it, in a suite's own target.

    `part` is the component or agent whose model changes; `previous` another model's id, the one tuned before under this name by default.
    """

    id: str
    suite: str
    project: str = "default"
    part: str | None = None
    previous: str | None = None


class Versus(msgspec.Struct, frozen=True, omit_defaults=True):
    """The tuned model against another, guard by guard. `promote`: shown better on the first guard, and not worse on the others."""

    model: str
    what: Literal["frozen", "previous"]
    decision: Decision
    why: str
    guards: tuple[GuardDifference, ...] = ()
    evaluation: str = ""


class GuardDifference(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str
    before: float | None
    after: float | None
    difference: float | None
    interval: Interval | None = None
    decision: Decision = "inconclusive"
    rows: int = 0
    sentence: str = ""


class TuneComparison(msgspec.Struct, omit_defaults=True):
    """`decision` is the worst of all. `rows` that the models were trained on are left out of it."""

    id: str
    tune: str
    suite: str
    status: Literal["queued", "running", "done", "failed"]
    done: int = 0
    total: int = 0
    decision: Decision = "inconclusive"
    against: tuple[Versus, ...] = ()
    evaluation: str = ""
    left_out: int = 0
    created_ns: int = 0
    error: dict[str, Any] | None = None


class ComparisonsQuery(msgspec.Struct, omit_defaults=True):
    tune: str
    project: str = "default"


class Comparisons(msgspec.Struct):
    items: tuple[TuneComparison, ...]


TUNE = Operation("tune.start", "POST", TuneRequest, Tune, "run")
SHOW_TUNE = Operation("tune.show", "GET", IdQuery, Tune, "read")
TUNES = Operation("tune.list", "GET", TuneQuery, TunePage, "read")
POINTS = Operation("tune.points", "GET", PointsQuery, Points, "read")
CANCEL_TUNE = Operation("tune.cancel", "POST", IdQuery, Tune, "run")
RESUME_TUNE = Operation("tune.resume", "POST", IdQuery, Tune, "run")
COMPARE_TUNE = Operation("tune.compare", "POST", CompareTune, TuneComparison, "run")
COMPARISONS = Operation("tune.compared", "GET", ComparisonsQuery, Comparisons, "read")
