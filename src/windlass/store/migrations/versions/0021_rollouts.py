"""Rollouts: a release that answers a growing share of calls, what was decided about it and by whom, and the units it is compared on."""

from alembic import op
from sqlalchemy import text

revision = "0021"
down_revision = "0020"

TABLES = (
    "CREATE TABLE rollouts (id TEXT NOT NULL PRIMARY KEY, project TEXT NOT NULL, release TEXT NOT NULL, environment TEXT NOT NULL, "
    "status TEXT NOT NULL, body TEXT NOT NULL, evidence {blob}, arrived TEXT, next_ns BIGINT, created_ns BIGINT NOT NULL)",
    "CREATE INDEX rollouts_by_project ON rollouts (project, id)",
    "CREATE INDEX rollouts_due ON rollouts (next_ns)",
    "CREATE TABLE rollout_moves (id TEXT NOT NULL PRIMARY KEY, rollout TEXT NOT NULL, kind TEXT NOT NULL, share INTEGER NOT NULL, "
    "why TEXT NOT NULL, actor TEXT NOT NULL, at_ns BIGINT NOT NULL)",
    "CREATE INDEX rollout_moves_by_rollout ON rollout_moves (rollout, id)",
    "CREATE TABLE rollout_units (rollout TEXT NOT NULL, unit TEXT NOT NULL, stage INTEGER NOT NULL, first_ns BIGINT NOT NULL, "
    "open INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (rollout, unit, stage))",
    "CREATE INDEX rollout_units_open ON rollout_units (rollout, open, first_ns)",
)


def upgrade() -> None:
    blob = "BLOB" if op.get_bind().dialect.name == "sqlite" else "BYTEA"
    for statement in TABLES:
        op.execute(text(statement.format(blob=blob)))
