"""Statements in SQLAlchemy Core, each compiled once and then run as text on the driver.

Building and caching an expression costs ten times what SQLite needs to answer it, so `Statements` keeps the compiled
text by the shape of the question: which kind, which fields, one value or many. Values are always bound; a list is
bound as one value, whatever its length.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, ClassVar, Final, Protocol, TypeAlias

from sqlalchemy import (
    Engine,
    Select,
    Table,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.sql.elements import ColumnElement

from grantbook.model.facts import Fact
from grantbook.store import pages, record, walks
from grantbook.store.port import SMALL_LETTERS, Among, Contains, Not, Order, Where
from grantbook.store.present_port import Present
from grantbook.store.shapes import (
    CONTAINS,
    MANY,
    NOT,
    NULL,
    ONE,
    Form,
    Shape,
    names_id,
    narrows,
    parameter_of,
    shared,
)
from grantbook.store.tables import (
    FACT_TABLES,
    changes,
    heads,
    key_uses,
    lookups,
    responses,
    revisions,
    told_texts,
    user_organizations,
)
from grantbook.store.versions import at_past, begun, columns_of, ended_since, live

Condition: TypeAlias = ColumnElement[bool]

STREAM_ROWS: Final = 1_000


class Dialect(Protocol):
    """What a database needs of its own."""

    @property
    def engine(self) -> Engine:
        """The pool of connections, and what statements are compiled for."""

    @property
    def writing_engine(self) -> Engine:
        """The pool of the connections that write; of a process, one does at a time."""

    @property
    def replica_engine(self) -> Engine | None:
        """The pool of connections to a replica, if there is one."""

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What the driver raises."""

    @property
    def integrity_errors(self) -> tuple[type[Exception], ...]:
        """Those of the errors that say that something is there already."""

    @property
    def unaskable(self) -> tuple[type[Exception], ...]:
        """Those that say that a value cannot be sent."""

    @property
    def denials(self) -> tuple[type[Exception], ...]:
        """Those that trying again does not change, until somebody sees to it: a missing right, a full disk."""

    @property
    def aborts(self) -> tuple[type[Exception], ...]:
        """Those that say that the transaction was ended for another's sake, and may go well the next time."""

    def is_busy(self, error: BaseException) -> bool:
        """Whether the error says that others were waited for in vain, on a connection that is as good as before."""

    @property
    def begin_read(self) -> str:
        """Begins a transaction that sees one state of the database."""

    @property
    def begin_write(self) -> str:
        """Begins a transaction that nobody else writes beside."""

    @property
    def locks_heads(self) -> bool:
        """Whether writers take turns on the row of an organization's head, rather than on the whole database."""

    def require_own(self) -> None:
        """Raises StoreUnavailable where another database has come in the place of the one that was opened, if that
        can be told without asking it."""

    def turn(self) -> AbstractContextManager[Any]:
        """Held while this process writes, where writers take turns. Raises StoreUnavailable after a long wait."""

    def at_once(self, cursor: Any, rows: int) -> AbstractContextManager[Any]:
        """A block of statements that write so many rows and of which nothing is asked back, which may be sent together:
        an error of one of them comes by the end of the block."""

    def insert_many(
        self, cursor: Any, prepared: "Prepared", columns: Sequence[str], rows: Sequence[Sequence[Any]]
    ) -> None:
        """Insert rows of values in the order of the columns."""

    def present(self) -> Present:
        """A way of its own to the newest state."""

    def announce(self, cursor: Any, organization_id: str, revision: int) -> None:
        """Within a transaction: that it makes this revision, for other processes, when it is committed."""

    def committed(self, organization_id: str, revision: int) -> None:
        """That this process has made a revision, for its own `present`."""

    def heard_revision(self, organization_id: str) -> int | None:
        """The newest revision that this process wrote or heard of, 0 for none; None where the replica is too old."""

    def close(self) -> None:
        """Release every connection."""

    def is_in(self, column: Any, parameter: str) -> Condition:
        """`column` in the list that is bound as one value."""

    def each_in(self, query: Any, *lists: Mapping[str, Any]) -> Any:
        """The rows of a query in which the columns are in lists that are bound, each as one value by its name: whatever
        the lists say together is looked up, however many other rows the query has. What one mapping has is a list of
        rows, by its columns; rows in which they are put together otherwise may be among those that are found."""

    def next_of_each(self, query: Any, parameter: str, key: Sequence[Any], values: Sequence[Any]) -> Any:
        """The rows of a limited query, for each value of the list that is bound as one value: those whose key begins
        with it and with these values, but for its last column, which is greater than the last value; in their order.
        Only asked where a question crosses a network."""

    def contains(self, column: Any, parameter: str) -> Condition:
        """`column` like the pattern, which has small letters; letters A to Z count as theirs."""

    def not_by_index(self, column: Any) -> Any:
        """The column, such that rows are not walked in its order but found by other conditions and then sorted."""

    def text_in(self, column: Any, key: str) -> Any:
        """The text under a key of the object in the column; NULL where there is none."""

    def row_in(self, columns: Sequence[Any], parameter: str) -> Condition:
        """The columns together in the list of rows that is bound as one value."""

    def list_value(self, values: Collection[str] | Collection[tuple[str, ...]]) -> Any:
        """The list of texts, or of rows, as that value."""

    def grams_of(self, text: str) -> str | None:
        """How `has_grams` is asked for the text, where an index can find it."""

    def has_grams(self, digest: Any, parameter: str) -> Condition:
        """That the digest is of a text that an index finds for the grams: of all that have them, and maybe others."""

    def index_texts(self, cursor: Any, texts: Sequence[tuple[str, str]]) -> None:
        """Have new texts found by `has_grams`, each with its digest."""

    def insert(self, table: Table) -> Any:
        """An INSERT that can be told what to do where the row is there."""

    def filling(self) -> AbstractContextManager[Any]:
        """A block that adds very much to a book without any organization."""


