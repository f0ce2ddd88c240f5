"""What alerts on metrics say of them, and when they look next."""

from alembic import op
from sqlalchemy import text

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    op.execute(
        text(
            "CREATE TABLE metric_rules (project TEXT NOT NULL, alert TEXT NOT NULL, rule TEXT NOT NULL, body TEXT NOT NULL, "
            "next_ns BIGINT NOT NULL, PRIMARY KEY (project, alert))"
        )
    )
    op.execute(text("CREATE INDEX metric_rules_due ON metric_rules (next_ns)"))
