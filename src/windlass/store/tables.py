"""The relational tables, all in one place. Written in what SQLite and PostgreSQL share; JSON is canonical text. What a model or a
person said may hold the character NUL, which PostgreSQL does not keep: there it is written as `_ESCAPE` and `0`.

Times are UTC nanoseconds. The project is in every key (an outcome's is its evaluation's). Nothing in `versions`, `links`,
`layouts`, `label_moves`, `verdicts` and `audit` is ever updated or deleted; an erasure alone has layouts name other packs.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, Dialect, Float, Index, Integer, LargeBinary, MetaData, PrimaryKeyConstraint, Table, Text
from sqlalchemy.types import TypeDecorator

metadata = MetaData()
_ESCAPE = "\U0010fffe"  # a code point that stands for no character


class _AnyText(TypeDecorator[str]):
    """Text with NULs in it, kept as it is by either engine."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None or dialect.name == "sqlite" or ("\0" not in value and _ESCAPE not in value):
            return value
        return value.replace(_ESCAPE, _ESCAPE + "1").replace("\0", _ESCAPE + "0")

    def result_processor(self, dialect: Dialect, coltype: object) -> Any:
        return None if dialect.name == "sqlite" else _whole


def _whole(value: str | None) -> str | None:
    return value.replace(_ESCAPE + "0", "\0").replace(_ESCAPE + "1", _ESCAPE) if value and _ESCAPE in value else value


def _text(name: str, *, null: bool = False) -> Column[str]:
    return Column(name, _AnyText, nullable=null)


def _ns(name: str, *, null: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=null)


versions = Table(
    "versions", metadata,
    _text("project"), _text("kind"), _text("name"), _text("digest"),
    _text("body"), _text("neutral"), _text("snapshot", null=True), _ns("created_ns"), _text("actor"),
    PrimaryKeyConstraint("project", "kind", "name", "digest"),
    Index("versions_by_digest", "project", "digest"),
    Index("versions_by_time", "project", "kind", "name", "created_ns"),
)  # fmt: skip

links = Table(
    "links", metadata,
    _text("project"), _text("kind"), _text("name"), _text("digest"),
    _text("relation"), _text("role"), _text("to_kind"), _text("to_name"), _text("to_digest"),
    PrimaryKeyConstraint("project", "kind", "name", "digest", "relation", "role", "to_kind", "to_name", "to_digest"),
    Index("links_back", "project", "to_kind", "to_name", "to_digest"),
)  # fmt: skip

labels = Table(
    "labels", metadata,
    _text("project"), _text("kind"), _text("name"), _text("label"), _text("digest"), _ns("moved_ns"), _text("actor"),
    PrimaryKeyConstraint("project", "kind", "name", "label"),
    Index("labels_by_digest", "project", "kind", "name", "digest"),
)  # fmt: skip

label_moves = Table(
    "label_moves", metadata,
    Column("id", Text, primary_key=True),
    _text("project"), _text("kind"), _text("name"), _text("label"), _text("before", null=True), _text("after"),
    _text("how"), _text("verdict", null=True), _text("reason", null=True), _ns("at_ns"), _text("actor"),
    Index("label_moves_by_label", "project", "kind", "name", "label", "id"),
)  # fmt: skip

layouts = Table(
    "layouts", metadata,
    _text("project"), _text("rows"), _text("parent", null=True), _text("blob"), _text("packs"),
    Column("depth", Integer, nullable=False), _ns("created_ns"), _text("splits", null=True),
    PrimaryKeyConstraint("project", "rows"),
)  # fmt: skip

origins = Table(
    "origins", metadata,
    _text("project"), _text("trace"), _text("name"), _text("key"), _ns("at_ns"),
    PrimaryKeyConstraint("project", "trace", "name", "key"),
)  # fmt: skip

erased_rows = Table(
    "erased_rows", metadata,
    _text("project"), _text("row"), _text("erasure"), _ns("at_ns"),
    PrimaryKeyConstraint("project", "row"),
)  # fmt: skip

verdicts = Table(
    "verdicts", metadata,
    Column("id", Text, primary_key=True),
    _text("project"), _text("suite"), _text("candidate"), _text("base", null=True), _text("environment"), _text("decision"),
    _text("body"), _ns("created_ns"),
    Index("verdicts_by_candidate", "project", "candidate", "environment", "id"),
)  # fmt: skip

evaluations = Table(
    "evaluations", metadata,
    Column("id", Text, primary_key=True),
    _text("project"), _text("suite"), _text("suite_name"), _text("target"), _text("status"), _text("request"), _text("summary"),
    Column("rows", Integer, nullable=False), _ns("created_ns"), _ns("finished_ns", null=True), _text("error", null=True), _text("actor"),
    Index("evaluations_by_suite", "project", "suite_name", "id"),
)  # fmt: skip

