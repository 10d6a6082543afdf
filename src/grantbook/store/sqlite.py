"""The book in one SQLite file: WAL, `synchronous=FULL` (an acknowledged write survives power loss), `BEGIN IMMEDIATE`
for writes, one connection a thread from the pool."""

import logging
import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from functools import cached_property
from itertools import chain
from operator import itemgetter
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from time import monotonic, sleep
from typing import Any, Final
from weakref import WeakSet

import msgspec
from sqlalchemy import (
    Connection,
    Engine,
    Table,
    bindparam,
    case,
    create_engine,
    event,
    literal_column,
    select,
    tuple_,
    values,
)
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.sql import column as sql_column
from sqlalchemy.sql import func
from sqlalchemy.sql import table as sql_table

from grantbook.model.errors import ConfigurationError, StoreUnavailable
from grantbook.model.instants import Clock
from grantbook.store import forks
from grantbook.store.migrations import migrate
from grantbook.store.sql import SqlStore
from grantbook.store.sqlite_present import SqlitePresent
from grantbook.store.statements import Condition, Prepared
from grantbook.store.tables import GRAMS, LATE_INDEXES, changes, metadata
from grantbook.store.turns import Turns

_log = logging.getLogger(__name__)
_SHARED: Final = ("organization_id", "revision", "at", "actor_id", "api_key_id", "trace_id", "reason")
_OWN: Final = tuple(column.name for column in changes.c if column.name not in _SHARED)
_OURS: Final = {changes.name, "alembic_version"}
"""Tables that every version of a book has had."""
_AT_ONCE: Final = 20
_GRAM: Final = 3
_GRAMS_ASKED: Final = 30
_BUSY_TIMEOUT_S: Final = 10
_POLL_S: Final = 0.01
_READER_KIB: Final = 1_024  # for each connection; the file itself is mapped, or its first 2 GiB
_WRITER_KIB: Final = 65_536  # for the one that writes: what a transaction changed stays in memory until it ends
_WRITER_CACHE: Final = f"PRAGMA cache_size=-{_WRITER_KIB}"
_TEMPORARY: Final = "PRAGMA temp_store=MEMORY"
_SORTING: Final = ("PRAGMA temp_store=FILE", "PRAGMA threads=2", "PRAGMA cache_size=-16384")
"""The smaller the cache is, the more of the sorting goes to the threads: a fifth less time than with the writer's."""
_CHECKPOINT_AFTER: Final = "PRAGMA wal_autocheckpoint"
_CHECKPOINT_PAGES: Final = 1_000  # as SQLite has it
_LOG_BYTES: Final = 134_217_728  # of the log beside the file, once it is begun anew after a long reader has ended
_PRAGMAS: Final = (
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    f"PRAGMA busy_timeout={_BUSY_TIMEOUT_S * 1000}",
    "PRAGMA mmap_size=2147418112",
    f"PRAGMA journal_size_limit={_LOG_BYTES}",
    _TEMPORARY,
)


