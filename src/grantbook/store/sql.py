"""The book in a SQL database, in SQLAlchemy Core: the same statements for every dialect.

What differs between databases (how a connection begins, how a long list is bound) is in `Dialect`.
"""

import json
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any, Protocol, cast

import msgspec
from sqlalchemy import (
    Connection,
    Engine,
    Select,
    Table,
    and_,
    delete,
    func,
    insert,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.sql.elements import ColumnElement

from grantbook.model.errors import Conflict, StoreUnavailable
from grantbook.model.facts import Containment, Department, EntityRef, Fact, Member, key_of
from grantbook.model.instants import SECOND, Clock, Instant
from grantbook.model.limits import IDEMPOTENCY_TTL_S
from grantbook.store.history import EMPTY, Recorder
from grantbook.store.port import Author, Change, F, Head, Lookup, StoredResponse, Where
from grantbook.store.rows import SHAPES
from grantbook.store.tables import (
    FACT_TABLES,
    changes,
    heads,
    lookups,
    responses,
    user_organizations,
)

_INLINE_VALUES = 64
_STREAM_ROWS = 1_000


class Dialect(Protocol):
    """What a database needs of its own."""

    engine: Engine

    def begin_read(self) -> Connection:
        """A connection inside a transaction that sees one state of the database."""

    def begin_write(self) -> Connection:
        """A connection inside a transaction that nobody else writes beside."""

    def is_in(self, column: ColumnElement[str], values: Collection[str]) -> ColumnElement[bool]:
        """`column` in a list of any length, bound as one value."""

    def insert_ignoring(self, table: Table) -> Any:
        """An INSERT that leaves an existing row alone."""


class SqlSnapshot:
    """See `port.Snapshot`. `revision` None means the newest: then only live versions are read."""

    def __init__(self, dialect: Dialect, connection: Connection, organization_id: str, revision: int | None) -> None:
        self.organization_id = organization_id
        self._dialect = dialect
        self._connection = connection
        self._past = revision
        self.revision = self._head().revision if revision is None else revision

    def find(self, kind: type[F], *key: str) -> F | None:
        found = self.select(kind, dict(zip(kind.KEY, key, strict=True)))
        return found[0] if found else None

    def select(self, kind: type[F], *where: Where) -> list[F]:
        table = FACT_TABLES[kind]
        columns = SHAPES[kind].columns
        live = select(*columns).where(self._live(table), self._matching(table, where))
        if self._past is None:
            return self._facts(kind, live)
        live = live.where(table.c.since_revision <= self._past)
        ended = select(*columns).where(
            table.c.organization_id == self.organization_id,
            table.c.until_revision.is_not(None),
            table.c.until_revision > self._past,
            table.c.since_revision <= self._past,
            self._matching(table, where),
        )
        return self._facts(kind, live) + self._facts(kind, ended)

    def page(self, kind: type[F], *where: Where, skip: int, limit: int) -> list[F]:
        table = FACT_TABLES[kind]
        query = (
            select(*SHAPES[kind].columns)
            .where(self._live(table), self._matching(table, where))
            .order_by(table.c.created_at, table.c[kind.KEY[-1]])
            .offset(skip)
            .limit(limit)
        )
        return self._facts(kind, query)

    def count(self, kind: type[Fact], *where: Where) -> int:
        table = FACT_TABLES[kind]
        if self._past is not None:
            return len(self.select(kind, *where))
        query = select(func.count()).select_from(table).where(self._live(table), self._matching(table, where))
        return int(self._execute(query).scalar_one())

    def departments_above(self, department_ids: Collection[str]) -> list[Department]:
        return self._closure(Department, "id", "parent_id", department_ids)

    def departments_below(self, department_ids: Collection[str]) -> list[Department]:
        found = {d.id: d for d in self.select(Department, {"id": set(department_ids)})} if department_ids else {}
        found.update((d.id, d) for d in self._closure(Department, "parent_id", "id", department_ids))
        return list(found.values())

    def containers_of(self, entities: Collection[EntityRef]) -> list[Containment]:
        return self._edges(entities, "member", "container")

    def contents_of(self, entities: Collection[EntityRef]) -> list[Containment]:
        return self._edges(entities, "container", "member")

    def _edges(self, entities: Collection[EntityRef], near: str, far: str) -> list[Containment]:
        """Walks by id in SQL, then by type and id here: two types may use the same id."""
        ids = {entity.id for entity in entities}
        edges = self._closure(Containment, f"{near}_id", f"{far}_id", ids)
        found: dict[tuple[str, ...], Containment] = {}
        frontier = set(entities)
        while frontier:
            fresh = [e for e in edges if getattr(e, near) in frontier and key_of(e) not in found]
            found.update((key_of(edge), edge) for edge in fresh)
            frontier = {getattr(edge, far) for edge in fresh}
        return list(found.values())

    def _closure(self, kind: type[F], near: str, far: str, start: Collection[str]) -> list[F]:
        """Facts whose `near` column is among the ids reached from `start` by following `near` to `far`.

        UNION drops what was seen before, so a cycle ends.
        """
        if not start:
            return []
        table = FACT_TABLES[kind]
        first = (
            select(table.c[near].label("reached"))
            .where(self._at(table), self._dialect.is_in(table.c[near], start))
            .cte("reach", recursive=True)
        )
        inner = table.alias()
        reached = first.union(
            select(inner.c[far]).where(self._at(inner), inner.c[near] == first.c.reached, inner.c[far].is_not(None))
        )
        query = select(*SHAPES[kind].columns).where(self._at(table), table.c[near].in_(select(reached.c.reached)))
        return self._facts(kind, query)

    def _live(self, table: Any) -> ColumnElement[bool]:
        return and_(table.c.organization_id == self.organization_id, table.c.until_revision.is_(None))

    def _at(self, table: Any) -> ColumnElement[bool]:
        if self._past is None:
            return self._live(table)
        return and_(
            table.c.organization_id == self.organization_id,
            table.c.since_revision <= self._past,
            or_(table.c.until_revision.is_(None), table.c.until_revision > self._past),
        )

    def _matching(self, table: Table, where: tuple[Where, ...]) -> ColumnElement[bool]:
        return (
            or_(*(and_(*(self._condition(table.c[name], wanted) for name, wanted in each.items())) for each in where))
            if where
            else and_(True)
        )

    def _condition(self, column: Any, wanted: str | int | Collection[str] | None) -> ColumnElement[bool]:
        if wanted is None:
            return cast("ColumnElement[bool]", column.is_(None))
        if isinstance(wanted, str | int):
            return cast("ColumnElement[bool]", column == wanted)
        if len(wanted) <= _INLINE_VALUES:
            return cast("ColumnElement[bool]", column.in_(sorted(wanted)))
        return self._dialect.is_in(column, wanted)

    def _facts(self, kind: type[F], query: Select[Any]) -> list[F]:
        read = SHAPES[kind].read
        return cast("list[F]", [read(row) for row in self._execute(query)])

    def _execute(self, statement: Any, parameters: Any = None) -> Any:
        with _translated():
            return self._connection.execute(statement, parameters)

    def _head(self) -> Head:
        row = self._execute(
            select(heads.c.revision, heads.c.at, heads.c.hash).where(heads.c.organization_id == self.organization_id)
        ).one_or_none()
        return Head(revision=row.revision, at=row.at, hash=row.hash) if row else EMPTY


class SqlTransaction(SqlSnapshot):
    """See `port.Transaction`. Writes wait in lists until a read, or the commit, needs them: bulk stays bulk."""

    def __init__(
        self, dialect: Dialect, connection: Connection, organization_id: str, author: Author, clock: Clock
    ) -> None:
        super().__init__(dialect, connection, organization_id, None)
        head = self._head()
        self.now = max(clock(), head.at)
        self._recorder = Recorder(organization_id, head, self.now, author)
        self.revision = self._recorder.revision
        self._opened: dict[type[Fact], list[Fact]] = {}
        self._closed: dict[type[Fact], list[Fact]] = {}
        self._changes: list[Change] = []
        self._made_here: set[tuple[type[Fact], tuple[str, ...]]] = set()
        self._pending = False

    def add(self, fact: Fact, action: str) -> None:
        self._open(fact)
        self._changes.append(self._recorder.record(action, None, fact))

    def replace(self, old: Fact, new: Fact, action: str) -> None:
        if old != new:
            self._close(old)
            self._open(new)
            self._changes.append(self._recorder.record(action, old, new))

    def remove(self, fact: Fact, action: str) -> None:
        self._close(fact)
        self._changes.append(self._recorder.record(action, fact, None))

    def claim(self, lookup: Lookup, key: str, value: str) -> str:
        self._execute(self._dialect.insert_ignoring(lookups), {"kind": lookup.value, "key": key, "value": value})
        return str(self._execute(_look_up(lookup, key)).scalar_one())

    def find_response(self, idempotency_key: str) -> StoredResponse | None:
        row = self._execute(
            select(responses).where(
                responses.c.organization_id == self.organization_id,
                responses.c.idempotency_key == idempotency_key,
                responses.c.at > self.now - IDEMPOTENCY_TTL_S * SECOND,
            )
        ).one_or_none()
        if row is None:
            return None
        headers = tuple((name, value) for name, value in json.loads(row.headers))
        return StoredResponse(fingerprint=row.fingerprint, status=row.status, headers=headers, body=row.body)

    def keep_response(self, idempotency_key: str, response: StoredResponse) -> None:
        stale = responses.c.at <= self.now - IDEMPOTENCY_TTL_S * SECOND
        self._execute(delete(responses).where(responses.c.organization_id == self.organization_id, stale))
        self._execute(
            insert(responses),
            {
                "organization_id": self.organization_id,
                "idempotency_key": idempotency_key,
                "at": self.now,
                "fingerprint": response.fingerprint,
                "status": response.status,
                "headers": json.dumps(response.headers),
                "body": response.body,
            },
        )

    def commit(self) -> None:
        self._flush()
        if self._changes:
            self._execute(insert(changes), [self._row_of(change) for change in self._changes])
            head = self._recorder.head
            values = {"revision": head.revision, "at": head.at, "hash": head.hash}
            updated = self._execute(update(heads).where(heads.c.organization_id == self.organization_id).values(values))
            if not updated.rowcount:
                self._execute(insert(heads), {"organization_id": self.organization_id, **values})
        else:
            self.revision = self._recorder.revision - 1
        with _translated():
            self._connection.commit()

    def _row_of(self, change: Change) -> dict[str, Any]:
        return {"organization_id": self.organization_id, **msgspec.structs.asdict(change)}

    def _open(self, fact: Fact) -> None:
        self._opened.setdefault(type(fact), []).append(fact)
        self._pending = True

    def _close(self, fact: Fact) -> None:
        """Ends the live version; one that this very transaction made is taken out, for it was never seen."""
        self._flush()
        table, key = FACT_TABLES[type(fact)], (type(fact), key_of(fact))
        if key in self._made_here:
            same = and_(*(table.c[name] == value for name, value in zip(fact.KEY, key[1], strict=True)))
            self._connection.execute(delete(table).where(self._live(table), same))
            self._made_here.discard(key)
        else:
            self._closed.setdefault(type(fact), []).append(fact)
            self._pending = True

    def _flush(self) -> None:
        if not self._pending:
            return
        self._pending = False
        for kind, facts in self._closed.items():
            rows = [{f"old_{name}": getattr(fact, name) for name in kind.KEY} for fact in facts]
            super()._execute(SHAPES[kind].close, [{**row, **self._tenant_row()} for row in rows])
        for kind, facts in self._opened.items():
            rows = [
                {"organization_id": self.organization_id, **SHAPES[kind].write(fact), "since_revision": self.revision}
                for fact in facts
            ]
            super()._execute(insert(FACT_TABLES[kind]), rows)
            self._made_here.update((kind, key_of(fact)) for fact in facts)
            if kind is Member:
                known = [
                    {"user_id": fact.user_id, "organization_id": self.organization_id}
                    for fact in facts
                    if isinstance(fact, Member)
                ]
                super()._execute(self._dialect.insert_ignoring(user_organizations), known)
        self._closed.clear()
        self._opened.clear()

    def _tenant_row(self) -> dict[str, Any]:
        return {"tenant": self.organization_id, "revision": self.revision}

    def _execute(self, statement: Any, parameters: Any = None) -> Any:
        if hasattr(self, "_pending"):
            self._flush()
        return super()._execute(statement, parameters)


class SqlStore:
    """See `port.Store`."""

    def __init__(self, dialect: Dialect, clock: Clock) -> None:
        self._dialect = dialect
        self._clock = clock
        self._writing = Lock()

    @contextmanager
    def snapshot(self, organization_id: str, *, revision: int | None = None) -> Iterator[SqlSnapshot]:
        with self._reading() as connection:
            yield SqlSnapshot(self._dialect, connection, organization_id, revision)

    @contextmanager
    def transaction(self, organization_id: str, author: Author) -> Iterator[SqlTransaction]:
        # Writers of this process queue here in turn, rather than poll the database's lock.
        with self._writing:
            with _translated():
                connection = self._dialect.begin_write()
            with connection:  # closing rolls back what was not committed
                transaction = SqlTransaction(self._dialect, connection, organization_id, author, self._clock)
                yield transaction
                transaction.commit()

    def head(self, organization_id: str) -> Head:
        with self._reading() as connection:
            return SqlSnapshot(self._dialect, connection, organization_id, None)._head()

    def revision_at(self, organization_id: str, at: Instant) -> int:
        query = select(func.max(changes.c.revision)).where(
            changes.c.organization_id == organization_id, changes.c.at <= at
        )
        with self._reading() as connection, _translated():
            return int(connection.execute(query).scalar_one() or 0)

    def look_up(self, lookup: Lookup, key: str) -> str | None:
        with self._reading() as connection, _translated():
            value = connection.execute(_look_up(lookup, key)).scalar_one_or_none()
            return None if value is None else str(value)

    def organizations_of(self, user_id: str) -> list[str]:
        query = select(user_organizations.c.organization_id).where(user_organizations.c.user_id == user_id)
        with self._reading() as connection, _translated():
            return sorted(connection.execute(query).scalars())

    def known_users(self, user_ids: Collection[str]) -> set[str]:
        if not user_ids:
            return set()
        is_asked = self._dialect.is_in(user_organizations.c.user_id, user_ids)
        with self._reading() as connection, _translated():
            return set(connection.execute(select(user_organizations.c.user_id).where(is_asked)).scalars())

    def organization_ids(self) -> list[str]:
        with self._reading() as connection, _translated():
            return sorted(connection.execute(select(heads.c.organization_id)).scalars())

    def changes(self, organization_id: str, *, after: int = 0) -> Iterator[Change]:
        names = [column for column in changes.c if column.name != "organization_id"]
        place = (after, 2**31)
        while True:
            query = (
                select(*names)
                .where(
                    changes.c.organization_id == organization_id,
                    tuple_(changes.c.revision, changes.c.ordinal) > place,
                )
                .order_by(changes.c.revision, changes.c.ordinal)
                .limit(_STREAM_ROWS)
            )
            with self._reading() as connection, _translated():
                rows = connection.execute(query).all()
            for row in rows:
                yield Change(**row._mapping)
            if len(rows) < _STREAM_ROWS:
                return
            place = (rows[-1].revision, rows[-1].ordinal)

    def close(self) -> None:
        self._dialect.engine.dispose()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with _translated():
            connection = self._dialect.begin_read()
        with connection:
            yield connection


@contextmanager
def _translated() -> Iterator[None]:
    """Database errors as ours; their texts may hold values, so they stay in the cause and off the wire."""
    try:
        yield
    except IntegrityError as error:
        raise Conflict from error
    except DBAPIError as error:
        raise StoreUnavailable from error


def _look_up(lookup: Lookup, key: str) -> Select[Any]:
    return select(lookups.c.value).where(lookups.c.kind == lookup.value, lookups.c.key == key)
