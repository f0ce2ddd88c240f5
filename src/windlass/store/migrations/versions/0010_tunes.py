"""Tunings, the figures of each of their steps, and what came of holding them against other models."""

from alembic import op
from sqlalchemy import text

revision = "0010"
down_revision = "0009"

TABLES = """
CREATE TABLE tunes (id TEXT NOT NULL PRIMARY KEY, project TEXT NOT NULL, name TEXT NOT NULL, actor TEXT NOT NULL, body TEXT NOT NULL,
    status TEXT NOT NULL, created_ns BIGINT NOT NULL);
CREATE INDEX tunes_by_name ON tunes (project, name, id);
CREATE TABLE tune_points (tune TEXT NOT NULL, step INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (tune, step));
CREATE TABLE tune_comparisons (id TEXT NOT NULL PRIMARY KEY, project TEXT NOT NULL, tune TEXT NOT NULL, request TEXT NOT NULL,
    body TEXT NOT NULL, created_ns BIGINT NOT NULL);
CREATE INDEX tune_comparisons_by_tune ON tune_comparisons (project, tune, id);
"""


def upgrade() -> None:
    for statement in TABLES.split(";"):
        if statement.strip():
            op.execute(text(statement))