class SqliteDialect:
    """See `statements.Dialect`."""

    errors = (sqlite3.Error, SQLAlchemyError)
    integrity_errors = (sqlite3.IntegrityError,)
    aborts = ()
    denials = (sqlite3.DatabaseError,)
    unaskable = ()
    begin_read = "BEGIN"
    begin_write = "BEGIN IMMEDIATE"
    locks_heads = False
    replica_engine = None

    def __init__(self, url: str) -> None:
        forks.SQLITE.require()
        path = path_of(url)
        require_ours(path)
        self._path = str(Path(path).absolute())  # as the engine has it, wherever the process goes
        self._file: tuple[int, int] | None = None
        self._is_own = True
        self._process = process = forks.Process()
        self.engine = _engine(url, process, _READER_KIB, self.require_own, connections=64)
        self.writing_engine = _engine(url, process, _WRITER_KIB, self.require_own, connections=1)
        self.has_own_schema = False
        self._turns = Turns(self._path)
        self._checkpoints: SimpleQueue[bool] | None = None
        self._presents: WeakSet[SqlitePresent] = WeakSet()
        self._inserts: dict[tuple[str, tuple[str, ...]], Prepared] = {}
        forks.follow(self)

    def is_busy(self, error: BaseException) -> bool:
        return _is_busy(error)

    def turn(self) -> AbstractContextManager[Any]:
        """Writers queue here in turn, rather than poll the database's lock."""
        self.require_own()
        return self._turns.turn()

    def require_own(self) -> None:
        """Raises StoreUnavailable where the path names another file than the first time, or none: what is written with
        the log of one into the other destroys it."""
        file = None
        with suppress(OSError):
            found = Path(self._path).stat()
            file = found.st_dev, found.st_ino
            self._file = self._file or file
        was_own, self._is_own = self._is_own, file is not None and file == self._file
        if self._is_own:
            return
        if was_own:
            _log.error(
                "%s is not the file that was opened: put that back; or stop, remove %s-wal and %s-shm, and start anew",
                *[self._path] * 3,
            )
        raise StoreUnavailable

    def at_once(self, cursor: Any, rows: int) -> AbstractContextManager[Any]:  # noqa: ARG002 - nothing is sent
        return nullcontext()

    def insert_many(
        self, cursor: Any, prepared: Prepared, columns: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> None:
        whole = len(rows) - len(rows) % _AT_ONCE if prepared.table == changes.name else 0
        if whole:
            shared, own = ([columns.index(name) for name in names] for names in (_SHARED, _OWN))
            heads, pick = set(map(itemgetter(*shared), rows)), itemgetter(*own)
            if len(heads) > 1:  # of several revisions, as a restoration brings them
                whole = 0
        if whole:
            (head,) = heads
            parts = (rows[first : first + _AT_ONCE] for first in range(0, whole, _AT_ONCE))
            values_ = ([*chain.from_iterable(map(pick, part)), *head] for part in parts)
            cursor.executemany(self._changes_at_once.sql, values_)
        if whole < len(rows):
            self._insert(cursor, prepared, columns, rows[whole:])

    def _insert(self, cursor: Any, prepared: Prepared, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Without the columns that no row fills: the driver takes longer to bind None than any other value."""
        if prepared.table is not None and len(rows) >= _AT_ONCE:
            found = zip(*rows, strict=True)
            filled = [place for place, values_ in enumerate(found) if values_.count(None) < len(rows)]
            if 1 < len(filled) < len(columns):
                columns, rows = [columns[place] for place in filled], [*map(itemgetter(*filled), rows)]
                prepared = self._insert_of(prepared.table, tuple(columns))
        cursor.executemany(prepared.sql, prepared.bind_rows(columns, rows))

    def _insert_of(self, table: str, columns: tuple[str, ...]) -> Prepared:
        made = self._inserts.get((table, columns))
        if made is None:
            given: dict[str, Any] = {name: bindparam(name) for name in columns}
            made = self._inserts[table, columns] = Prepared(self.engine, insert(metadata.tables[table]).values(given))
        return made

    @cached_property
    def _changes_at_once(self) -> Prepared:
        """Several changes of one transaction: first what each has of its own, then what they share, bound once.

        The driver takes longer to bind all values of a change than SQLite takes to write it.
        """
        places = [
            tuple(bindparam(f"{name}_{row}", type_=changes.c[name].type) for name in _OWN) for row in range(_AT_ONCE)
        ]
        made = values(*(sql_column(name, changes.c[name].type) for name in _OWN), name="made").data(places).cte("made")
        columns = [made.c[each.name] if each.name in _OWN else bindparam(each.name) for each in changes.c]
        return Prepared(self.engine, insert(changes).from_select([each.name for each in changes.c], select(*columns)))

    def present(self) -> SqlitePresent:
        made = SqlitePresent(self, self._path)
        self._presents.add(made)
        return made

    def announce(self, cursor: Any, organization_id: str, revision: int) -> None:
        """Nothing: the file itself tells that it was written."""

    def committed(self, organization_id: str, revision: int) -> None:  # noqa: ARG002 - the file itself tells it
        if checkpoints := self._checkpoints:
            checkpoints.put(True)

    def heard_revision(self, organization_id: str) -> int | None:  # noqa: ARG002 - there is no replica
        return None

    def is_idle(self) -> bool:
        """See `forks.Inherited`."""
        pools: list[Any] = [self.engine.pool, self.writing_engine.pool]
        asking = any(each.lock.locked() for each in self._presents)
        return not asking and sum(pool.checkedout() for pool in pools) == sum(each.is_open for each in self._presents)

    def give_up(self, *, closes: bool) -> None:
        """See `forks.Inherited`."""
        for present in self._presents:
            present.give_up(closes=closes)
        for engine in (self.engine, self.writing_engine):
            if not closes:
                forks.keep(engine.pool)
            engine.dispose(close=closes)
        self._turns = Turns(self._path)
        if not closes:
            forks.SQLITE.lose()

    def close(self) -> None:
        self._process.end()
        for each in self._presents:
            each.close()
        self.engine.dispose()
        self.writing_engine.dispose()
        self._turns.close()

    def is_in(self, column: Any, parameter: str) -> Condition:
        rows = func.json_each(bindparam(parameter)).table_valued(sql_column("value"))
        condition: Condition = column.in_(select(rows.c.value))
        return condition

    def each_in(self, query: Any, *lists: Mapping[str, Any]) -> Any:
        return query.where(*(self.is_in(column, name) for columns in lists for name, column in columns.items()))

    def next_of_each(self, query: Any, parameter: str, key: Sequence[Any], values: Sequence[Any]) -> Any:
        """Never asked."""
        raise NotImplementedError

    def contains(self, column: Any, parameter: str) -> Condition:
        condition: Condition = column.like(bindparam(parameter), escape="\\")  # A to Z are alike to it anyway
        return condition

    def not_by_index(self, column: Any) -> Any:
        return literal_column(f"+{column.table.name}.{column.name}")

    def text_in(self, column: Any, key: str) -> Any:
        place = f'$."{key}"'
        return case((func.json_type(column, place) == "text", func.json_extract(column, place)))

    def row_in(self, columns: Sequence[Any], parameter: str) -> Condition:
        rows = func.json_each(bindparam(parameter)).table_valued(sql_column("value"))
        parts = [func.json_extract(rows.c.value, f"$[{position}]") for position in range(len(columns))]
        condition: Condition = tuple_(*columns).in_(select(*parts))
        return condition

    def list_value(self, values: Collection[str] | Collection[tuple[str, ...]]) -> str:
        return msgspec.json.encode(list(values)).decode()

    def grams_of(self, text: str) -> str | None:
        """Some are enough: whatever has them all is looked at."""
        if "\0" in text:  # where a question to the index would end
            return None
        grams = [text[at : at + _GRAM].replace('"', '""') for at in range(min(len(text) - _GRAM + 1, _GRAMS_ASKED))]
        return " ".join(f'"{gram}"' for gram in grams) if grams else None

    def has_grams(self, digest: Any, parameter: str) -> Condition:
        grams = sql_table(GRAMS, sql_column("digest"))
        found = select(grams.c.digest).where(literal_column(GRAMS).op("MATCH")(bindparam(parameter)))
        condition: Condition = digest.in_(found)
        return condition

    def index_texts(self, cursor: Any, texts: Sequence[tuple[str, str]]) -> None:
        cursor.executemany(f"INSERT INTO {GRAMS} (text, digest) VALUES (?, ?)", texts)  # noqa: S608 - our own name

    def insert(self, table: Table) -> Any:
        return insert(table)

    def filling(self) -> AbstractContextManager[None]:
        return self._without_indexes() if self.has_own_schema else nullcontext()

    @contextmanager
    def _without_indexes(self) -> Iterator[None]:
        self.drop_indexes()
        try:
            with self._checkpointing():
                yield
        except BaseException:
            with suppress(StoreUnavailable):  # the error of the block is the one to tell
                self.make_indexes()
            raise
        self.make_indexes()

    @contextmanager
    def _checkpointing(self) -> Iterator[None]:
        """A block in which a thread copies from the log to the file what was committed, and no writer waits for it."""
        self._write_pragma(f"{_CHECKPOINT_AFTER}=0")
        commits = self._checkpoints = SimpleQueue[bool]()
        thread = Thread(target=self._checkpoint, args=(commits,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._checkpoints = None
            commits.put(False)
            thread.join()
            self._write_pragma(f"{_CHECKPOINT_AFTER}={_CHECKPOINT_PAGES}")

    def _checkpoint(self, commits: SimpleQueue[bool]) -> None:
        """After each commit, until there are no more."""
        while commits.get():
            with suppress(*self.errors), self.engine.connect() as connection:  # whoever writes next is told
                connection.exec_driver_sql("PRAGMA wal_checkpoint")

    def _write_pragma(self, pragma: str) -> None:
        with self.writing_engine.connect() as connection:
            connection.exec_driver_sql(pragma)

    def drop_indexes(self) -> None:
        """Those that can come late."""
        with self._indexing() as connection:
            for index in LATE_INDEXES:
                index.drop(connection, checkfirst=True)

    def make_indexes(self) -> None:
        """Those that are missing, one at a time: each is sorted, not inserted into, and others may write in between."""
        if not self._late_indexes_missing():
            return
        for index in LATE_INDEXES:
            with self._indexing() as connection:
                index.create(connection, checkfirst=True)

    def _late_indexes_missing(self) -> bool:
        with self.engine.connect() as connection:
            found = connection.exec_driver_sql("SELECT name FROM sqlite_schema WHERE type = 'index'").scalars()
            return not {index.name for index in LATE_INDEXES}.issubset(found)

    @contextmanager
    def _indexing(self) -> Iterator[Connection]:
        """A transaction that sorts in files, and a part of it in a thread beside. Raises StoreUnavailable."""
        try:
            with self.turn(), self.writing_engine.connect() as connection:
                for pragma in _SORTING:
                    connection.exec_driver_sql(pragma)
                connection.exec_driver_sql(self.begin_write)
                try:
                    yield connection
                    connection.commit()
                finally:
                    connection.rollback()
                    for pragma in (_TEMPORARY, "PRAGMA threads=0", _WRITER_CACHE):
                        connection.exec_driver_sql(pragma)
        except DBAPIError as error:
            raise StoreUnavailable from error


def open_sqlite(url: str, clock: Clock) -> SqlStore:
    """The store in the file that the URL names, made or brought up to date. Raises ConfigurationError."""
    dialect = SqliteDialect(url)
    try:
        dialect.has_own_schema = migrate(dialect.engine).is_current  # a later one may have other indexes
        if dialect.has_own_schema:
            dialect.make_indexes()  # a process may have been killed while it filled the book
    except BaseException as error:
        dialect.close()
        if isinstance(error, DBAPIError):
            raise ConfigurationError(f"cannot use the database file {path_of(url)}: {error.orig}") from error
        raise
    return SqlStore(dialect, clock)


def path_of(url: str) -> str:
    """The file that the URL names. Raises ConfigurationError where it names none, or more than a file."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError(f"{url!r} is not a database URL such as sqlite:///grantbook.db") from error
    if parsed.host or "?" in url:
        raise ConfigurationError(f"{url!r} must be sqlite:/// and the path of a file, and nothing else")
    if not parsed.database or parsed.database == ":memory:":
        raise ConfigurationError("a SQLite database needs a file, such as sqlite:///grantbook.db; try memory:")
    return parsed.database


def require_ours(path: str) -> None:
    """Raises ConfigurationError for a file that cannot be a book: it has no directory, or holds something else.

    Nothing is written: to open it as a book would put our tables beside those of another application.
    """
    if not Path(path).parent.is_dir():
        raise ConfigurationError(f"there is no directory {Path(path).parent} for the database file {path}")
    if not Path(path).exists():
        return
    try:
        with closing(
            sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=rw", timeout=_BUSY_TIMEOUT_S, uri=True)
        ) as file:
            tables = {name for (name,) in file.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    except sqlite3.Error as error:
        raise ConfigurationError(f"cannot use the database file {path}: {error}") from error
    if tables and not _OURS.issubset(tables):
        raise ConfigurationError(f"the database file {path} holds the tables of another application: name another file")


def _engine(
    url: str, process: forks.Process, cache_kib: int, require_own: Callable[[], None], *, connections: int
) -> Engine:
    engine = create_engine(
        url,
        pool_size=connections,
        max_overflow=connections,
        connect_args={"timeout": _BUSY_TIMEOUT_S, "check_same_thread": False, "isolation_level": None},
    )

    @event.listens_for(engine, "do_connect")
    def require_own_process(*_: Any) -> None:
        process.require()

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _: Any) -> None:
        require_own()
        cursor = connection.cursor()
        _set_wal(cursor)
        for pragma in (*_PRAGMAS, f"PRAGMA cache_size=-{cache_kib}"):
            cursor.execute(pragma)
        cursor.close()

    return engine


def _set_wal(cursor: sqlite3.Cursor) -> None:
    """SQLite itself waits for nobody there, where several make a file at once."""
    until = monotonic() + _BUSY_TIMEOUT_S
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or monotonic() > until:
                raise
        sleep(_POLL_S)


def _is_busy(error: BaseException) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY  # the rest says which kind of it
