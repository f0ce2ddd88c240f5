"""The tables of the spine."""

from alembic import op
from sqlalchemy import text

revision = "0001"
down_revision = None

TABLES = """
CREATE TABLE versions (project TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL, body TEXT NOT NULL,
    neutral TEXT NOT NULL, snapshot TEXT, created_ns BIGINT NOT NULL, actor TEXT NOT NULL, PRIMARY KEY (project, kind, name, digest));
CREATE INDEX versions_by_digest ON versions (project, digest);
CREATE INDEX versions_by_time ON versions (project, kind, name, created_ns);
CREATE TABLE links (project TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL, relation TEXT NOT NULL,
    role TEXT NOT NULL, to_kind TEXT NOT NULL, to_name TEXT NOT NULL, to_digest TEXT NOT NULL,
    PRIMARY KEY (project, kind, name, digest, relation, role, to_kind, to_name, to_digest));
CREATE INDEX links_back ON links (project, to_kind, to_name, to_digest);
CREATE TABLE labels (project TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, label TEXT NOT NULL, digest TEXT NOT NULL,
    moved_ns BIGINT NOT NULL, actor TEXT NOT NULL, PRIMARY KEY (project, kind, name, label));
CREATE INDEX labels_by_digest ON labels (project, kind, name, digest);
CREATE TABLE label_moves (id TEXT PRIMARY KEY NOT NULL, project TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, label TEXT NOT NULL,
    before TEXT, after TEXT NOT NULL, how TEXT NOT NULL, verdict TEXT, reason TEXT, at_ns BIGINT NOT NULL, actor TEXT NOT NULL);
CREATE INDEX label_moves_by_label ON label_moves (project, kind, name, label, id);
CREATE TABLE verdicts (id TEXT PRIMARY KEY NOT NULL, project TEXT NOT NULL, suite TEXT NOT NULL, candidate TEXT NOT NULL, base TEXT,
    environment TEXT NOT NULL, decision TEXT NOT NULL, body TEXT NOT NULL, created_ns BIGINT NOT NULL);
CREATE INDEX verdicts_by_candidate ON verdicts (project, candidate, environment, id);
CREATE TABLE evaluations (id TEXT PRIMARY KEY NOT NULL, project TEXT NOT NULL, suite TEXT NOT NULL, suite_name TEXT NOT NULL,
    target TEXT NOT NULL, status TEXT NOT NULL, request TEXT NOT NULL, summary TEXT NOT NULL, rows INTEGER NOT NULL,
    created_ns BIGINT NOT NULL,
    finished_ns BIGINT, error TEXT, actor TEXT NOT NULL);
CREATE INDEX evaluations_by_suite ON evaluations (project, suite_name, id);
CREATE TABLE outcomes (evaluation TEXT NOT NULL, row TEXT NOT NULL, repeat INTEGER NOT NULL, input TEXT NOT NULL, output TEXT,
    text TEXT NOT NULL, scores TEXT NOT NULL, trace TEXT, error TEXT, reused INTEGER NOT NULL, calls INTEGER NOT NULL,
    latency_ns BIGINT NOT NULL, cost FLOAT, requests TEXT, low FLOAT, PRIMARY KEY (evaluation, row, repeat));
CREATE TABLE gates (id TEXT PRIMARY KEY NOT NULL, project TEXT NOT NULL, request TEXT NOT NULL, plan TEXT NOT NULL, arms TEXT,
    status TEXT NOT NULL, done INTEGER NOT NULL, total INTEGER NOT NULL, verdict TEXT, error TEXT, created_ns BIGINT NOT NULL,
    actor TEXT NOT NULL);
CREATE TABLE draws (project TEXT NOT NULL, key TEXT NOT NULL, request TEXT NOT NULL, model TEXT NOT NULL, row TEXT NOT NULL,
    repeat INTEGER NOT NULL, occurrence INTEGER NOT NULL, reply BLOB NOT NULL, created_ns BIGINT NOT NULL, PRIMARY KEY (project, key));
CREATE TABLE judgements (project TEXT NOT NULL, key TEXT NOT NULL, evaluator TEXT NOT NULL, score TEXT NOT NULL,
    created_ns BIGINT NOT NULL, PRIMARY KEY (project, key));
CREATE TABLE keys (id TEXT PRIMARY KEY NOT NULL, name TEXT NOT NULL, role TEXT NOT NULL, project TEXT NOT NULL, scopes TEXT NOT NULL,
    hash TEXT NOT NULL, created_ns BIGINT NOT NULL, expires_ns BIGINT, revoked_ns BIGINT, actor TEXT NOT NULL);
CREATE TABLE audit (seq INTEGER PRIMARY KEY NOT NULL, at_ns BIGINT NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
    project TEXT NOT NULL, subject TEXT NOT NULL, details TEXT NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL);
"""


def upgrade() -> None:
    binary = "BYTEA" if op.get_bind().dialect.name == "postgresql" else "BLOB"
    for statement in TABLES.replace("BLOB", binary).split(";"):
        if statement.strip():
            op.execute(text(statement))
