"""The present of every organization, read on one connection that is kept: what a cache of facts is filled from.

A snapshot gives whole facts and costs a connection; here are the few columns that decide about access, in as few
statements as possible, and the number that tells whether anything was written at all.
"""

import logging
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, repeat
from operator import itemgetter
from types import TracebackType
from typing import Any, ClassVar, Final

from sqlalchemy import Engine, Text, bindparam, cast, exists, literal_column, null, or_, select, union_all

from grantbook.model.errors import StoreUnavailable
from grantbook.model.facts import (
    AccessTarget,
    Containment,
    Department,
    DepartmentMember,
    Entity,
    EntityRef,
    Grant,
    Member,
    Organization,
    Role,
    RoleAssignment,
)
from grantbook.model.vocabulary import OPEN_MODES
from grantbook.store.port import (
    MAX_GLANCED,
    EdgeRow,
    GivenRow,
    Glance,
    GlanceAtGroups,
    GrantRow,
    Notice,
    Outline,
    Standing,
)
from grantbook.store.session import rows_of
from grantbook.store.statements import Dialect
from grantbook.store.tables import FACT_TABLES, changes, heads
from grantbook.store.versions import live

_log = logging.getLogger(__name__)
_AT_ONCE: Final = 20
"""So many entities are asked about in one statement, where each crosses a network."""
_PLACES: Final = tuple((f"type{place}", f"entity{place}") for place in range(_AT_ONCE))
_STANDING: Final = (
    ("member", FACT_TABLES[Member], "state"),
    ("role", FACT_TABLES[RoleAssignment], "role_id"),
    ("department", FACT_TABLES[DepartmentMember], "department_id"),
)
"""Of each part of a standing the word for it, the table, and the column of the value."""
_REVISION: Final = "revision"
_PARTS_OF_STANDING: Final = frozenset(part for part, _, _ in _STANDING)
_PLAIN_IDS: Final = 32
"""Up to so many ids are bound one by one, which SQLite answers faster than a list in one value."""


