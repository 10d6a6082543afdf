"""`grantbook migrate`: the schema of the database."""

from typing import TYPE_CHECKING

import click

from grantbook import settings
from grantbook.bootstrap import needing_psycopg, require_database
from grantbook.cli import options
from grantbook.cli.errors import Exit
from grantbook.cli.output import print_json, print_pairs

if TYPE_CHECKING:
    from grantbook.store.migrations import SchemaState
    from grantbook.store.schema import Schema


@click.group()
def migrate() -> None:
    """The schema of the database: what it is, and what this release makes of it.

    Migrations only add, so servers of the release before keep working while and after the schema is brought up to date.
    """


@migrate.command()
@options.database
def up(*, database: str | None) -> int:
    """Bring the schema to the version of this release. Safe to run again, and from several machines at once."""
    with _schema(database, may_create=True) as schema:
        before = schema.state()
        schema.migrate()
        after = schema.state()
    was = "empty" if before.version is None else f"at version {before.version}"
    click.echo(f"The schema was {was}, and is at version {after.version}.")
    return Exit.DONE


@migrate.command()
@options.database
@options.as_json
def status(*, database: str | None, as_json: bool) -> int:
    """Which version the database has, and whether this release works on it. Exit code 3 where it does not."""
    with _schema(database) as schema:
        state = schema.state()
    from grantbook.store.tables import SCHEMA_VERSION  # late, as below

    told = {
        "version": state.version,
        "release_version": SCHEMA_VERSION,
        "works_from": state.works_from,
        "is_usable": state.is_usable,
        "advice": _advice(state),
    }
    if as_json:
        print_json(told)
    else:
        print_pairs([(name, "-" if value is None else str(value)) for name, value in told.items()])
    return Exit.DONE if state.is_usable else Exit.FAILED


@migrate.command()
@options.database
def plan(*, database: str | None) -> int:
    """Print the SQL that `up` would run, and run nothing."""
    with _schema(database) as schema:
        click.echo(schema.plan() or "-- nothing to do", nl=True)
    return Exit.DONE


@migrate.command()
@options.database
@click.option("--shards", type=click.IntRange(1, 64_000), help="Parts of each table (default: Citus's own, 32).")
def distribute(*, database: str | None, shards: int | None) -> int:
    """Spread the tables over the workers of a Citus cluster, with what is in them. Safe to run again: what is spread
    already stays as it is, and what a migration added since is spread beside it. Nobody can write meanwhile."""
    with _schema(database) as schema:
        done = schema.distribute(shards)
    click.echo(f"Distributed {len(done.now)} tables; {len(done.before)} were distributed before.")
    return Exit.DONE


def _schema(database: str | None, *, may_create: bool = False) -> "Schema":
    from grantbook.store.schema import Schema  # late: other commands start without a database

    chosen = settings.load({"database": database}).database
    if not may_create:
        require_database(chosen)
    with needing_psycopg():
        return Schema(chosen)


def _advice(state: "SchemaState") -> str:
    if state.is_usable:
        return "nothing to do"
    return "run 'grantbook migrate up'" if state.is_older or state.version is None else "upgrade Grantbook"
