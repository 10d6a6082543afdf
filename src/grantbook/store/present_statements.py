"""The statements that read the present of an organization: see `present`."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from operator import itemgetter
from typing import Any, ClassVar, Final

from sqlalchemy import Engine, Text, bindparam, cast, exists, literal_column, null, or_, select, union_all

from grantbook.model.facts import (
    AccessTarget,
    Containment,
    Department,
    DepartmentMember,
    Entity,
    Grant,
    Member,
    Organization,
    Role,
    RoleAssignment,
)
from grantbook.model.vocabulary import OPEN_MODES
from grantbook.store import record
from grantbook.store.present_port import MAX_GLANCED, STREAMS, GrantRow, Notice, Outline, Standing, Stream
from grantbook.store.statements import Dialect
from grantbook.store.tables import FACT_TABLES, changes, heads
from grantbook.store.versions import live

AT_ONCE: Final = 20
"""So many entities are asked about in one statement, where each crosses a network."""
_ENTITY: Final = ("entity_type", "entity_id")
_PLACES: Final = tuple((f"type{place}", f"entity{place}") for place in range(AT_ONCE))
_STANDING: Final = (
    ("member", FACT_TABLES[Member], "state"),
    ("role", FACT_TABLES[RoleAssignment], "role_id"),
    ("department", FACT_TABLES[DepartmentMember], "department_id"),
)
"""Of each part of a standing the word for it, the table, and the column of the value."""
PARTS_OF_STANDING: Final = frozenset(part for part, _, _ in _STANDING)
REVISION: Final = "revision"
FEW: Final = "_few"
"""Ends the name of a statement for few rows: see `_with_status`."""


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


class PresentStatements:
    """Each compiled once in a process for a dialect, by how many ids it binds, after what it binds else; 0 is all of
    them in one value."""

    _of_dialects: ClassVar[dict[type, dict[tuple[str, int], "_Statement"]]] = {}

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._prepared = self._of_dialects.setdefault(type(dialect), {})
        grant = "tenant", "type", "entity"
        self._made: Final[dict[str, tuple[Callable[[int], Any], tuple[str, ...]]]] = {
            "tip": (self._tip, ("tenant",)),
            "hash": (self._hash, ("tenant", "wanted")),
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
            "grants_to_each": (self._grants_to_each, ("tenant", "types", "entities", "ids")),
            "grants_on": (self._grants_on, (*grant, "limit")),
            "grants_on_several": (self._grants_on_several, ("tenant", *chain(*_PLACES), "limit")),
            "groups_on": (self._groups_on, grant),
            **{
                next_name(stream): (partial(self._next_ids, stream), ("tenant", "type", "after", "limit", "ids"))
                for stream in STREAMS
            },
            **{
                name + suffix: (partial(make, are_few=bool(suffix)), ("tenant", "limit", "ids"))
                for suffix in ("", FEW)
                for name, make in (
                    ("given_to", self._given_to),
                    ("edges_from", self._edges_from),
                    ("people_in", self._people_in),
                    ("people_with", self._people_with),
                )
            },
            "active_entities": (self._active_entities, ("tenant", "limit")),
            "open_entities": (self._open_entities, ("tenant", "limit")),
            "departments_below": (self._departments_below, ("tenant", "ids")),
            "people": (self._people, ("tenant", "limit")),
            "active_people": (self._active_people, ("tenant", "limit")),
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

    def _tip(self, _: int) -> Any:
        return select(heads.c.revision, heads.c.hash).where(_tenant(heads))

    def _hash(self, _: int) -> Any:
        return record.last_hash()

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
        table = FACT_TABLES[Department]
        return select(
            self._line(select(table.c.id, table.c.parent_id).where(live(table), self._is_in(table.c.id, count)))
        )

    def _line(self, named: Any) -> Any:
        """These departments, and all above them."""
        table = FACT_TABLES[Department]
        line = named.cte("line", recursive=True)
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
        revision = select(_text(REVISION), cast(heads.c.revision, Text), *empty).where(_tenant(heads))
        return union_all(revision, *_standing_parts(*empty), *_outline_parts())

    def _glance_at_groups(self, _: int) -> Any:
        department, role = FACT_TABLES[Department].c, FACT_TABLES[Role].c
        named = select(department.id, department.parent_id).where(live(department.id.table))
        line = self._line(self._dialect.each_in(named, {"departments": department.id}))
        departments = select(_text("department"), line.c.id, line.c.parent_id)
        roles = self._dialect.each_in(select(role.id, role.capabilities).where(live(role.id.table)), {"ids": role.id})
        return _with_revision(3, (departments, roles.with_only_columns(_text("role"), *roles.selected_columns)))

    def _glance_at_outlines(self, _: int) -> Any:
        names = "of_type", "of_id", *Outline._fields
        parts = []
        for columns in _outline_columns():
            of = columns[1]
            named = (column.label(name) for name, column in zip(names, columns, strict=True))
            parts.append(self._dialect.each_in(select(*named).where(live(of.table)), {"ids": of}))
        return _with_revision(len(names), parts)

    def _glance_at_grants(self, few: int, _: int) -> Any:
        columns = _ENTITY + GrantRow._fields
        return _with_revision(len(columns), (self._grants_to_ids(*names, columns) for names in _PLACES[:few]))

    def _outlines(self, count: int) -> Any:
        parts = (
            select(type_, of, *columns).where(live(of.table), self._is_in(of, count))
            for type_, of, *columns in _outline_columns()
        )
        return union_all(*parts)

    def _grants_to(self, count: int) -> Any:
        table = FACT_TABLES[Grant]
        if not count:
            return self._grants_to_ids("type", "entity")
        return _grants_on(table).where(self._is_in(table.c.grantee_id, count))

    def _grants_to_ids(self, type_: str, id_: str, columns: Sequence[str] = GrantRow._fields) -> Any:
        table = FACT_TABLES[Grant]
        return self._dialect.each_in(_grants_on(table, type_, id_, columns), {"ids": table.c.grantee_id})

    def _grants_to_each(self, _: int) -> Any:
        """For many entities; of a few, one part for each is quicker, which PostgreSQL plans once for all."""
        table = FACT_TABLES[Grant]
        columns = (table.c[name] for name in _ENTITY + GrantRow._fields)
        entities = {"types": table.c.entity_type, "entities": table.c.entity_id}
        return self._dialect.each_in(select(*columns).where(live(table)), entities, {"ids": table.c.grantee_id})

    def _grants_on(self, _: int) -> Any:
        return _grants_on(FACT_TABLES[Grant]).limit(bindparam("limit"))

    def _grants_on_several(self, _: int) -> Any:
        table = FACT_TABLES[Grant]
        columns = _ENTITY + GrantRow._fields
        found = (_grants_on(table, *names, columns).limit(bindparam("limit")).subquery() for names in _PLACES)
        return union_all(*(select(each) for each in found))

    def _groups_on(self, _: int) -> Any:
        table = FACT_TABLES[Grant]
        is_group: Any = literal_column("grantee_type <> 'user'")  # as the index has it
        return _grants_on(table, columns=("grantee_type", "grantee_id")).where(is_group)

    def _next_ids(self, stream: Stream, count: int) -> Any:
        table = FACT_TABLES[stream.kind]
        query = select(table.c[stream.id]).where(live(table)).limit(bindparam("limit"))
        query = query.where(*(table.c[name] == _text(value) for name, value in stream.fixed.items()))
        key = [table.c[name] for name in (stream.of, stream.type, stream.id) if name is not None]
        values: list[Any] = [bindparam(name) for name in ("type", "after")[-len(key) + 1 :]]
        if not count:
            return self._dialect.next_of_each(query, "ids", key, values)
        alike = (column == value for column, value in zip(key[1:-1], values[:-1], strict=True))
        return query.where(self._is_in(key[0], count), *alike, key[-1] > values[-1]).order_by(key[-1])

    def _given_to(self, count: int, *, are_few: bool = False) -> Any:
        grants, things, targets = (FACT_TABLES[kind] for kind in (Grant, Entity, AccessTarget))
        grant = grants.c.grantee_type, grants.c.grantee_id, grants.c.entity_type, grants.c.entity_id
        terms = grants.c.access_level, grants.c.id, grants.c.starts_at, grants.c.expires_at
        owned = things.c.owner_type, things.c.owner_id, things.c.entity_type, things.c.id
        listed = targets.c.target_type, targets.c.target_id, targets.c.entity_type, targets.c.entity_id
        no_terms = null(), null(), null(), null()
        return union_all(
            _with_status((_text("grant"), *grant), *terms, are_few=are_few).where(
                live(grants), self._is_in(grants.c.grantee_id, count)
            ),
            select(_text("owned"), *owned, things.c.status, *no_terms).where(
                live(things), self._is_in(things.c.owner_id, count)
            ),
            _with_status((_text("listed"), *listed), *no_terms, are_few=are_few).where(
                live(targets), self._is_in(targets.c.target_id, count)
            ),
        ).limit(bindparam("limit"))

    def _edges_from(self, count: int, *, are_few: bool = False) -> Any:
        edges = FACT_TABLES[Containment]
        names = ("container_type", "container_id", "member_type", "member_id")
        found = _with_status([edges.c[name] for name in names], are_few=are_few)
        return found.where(live(edges), self._is_in(edges.c.container_id, count)).limit(bindparam("limit"))

    def _active_entities(self, _: int) -> Any:
        table = FACT_TABLES[Entity]
        active = select(table.c.entity_type, table.c.id).where(live(table), table.c.status == "active")
        return active.limit(bindparam("limit"))

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

    def _people_in(self, count: int, *, are_few: bool = False) -> Any:
        return self._active_of(FACT_TABLES[DepartmentMember].c.department_id, count, are_few=are_few)

    def _people_with(self, count: int, *, are_few: bool = False) -> Any:
        return self._active_of(FACT_TABLES[RoleAssignment].c.role_id, count, are_few=are_few)

    def _active_of(self, group: Any, count: int, *, are_few: bool) -> Any:
        table = group.table
        found = select(group, table.c.user_id).where(live(table), self._is_in(group, count))
        return found.where(_is_active(table.c.user_id, are_few=are_few)).limit(bindparam("limit"))

    def _people(self, _: int) -> Any:
        table = FACT_TABLES[Member]
        return select(table.c.user_id).where(live(table)).limit(bindparam("limit"))

    def _active_people(self, _: int) -> Any:
        return self._people(0).where(FACT_TABLES[Member].c.state == "active")

    def _active_among(self, count: int) -> Any:
        table = FACT_TABLES[Member]
        active = select(table.c.user_id).where(live(table), table.c.state == "active")
        return active.where(self._is_in(table.c.user_id, count))

    def _capabilities(self, _: int) -> Any:
        table = FACT_TABLES[Role]
        return select(table.c.id, table.c.capabilities).where(live(table))

    def _is_in(self, column: Any, count: int) -> Any:
        if count == 0:
            return self._dialect.is_in(column, "ids")
        if count == 1:
            return column == bindparam("id0")
        return column.in_([bindparam(name) for name in _ids(count)])


def next_name(stream: Stream) -> str:
    """What the statement of a stream is called."""
    return f"next_{stream.kind.__name__}_of_{stream.of}"


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


def _grants_on(table: Any, type_: str = "type", id_: str = "entity", columns: Sequence[str] = GrantRow._fields) -> Any:
    return select(*(table.c[name] for name in columns)).where(
        live(table), table.c.entity_id == bindparam(id_), table.c.entity_type == bindparam(type_)
    )


def _tenant(table: Any) -> Any:
    return table.c.organization_id == bindparam("tenant")


def _is_of(things: Any, type_: Any, id_: Any) -> Any:
    return live(things) & (things.c.entity_type == type_) & (things.c.id == id_)


def _is_active(user_id: Any, *, are_few: bool) -> Any:
    member = FACT_TABLES[Member].alias()
    if are_few:
        return select(member.c.state).where(live(member), member.c.user_id == user_id).scalar_subquery() == "active"
    return exists().where(live(member), member.c.user_id == user_id, member.c.state == "active")


def _with_status(columns: Sequence[Any], *more: Any, are_few: bool) -> Any:
    """A select of the columns, the status of the entity that the last two of them name, and more columns.

    Of few rows it is looked up one by one: a database that joins would rather read all entities first, however few rows
    are wanted. Of many that is five times as fast.
    """
    things = FACT_TABLES[Entity].alias()
    type_, id_ = columns[-2:]
    here = _is_of(things, type_, id_)
    if are_few:
        return select(*columns, select(things.c.status).where(here).scalar_subquery(), *more)
    return select(*columns, things.c.status, *more).select_from(id_.table.outerjoin(things, here))


def _text(word: str) -> Any:
    """A word of ours that stands in the statement itself, and is not bound each time."""
    return literal_column(f"'{word}'", Text)
