"""A Windlass newer than this one: its migrations, with one more."""

import shutil
from pathlib import Path

from windlass.store import meta

HEAD = meta.HEAD
ROW = "INSERT INTO judgements VALUES ('p', 'k', 'e', '{}', 1)"
NEXT = """
from alembic import op
revision = "next"
down_revision = "{head}"


def upgrade():
    op.execute("CREATE TABLE fresh (n INTEGER)")
    {last}
"""


def newer(folder: Path, last: str) -> Path:
    copy = folder / "migrations"
    shutil.copytree(meta.MIGRATIONS, copy, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "versions" / "next.py").write_text(NEXT.format(last=last, head=HEAD))
    return copy