class SqlPresent(ABC):
    """See `port.Present`; a database tells of its own accord when it moved. Not for two threads at once."""

    is_local: bool

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._statements = _Statements(dialect)
        self._reading = _Reading(self)
        self._connection: Any = None
        self._cursor: Any = None
        self._connections = 0

    @abstractmethod
    def version(self) -> int: ...

    @abstractmethod
    def has_moved(self, organization_id: str, *, version: int, revision: int) -> bool: ...

    def line(self) -> int:
        return self._connections

    def reading(self) -> "_Reading":
        return self._reading

    def revision(self, organization_id: str) -> int:
        found = self._rows("revision", organization_id)
        return int(found[0][0]) if found else 0

    def notices(self, organization_id: str, *, after: int, limit: int) -> list[Notice]:
        return [Notice(*row) for row in self._rows("notices", organization_id, after, limit)]

    def is_deleted(self, organization_id: str) -> bool:
        return bool(self._rows("deleted", organization_id))

    def standing(self, organization_id: str, user_id: str) -> list[Standing]:
        return self._rows("standing", organization_id, user_id)

    def standings(self, organization_id: str, user_ids: Collection[str]) -> dict[str, list[Standing]]:
        found: defaultdict[str, list[Standing]] = defaultdict(list)
        for row in self._rows_of("standings", user_ids, organization_id):
            found[row[0]].append(row[1:])
        return found

    def departments(self, organization_id: str, ids: Collection[str]) -> list[tuple[str, str | None]]:
        return self._rows_of("departments", ids, organization_id)

    def roles(self, organization_id: str, ids: Collection[str]) -> list[tuple[str, str]]:
        return self._rows_of("roles", ids, organization_id)

    def named_by_grants(self, organization_id: str, user_ids: Collection[str]) -> set[str]:
        return {row[0] for row in self._rows_of("named", user_ids, organization_id)}

    def outline(self, organization_id: str, entity: EntityRef) -> list[Outline]:
        return self._rows("outline", organization_id, *entity)

    def outlines(self, organization_id: str, entities: Collection[EntityRef]) -> dict[tuple[str, str], list[Outline]]:
        found: defaultdict[tuple[str, str], list[Outline]] = defaultdict(list)
        for row in self._rows_of("outlines", {entity.id for entity in entities}, organization_id):
            found[row[:2]].append(row[2:])
        return found

    def grants_to(self, organization_id: str, entity: EntityRef, grantee_ids: Collection[str]) -> list[GrantRow]:
        if self.is_local:
            return self._rows_of("grants_to", grantee_ids, organization_id, *entity)
        return self._rows("grants_to", organization_id, *entity, self._dialect.list_value(grantee_ids))

    def glance(self, organization_id: str, user_id: str, entity: EntityRef) -> Glance:
        revision = -1
        standing: list[Standing] = []
        outline: list[Outline] = []
        for row in self._rows_alone("glance", organization_id, user_id, *entity):
            if row[0] == _REVISION:
                revision = int(row[1])
            elif row[0] in _PARTS_OF_STANDING:
                standing.append(row[:2])
            else:
                outline.append(row)
        return Glance(revision, standing, outline)

    def glance_at_groups(
        self, organization_id: str, department_ids: Collection[str], role_ids: Collection[str]
    ) -> GlanceAtGroups:
        lists = self._dialect.list_value(department_ids), self._dialect.list_value(role_ids)
        revision, rows = self._glance("glance_at_groups", organization_id, *lists)
        departments = [row[1:] for row in rows if row[0] == "department"]
        return GlanceAtGroups(revision, departments, [row[1:] for row in rows if row[0] == "role"])

    def glance_at_outlines(
        self, organization_id: str, entities: Collection[EntityRef]
    ) -> tuple[int, dict[tuple[str, str], list[Outline]]]:
        ids = self._dialect.list_value({entity.id for entity in entities})
        revision, rows = self._glance("glance_at_outlines", organization_id, ids)
        found: defaultdict[tuple[str, str], list[Outline]] = defaultdict(list)
        for row in rows:
            found[row[:2]].append(row[2:])
        return revision, found

    def glance_at_grants(
        self, organization_id: str, entities: Sequence[EntityRef], grantee_ids: Collection[str]
    ) -> tuple[int, list[GrantRow]]:
        ids = self._dialect.list_value(set(grantee_ids))
        return self._glance(f"glance_at_grants_on_{len(entities)}", organization_id, *chain(*entities), ids)

    def _glance(self, name: str, *values: Any) -> tuple[int, list[Any]]:
        """The revision, -1 where it was not told, and the rows. However many ids there are, it is one statement, which
        the driver soon has prepared."""
        revision, found = -1, []
        for number, *row in self._rows_alone(name, *values):
            if number is None:
                found.append(tuple(row))
            else:
                revision = int(number)
        return revision, found

    def grants_on(self, organization_id: str, entities: Sequence[EntityRef], *, limit: int) -> list[GrantRow]:
        found: list[GrantRow] = []
        if self.is_local or len(entities) == 1:
            for entity in entities:
                found += self._rows("grants_on", organization_id, *entity, limit)
            return found
        for first in range(0, len(entities), _AT_ONCE):
            part = entities[first : first + _AT_ONCE]
            filled = chain(*part, repeat("", 2 * (_AT_ONCE - len(part))))  # which is nothing's type and id
            found += self._rows("grants_on_several", organization_id, *filled, limit)
        return found

    def given_to(self, organization_id: str, principal_ids: Collection[str]) -> list[GivenRow]:
        return self._rows_of("given_to", principal_ids, organization_id)

    def edges_below(self, organization_id: str, container_ids: Collection[str]) -> list[EdgeRow]:
        return self._rows_of("edges_below", container_ids, organization_id)

    def active_entities(self, organization_id: str, *, only_open: bool) -> list[tuple[str, str]]:
        return self._rows("open_entities" if only_open else "active_entities", organization_id)

    def departments_below(self, organization_id: str, department_ids: Collection[str]) -> list[tuple[str, str]]:
        return self._rows_of("departments_below", department_ids, organization_id)

    def people_in(self, organization_id: str, department_ids: Collection[str]) -> list[tuple[str, str]]:
        return self._rows_of("people_in", department_ids, organization_id)

    def people_with(self, organization_id: str, role_ids: Collection[str]) -> list[tuple[str, str]]:
        return self._rows_of("people_with", role_ids, organization_id)

    def people(self, organization_id: str, *, only_active: bool) -> list[tuple[str]]:
        return self._rows("active_people" if only_active else "people", organization_id)

    def active_among(self, organization_id: str, user_ids: Collection[str]) -> list[tuple[str]]:
        return self._rows_of("active_among", user_ids, organization_id)

    def capabilities(self, organization_id: str) -> list[tuple[str, str]]:
        return self._rows("capabilities", organization_id)

    def close(self, error: BaseException | None = None) -> None:
        """Give the connection back; after an error it may be broken, and nobody shall get it from the pool."""
        connection, self._connection, self._cursor = self._connection, None, None
        if connection is None:
            return
        if error is None:
            connection.close()
        else:
            connection.invalidate(error)

    def begin(self) -> int:
        """What comes is read from one state, which has this version. Raises StoreUnavailable.

        On the connection that is kept, or where that broke meanwhile on a new one.
        """
        try:
            if self._cursor is not None:
                try:
                    self._cursor.execute(self._dialect.begin_read)
                    return self._version_read()
                except self._dialect.errors as error:
                    self.close(error)
            self._connect()
            self._cursor.execute(self._dialect.begin_read)
            return self._version_read()
        except self._dialect.errors as error:
            self.close(error)
            raise StoreUnavailable from error

    def end(self, error: BaseException | None) -> None:
        """The other end of `begin`, after an error of the driver too. Raises StoreUnavailable."""
        try:
            self._cursor.execute("COMMIT")  # as `Session.close` does
        except self._dialect.errors as worse:
            error = worse
        if isinstance(error, self._dialect.errors):
            self.close(error)
            raise StoreUnavailable from error

    def _connect(self) -> None:
        self._connection = self._dialect.engine.raw_connection()
        self._cursor = self._connection.cursor()
        self._connections += 1

    def _version_read(self) -> int:
        """Within a reading, which version is read, if that can be told cheaply."""
        return -1

    def _rows_of(self, name: str, ids: Collection[str], *values: Any) -> list[Any]:
        """As `_rows`, of the statement for so many ids."""
        if not 0 < len(ids) <= _PLAIN_IDS:
            return self._rows(name, *values, self._dialect.list_value(ids))
        return self._rows(name, *values, *ids, count=len(ids))

    def _rows(self, name: str, *values: Any, count: int = 0) -> list[Any]:
        return rows_of(self._dialect, self._cursor, self._statements.get(name, count), values)

    def _rows_alone(self, name: str, *values: Any) -> list[Any]:
        """As `_rows`, of a statement that is a transaction by itself; none where the database did not answer."""
        try:
            if self._cursor is None:
                self._connect()
            return self._rows(name, *values)
        except self._dialect.errors as error:
            _log.warning("%s failed, and is asked for in a transaction: %s", name, type(error).__name__)
            self.close(error)
            return []


