"""The book in PostgreSQL: one snapshot a question (REPEATABLE READ, read-only), one transaction a change.

Writers of one organization take turns on the row of its head, so that its revisions have no gaps; writers of others do
not wait for them. Everything is read and compared byte for byte (COLLATE "C").
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial, reduce
from itertools import count
from typing import Any, Final
from weakref import WeakSet

import msgspec
import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import (
    Engine,
    Integer,
    String,
    Table,
    any_,
    bindparam,
    case,
    cast,
    create_engine,
    event,
    func,
    literal_column,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSON, insert
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.sql import column as sql_column
from sqlalchemy.types import Text

from grantbook.model.errors import ConfigurationError
from grantbook.model.instants import Clock
from grantbook.model.limits import DEFAULT_CONNECTIONS, DEFAULT_STALENESS_MS
from grantbook.store import forks
from grantbook.store.feed import CHANNEL, Feed, now_s
from grantbook.store.migrations import require_usable
from grantbook.store.postgres_filling import Filling
from grantbook.store.present import SqlPresent
from grantbook.store.sql import SqlStore
from grantbook.store.statements import Condition, Prepared

_CONNECT_TIMEOUT_S: Final = 5
_POOL_TIMEOUT_S: Final = 10
_IDLE_TIMEOUT_MS: Final = 60_000
_HAS_REACHED: Final = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
_COPIED_ROWS: Final = 50
"""From so many rows on COPY is faster than single INSERTs in a pipeline."""
_MANY_ROWS: Final = 1_000
_IS_NEWS: Final = (
    "SELECT reltuples < %s AND to_regclass('pg_catalog.pg_dist_partition') IS NULL "  # a table of Citus never has any
    "FROM pg_class WHERE oid = %s::regclass"
)
_WAIT_INTERVAL_S: Final = 0.1
_SETTINGS: Final = {
    "application_name": "grantbook",
    "idle_in_transaction_session_timeout": _IDLE_TIMEOUT_MS,
    "client_encoding": "UTF8",
}
_KEEP_ALIVE: Final = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a statement may take and wait for locks, and how long the database may say nothing at all."""

    statement_ms: int
    lock_ms: int
    patience_s: float


DEFAULT_LIMITS: Final = Limits(statement_ms=30_000, lock_ms=10_000, patience_s=35)
_OF_THE_PRESENT: Final = Limits(statement_ms=5_000, lock_ms=2_000, patience_s=6)
"""Questions about other organizations wait for the one that loads its facts."""


class PostgresPresent(SqlPresent):
    """The present, as far as the feed tells that it moved."""

    is_local = False

    def __init__(self, dialect: "PostgresDialect") -> None:
        super().__init__(dialect)
        self._home = dialect
        self._feed = dialect.feed

    def _connect(self) -> None:
        self._connection = self._home.present_engine.raw_connection()
        self._cursor = self._connection.cursor()
        self._home.line = next(self._home.lines)

    def line(self) -> int:
        """The same for all of them, which give each other what they read."""
        return self._home.line

    def version(self) -> int:
        return self._feed.version()

    def has_moved(self, organization_id: str, *, version: int, revision: int) -> bool:
        return self._feed.has_moved(organization_id, version=version, revision=revision)


