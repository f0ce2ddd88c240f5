"""Keys of model providers, sealed."""

from alembic import op
from sqlalchemy import text

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    op.execute(
        text(
            "CREATE TABLE provider_keys (id TEXT NOT NULL PRIMARY KEY, project TEXT NOT NULL, provider TEXT NOT NULL, "
            '"like" TEXT NOT NULL, '
            "fields TEXT NOT NULL, sealed TEXT NOT NULL, ends TEXT NOT NULL, note TEXT NOT NULL, given_ns BIGINT NOT NULL, "
            "actor TEXT NOT NULL)"
        )
    )
