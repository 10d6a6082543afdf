"""One transaction on one connection of the driver."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any, Final, Protocol, TypeVar

from sqlalchemy import Engine

from grantbook.model.errors import Conflict, StoreUnavailable, TransactionAborted
from grantbook.store.statements import Dialect, Prepared

V = TypeVar("V")
V_contra = TypeVar("V_contra", contravariant=True)
_log = logging.getLogger(__name__)
_KEPT = "grantbook_kept"
"""Marks a connection that was used before: then it may have broken since."""
_QUIET_S: Final = 60
_MOST_TOLD: Final = 20
_told: Final[dict[str, float]] = {}
"""Until when which reason is not told again."""


class Bindable(Protocol[V_contra]):
    """A statement as the driver takes it, and how its values are bound."""

    @property
    def sql(self) -> str:
        """Its text."""

    @property
    def bind(self) -> Callable[[V_contra], Any]:
        """The values in the form that the driver wants."""


def rows_of(dialect: Dialect, cursor: Any, prepared: Bindable[V], values: V) -> list[Any]:
    """Every row of a query. A text with a NUL is not in any book, and not every database can be asked for it."""
    try:
        cursor.execute(prepared.sql, prepared.bind(values))
    except dialect.unaskable:
        askable = _without_nul(values)
        if askable == values:
            raise
        cursor.execute(prepared.sql, prepared.bind(askable))
    found: list[Any] = cursor.fetchall()
    return found


def _without_nul(value: Any) -> Any:
    """The value, or such texts as are in no book either."""
    match value:
        case dict():
            return {name: _without_nul(each) for name, each in value.items()}
        case list() | tuple():
            return type(value)(map(_without_nul, value))
        case str():
            return value.replace("\x00", "\ufffd")
        case _:
            return value


class Session:
    """One driver connection inside one transaction. Database errors leave it as ours: their texts may hold values,
    so they stay in the cause and off the wire."""

    def __init__(self, dialect: Dialect, *, writes: bool, engine: Engine | None = None) -> None:
        """On the dialect's own engine, unless another is given."""
        self.dialect = dialect
        self._writes = writes
        self._is_broken = False
        self._error: BaseException | None = None
        with self._translated():
            if writes:
                self._begin(engine or dialect.writing_engine, dialect.begin_write)
            else:
                self._begin(engine or dialect.engine, dialect.begin_read)

    def _begin(self, engine: Engine, begin: str) -> None:
        """On a connection of the pool; those that broke while they lay there are thrown away until one works."""
        while True:
            self._connection = engine.raw_connection()
            try:
                self._cursor = self._connection.cursor()
                self._cursor.execute(begin)
                return
            except self.dialect.errors as error:
                if self.dialect.is_busy(error):  # another connection would wait as long, and in vain too
                    self._connection.close()
                    raise
                was_kept = self._connection.info.pop(_KEPT, False)
                self._connection.invalidate(error)
                if not was_kept:
                    raise
            except BaseException:
                self._connection.close()
                raise

    def all(self, prepared: Prepared, **values: Any) -> list[Sequence[Any]]:
        """Every row."""
        with self._translated():
            return rows_of(self.dialect, self._cursor, prepared, values)

    def one(self, prepared: Prepared, **values: Any) -> Sequence[Any] | None:
        """The first row, if there is one."""
        rows = self.all(prepared, **values)
        return rows[0] if rows else None

    def run(self, prepared: Prepared, **values: Any) -> int:
        """Rows affected."""
        with self._translated():
            self._cursor.execute(prepared.sql, prepared.bind(values))
            return int(self._cursor.rowcount)

    def run_many(self, prepared: Prepared, rows: Sequence[dict[str, Any]]) -> int:
        """Rows affected in all."""
        with self._translated():
            self._cursor.executemany(prepared.sql, [prepared.bind(row) for row in rows])
            return int(self._cursor.rowcount)

    def insert_rows(self, prepared: Prepared, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Rows of values in the order of the columns."""
        with self._translated():
            self.dialect.insert_many(self._cursor, prepared, columns, rows)

    @contextmanager
    def at_once(self, rows: int) -> Iterator[None]:
        """As `Dialect.at_once`: what it runs tells no rows affected."""
        with self._translated(), self.dialect.at_once(self._cursor, rows):
            yield

    def index_texts(self, texts: Sequence[tuple[str, str]]) -> None:
        """As `Dialect.index_texts`."""
        with self._translated():
            self.dialect.index_texts(self._cursor, texts)

    def announce(self, organization_id: str, revision: int) -> None:
        """As `Dialect.announce`."""
        with self._translated():
            self.dialect.announce(self._cursor, organization_id, revision)

    @contextmanager
    def part(self) -> Iterator[None]:
        """A block that, where it fails, is undone alone. Raises StoreUnavailable after one that could not be undone."""
        if self._is_broken:  # outside of its transaction the database would commit each part by itself
            raise StoreUnavailable
        self._is_broken = True
        with self._translated():
            self._cursor.execute("SAVEPOINT part")
        try:
            yield
        except BaseException:
            with self._translated():
                self._cursor.execute("ROLLBACK TO SAVEPOINT part")
            self._is_broken = False
            raise
        with self._translated():
            self._cursor.execute("RELEASE SAVEPOINT part")
        self._is_broken = False

    def commit(self) -> None:
        """Raises StoreUnavailable also where a part could not be undone: then nobody knows what is left."""
        if self._is_broken:
            raise StoreUnavailable
        with self._translated():
            self._connection.commit()

    def try_commit(self) -> StoreUnavailable | None:
        """The error, where it is not known whether it was committed."""
        try:
            self.commit()
        except StoreUnavailable as error:
            return error
        return None

    def close(self) -> None:
        """Give the connection back, unless it may be broken; what was not committed is undone.

        Who only read commits: after a rollback the driver of PostgreSQL would prepare every statement anew.
        """
        try:
            if self._writes:
                self._connection.rollback()  # the pool would do it too, and tell the log where that fails
            else:
                self._connection.commit()
        except self.dialect.errors as error:
            self._error = self._error or error
        if self._error is not None:
            self._connection.invalidate(self._error)
            return
        self._connection.info[_KEPT] = True
        self._connection.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except self.dialect.integrity_errors as error:
            raise Conflict from error
        except self.dialect.aborts as error:
            raise TransactionAborted from error
        except self.dialect.errors as error:
            if isinstance(error, self.dialect.denials) and not self.dialect.is_busy(error):
                _tell_refusal(str(error))
            self._error = error
            raise StoreUnavailable from error


def _tell_refusal(reason: str) -> None:
    """Not again within a minute: where a disk is full, every write is refused."""
    now = monotonic()
    if now < _told.get(reason, 0):
        return
    if len(_told) >= _MOST_TOLD:
        _told.clear()
    _told[reason] = now + _QUIET_S
    _log.error("the database refuses: %s", reason)