class PostgresDialect:
    """See `statements.Dialect`."""

    errors = (psycopg.Error, SQLAlchemyError)
    integrity_errors = (psycopg.IntegrityError,)
    aborts = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)
    denials = (psycopg.errors.InsufficientPrivilege, psycopg.errors.ReadOnlySqlTransaction)
    unaskable = (psycopg.DataError,)
    begin_read = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    begin_write = "BEGIN ISOLATION LEVEL READ COMMITTED"  # what it reads, it reads after it has the turn
    locks_heads = True

    def __init__(self, url: str, *, connections: int, staleness_s: float, replica: str | None) -> None:
        self._process = process = forks.Process()
        self.engine = _pool(url, process, connections)
        self.present_engine = _pool(url, process, 1, overflow=-1, limits=_OF_THE_PRESENT)  # one for each present
        self.writing_engine: Engine = self.engine
        self.lines = count()
        self.line = -1
        self.replica_engine = None if replica is None else _pool(replica, process, connections)
        self._replica_good_until = 0.0
        self._presents: WeakSet[PostgresPresent] = WeakSet()
        self.feed = Feed(connector(url), staleness_s)
        self._filling = Filling(self.engine, connector(url))
        self.has_own_schema = False
        forks.follow(self)

    def is_busy(self, error: BaseException) -> bool:  # noqa: ARG002 - of the protocol
        """False: nobody waits where a transaction begins."""
        return False

    def present(self) -> PostgresPresent:
        made = PostgresPresent(self)
        self._presents.add(made)
        return made

    def announce(self, cursor: Any, organization_id: str, revision: int) -> None:
        cursor.execute("SELECT pg_notify(%s, %s)", (CHANNEL, f"{organization_id} {revision}"))

    def committed(self, organization_id: str, revision: int) -> None:
        self.feed.note(organization_id, revision)

    def heard_revision(self, organization_id: str) -> int | None:
        if self.replica_engine is None:
            return None
        if now_s() >= self._replica_good_until and not self._replica_caught_up():
            return None
        return self.feed.revision(organization_id)

    def _replica_caught_up(self) -> bool:
        """Whether the replica has what the primary had at a heartbeat lately; then it is good for as long as that."""
        position = self.feed.position()
        if position is None or self.replica_engine is None:
            return False
        try:
            with self.replica_engine.connect() as connection:
                (has_reached,) = connection.exec_driver_sql(_HAS_REACHED, (position[0],)).one()
        except self.errors:
            return False
        if has_reached:
            self._replica_good_until = position[1]
        return bool(has_reached)

    def is_idle(self) -> bool:
        """See `forks.Inherited`: nothing is closed anyway."""
        return True

    def give_up(self, *, closes: bool) -> None:  # noqa: ARG002 - to close a connection would say something on it
        """See `forks.Inherited`."""
        for present in self._presents:
            present.give_up(closes=False)
        for engine in (self.engine, self.present_engine, self.replica_engine):
            if engine is not None:
                forks.keep(engine.pool)
                engine.dispose(close=False)
        self.feed.give_up()

    def close(self) -> None:
        self._process.end()
        self.feed.close()
        for each in self._presents:
            each.close()
        self.present_engine.dispose()
        self.engine.dispose()
        if self.replica_engine is not None:
            self.replica_engine.dispose()

    def require_own(self) -> None:
        """It cannot."""

    def turn(self) -> AbstractContextManager[Any]:
        return nullcontext()

    def is_in(self, column: Any, parameter: str) -> Condition:
        condition: Condition = column == any_(bindparam(parameter, type_=ARRAY(Text())))
        return condition

    def each_in(self, query: Any, *lists: Mapping[str, Any]) -> Any:
        """Up to version 16 the planner would rather read all that the query has, if it takes that for little. OFFSET
        keeps it from changing the order of what it joins."""
        wanted: list[Any] = []
        for number, columns in enumerate(lists):
            values = func.unnest(*(bindparam(name, type_=ARRAY(Text())) for name in columns))
            names = (sql_column(name, Text()) for name in columns)
            wanted.append(values.table_valued(*names).render_derived(name=f"wanted_{number}"))
            query = query.where(*(column == wanted[-1].c[name] for name, column in columns.items()))
        found = query.offset(literal_column("0")).lateral("found")
        return select(*found.c).select_from(reduce(lambda left, right: left.join(right, true()), [*wanted, found]))

    def next_of_each(self, query: Any, parameter: str, key: Sequence[Any], values: Sequence[Any]) -> Any:
        """Compared as whole keys, so that no index has them in order but the one that begins where they begin: equal
        columns would count for nothing in an order, and another index would be read through for it."""
        wanted = func.unnest(bindparam(parameter, type_=ARRAY(Text()))).table_valued(sql_column("value", Text()))
        wanted = wanted.render_derived(name="wanted")
        begin = (wanted.c.value, *values)
        query = query.where(tuple_(*key) > tuple_(*begin), tuple_(*key[:-1]) <= tuple_(*begin[:-1])).order_by(*key)
        found = query.lateral("found")
        return select(*found.c).select_from(wanted.join(found, true()))

    def contains(self, column: Any, parameter: str) -> Condition:
        condition: Condition = func.lower(column).like(bindparam(parameter), escape="\\")  # of "C": A to Z alone
        return condition

    def not_by_index(self, column: Any) -> Any:
        return column + literal_column("0" if isinstance(column.type, Integer) else "''")

    def text_in(self, column: Any, key: str) -> Any:
        value = cast(column, JSON).op("->", return_type=JSON())(key)
        text = cast(column, JSON).op("->>", return_type=String())(key)
        return case((func.json_typeof(value) == "string", text)).collate("C")

    def row_in(self, columns: Sequence[Any], parameter: str) -> Condition:
        rows = func.json_array_elements(cast(bindparam(parameter), JSON)).table_valued("value")
        row = cast(rows.c.value, JSON)
        parts = [row.op("->>", return_type=String())(position) for position in range(len(columns))]
        condition: Condition = tuple_(*columns).in_(select(*parts))
        return condition

    def list_value(self, values: Collection[str] | Collection[tuple[str, ...]]) -> Any:
        found = list(values)
        return msgspec.json.encode(found).decode() if found and isinstance(found[0], tuple) else found

    def grams_of(self, text: str) -> str | None:  # noqa: ARG002 - of the protocol
        """None: the texts of an organization lie together, and are looked through."""
        return None

    def has_grams(self, digest: Any, parameter: str) -> Condition:
        """Never asked."""
        raise NotImplementedError

    def index_texts(self, cursor: Any, texts: Sequence[tuple[str, str]]) -> None:
        """Nothing."""

    def insert(self, table: Table) -> Any:
        return insert(table)

    def at_once(self, cursor: Any, rows: int) -> AbstractContextManager[Any]:
        """One way across the network and back, rather than one for each; COPY has to go by itself."""
        return cursor.connection.pipeline() if rows < _COPIED_ROWS else nullcontext()

    def insert_many(
        self, cursor: Any, prepared: Prepared, columns: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> None:
        if prepared.table is None or len(rows) < _COPIED_ROWS:
            cursor.executemany(prepared.sql, prepared.bind_rows(columns, rows))
            return
        with cursor.copy(f"COPY {prepared.table} ({', '.join(columns)}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        if len(rows) >= _MANY_ROWS:
            _count_again(cursor, prepared.table, len(rows))

    def filling(self) -> AbstractContextManager[Any]:
        return self._filling.without_indexes() if self.has_own_schema else nullcontext()

    def check(self) -> None:
        """That the database can be used, and has all its indexes. Raises ConfigurationError, DBAPIError."""
        self.has_own_schema = require_usable(self.engine).is_current  # a later one may have other indexes
        if self.has_own_schema:
            self._filling.complete()


def _count_again(cursor: Any, table: str, added: int) -> None:
    """Let the planner know of a table that has more than twice the rows it knew of, or it would read all of it for each
    of them. It comes to know by itself, but after a minute, too late for what the same transaction asks.

    Of two who tell it at once the second does not wait.
    """
    cursor.execute(_IS_NEWS, (added, table))
    ((is_news,),) = cursor.fetchall()
    if is_news:
        cursor.execute(f"ANALYZE (SKIP_LOCKED) {table}")


class _Connection(psycopg.Connection[Any]):
    """Gives up on a database that says nothing for longer than it lets a statement run.

    The system notices a network that is gone, and the database ends what takes too long; neither helps where something
    in between takes what is sent, and forwards nothing.
    """

    patience_s: float

    def wait(self, gen: Any, interval: float = _WAIT_INTERVAL_S, timeout: float | None = None) -> Any:
        try:
            return super().wait(gen, interval, self.patience_s if timeout is None else timeout)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.pgconn.finish()
            raise


def _pool(
    url: str, process: forks.Process, connections: int, *, overflow: int = 0, limits: Limits = DEFAULT_LIMITS
) -> Engine:
    engine = create_engine(
        driver_url(url),
        pool_size=connections,
        max_overflow=overflow,
        pool_timeout=_POOL_TIMEOUT_S,
        pool_use_lifo=True,
        isolation_level="AUTOCOMMIT",
        connect_args=connect_arguments(limits),
    )

    @event.listens_for(engine, "do_connect")
    def connect(_: Any, __: Any, args: Any, named: Any) -> _Connection:
        process.require()
        made = _Connection.connect(*args, **named)
        made.patience_s = limits.patience_s
        return made

    return engine


def driver_url(url: str) -> URL:
    """The URL in its parts, with the driver. Raises ConfigurationError."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError("the database URL is not like postgresql://user@host:5432/name") from error
    if not parsed.database:
        raise ConfigurationError("the database URL names no database: use postgresql://user@host:5432/name")
    return parsed.set(drivername="postgresql+psycopg")


def connector(url: str) -> Callable[[], psycopg.Connection[Any]]:
    """Makes connections to the database, on which each statement is a transaction."""
    plain = driver_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return partial(psycopg.connect, plain, autocommit=True, **connect_arguments())


def connect_arguments(limits: Limits = DEFAULT_LIMITS) -> dict[str, Any]:
    """How every connection is made: it gives up in time, and notices when the other side is gone."""
    settings = {**_SETTINGS, "statement_timeout": limits.statement_ms, "lock_timeout": limits.lock_ms}
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    return {"connect_timeout": _CONNECT_TIMEOUT_S, "options": options, **_KEEP_ALIVE}


def open_postgres(
    url: str,
    clock: Clock,
    *,
    connections: int = DEFAULT_CONNECTIONS,
    staleness_s: float = DEFAULT_STALENESS_MS / 1000,
    replica: str | None = None,
) -> SqlStore:
    """The store in the database that the URL names, which has to have its tables. Raises ConfigurationError.

    At most so many connections, and six more: for the feed, and to load what is held in memory; as many to the replica.
    Three more while a new book is filled.
    What other processes write is seen by a cache of facts, and in a replica, after at most the staleness, most times
    after milliseconds.
    """
    dialect = PostgresDialect(url, connections=connections, staleness_s=staleness_s, replica=replica)
    try:
        dialect.check()
    except DBAPIError as error:
        dialect.close()
        raise ConfigurationError(f"cannot use the database: {error.orig}") from error
    except ConfigurationError:
        dialect.close()
        raise
    return SqlStore(dialect, clock)
