"""Alembic runs migrations on the connection it is given, inside the caller's transaction."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, transaction_per_migration=False, transactional_ddl=False)
context.run_migrations()
