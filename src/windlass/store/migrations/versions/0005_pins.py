"""Pins: looks at their sources, and readings under way."""

from alembic import op
from sqlalchemy import text

revision = "0005"
down_revision = "0004"

TABLES = """
CREATE TABLE pin_looks (id TEXT NOT NULL PRIMARY KEY, project TEXT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL,
    at_ns BIGINT NOT NULL, actor TEXT NOT NULL, outcome TEXT NOT NULL, why TEXT NOT NULL, counted BIGINT, rows TEXT, deadline_ns BIGINT);
CREATE INDEX pin_looks_by_name ON pin_looks (project, name, id);
CREATE INDEX pin_looks_by_deadline ON pin_looks (deadline_ns);
CREATE TABLE pin_jobs (id TEXT NOT NULL PRIMARY KEY, project TEXT NOT NULL, request TEXT NOT NULL, actor TEXT NOT NULL, body TEXT NOT NULL,
    created_ns BIGINT NOT NULL);
"""


def upgrade() -> None:
    for statement in TABLES.split(";"):
        if statement.strip():
            op.execute(text(statement))
