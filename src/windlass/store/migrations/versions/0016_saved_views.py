"""Views of traces and of the dashboard that are kept under a name: the project's, whose owner is empty, and one's own."""

from alembic import op
from sqlalchemy import text

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.execute(
        text(
            "CREATE TABLE saved_views (project TEXT NOT NULL, owner TEXT NOT NULL, name TEXT NOT NULL, page TEXT NOT NULL, "
            "asked TEXT NOT NULL, actor TEXT NOT NULL, at_ns BIGINT NOT NULL, PRIMARY KEY (project, owner, name))"
        )
    )
