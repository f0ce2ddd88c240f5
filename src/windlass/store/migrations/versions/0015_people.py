"""Who came by an OpenID provider, what it told of them that rules look at, and who is blocked."""

from alembic import op
from sqlalchemy import text

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.execute(
        text(
            "CREATE TABLE people (id TEXT NOT NULL PRIMARY KEY, provider TEXT NOT NULL, issuer TEXT NOT NULL, name TEXT NOT NULL, "
            "claims TEXT NOT NULL, first_ns BIGINT NOT NULL, last_ns BIGINT NOT NULL, login_ns BIGINT, blocked_ns BIGINT, "
            "blocked_by TEXT NOT NULL)"
        )
    )
