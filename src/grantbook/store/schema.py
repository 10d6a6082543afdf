"""The schema of a database, looked at and brought up to date without opening the book in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

from sqlalchemy import Engine, create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from grantbook.model.errors import ConfigurationError
from grantbook.store import migrations
from grantbook.store.distribute import Distributed, distribute
from grantbook.store.migrations import SchemaState
from grantbook.store.tables import SCHEMA_VERSION


class Schema:
    """The schema of the database that the URL names. Use it in a `with` block. Raises ConfigurationError."""

    def __init__(self, database: str) -> None:
        if not database.startswith(("sqlite:", "postgresql:", "postgres:")):
            raise ConfigurationError(
                "only a database of SQLite or PostgreSQL has a schema: name one like sqlite:///grantbook.db "
                "or postgresql://user@host:5432/name"
            )
        self._database = database
        self._engine = _engine(database)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.dispose()

    def state(self) -> SchemaState:
        """The version it has."""
        with _told():
            return migrations.state_of(self._engine)

    def plan(self) -> str:
        """The SQL that `migrate` would run."""
        with _told():
            return migrations.plan(self._engine)

    def migrate(self) -> None:
        """Bring it to the version of this release; safe to call again, and by several at once."""
        with _told():
            state = migrations.migrate(self._engine)
            if state.is_current and self._engine.dialect.name == "postgresql":
                from grantbook.store.postgres import connector
                from grantbook.store.postgres_filling import Filling

                Filling(self._engine, connector(self._database)).complete()  # as whoever opens the book

    def distribute(self, shards: int | None = None) -> Distributed:
        """Spread its tables over the workers of a Citus cluster: all or none of them. Safe to call again."""
        if self._engine.dialect.name != "postgresql":
            raise ConfigurationError("only a database of PostgreSQL with Citus can be distributed")
        with _told(), migrations.migrating(self._engine) as connection:
            state = migrations.state_on(connection)
            if not state.is_current:
                raise ConfigurationError(
                    f"the database has schema version {state.version or 'none'}, and is distributed at "
                    f"{SCHEMA_VERSION}: run 'grantbook migrate up' first"
                )
            return distribute(connection, shards)


def _engine(database: str) -> Engine:
    if database.startswith(("postgresql:", "postgres:")):
        from grantbook.store.postgres import connect_arguments, driver_url

        return create_engine(driver_url(database), poolclass=NullPool, connect_args=connect_arguments())
    from grantbook.store.sqlite import path_of, require_ours

    require_ours(path_of(database))
    arguments: dict[str, Any] = {"isolation_level": None}  # transactions are begun and ended in SQL
    return create_engine(database, poolclass=NullPool, connect_args=arguments)


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        match getattr(getattr(error, "orig", None), "sqlstate", None):
            case "42P07":  # there is a table of that name
                raise ConfigurationError(
                    "the database holds tables of another application: give Grantbook a database of its own"
                ) from error
            case "55P03":  # a lock is not to be had
                raise ConfigurationError(
                    "somebody else holds the tables, by another migration or a long transaction: nothing was changed, "
                    "try again"
                ) from error
        raise ConfigurationError(f"cannot use the database: {getattr(error, 'orig', None) or error}") from error
