"""Limits on what calls may use, and what each node let through of them."""

from alembic import op
from sqlalchemy import text

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    op.execute(
        text(
            "CREATE TABLE limits (project TEXT NOT NULL, id TEXT NOT NULL, subject TEXT NOT NULL, target TEXT NOT NULL, "
            "measured TEXT NOT NULL, period TEXT NOT NULL, amount BIGINT NOT NULL, unpriced TEXT NOT NULL, actor TEXT NOT NULL, "
            "set_ns BIGINT NOT NULL, PRIMARY KEY (project, id))"
        )
    )
    op.execute(
        text(
            "CREATE TABLE limit_uses (project TEXT NOT NULL, id TEXT NOT NULL, began_ns BIGINT NOT NULL, who TEXT NOT NULL, "
            "node TEXT NOT NULL, used BIGINT NOT NULL, cap BIGINT NOT NULL, ends_ns BIGINT NOT NULL, at_ns BIGINT NOT NULL, "
            "PRIMARY KEY (project, id, began_ns, who, node))"
        )
    )
    op.execute(text("CREATE INDEX limit_uses_by_end ON limit_uses (ends_ns)"))
