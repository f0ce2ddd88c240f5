"""Where the rows of datasets lie, and which traces rows came from."""

from alembic import op
from sqlalchemy import text

revision = "0003"
down_revision = "0002"

TABLES = """
CREATE TABLE layouts (project TEXT NOT NULL, rows TEXT NOT NULL, parent TEXT, blob TEXT NOT NULL, packs TEXT NOT NULL,
    depth INTEGER NOT NULL, created_ns BIGINT NOT NULL, PRIMARY KEY (project, rows));
CREATE TABLE origins (project TEXT NOT NULL, trace TEXT NOT NULL, name TEXT NOT NULL, key TEXT NOT NULL, at_ns BIGINT NOT NULL,
    PRIMARY KEY (project, trace, name, key));
"""


def upgrade() -> None:
    for statement in TABLES.split(";"):
        if statement.strip():
            op.execute(text(statement))
