"""Alerts: events that monitors found, and their deliveries."""

from alembic import op
from sqlalchemy import text

revision = "0008"
down_revision = "0007"

TABLES = """
CREATE TABLE events (id TEXT NOT NULL PRIMARY KEY, project TEXT NOT NULL, kind TEXT NOT NULL, monitor TEXT NOT NULL, key TEXT NOT NULL,
    severity TEXT NOT NULL, title TEXT NOT NULL, sentence TEXT NOT NULL, path TEXT NOT NULL, facts TEXT NOT NULL, release TEXT,
    at_ns BIGINT NOT NULL, last_ns BIGINT NOT NULL, times INTEGER NOT NULL, acknowledged_ns BIGINT, acknowledged_by TEXT NOT NULL,
    note TEXT NOT NULL);
CREATE INDEX events_by_project ON events (project, id);
CREATE INDEX events_by_monitor ON events (project, monitor, kind, id);
CREATE TABLE deliveries (id TEXT NOT NULL PRIMARY KEY, project TEXT NOT NULL, event TEXT NOT NULL, alert TEXT NOT NULL,
    digest TEXT NOT NULL, channel TEXT NOT NULL, address TEXT NOT NULL, secret TEXT NOT NULL, body TEXT NOT NULL, status TEXT NOT NULL,
    tries INTEGER NOT NULL, attempts TEXT NOT NULL, next_ns BIGINT, created_ns BIGINT NOT NULL);
CREATE INDEX deliveries_by_event ON deliveries (event);
CREATE INDEX deliveries_by_alert ON deliveries (project, alert, id);
CREATE INDEX deliveries_due ON deliveries (next_ns);
"""


def upgrade() -> None:
    for statement in TABLES.split(";"):
        if statement.strip():
            op.execute(text(statement))
