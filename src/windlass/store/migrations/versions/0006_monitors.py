"""Monitors: how far they looked and what they found; looks, and the runs they saw."""

from alembic import op
from sqlalchemy import text

revision = "0006"
down_revision = "0005"

TABLES = """
CREATE TABLE monitors (project TEXT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL, status TEXT NOT NULL, revision INTEGER NOT NULL,
    baseline TEXT, state BLOB, arrived TEXT, looked_ns BIGINT, body TEXT, findings TEXT, PRIMARY KEY (project, name));
CREATE TABLE looks (id TEXT NOT NULL PRIMARY KEY, project TEXT NOT NULL, monitor TEXT NOT NULL, digest TEXT NOT NULL,
    baseline TEXT NOT NULL, at_ns BIGINT NOT NULL, body TEXT NOT NULL);
CREATE INDEX looks_by_monitor ON looks (project, monitor, id);
CREATE TABLE sightings (project TEXT NOT NULL, monitor TEXT NOT NULL, trace TEXT NOT NULL, place BIGINT NOT NULL, baseline TEXT NOT NULL,
    start_ns BIGINT NOT NULL, release TEXT, session TEXT, text TEXT NOT NULL, PRIMARY KEY (project, monitor, trace));
CREATE INDEX sightings_by_place ON sightings (project, monitor, place);
"""


def upgrade() -> None:
    binary = "BYTEA" if op.get_bind().dialect.name == "postgresql" else "BLOB"
    for statement in TABLES.replace("BLOB", binary).split(";"):
        if statement.strip():
            op.execute(text(statement))