class Prepared:
    """A statement as the driver takes it."""

    __slots__ = ("_constants", "_order", "sql", "table")

    def __init__(self, engine: Engine, statement: Any, table: str | None = None) -> None:
        compiled = statement.compile(engine)
        self.sql: str = str(compiled)
        self.table = table
        """Of a plain INSERT, where it goes."""
        self._order: tuple[str, ...] | None = tuple(compiled.positiontup) if compiled.positional else None
        self._constants = {name: value for name, value in compiled.params.items() if value is not None}

    def bind(self, values: Mapping[str, Any]) -> Any:
        """The values in the form and order that the driver wants."""
        if self._constants:
            values = {**self._constants, **values}
        return values if self._order is None else [values[name] for name in self._order]

    def bind_rows(self, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Sequence[Any]:
        """Rows of values in the order of the columns, in the form and order that the driver wants."""
        if self._order == tuple(columns) and not self._constants:
            return rows
        return [self.bind(dict(zip(columns, row, strict=True))) for row in rows]


class MadeOnce:
    """Statements, each made on first use, once in a process for every book of a dialect: that takes milliseconds."""

    _made: ClassVar[dict[tuple[type, type], dict[Any, Prepared]]] = {}

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._prepared = self._made.setdefault((type(self), type(dialect)), {})

    def _get(self, key: Any, build: Callable[[], Any]) -> Prepared:
        found = self._prepared.get(key)
        if found is None:
            found = self._prepared[key] = Prepared(self._dialect.engine, build())
        return found


class Statements(MadeOnce):
    """Every statement of the store, but for those of archives."""

    def select(self, kind: type[Fact], shape: Shape, *, past: bool) -> Prepared:
        """Facts of a shape: live ones, or those of a past revision."""

        def build() -> Any:
            table = FACT_TABLES[kind]
            present = select(*columns_of(kind)).where(live(table), self._matching(table, shape, past=past))
            if not past:
                return present
            ended = select(*columns_of(kind)).where(ended_since(table), self._matching(table, shape, past=past))
            return present.where(begun(table)).union_all(ended)

        return self._get(("select", kind, shape, past), build)

    def page(
        self,
        kind: type[Fact],
        shape: Shape,
        order: Order,
        *,
        is_after: bool,
        is_until: bool,
        walks: bool,
        only_places: bool,
    ) -> Prepared:
        options = {"is_after": is_after, "is_until": is_until, "walks": walks, "only_places": only_places}
        matching = partial(self._matching, FACT_TABLES[kind])
        build = partial(pages.find, matching, self._dialect.not_by_index, kind, shape, order, **options)
        return self._get(("page", kind, shape, order, *options.values()), build)

    def find_all(self, kind: type[Fact], names: tuple[str, ...], *, past: bool) -> Prepared:
        """Facts in which the fields have one of the `:combinations`."""

        def build() -> Select[Any]:
            table = FACT_TABLES[kind]
            wanted = self._dialect.row_in([table.c[name] for name in names], "combinations")
            return select(*columns_of(kind)).where((at_past if past else live)(table), wanted)

        return self._get(("find_all", kind, names, past), build)

    def iterate(self, kind: type[Fact], *, past: bool, is_after: bool) -> Prepared:
        """The first facts in order of their keys, or the first after a key."""

        def build() -> Select[Any]:
            table = FACT_TABLES[kind]
            key = [table.c[name] for name in kind.KEY]
            query = select(*columns_of(kind)).where((at_past if past else live)(table))
            if is_after:
                query = query.where(tuple_(*key) > tuple_(*(bindparam(f"after_{name}") for name in kind.KEY)))
            return query.order_by(*key).limit(STREAM_ROWS)

        return self._get(("iterate", kind, past, is_after), build)

    def count(self, kind: type[Fact], shape: Shape) -> Prepared:
        build = partial(pages.count, partial(self._matching, FACT_TABLES[kind]), kind, shape)
        return self._get(("count", kind, shape), build)

    def tally(self, kind: type[Fact], field: str, shape: Shape) -> Prepared:
        def build() -> Any:
            table = FACT_TABLES[kind]
            column = table.c[field]
            is_asked = any(name == field for conditions in shape for name, _ in conditions)
            by = column if is_asked or not narrows(shape) else self._dialect.not_by_index(column)
            return select(by, func.count()).where(live(table), self._matching(table, shape)).group_by(by)

        return self._get(("tally", kind, field, shape), build)

    def closure(self, kind: type[Fact], by: str, near: str, far: str, *, past: bool) -> Prepared:
        build = partial(walks.closure, self._dialect, kind, by, near, far, past=past)
        return self._get(("closure", kind, by, near, far, past), build)

    def given(self, *, past: bool) -> Prepared:
        return self._get(("given", past), partial(walks.given, self._dialect, past=past))

    def active_inside(self, *, past: bool) -> Prepared:
        return self._get(("active_inside", past), partial(walks.active_inside, self._dialect, past=past))

    def insert_fact(self, kind: type[Fact]) -> Prepared:
        return self.insert(FACT_TABLES[kind])

    def insert(self, table: Table) -> Prepared:
        key = ("insert", table.name)
        if key not in self._prepared:
            self._prepared[key] = Prepared(self._dialect.engine, insert(table), table.name)
        return self._prepared[key]

    def insert_ignoring(self, table: Table) -> Prepared:
        """An INSERT that leaves an existing row alone."""
        return self._get(("insert_ignoring", table.name), lambda: self._dialect.insert(table).on_conflict_do_nothing())

    def insert_key_use(self) -> Prepared:
        """An INSERT that moves an existing row to a later time, never to an earlier one."""

        def build() -> Any:
            new = self._dialect.insert(key_uses)
            at = new.excluded.last_used_at
            return new.on_conflict_do_update(
                index_elements=list(key_uses.primary_key),
                set_={"last_used_at": at},
                where=at > key_uses.c.last_used_at,
            )

        return self._get("insert_key_use", build)

    def key_uses(self) -> Prepared:
        return self._get(
            "key_uses",
            lambda: select(key_uses.c.key_id, key_uses.c.last_used_at).where(
                key_uses.c.organization_id == bindparam("tenant"), self._dialect.is_in(key_uses.c.key_id, "keys")
            ),
        )

    def close_fact(self, kind: type[Fact]) -> Prepared:
        def build() -> Any:
            table = FACT_TABLES[kind]
            return update(table).where(live(table), _keyed(table, kind)).values(until_revision=bindparam("revision"))

        return self._get(("close", kind), build)

    def delete_fact(self, kind: type[Fact]) -> Prepared:
        """For a version that the same transaction made."""
        table = FACT_TABLES[kind]
        return self._get(("delete", kind), lambda: delete(table).where(live(table), _keyed(table, kind)))

    def head(self) -> Prepared:
        return self._get("head", _head)

    def locked_head(self) -> Prepared:
        return self._get("locked_head", lambda: _head().with_for_update())

    def move_head(self) -> Prepared:
        return self._get(
            "move_head",
            lambda: (
                update(heads)
                .where(heads.c.organization_id == bindparam("tenant"))
                .values(revision=bindparam("new_revision"), at=bindparam("new_at"), hash=bindparam("new_hash"))
            ),
        )

    def last_hash(self) -> Prepared:
        """Of the last change of a revision."""
        return self._get("last_hash", record.last_hash)

    def look_up(self) -> Prepared:
        return self._get(
            "look_up",
            lambda: select(lookups.c.value).where(
                lookups.c.kind == bindparam("lookup"), lookups.c.key == bindparam("looked_up")
            ),
        )

    def look_up_all(self) -> Prepared:
        return self._get(
            "look_up_all",
            lambda: select(lookups.c.key, lookups.c.value).where(
                lookups.c.kind == bindparam("lookup"), self._dialect.is_in(lookups.c.key, "keys")
            ),
        )

    def response(self) -> Prepared:
        return self._get(
            "response",
            lambda: select(responses.c.fingerprint, responses.c.status, responses.c.headers, responses.c.body).where(
                responses.c.organization_id == bindparam("tenant"),
                responses.c.idempotency_key == bindparam("wanted"),
                responses.c.at > bindparam("since"),
            ),
        )

    def forget_responses(self) -> Prepared:
        return self._get(
            "forget_responses",
            lambda: delete(responses).where(
                responses.c.organization_id == bindparam("tenant"), responses.c.at <= bindparam("since")
            ),
        )

    def revision_at(self) -> Prepared:
        return self._get(
            "revision_at",
            lambda: select(func.max(revisions.c.revision)).where(
                revisions.c.organization_id == bindparam("tenant"), revisions.c.at <= bindparam("moment")
            ),
        )

    def find_changes(
        self,
        shape: Shape,
        *,
        is_after: bool,
        is_until: bool,
        walks: bool,
        only_places: bool,
    ) -> Prepared:
        options = {"is_after": is_after, "is_until": is_until, "walks": walks, "only_places": only_places}
        build = partial(record.find, partial(self._matching, changes), shape, **options)
        return self._get(("find_changes", shape, *options.values()), build)

    def count_changes(self, shape: Shape) -> Prepared:
        build = partial(record.count, partial(self._matching, changes), shape)
        return self._get(("count_changes", shape), build)

    def find_texts(self, *, by_grams: bool) -> Prepared:
        """Texts like the `:pattern`."""

        def build() -> Select[Any]:
            table = told_texts
            like = self._dialect.contains(table.c.text, "pattern")
            found = [self._dialect.has_grams(table.c.digest, "grams")] if by_grams else []
            query = select(table.c.field, table.c.text, table.c.about)
            return query.where(table.c.organization_id == bindparam("tenant"), *found, like).limit(bindparam("limit"))

        return self._get(("find_texts", by_grams), build)

    def known_texts(self) -> Prepared:
        """Those of the `:digests` that are there."""
        table = told_texts
        wanted = (table.c.organization_id == bindparam("tenant"), self._dialect.is_in(table.c.digest, "digests"))
        return self._get("known_texts", lambda: select(table.c.digest).where(*wanted))

    def changes_after(self) -> Prepared:
        return self._get("changes_after", partial(record.after, STREAM_ROWS))

    def organizations_of(self) -> Prepared:
        table = user_organizations
        return self._get(
            "organizations_of", lambda: select(table.c.organization_id).where(table.c.user_id == bindparam("user"))
        )

    def known_users(self) -> Prepared:
        table = user_organizations
        return self._get(
            "known_users", lambda: select(table.c.user_id).where(self._dialect.is_in(table.c.user_id, "users"))
        )

    def organization_ids(self) -> Prepared:
        return self._get("organization_ids", lambda: select(heads.c.organization_id).where(heads.c.revision > 0))

    def shape_and_values(self, where: Sequence[Where]) -> tuple[Shape, dict[str, Any]]:
        """What kind of conditions these are, and the values to bind for them.

        Conditions that every alternative has come first, once: an index serves them before the alternatives are tried.
        """
        everywhere = shared(where) if len(where) > 1 else {}
        alternatives = [{name: each[name] for name in each if name not in everywhere} for each in where]
        shape: list[tuple[tuple[str, Form], ...]] = []
        values: dict[str, Any] = {}
        for position, conditions in enumerate([everywhere, *alternatives]):
            each: list[tuple[str, Form]] = []
            for name, wanted in conditions.items():
                form, value = self._form(wanted)
                each.append((name, form))
                if form != NULL:
                    values[parameter_of(position, name)] = value
            shape.append(tuple(each))
        return tuple(shape), values

    def _matching(
        self, table: Table, shape: Shape, *, past: bool = False, only: int | None = None, walks: bool = False
    ) -> Condition:
        """That a row matches the shape; or `only` the one alternative. With `walks` ids do not tempt the planner."""

        def condition(position: int, name: str, form: Form) -> Condition:
            parameter = parameter_of(position, name)
            if isinstance(form, tuple):
                return _among(table.c[name], *form, parameter, at=at_past if past else live)
            # Where ids are named, no other field shall tempt the planner, which does not know how few rows they leave.
            is_searched = not walks if names_id(name, form) else not (narrows(shape) or narrows((shape[position],)))
            return self._condition(table, name, form, parameter, is_searched=is_searched)

        shared, *alternatives = [
            and_(True, *(condition(position, name, form) for name, form in conditions))
            for position, conditions in enumerate(shape)
        ]
        if only is not None:
            alternatives = [alternatives[only]]
        return and_(shared, or_(*alternatives)) if alternatives else shared

    def _form(self, wanted: Any) -> tuple[Form, Any]:
        match wanted:
            case None:
                return NULL, None
            case str() | int():
                return ONE, wanted
            case Contains():
                return CONTAINS, pattern_of(wanted)
            case Not():
                return NOT, wanted.value
            case Among():
                return (wanted.kind, wanted.field, wanted.by), wanted.value
            case _:
                return MANY, self._dialect.list_value(sorted(wanted))  # else a set would be asked for in many orders

    def _condition(self, table: Table, name: str, form: str, parameter: str, *, is_searched: bool) -> Condition:
        name, _, key = name.partition(".")
        column = self._dialect.text_in(table.c[name], key) if key else table.c[name]
        if not is_searched and not key:
            column = self._dialect.not_by_index(column)
        if form == MANY:
            return self._dialect.is_in(column, parameter)
        if form == CONTAINS:
            return self._dialect.contains(column, parameter)
        if form == NOT:
            differs: Condition = column != bindparam(parameter)
            return differs
        condition: Condition = column.is_(None) if form == NULL else column == bindparam(parameter)
        return condition


def _among(
    column: Any, kind: type[Fact], field: str, by: str, parameter: str, *, at: Callable[[Any], Condition]
) -> Condition:
    """Asked for each row: a page that is found soon never looks at the rest of the other kind."""
    other = FACT_TABLES[kind].alias()
    return exists().where(at(other), other.c[by] == bindparam(parameter), other.c[field] == column)


def _head() -> Select[Any]:
    return select(heads.c.revision, heads.c.at, heads.c.hash).where(heads.c.organization_id == bindparam("tenant"))


def pattern_of(wanted: Contains) -> str:
    """What `Dialect.contains` is asked for."""
    text = wanted.text.translate(SMALL_LETTERS)
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def _keyed(table: Table, kind: type[Fact]) -> Condition:
    return and_(*(table.c[name] == bindparam(f"old_{name}") for name in kind.KEY))
