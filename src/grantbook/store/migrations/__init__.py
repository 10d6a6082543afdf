"""The schema's way from nothing to `tables.SCHEMA_VERSION`, by Alembic.

Revisions only expand; what they leave unused is contracted a release later, so that the previous release keeps working.
The database itself says how old a release may be to work on it (`tables.compatibility`).
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, inspect, select, text

from grantbook.model.errors import ConfigurationError
from grantbook.store.tables import SCHEMA_VERSION, compatibility

_LOCK: Final = 0x6772616E74  # "grant": whoever migrates a PostgreSQL database holds this advisory lock
_LOCK_TIMEOUT: Final = "SET LOCAL lock_timeout = '5s'"
_STATEMENT_TIMEOUT: Final = "SET LOCAL statement_timeout = '15min'"
_VERSION: Final = re.compile(r"[0-9]{4}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaState:
    """The version that the database has, None for an empty one, and the oldest release's that works on it."""

    version: str | None
    works_from: str | None

    @property
    def is_current(self) -> bool:
        return self.version == SCHEMA_VERSION

    @property
    def is_usable(self) -> bool:
        """Whether this release works on it as it is: its own, or a later one that only added to it."""
        if self.version is None or self.works_from is None or not _VERSION.fullmatch(self.version):
            return False
        return self.works_from <= SCHEMA_VERSION <= self.version

    @property
    def is_older(self) -> bool:
        """Whether `migrate` leads from it to this release's."""
        return self.version is not None and bool(_VERSION.fullmatch(self.version)) and self.version < SCHEMA_VERSION


def state_of(engine: Engine) -> SchemaState:
    """What the database says of its schema."""
    with engine.connect() as connection:
        return state_on(connection)


def require_usable(engine: Engine) -> SchemaState:
    """Raises ConfigurationError where this release does not work on the schema as it is, and says what to do."""
    state = state_of(engine)
    if state.is_usable:
        return state
    if state.version is None:
        raise ConfigurationError("the database holds no book yet: make its tables with 'grantbook migrate up'")
    if not state.is_older:
        raise ConfigurationError(_unknown(state))
    raise ConfigurationError(
        f"the database has schema version {state.version}, this release needs {SCHEMA_VERSION}: "
        "run 'grantbook migrate up'"
    )


def migrate(engine: Engine) -> SchemaState:
    """Bring the database to this version, or to know which it has. Safe to call again, and by several at once: one of
    them migrates.

    Nothing is done to a later version that this release works on. Raises ConfigurationError for any other.
    """
    state = state_of(engine)
    if state.is_usable:
        return state
    with migrating(engine) as connection:
        state = state_on(connection)
        if state.is_usable:
            return state
        if state.version is not None and not state.is_older:
            raise ConfigurationError(_unknown(state))
        from alembic import command  # imported late: a start on a current database does not need it

        command.upgrade(_config(connection=connection), "head")
        return state_on(connection)


def plan(engine: Engine) -> str:
    """The SQL that `migrate` would run now; empty where there is nothing to do."""
    state = state_of(engine)
    if state.is_current or (state.version is not None and not state.is_older):
        return ""
    from alembic import command

    text_ = io.StringIO()
    command.upgrade(_config(dialect=engine.dialect.name, output=text_), f"{state.version or 'base'}:head", sql=True)
    return text_.getvalue()


@contextmanager
def migrating(engine: Engine) -> Iterator[Connection]:
    """One transaction, that nobody else migrates beside."""
    is_sqlite = engine.dialect.name == "sqlite"
    with engine.connect() as connection:
        if is_sqlite:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            connection = connection.execution_options(isolation_level="READ COMMITTED")  # noqa: PLW2901 - the same one
            for setting in (_LOCK_TIMEOUT, _STATEMENT_TIMEOUT):
                connection.execute(text(setting))
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        yield connection
        connection.commit()


def state_on(connection: Connection) -> SchemaState:
    """As `state_of`, in the transaction of the connection."""
    tables = inspect(connection)
    if not tables.has_table("alembic_version"):
        return SchemaState(version=None, works_from=None)
    version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    works_from = None
    if tables.has_table(compatibility.name):
        works_from = connection.execute(select(compatibility.c.works_from)).scalar_one_or_none()
    return SchemaState(version=version, works_from=works_from)


def _unknown(state: SchemaState) -> str:
    if state.version == SCHEMA_VERSION:  # and yet not usable
        return (
            f"the database has schema version {state.version}, but not as this release makes it: a development version "
            "made it. Export what it holds with that one, or make a new database"
        )
    return (
        f"the database has schema version {state.version}, which this release ({SCHEMA_VERSION}) does not know: "
        "upgrade Grantbook"
    )


def _config(**attributes: Any) -> Any:
    from alembic.config import Config

    config = Config(output_buffer=attributes.pop("output", None))
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes.update(attributes)
    return config
