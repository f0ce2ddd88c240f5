"""Erasures, and which rows of datasets were erased. `held`, who it is, is there until an erasure is done."""

from alembic import op
from sqlalchemy import text

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    op.execute(
        text(
            "CREATE TABLE erasures (id TEXT NOT NULL, project TEXT NOT NULL, hashes TEXT NOT NULL, held TEXT, body TEXT NOT NULL, "
            "status TEXT NOT NULL, asked_ns BIGINT NOT NULL, PRIMARY KEY (id))"
        )
    )
    op.execute(text("CREATE INDEX erasures_by_project ON erasures (project, id)"))
    op.execute(
        text(
            "CREATE TABLE erased_rows (project TEXT NOT NULL, row TEXT NOT NULL, erasure TEXT NOT NULL, at_ns BIGINT NOT NULL, "
            "PRIMARY KEY (project, row))"
        )
    )
