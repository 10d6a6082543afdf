"""A new book in PostgreSQL is filled without the indexes that can come late, which are made at the end.

To keep them meanwhile takes nearly twice as long. Whoever fills holds a lock of the database while it is connected: who
opens the book, finds indexes missing and can have the lock, knows that nobody will make them any more.
"""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import Any, Final

import psycopg
from sqlalchemy import Engine
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, DropIndex

from grantbook.model.errors import StoreUnavailable
from grantbook.store.tables import LATE_INDEXES

_LOCK: Final = 0x66696C6C  # "fill"
_TRY_LOCK: Final = "SELECT pg_try_advisory_lock(%s)"
_BUILDERS: Final = 2
"""PostgreSQL sorts with several processes anyway, but scans and writes each index with one."""
_IS_DISTRIBUTED: Final = "SELECT to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL"
_MAY_MAKE: Final = (
    "SELECT bool_and(pg_has_role(relowner, 'USAGE') AND has_schema_privilege(relnamespace, 'CREATE')) "
    "FROM pg_class WHERE oid IN (SELECT to_regclass(name) FROM unnest(%s::text[]) AS wanted(name))"
)
_THERE: Final = "SELECT count(*) FROM unnest(%s::text[]) AS wanted(name) WHERE to_regclass(wanted.name) IS NOT NULL"
_NAMES: Final = [str(index.name) for index in LATE_INDEXES]
_TABLES: Final = sorted({index.table.name for index in LATE_INDEXES if index.table is not None})
_KEEPS: Final = (
    "SET idle_session_timeout = 0; "
    "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3"
)
"""The lock lasts as long as the process that has it, and not much longer."""
_NO_TIMEOUT: Final = "SET statement_timeout = 0"  # however many rows there are
_WAITS: Final = "SET lock_timeout = 0"
_NOTICES_THE_END: Final = "SET client_connection_check_interval = '5s'"
_IMPATIENT: Final = "SET LOCAL lock_timeout = '1500ms'"
"""Others who come to the table wait behind; but an autovacuum is ended for it after a second."""
_IN_USE: Final = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)
_REMEDY: Final = "run 'grantbook migrate up' as the user that owns the tables"
_log = logging.getLogger(__name__)


class Filling:
    """The late indexes of the database that `connect` leads to, each time by a connection that commits by itself."""

    def __init__(self, engine: Engine, connect: Callable[[], psycopg.Connection[Any]]) -> None:
        self._engine = engine
        self._connect = connect

    @contextmanager
    def without_indexes(self) -> Iterator[None]:
        """A block without them; or with them where another fills too, the tables are in use, the role may not make
        indexes, or the database is one of Citus. Raises StoreUnavailable, if all goes well in the block."""
        with _translated(), closing(self._connect()) as keeper:
            is_without = _drop(keeper)
            try:
                yield
            except BaseException:
                if is_without:
                    with suppress(psycopg.Error):  # the error of the block is the one to tell
                        self._make(waits=True)
                raise
            if is_without:
                self._make(waits=True)

    def complete(self) -> None:
        """Make those that are missing since whoever filled the book did not come to make them.

        Where that cannot be, the log is told: a book without them answers slowly, and a server that does not start
        not at all. Raises DBAPIError where the database cannot be asked.
        """
        with self._engine.connect() as connection:
            there = connection.exec_driver_sql(_THERE, (_NAMES,)).scalar_one()
        if there == len(_NAMES):
            return
        try:
            with closing(self._connect()) as keeper:
                if not _one(keeper, _MAY_MAKE, _TABLES):
                    _log.warning("indexes are missing, so answers are slow: %s", _REMEDY)
                elif _one(keeper, _TRY_LOCK, _LOCK):
                    _log.warning("an import did not come to its end: its indexes are made now")
                    self._make(waits=False)
        except psycopg.Error as error:
            _log.warning("indexes could not be made, so answers are slow (%s): %s", error, _REMEDY)

    def _make(self, *, waits: bool) -> None:
        with ThreadPoolExecutor(_BUILDERS) as builders:
            list(builders.map(partial(self._make_one, waits=waits), LATE_INDEXES))

    def _make_one(self, index: Any, *, waits: bool) -> None:
        with closing(self._connect()) as connection:
            with suppress(psycopg.Error):  # not every system can
                connection.execute(_NOTICES_THE_END)
            connection.execute(_NO_TIMEOUT)
            if waits:
                connection.execute(_WAITS)
            connection.execute(_sql(CreateIndex(index, if_not_exists=True)))


def _drop(keeper: psycopg.Connection[Any]) -> bool:
    """Whether they are gone, and the lock is held."""
    if _one(keeper, _IS_DISTRIBUTED) or not _one(keeper, _MAY_MAKE, _TABLES) or not _one(keeper, _TRY_LOCK, _LOCK):
        return False
    keeper.execute(_KEEPS)
    try:
        with keeper.transaction():
            keeper.execute(_IMPATIENT)
            for index in LATE_INDEXES:
                keeper.execute(_sql(DropIndex(index, if_exists=True)))
    except _IN_USE:
        return False
    return True


def _sql(statement: Any) -> bytes:
    return str(statement.compile(dialect=postgresql.dialect())).encode()  # type: ignore[no-untyped-call]


def _one(connection: psycopg.Connection[Any], statement: str, *values: Any) -> Any:
    return connection.execute(statement.encode(), values).fetchone()[0]  # type: ignore[index]


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise StoreUnavailable from error
