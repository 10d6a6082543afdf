"""A new book in PostgreSQL is filled without the indexes that can come late, which are made at the end.

To keep them meanwhile takes more than twice as long. Whoever fills holds a lock of the database as long as it is
connected: who opens the book, finds indexes missing and can have the lock, knows that nobody will make them any more.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any, Final

import psycopg
from sqlalchemy import Engine
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, DropIndex

from grantbook.model.errors import StoreUnavailable
from grantbook.store.tables import LATE_INDEXES

_LOCK: Final = 0x66696C6C  # "fill"
_HAS_LOCK: Final = "SELECT pg_try_advisory_lock(%s)"
_BUILDERS: Final = 2
"""PostgreSQL sorts with several processes anyway, but scans and writes each index with one."""
_IS_DISTRIBUTED: Final = "SELECT to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL"
_THERE: Final = "SELECT count(*) FROM unnest(%s::text[]) AS wanted(name) WHERE to_regclass(wanted.name) IS NOT NULL"
_NAMES: Final = [str(index.name) for index in LATE_INDEXES]
_PATIENT: Final = "SET statement_timeout = 0"  # however many rows there are
_IMPATIENT: Final = "SET LOCAL lock_timeout = '2s'"  # others who come to the table wait behind


class Filling:
    """The late indexes of the database that `connect` leads to, each time by a connection that commits by itself."""

    def __init__(self, engine: Engine, connect: Callable[[], psycopg.Connection[Any]]) -> None:
        self._engine = engine
        self._connect = connect

    @contextmanager
    def without_indexes(self) -> Iterator[None]:
        """A block without them, or with them where they cannot be dropped: another fills as well, the database is
        distributed, or it is in use and the role may not. Raises StoreUnavailable."""
        with _translated(), closing(self._connect()) as keeper:
            is_without = _drop(keeper)
            try:
                yield
            finally:
                if is_without:
                    self._make()

    def complete(self) -> None:
        """Make those that are missing since a process was killed that filled the book. Raises StoreUnavailable."""
        with self._engine.connect() as connection:
            there = connection.exec_driver_sql(_THERE, (_NAMES,)).scalar_one()
        if there < len(_NAMES):
            with _translated(), closing(self._connect()) as keeper:
                if _one(keeper, _HAS_LOCK, _LOCK):
                    self._make()

    def _make(self) -> None:
        with ThreadPoolExecutor(_BUILDERS) as builders:
            list(builders.map(self._make_some, [LATE_INDEXES[first::_BUILDERS] for first in range(_BUILDERS)]))

    def _make_some(self, indexes: Sequence[Any]) -> None:
        with closing(self._connect()) as connection:
            connection.execute(_PATIENT)
            for index in indexes:
                connection.execute(_sql(CreateIndex(index, if_not_exists=True)))


def _drop(keeper: psycopg.Connection[Any]) -> bool:
    """Whether they are gone, and the lock is held."""
    if _one(keeper, _IS_DISTRIBUTED) or not _one(keeper, _HAS_LOCK, _LOCK):
        return False
    try:
        with keeper.transaction():
            keeper.execute(_IMPATIENT)
            for index in LATE_INDEXES:
                keeper.execute(_sql(DropIndex(index, if_exists=True)))
    except (psycopg.errors.LockNotAvailable, psycopg.errors.InsufficientPrivilege):
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
