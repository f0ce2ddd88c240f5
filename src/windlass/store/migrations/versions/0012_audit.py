"""The audit by project; and its anchors, outside the table, begin where it stands."""

from alembic import op
from sqlalchemy import text

from windlass.store.anchors import Anchors

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.execute(text("CREATE INDEX audit_by_project ON audit (project, seq)"))
    connection = op.get_bind()
    anchors = Anchors.beside(connection)
    last = connection.execute(text("SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")).first()
    if anchors and last and not anchors.begun():
        anchors.begin(last.seq, last.hash)
