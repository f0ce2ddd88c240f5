"""Reviews: queues, their items, and what each person decided."""

from alembic import op
from sqlalchemy import text

revision = "0007"
down_revision = "0006"

TABLES = """
CREATE TABLE review_queues (project TEXT NOT NULL, name TEXT NOT NULL, kind TEXT NOT NULL, raters INTEGER NOT NULL,
    guidelines TEXT NOT NULL, seed TEXT NOT NULL, created_ns BIGINT NOT NULL, actor TEXT NOT NULL, PRIMARY KEY (project, name));
CREATE TABLE reviews (id TEXT NOT NULL PRIMARY KEY, project TEXT NOT NULL, queue TEXT NOT NULL, source TEXT NOT NULL, state TEXT NOT NULL,
    body TEXT NOT NULL, outcome TEXT, "row" TEXT, created_ns BIGINT NOT NULL, actor TEXT NOT NULL);
CREATE UNIQUE INDEX reviews_by_source ON reviews (project, queue, source);
CREATE INDEX reviews_by_state ON reviews (project, queue, state, id);
CREATE TABLE review_decisions (review TEXT NOT NULL, actor TEXT NOT NULL, body TEXT NOT NULL, at_ns BIGINT NOT NULL,
    PRIMARY KEY (review, actor));
"""


def upgrade() -> None:
    for statement in TABLES.split(";"):
        if statement.strip():
            op.execute(text(statement))
