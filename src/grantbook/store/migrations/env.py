"""Alembic's entry: runs on the connection that `migrate` opened, in its transaction."""

from alembic import context

from grantbook.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transaction_per_migration=False,
)
context.run_migrations()