outcomes = Table(
    "outcomes", metadata,
    _text("evaluation"), _text("row"), Column("repeat", Integer, nullable=False),
    _text("input"), _text("output", null=True), _text("text"), _text("scores"), _text("trace", null=True), _text("error", null=True),
    Column("reused", Integer, nullable=False), Column("calls", Integer, nullable=False), _ns("latency_ns"),
    Column("cost", Float), _text("requests", null=True), Column("low", Float),
    PrimaryKeyConstraint("evaluation", "row", "repeat"),
)  # fmt: skip

gates = Table(
    "gates", metadata,
    Column("id", Text, primary_key=True),
    _text("project"), _text("request"), _text("plan"), _text("arms", null=True), _text("status"), Column("done", Integer, nullable=False),
    Column("total", Integer, nullable=False), _text("verdict", null=True), _text("error", null=True), _ns("created_ns"), _text("actor"),
)  # fmt: skip

bakeoffs = Table(
    "bakeoffs", metadata,
    Column("id", Text, primary_key=True),
    _text("project"), _text("suite_name"), _text("request"), _text("body"), _text("status"), _ns("created_ns"),
    Index("bakeoffs_by_suite", "project", "suite_name", "id"),
)  # fmt: skip

pin_looks = Table(
    "pin_looks", metadata,
    Column("id", Text, primary_key=True),
    _text("project"), _text("name"), _text("digest"), _ns("at_ns"), _text("actor"), _text("outcome"), _text("why"),
    _ns("counted", null=True), _text("rows", null=True), _ns("deadline_ns", null=True),
    Index("pin_looks_by_name", "project", "name", "id"),
    Index("pin_looks_by_deadline", "deadline_ns"),
)  # fmt: skip

pin_jobs = Table(
    "pin_jobs", metadata,
    Column("id", Text, primary_key=True),
    _text("project"), _text("request"), _text("actor"), _text("body"), _ns("created_ns"),
)  # fmt: skip

monitors = Table(
    "monitors", metadata,
    _text("project"), _text("name"), _text("digest"), _text("status"), Column("revision", Integer, nullable=False),
    _text("baseline", null=True), Column("state", LargeBinary, nullable=True), _text("arrived", null=True), _ns("looked_ns", null=True),
    _text("body", null=True), _text("findings", null=True),
    PrimaryKeyConstraint("project", "name"),
)  # fmt: skip

looks = Table(
    "looks", metadata,
    Column("id", Text, primary_key=True),
    _text("project"), _text("monitor"), _text("digest"), _text("baseline"), _ns("at_ns"), _text("body"),
    Index("looks_by_monitor", "project", "monitor", "id"),
)  # fmt: skip

sightings = Table(
    "sightings", metadata,
    _text("project"), _text("monitor"), _text("trace"), Column("place", BigInteger, nullable=False), _text("baseline"),
    _ns("start_ns"), _text("release", null=True), _text("session", null=True), _text("text"),
    PrimaryKeyConstraint("project", "monitor", "trace"),
    Index("sightings_by_place", "project", "monitor", "place"),
)  # fmt: skip

events = Table(
    "events", metadata,
    Column("id", Text, primary_key=True),
    _text("project"), _text("kind"), _text("monitor"), _text("key"), _text("severity"), _text("title"), _text("sentence"), _text("path"),
    _text("facts"), _text("release", null=True), _ns("at_ns"), _ns("last_ns"), Column("times", Integer, nullable=False),
    _ns("acknowledged_ns", null=True), _text("acknowledged_by"), _text("note"),
    Index("events_by_project", "project", "id"),
    Index("events_by_monitor", "project", "monitor", "kind", "id"),
)  # fmt: skip

deliveries = Table(
    "deliveries", metadata,
    Column("id", Text, primary_key=True),
    _text("project"), _text("event"), _text("alert"), _text("digest"), _text("channel"), _text("address"), _text("secret"), _text("body"),
    _text("status"), Column("tries", Integer, nullable=False), _text("attempts"), _ns("next_ns", null=True), _ns("created_ns"),
    Index("deliveries_by_event", "event"),
    Index("deliveries_by_alert", "project", "alert", "id"),
    Index("deliveries_due", "next_ns"),
)  # fmt: skip

metric_rules = Table(
    "metric_rules", metadata,
    _text("project"), _text("alert"), _text("rule"), _text("body"), _ns("next_ns"),
    PrimaryKeyConstraint("project", "alert"),
    Index("metric_rules_due", "next_ns"),
)  # fmt: skip

