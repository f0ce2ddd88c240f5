"""Work that waits to be taken, written in the transaction that makes it."""

from alembic import op
from sqlalchemy import text

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute(text("CREATE TABLE handed_over (id TEXT PRIMARY KEY NOT NULL, kind TEXT NOT NULL, project TEXT NOT NULL)"))
