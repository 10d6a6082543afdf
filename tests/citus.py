"""A Citus cluster for the tests: the one whose coordinator GRANTBOOK_TEST_CITUS_URL names, where it is set.

The URL is that of a database in which the workers are known; its user makes databases on every node. Every process of
tests gets one of its own there, distributed, emptied for each test and dropped at the end.
"""

import os
import secrets
from collections.abc import Sequence
from functools import cache
from typing import Final

from psycopg import sql
from sqlalchemy.engine import URL, make_url

from grantbook.store.schema import Schema
from grantbook.store.tables import metadata
from tests.postgres import administration

GIVEN: Final = "GRANTBOOK_TEST_CITUS_URL"
IS_GIVEN: Final = bool(os.environ.get(GIVEN))
_SHARDS: Final = 4
_NODES: Final = "SELECT nodename, nodeport FROM pg_dist_node WHERE isactive AND noderole = 'primary' ORDER BY groupid"
_made: Final[list[str]] = []


def make_database(*, is_distributed: bool = True) -> str:
    """The URL of a new database on every node, with our tables; distributed, unless the test does that."""
    name = f"grantbook_{secrets.token_hex(8)}"
    coordinator, *workers = _nodes()
    for node in (coordinator, *workers):
        with administration(_text(node)) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        with administration(_text(node.set(database=name))) as connection:
            connection.execute("CREATE EXTENSION citus")
    url = _text(coordinator.set(database=name))
    _made.append(url)
    with administration(url) as connection:
        connection.execute("SELECT citus_set_coordinator_host(%s, %s)", (coordinator.host, coordinator.port))
        for worker in workers:
            connection.execute("SELECT citus_add_node(%s, %s)", (worker.host, worker.port))
    with Schema(url) as schema:
        schema.migrate()
        if is_distributed:
            schema.distribute(_SHARDS)
    return url


def empty_database() -> str:
    """The URL of this process's own database, emptied."""
    url = _own_database()
    names = (table.name for table in metadata.sorted_tables if table.name != "compatibility")
    with administration(url) as connection:
        for name in names:
            connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(name)))
    return url


def drop_database(url: str) -> None:
    """Drop a database that `make_database` made, and end whoever is connected to it."""
    name = sql.Identifier(make_url(url).database or "")
    for node in _nodes():
        with administration(_text(node)) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
    _made.remove(url)


def end_process() -> None:
    """Drop what this process made."""
    for url in tuple(_made):
        drop_database(url)


@cache
def _own_database() -> str:
    return make_database()


@cache
def _nodes() -> Sequence[URL]:
    """The coordinator, then the workers."""
    given = make_url(os.environ[GIVEN])
    with administration(_text(given)) as connection:
        return [given.set(host=host, port=port) for host, port in connection.execute(_NODES)]


def _text(url: URL) -> str:
    return url.render_as_string(hide_password=False)