class _Reading:
    """A block of `SqlPresent`, made once for all: they do not lie within each other."""

    def __init__(self, present: SqlPresent) -> None:
        self._present = present

    def __enter__(self) -> int:
        return self._present.begin()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._present.end(error)


class _Statement:
    """A statement as the driver takes it, whose values are given by place: cheaper than by name."""

    __slots__ = ("bind", "sql")

    def __init__(self, engine: Engine, statement: Any, names: Sequence[str]) -> None:
        compiled = statement.compile(engine)
        constants = {name: value for name, value in compiled.params.items() if name not in names}
        names, fixed = [*names, *constants], tuple(constants.values())
        self.sql = str(compiled)
        self.bind: Callable[[tuple[Any, ...]], Any]
        if not compiled.positional:
            self.bind = lambda values: dict(zip(names, (*values, *fixed), strict=True))
        elif list(compiled.positiontup) == names:
            self.bind = lambda values: (*values, *fixed)
        else:
            pick = itemgetter(*(names.index(name) for name in compiled.positiontup))
            self.bind = (lambda values: pick((*values, *fixed))) if fixed else pick


class _Statements:
    """Each compiled once in a process for a dialect, by how many ids it binds, after what it binds else; 0 is all of
    them in one value."""

    _of_dialects: ClassVar[dict[type, dict[tuple[str, int], "_Statement"]]] = {}

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._prepared = self._of_dialects.setdefault(type(dialect), {})
        grant = "tenant", "type", "entity"
        self._made: Final[dict[str, tuple[Callable[[int], Any], tuple[str, ...]]]] = {
            "revision": (self._revision, ("tenant",)),
            "notices": (self._notices, ("tenant", "after", "limit")),
            "deleted": (self._deleted, ("tenant",)),
            "standing": (self._standing, ("tenant", "id")),
            "standings": (self._standings, ("tenant", "ids")),
            "departments": (self._departments, ("tenant", "ids")),
            "roles": (self._roles, ("tenant", "ids")),
            "named": (self._named, ("tenant", "ids")),
            "outline": (self._outline, grant),
            "outlines": (self._outlines, ("tenant", "ids")),
            "grants_to": (self._grants_to, (*grant, "ids")),
            "glance": (self._glance, ("tenant", "id", "type", "entity")),
            "glance_at_groups": (self._glance_at_groups, ("tenant", "departments", "ids")),
            "glance_at_outlines": (self._glance_at_outlines, ("tenant", "ids")),
            **{
                f"glance_at_grants_on_{few}": (
                    partial(self._glance_at_grants, few),
                    ("tenant", *chain(*_PLACES[:few]), "ids"),
                )
                for few in range(1, MAX_GLANCED + 1)
            },
            "grants_on": (self._grants_on, (*grant, "limit")),
            "grants_on_several": (self._grants_on_several, ("tenant", *chain(*_PLACES), "limit")),
            "given_to": (self._given_to, ("tenant", "ids")),
            "edges_below": (self._edges_below, ("tenant", "ids")),
            "active_entities": (self._active_entities, ("tenant",)),
            "open_entities": (self._open_entities, ("tenant",)),
            "departments_below": (self._departments_below, ("tenant", "ids")),
            "people_in": (self._people_in, ("tenant", "ids")),
            "people_with": (self._people_with, ("tenant", "ids")),
            "people": (self._people, ("tenant",)),
            "active_people": (self._active_people, ("tenant",)),
            "active_among": (self._active_among, ("tenant", "ids")),
            "capabilities": (self._capabilities, ("tenant",)),
        }

    def get(self, name: str, count: int) -> _Statement:
        found = self._prepared.get((name, count))
        if found is None:
            make, names = self._made[name]
            if count:
                names = (*names[:-1], *_ids(count))
            found = self._prepared[name, count] = _Statement(self._dialect.engine, make(count), names)
        return found

    def _revision(self, _: int) -> Any:
        return select(heads.c.revision).where(_tenant(heads))

    def _notices(self, _: int) -> Any:
        return (
            select(*(changes.c[name] for name in Notice._fields))
            .where(_tenant(changes), changes.c.revision > bindparam("after"))
            .order_by(changes.c.revision, changes.c.ordinal)
            .limit(bindparam("limit"))
        )

    def _deleted(self, _: int) -> Any:
        table = FACT_TABLES[Organization]
        return select(table.c.id).where(live(table), table.c.deleted_at.is_not(None))

    def _standing(self, _: int) -> Any:
        return union_all(*_standing_parts())

    def _standings(self, count: int) -> Any:
        parts = (
            select(table.c.user_id, _text(part), table.c[value]).where(live(table), self._is_in(table.c.user_id, count))
            for part, table, value in _STANDING
        )
        return union_all(*parts)

    def _departments(self, count: int) -> Any:
        return select(self._line(self._is_in(FACT_TABLES[Department].c.id, count)))

    def _line(self, named: Any) -> Any:
        """The departments that a condition names, and all above them."""
        table = FACT_TABLES[Department]
        line = select(table.c.id, table.c.parent_id).where(live(table), named).cte("line", recursive=True)
        above = select(table.c.id, table.c.parent_id).where(live(table), table.c.id == line.c.parent_id)
        return line.union(above)

    def _roles(self, count: int) -> Any:
        table = FACT_TABLES[Role]
        return select(table.c.id, table.c.capabilities).where(live(table), self._is_in(table.c.id, count))

    def _named(self, count: int) -> Any:
        table = FACT_TABLES[Grant]
        is_user = table.c.grantee_type == _text("user")
        return select(table.c.grantee_id).where(live(table), self._is_in(table.c.grantee_id, count), is_user).distinct()

    def _outline(self, _: int) -> Any:
        return union_all(*_outline_parts())

    def _glance(self, _: int) -> Any:
        empty = [null()] * (len(Outline._fields) - len(Standing._fields))
        revision = select(_text(_REVISION), cast(heads.c.revision, Text), *empty).where(_tenant(heads))
        return union_all(revision, *_standing_parts(*empty), *_outline_parts())

    def _glance_at_groups(self, _: int) -> Any:
        line = self._line(self._dialect.is_in(FACT_TABLES[Department].c.id, "departments"))
        departments = select(_text("department"), line.c.id, line.c.parent_id)
        roles = self._roles(0)
        return _with_revision(3, (departments, roles.with_only_columns(_text("role"), *roles.selected_columns)))

    def _glance_at_outlines(self, _: int) -> Any:
        return _with_revision(len(Outline._fields) + 2, self._outlines_parts(0))

    def _glance_at_grants(self, few: int, _: int) -> Any:
        return _with_revision(len(GrantRow._fields), (self._grants_to_each(*names) for names in _PLACES[:few]))

    def _outlines(self, count: int) -> Any:
        return union_all(*self._outlines_parts(count))

    def _outlines_parts(self, count: int) -> Iterator[Any]:
        for type_, of, *columns in _outline_columns():
            yield select(type_, of, *columns).where(live(of.table), self._is_in(of, count))

    def _grants_to(self, count: int) -> Any:
        table = FACT_TABLES[Grant]
        if not count:
            return self._grants_to_each("type", "entity")
        return _grants_on(table).where(self._is_in(table.c.grantee_id, count))

    def _grants_to_each(self, type_: str, id_: str) -> Any:
        table = FACT_TABLES[Grant]
        return self._dialect.each_in(_grants_on(table, type_, id_), table.c.grantee_id, "ids")

    def _grants_on(self, _: int) -> Any:
        return _grants_on(FACT_TABLES[Grant]).limit(bindparam("limit"))

    def _grants_on_several(self, _: int) -> Any:
        table = FACT_TABLES[Grant]
        found = (_grants_on(table, *names).limit(bindparam("limit")).subquery() for names in _PLACES)
        return union_all(*(select(each) for each in found))

    def _given_to(self, count: int) -> Any:
        grants, things, targets = (FACT_TABLES[kind] for kind in (Grant, Entity, AccessTarget))
        grant = grants.c.grantee_type, grants.c.grantee_id, grants.c.entity_type, grants.c.entity_id
        terms = grants.c.access_level, grants.c.id, grants.c.starts_at, grants.c.expires_at
        owned = things.c.owner_type, things.c.owner_id, things.c.entity_type, things.c.id
        listed = targets.c.target_type, targets.c.target_id, targets.c.entity_type, targets.c.entity_id
        return union_all(
            select(_text("grant"), *grant, things.c.status, *terms)
            .select_from(grants.outerjoin(things, _is_of(things, grants.c.entity_type, grants.c.entity_id)))
            .where(live(grants), self._is_in(grants.c.grantee_id, count)),
            select(_text("owned"), *owned, things.c.status, null(), null(), null(), null()).where(
                live(things), self._is_in(things.c.owner_id, count)
            ),
            select(_text("listed"), *listed, things.c.status, null(), null(), null(), null())
            .select_from(targets.outerjoin(things, _is_of(things, targets.c.entity_type, targets.c.entity_id)))
            .where(live(targets), self._is_in(targets.c.target_id, count)),
        )

    def _edges_below(self, count: int) -> Any:
        edges, things = FACT_TABLES[Containment], FACT_TABLES[Entity]
        inner = edges.alias()
        names = ("container_type", "container_id", "member_type", "member_id")
        first = select(*(edges.c[name] for name in names)).where(live(edges), self._is_in(edges.c.container_id, count))
        below = first.cte("below", recursive=True)
        step = select(*(inner.c[name] for name in names)).where(
            live(inner), inner.c.container_id == below.c.member_id, inner.c.container_type == below.c.member_type
        )
        below = below.union(step)
        return select(*(below.c[name] for name in names), things.c.status).select_from(
            below.outerjoin(things, _is_of(things, below.c.member_type, below.c.member_id))
        )

    def _active_entities(self, _: int) -> Any:
        table = FACT_TABLES[Entity]
        return select(table.c.entity_type, table.c.id).where(live(table), table.c.status == "active")

    def _open_entities(self, _: int) -> Any:
        mode = FACT_TABLES[Entity].c.access_mode
        return self._active_entities(0).where(or_(*(mode == each for each in sorted(OPEN_MODES))))

    def _departments_below(self, count: int) -> Any:
        departments = FACT_TABLES[Department]
        inner = departments.alias()
        first = select(departments.c.id.label("root"), departments.c.id.label("id")).where(
            live(departments), self._is_in(departments.c.id, count)
        )
        below = first.cte("below", recursive=True)
        step = select(below.c.root, inner.c.id).where(live(inner), inner.c.parent_id == below.c.id)
        below = below.union(step)
        return select(below.c.root, below.c.id)

    def _people_in(self, count: int) -> Any:
        joined = FACT_TABLES[DepartmentMember]
        return select(joined.c.department_id, joined.c.user_id).where(
            live(joined), self._is_in(joined.c.department_id, count), _is_active(joined.c.user_id)
        )

    def _people_with(self, count: int) -> Any:
        assigned = FACT_TABLES[RoleAssignment]
        return select(assigned.c.role_id, assigned.c.user_id).where(
            live(assigned), self._is_in(assigned.c.role_id, count), _is_active(assigned.c.user_id)
        )

    def _people(self, _: int) -> Any:
        table = FACT_TABLES[Member]
        return select(table.c.user_id).where(live(table))

    def _active_people(self, _: int) -> Any:
        return self._people(0).where(FACT_TABLES[Member].c.state == "active")

    def _active_among(self, count: int) -> Any:
        return self._active_people(0).where(self._is_in(FACT_TABLES[Member].c.user_id, count))

    def _capabilities(self, _: int) -> Any:
        table = FACT_TABLES[Role]
        return select(table.c.id, table.c.capabilities).where(live(table))

    def _is_in(self, column: Any, count: int) -> Any:
        if count == 0:
            return self._dialect.is_in(column, "ids")
        if count == 1:
            return column == bindparam("id0")
        return column.in_([bindparam(name) for name in _ids(count)])