review_queues = Table(
    "review_queues", metadata,
    _text("project"), _text("name"), _text("kind"), Column("raters", Integer, nullable=False), _text("guidelines"), _text("seed"),
    _ns("created_ns"), _text("actor"),
    PrimaryKeyConstraint("project", "name"),
)  # fmt: skip

reviews = Table(
    "reviews", metadata,
    Column("id", Text, primary_key=True),
    _text("project"), _text("queue"), _text("source"), _text("state"), _text("body"), _text("outcome", null=True), _text("row", null=True),
    _ns("created_ns"), _text("actor"),
    Index("reviews_by_source", "project", "queue", "source", unique=True),
    Index("reviews_by_state", "project", "queue", "state", "id"),
)  # fmt: skip

review_decisions = Table(
    "review_decisions", metadata,
    _text("review"), _text("actor"), _text("body"), _ns("at_ns"),
    PrimaryKeyConstraint("review", "actor"),
)  # fmt: skip

tunes = Table(
    "tunes", metadata,
    Column("id", Text, primary_key=True),
    _text("project"), _text("name"), _text("actor"), _text("body"), _text("status"), _ns("created_ns"),
    Index("tunes_by_name", "project", "name", "id"),
)  # fmt: skip

tune_points = Table(
    "tune_points", metadata,
    _text("tune"), Column("step", Integer, nullable=False), _text("body"),
    PrimaryKeyConstraint("tune", "step"),
)  # fmt: skip

tune_comparisons = Table(
    "tune_comparisons", metadata,
    Column("id", Text, primary_key=True),
    _text("project"), _text("tune"), _text("request"), _text("body"), _ns("created_ns"),
    Index("tune_comparisons_by_tune", "project", "tune", "id"),
)  # fmt: skip

batches = Table(
    "batches", metadata,
    Column("id", Text, primary_key=True),
    _text("project"), _text("actor"), _text("body"), _text("status"), _ns("created_ns"),
    Index("batches_by_project", "project", "id"),
)  # fmt: skip

batch_parts = Table(
    "batch_parts", metadata,
    _text("project"), _text("batch"), Column("number", Integer, nullable=False), _text("body"),
    PrimaryKeyConstraint("batch", "number"),
)  # fmt: skip

loadtests = Table(
    "loadtests", metadata,
    Column("id", Text, primary_key=True),
    _text("project"), _text("target"), _text("actor"), _text("body"), _text("status"), _ns("created_ns"),
    Index("loadtests_by_project", "project", "id"),
    Index("loadtests_by_target", "project", "target", "id"),
)  # fmt: skip

erasures = Table(
    "erasures", metadata,
    Column("id", Text, primary_key=True),
    _text("project"), _text("hashes"), _text("held", null=True), _text("body"), _text("status"), _ns("asked_ns"),
    Index("erasures_by_project", "project", "id"),
)  # fmt: skip

release_approvals = Table(
    "release_approvals", metadata,
    _text("project"), _text("verdict"), _text("actor"), _text("candidate"), _ns("at_ns"), _text("note"),
    PrimaryKeyConstraint("project", "verdict", "actor"),
)  # fmt: skip

rollouts = Table(
    "rollouts", metadata,
    Column("id", Text, primary_key=True),
    _text("project"), _text("release"), _text("environment"), _text("status"), _text("body"),
    Column("evidence", LargeBinary, nullable=True), _text("arrived", null=True), _ns("next_ns", null=True), _ns("created_ns"),
    Index("rollouts_by_project", "project", "id"),
    Index("rollouts_due", "next_ns"),
)  # fmt: skip

rollout_moves = Table(
    "rollout_moves", metadata,
    Column("id", Text, primary_key=True),
    _text("rollout"), _text("kind"), Column("share", Integer, nullable=False), _text("why"), _text("actor"), _ns("at_ns"),
    Index("rollout_moves_by_rollout", "rollout", "id"),
)  # fmt: skip

rollout_units = Table(
    "rollout_units", metadata,
    _text("rollout"), _text("unit"), Column("stage", Integer, nullable=False), _ns("first_ns"), Column("open", Integer, nullable=False),
    _text("body"),
    PrimaryKeyConstraint("rollout", "unit", "stage"),
    Index("rollout_units_open", "rollout", "open", "first_ns"),
)  # fmt: skip

grants = Table(
    "grants", metadata,
    Column("id", Text, primary_key=True),
    _text("project"), _text("agent"), _text("digest"), _text("body"), _ns("expires_ns"), _ns("created_ns"),
    _ns("revoked_ns", null=True), _text("revoked_by"),
    Index("grants_by_agent", "project", "agent", "id"),
    Index("grants_by_project", "project", "id"),
)  # fmt: skip

