"""The schema's way from nothing to `tables.SCHEMA_VERSION`, by Alembic.

Revisions only expand; what they leave unused is contracted a release later, so that the previous release keeps working.
"""

from pathlib import Path

from sqlalchemy import Engine, inspect, text

from grantbook.model.errors import ConfigurationError
from grantbook.store.tables import SCHEMA_VERSION


def current_version(engine: Engine) -> str | None:
    """The version that the database says it has; None for an empty one."""
    if not inspect(engine).has_table("alembic_version"):
        return None
    with engine.connect() as connection:
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def migrate(engine: Engine) -> None:
    """Bring the database to this version. Safe to call again. Raises ConfigurationError for a newer database."""
    version = current_version(engine)
    if version == SCHEMA_VERSION:
        return
    if version is not None and version > SCHEMA_VERSION:
        raise ConfigurationError(
            f"the database has schema version {version}, newer than this release ({SCHEMA_VERSION}): upgrade Grantbook"
        )
    from alembic import command  # imported late: a start on a current database does not need it
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # two processes may start at once: one of them migrates
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()
