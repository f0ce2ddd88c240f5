"""Layouts say how many rows each split has, so that nobody reads a million rows to know it."""

from alembic import op
from sqlalchemy import text

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.execute(text("ALTER TABLE layouts ADD COLUMN splits TEXT"))
