"""Who approved which release, by which verdict."""

from alembic import op
from sqlalchemy import text

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.execute(
        text(
            "CREATE TABLE release_approvals (project TEXT NOT NULL, verdict TEXT NOT NULL, actor TEXT NOT NULL, candidate TEXT NOT NULL, "
            "at_ns BIGINT NOT NULL, note TEXT NOT NULL, PRIMARY KEY (project, verdict, actor))"
        )
    )