grant_spent = Table(
    "grant_spent", metadata,
    _text("grant"), _text("counter"), Column("amount", BigInteger, nullable=False),
    PrimaryKeyConstraint("grant", "counter"),
)  # fmt: skip

approvals = Table(
    "approvals", metadata,
    Column("id", Text, primary_key=True),
    _text("project"), _text("grant"), _text("agent"), _text("tool"), _text("call"), _text("body"), _text("state"),
    _ns("asked_ns"), _ns("expires_ns"), _ns("decided_ns", null=True), _text("decided_by"), _text("note"),
    Index("approvals_by_state", "project", "state", "id"),
    Index("approvals_by_grant", "grant", "state"),
)  # fmt: skip

stops = Table(
    "stops", metadata,
    _text("project"), _text("subject"), _text("reason"), _text("actor"), _ns("at_ns"),
    PrimaryKeyConstraint("project", "subject"),
)  # fmt: skip

saved_views = Table(
    "saved_views", metadata,
    _text("project"), _text("owner"), _text("name"), _text("page"), _text("asked"), _text("actor"), _ns("at_ns"),
    PrimaryKeyConstraint("project", "owner", "name"),
)  # fmt: skip

# a route that was removed stays as a row without a body: the newest version says whether anything changed
routes = Table(
    "routes", metadata,
    _text("project"), _text("name"), _text("body", null=True), _ns("version"), _text("actor"), _ns("at_ns"),
    PrimaryKeyConstraint("project", "name"),
    Index("routes_by_version", "version"),
)  # fmt: skip

# what a call may use: requests, tokens, nanodollars, or calls at once; the window is `period`, which is no word of SQL
limits = Table(
    "limits", metadata,
    _text("project"), _text("id"), _text("subject"), _text("target"), _text("measured"), _text("period"), _ns("amount"),
    _text("unpriced"), _text("actor"), _ns("set_ns"),
    PrimaryKeyConstraint("project", "id"),
)  # fmt: skip

# by each node: what it let through, and how far it may go before it asks again
limit_uses = Table(
    "limit_uses", metadata,
    _text("project"), _text("id"), _ns("began_ns"), _text("who"), _text("node"), _ns("used"), _ns("cap"), _ns("ends_ns"), _ns("at_ns"),
    PrimaryKeyConstraint("project", "id", "began_ns", "who", "node"),
    Index("limit_uses_by_end", "ends_ns"),
)  # fmt: skip

handed_over = Table("handed_over", metadata, Column("id", Text, primary_key=True), _text("kind"), _text("project"))

draws = Table(
    "draws", metadata,
    _text("project"), _text("key"), _text("request"), _text("model"), _text("row"), Column("repeat", Integer, nullable=False),
    Column("occurrence", Integer, nullable=False),
    Column("reply", LargeBinary, nullable=False), _ns("created_ns"),
    PrimaryKeyConstraint("project", "key"),
)  # fmt: skip

judgements = Table(
    "judgements", metadata,
    _text("project"), _text("key"), _text("evaluator"), _text("score"), _ns("created_ns"),
    PrimaryKeyConstraint("project", "key"),
)  # fmt: skip

keys = Table(
    "keys", metadata,
    Column("id", Text, primary_key=True),
    _text("name"), _text("role"), _text("project"), _text("scopes"), _text("hash"), _ns("created_ns"),
    _ns("expires_ns", null=True), _ns("revoked_ns", null=True), _text("actor"),
)  # fmt: skip

provider_keys = Table(
    "provider_keys", metadata,
    Column("id", Text, primary_key=True),
    _text("project"), _text("provider"), _text("like"), _text("fields"), _text("sealed"), _text("ends"), _text("note"), _ns("given_ns"),
    _text("actor"),
)  # fmt: skip

people = Table(
    "people", metadata,
    Column("id", Text, primary_key=True),
    _text("provider"), _text("issuer"), _text("name"), _text("claims"), _ns("first_ns"), _ns("last_ns"), _ns("login_ns", null=True),
    _ns("blocked_ns", null=True), _text("blocked_by"),
)  # fmt: skip

audit = Table(
    "audit", metadata,
    Column("seq", Integer, primary_key=True, autoincrement=False),
    _ns("at_ns"), _text("actor"), _text("action"), _text("project"), _text("subject"), _text("details"), _text("previous"), _text("hash"),
    Index("audit_by_project", "project", "seq"),
)  # fmt: skip
