"""Bake-offs of models."""

from alembic import op
from sqlalchemy import text

revision = "0004"
down_revision = "0003"

TABLES = """
CREATE TABLE bakeoffs (id TEXT NOT NULL PRIMARY KEY, project TEXT NOT NULL, suite_name TEXT NOT NULL, request TEXT NOT NULL,
    body TEXT NOT NULL, status TEXT NOT NULL, created_ns BIGINT NOT NULL);
CREATE INDEX bakeoffs_by_suite ON bakeoffs (project, suite_name, id);
"""


def upgrade() -> None:
    for statement in TABLES.split(";"):
        if statement.strip():
            op.execute(text(statement))
