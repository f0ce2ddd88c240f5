"""Grants, what was spent under each, calls that wait for a person, and what is stopped."""

from alembic import op
from sqlalchemy import text

revision = "0011"
down_revision = "0010"

TABLES = """
CREATE TABLE grants (id TEXT NOT NULL PRIMARY KEY, project TEXT NOT NULL, agent TEXT NOT NULL, digest TEXT NOT NULL, body TEXT NOT NULL,
    expires_ns BIGINT NOT NULL, created_ns BIGINT NOT NULL, revoked_ns BIGINT, revoked_by TEXT NOT NULL);
CREATE INDEX grants_by_agent ON grants (project, agent, id);
CREATE INDEX grants_by_project ON grants (project, id);
CREATE TABLE grant_spent ("grant" TEXT NOT NULL, counter TEXT NOT NULL, amount BIGINT NOT NULL, PRIMARY KEY ("grant", counter));
CREATE TABLE approvals (id TEXT NOT NULL PRIMARY KEY, project TEXT NOT NULL, "grant" TEXT NOT NULL, agent TEXT NOT NULL,
    tool TEXT NOT NULL, call TEXT NOT NULL, body TEXT NOT NULL, state TEXT NOT NULL, asked_ns BIGINT NOT NULL,
    expires_ns BIGINT NOT NULL, decided_ns BIGINT, decided_by TEXT NOT NULL, note TEXT NOT NULL);
CREATE INDEX approvals_by_state ON approvals (project, state, id);
CREATE INDEX approvals_by_grant ON approvals ("grant", state);
CREATE TABLE stops (project TEXT NOT NULL, subject TEXT NOT NULL, reason TEXT NOT NULL, actor TEXT NOT NULL, at_ns BIGINT NOT NULL,
    PRIMARY KEY (project, subject));
"""


def upgrade() -> None:
    for statement in TABLES.split(";"):
        if statement.strip():
            op.execute(text(statement))
