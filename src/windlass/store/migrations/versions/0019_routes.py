"""Which upstreams answer for a model's id. A route that was removed stays as a row without a body."""

from alembic import op
from sqlalchemy import text

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    op.execute(
        text(
            "CREATE TABLE routes (project TEXT NOT NULL, name TEXT NOT NULL, body TEXT, version BIGINT NOT NULL, actor TEXT NOT NULL, "
            "at_ns BIGINT NOT NULL, PRIMARY KEY (project, name))"
        )
    )
    op.execute(text("CREATE INDEX routes_by_version ON routes (version)"))