def _with_revision(width: int, parts: Iterable[Any]) -> Any:
    """The revision in a row of its own, then the rows of the parts, which have so many columns."""
    revision = select(heads.c.revision, *[null()] * width).where(_tenant(heads))
    return union_all(revision, *(part.with_only_columns(null(), *part.selected_columns) for part in parts))


def _standing_parts(*more: Any) -> Iterator[Any]:
    """Selects of a `Standing` and more columns, of the user of this id."""
    for part, table, value in _STANDING:
        yield select(_text(part), table.c[value], *more).where(live(table), table.c.user_id == bindparam("id"))


def _outline_parts() -> Iterator[Any]:
    """Selects of an `Outline`, of the entity of this type and id."""
    for type_, of, *columns in _outline_columns():
        yield select(*columns).where(live(of.table), of == bindparam("entity"), type_ == bindparam("type"))


def _outline_columns() -> Iterator[tuple[Any, ...]]:
    """Of each table the columns that name the entity, and those of an `Outline`."""
    things, targets, edges = (FACT_TABLES[kind].c for kind in (Entity, AccessTarget, Containment))
    owner = things.owner_type, things.owner_id
    yield things.entity_type, things.id, _text("entity"), things.status, *owner, things.access_mode, things.name
    target = targets.target_type, targets.target_id
    yield targets.entity_type, targets.entity_id, _text("target"), null(), *target, null(), null()
    container = edges.container_type, edges.container_id
    yield edges.member_type, edges.member_id, _text("container"), null(), *container, null(), null()


def _ids(count: int) -> list[str]:
    return [f"id{position}" for position in range(count)]


def _grants_on(table: Any, type_: str = "type", id_: str = "entity") -> Any:
    columns = (table.c[name] for name in GrantRow._fields)
    return select(*columns).where(
        live(table), table.c.entity_id == bindparam(id_), table.c.entity_type == bindparam(type_)
    )


def _tenant(table: Any) -> Any:
    return table.c.organization_id == bindparam("tenant")


def _is_of(things: Any, type_: Any, id_: Any) -> Any:
    return live(things) & (things.c.entity_type == type_) & (things.c.id == id_)


def _is_active(user_id: Any) -> Any:
    member = FACT_TABLES[Member].alias()
    return exists().where(live(member), member.c.user_id == user_id, member.c.state == "active")


def _text(word: str) -> Any:
    """A word of ours that stands in the statement itself, and is not bound each time."""
    return literal_column(f"'{word}'", Text)
