"""Batches, and what is done of each."""

from alembic import op
from sqlalchemy import text

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    op.execute(
        text(
            "CREATE TABLE batches (id TEXT NOT NULL PRIMARY KEY, project TEXT NOT NULL, actor TEXT NOT NULL, body TEXT NOT NULL, "
            "status TEXT NOT NULL, created_ns BIGINT NOT NULL)"
        )
    )
    op.execute(text("CREATE INDEX batches_by_project ON batches (project, id)"))
    op.execute(
        text(
            "CREATE TABLE batch_parts (project TEXT NOT NULL, batch TEXT NOT NULL, number INTEGER NOT NULL, body TEXT NOT NULL, "
            "PRIMARY KEY (batch, number))"
        )
    )
