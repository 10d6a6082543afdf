"""Alembic's entry: on the connection that `migrate` opened, in its transaction; or it writes down what it would do."""

from alembic import context

from grantbook.store.tables import metadata

_given = context.config.attributes
if "connection" in _given:
    context.configure(connection=_given["connection"], target_metadata=metadata, transaction_per_migration=False)
else:
    context.configure(dialect_name=_given["dialect"], target_metadata=metadata, literal_binds=True)
context.run_migrations()
