"""Load tests."""

from alembic import op
from sqlalchemy import text

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    op.execute(
        text(
            "CREATE TABLE loadtests (id TEXT NOT NULL PRIMARY KEY, project TEXT NOT NULL, target TEXT NOT NULL, actor TEXT NOT NULL, "
            "body TEXT NOT NULL, status TEXT NOT NULL, created_ns BIGINT NOT NULL)"
        )
    )
    op.execute(text("CREATE INDEX loadtests_by_project ON loadtests (project, id)"))
    op.execute(text("CREATE INDEX loadtests_by_target ON loadtests (project, target, id)"))
