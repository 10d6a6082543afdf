"""The present of every organization, read on one connection that is kept: what a cache of facts is filled from.

A snapshot gives whole facts and costs a connection; here are the few columns that decide about access, in as few
statements as possible, and the number that tells whether anything was written at all.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

from sqlalchemy import bindparam, literal, null, select, union_all

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
from grantbook.store.port import GrantRow, Notice, OutlineRow, StandingRow
from grantbook.store.session import rows_of
from grantbook.store.statements import Dialect, Prepared
from grantbook.store.tables import FACT_TABLES, changes, heads
from grantbook.store.versions import live

_VERSION = "PRAGMA data_version"
_PLAIN_IDS = 32
"""Up to so many ids are bound one by one, which SQLite answers faster than a list in one value."""


class SqlPresent:
    """See `port.Present`. Not for two threads at once."""

    is_local = True

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._statements = _Statements(dialect)
        self._connection: Any = None
        self._cursor: Any = None
        self._connections = 0

    def version(self) -> int:
        try:
            if self._cursor is None:
                self._connect()
            (version,) = self._cursor.execute(_VERSION).fetchone()
        except self._dialect.errors as error:
            self.close()
            raise StoreUnavailable from error
        return int(version) + (self._connections << 32)  # each connection counts for itself

    def has_moved(self, organization_id: str, *, version: int, revision: int) -> bool:  # noqa: ARG002
        return True

    def line(self) -> int:
        return self._connections

    @contextmanager
    def reading(self) -> Iterator[None]:
        try:
            if self._cursor is None:
                self._connect()
            self._cursor.execute(self._dialect.begin_read)
            try:
                yield
            finally:
                self._connection.rollback()
        except self._dialect.errors as error:
            self.close()
            raise StoreUnavailable from error

    def revision(self, organization_id: str) -> int:
        found = self._rows(self._statements.revision(), tenant=organization_id)
        return int(found[0][0]) if found else 0

    def notices(self, organization_id: str, *, after: int, limit: int) -> list[Notice]:
        rows = self._rows(self._statements.notices(), tenant=organization_id, after=after, limit=limit)
        return [Notice(*row) for row in rows]

    def is_deleted(self, organization_id: str) -> bool:
        return bool(self._rows(self._statements.deleted(), tenant=organization_id))

    def standings(self, organization_id: str, user_ids: Collection[str]) -> list[StandingRow]:
        ids, count = self._ids(user_ids)
        return cast("list[StandingRow]", self._rows(self._statements.standings(count), tenant=organization_id, **ids))

    def named_by_grants(self, organization_id: str, user_ids: Collection[str]) -> set[str]:
        ids, count = self._ids(user_ids)
        return {row[0] for row in self._rows(self._statements.named(count), tenant=organization_id, **ids)}

    def outlines(self, organization_id: str, entities: Collection[EntityRef]) -> list[OutlineRow]:
        ids, count = self._ids({entity.id for entity in entities})
        return cast("list[OutlineRow]", self._rows(self._statements.outlines(count), tenant=organization_id, **ids))

    def grants_to(self, organization_id: str, wanted: Mapping[EntityRef, Collection[str]]) -> list[GrantRow]:
        found: list[Any] = []
        for entity, grantee_ids in wanted.items():
            ids, count = self._ids(grantee_ids)
            found += self._rows(
                self._statements.grants_to(count), tenant=organization_id, type=entity.type, entity=entity.id, **ids
            )
        return found

    def grants_on(self, organization_id: str, entity: EntityRef, *, limit: int) -> list[GrantRow]:
        values = {"tenant": organization_id, "type": entity.type, "entity": entity.id, "limit": limit}
        return cast("list[GrantRow]", self._rows(self._statements.grants_on(), **values))

    def close(self) -> None:
        connection, self._connection, self._cursor = self._connection, None, None
        if connection is not None:
            connection.close()

    def _connect(self) -> None:
        self._connection = self._dialect.engine.raw_connection()
        self._cursor = self._connection.cursor()
        self._connections += 1

    def _ids(self, ids: Collection[str]) -> tuple[dict[str, Any], int]:
        """The ids to bind, and in how many values; 0 is one list."""
        if len(ids) <= _PLAIN_IDS:
            return {f"id{position}": id_ for position, id_ in enumerate(ids)}, len(ids)
        return {"ids": self._dialect.list_value(ids)}, 0

    def _rows(self, prepared: Prepared, **values: Any) -> list[Sequence[Any]]:
        return rows_of(self._dialect, self._cursor, prepared, values)


class _Statements:
    """Each compiled once, by how many ids it binds."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._prepared: dict[Any, Prepared] = {}

    def revision(self) -> Prepared:
        return self._get("revision", lambda: select(heads.c.revision).where(_tenant(heads)))

    def notices(self) -> Prepared:
        return self._get(
            "notices",
            lambda: (
                select(*(changes.c[name] for name in Notice._fields))
                .where(_tenant(changes), changes.c.revision > bindparam("after"))
                .order_by(changes.c.revision, changes.c.ordinal)
                .limit(bindparam("limit"))
            ),
        )

    def deleted(self) -> Prepared:
        table = FACT_TABLES[Organization]
        return self._get("deleted", lambda: select(table.c.id).where(live(table), table.c.deleted_at.is_not(None)))

    def standings(self, count: int) -> Prepared:
        """Members; their roles with the capabilities; departments joined and all above, each with its parent."""

        def build() -> Any:
            members, joined, departments, assigned, roles = (
                FACT_TABLES[kind] for kind in (Member, DepartmentMember, Department, RoleAssignment, Role)
            )
            first = select(joined.c.user_id, joined.c.department_id.label("id")).where(
                live(joined), self._is_in(joined.c.user_id, count)
            )
            line = first.cte("line", recursive=True)
            above = select(line.c.user_id, departments.c.parent_id).where(
                live(departments), departments.c.id == line.c.id, departments.c.parent_id.is_not(None)
            )
            line = line.union(above)
            return union_all(
                select(members.c.user_id, literal("member"), members.c.state, null()).where(
                    live(members), self._is_in(members.c.user_id, count)
                ),
                select(assigned.c.user_id, literal("role"), assigned.c.role_id, roles.c.capabilities)
                .select_from(assigned.outerjoin(roles, _joins(assigned.c.role_id, roles)))
                .where(live(assigned), self._is_in(assigned.c.user_id, count)),
                select(line.c.user_id, literal("department"), departments.c.id, departments.c.parent_id).where(
                    live(departments), departments.c.id == line.c.id
                ),
            )

        return self._get(("standings", count), build)

    def named(self, count: int) -> Prepared:
        table = FACT_TABLES[Grant]
        return self._get(
            ("named", count),
            lambda: (
                select(table.c.grantee_id)
                .where(live(table), self._is_in(table.c.grantee_id, count), table.c.grantee_type == "user")
                .distinct()
            ),
        )

    def outlines(self, count: int) -> Prepared:
        def build() -> Any:
            things, targets, edges = (FACT_TABLES[kind] for kind in (Entity, AccessTarget, Containment))
            part = things.c.entity_type, things.c.id, things.c.status, things.c.owner_type, things.c.owner_id
            return union_all(
                select(literal("entity"), *part, things.c.access_mode).where(
                    live(things), self._is_in(things.c.id, count)
                ),
                select(
                    literal("target"),
                    *(targets.c.entity_type, targets.c.entity_id, null(), targets.c.target_type, targets.c.target_id),
                    null(),
                ).where(live(targets), self._is_in(targets.c.entity_id, count)),
                select(
                    literal("container"),
                    *(edges.c.member_type, edges.c.member_id, null(), edges.c.container_type, edges.c.container_id),
                    null(),
                ).where(live(edges), self._is_in(edges.c.member_id, count)),
            )

        return self._get(("outlines", count), build)

    def grants_to(self, count: int) -> Prepared:
        table = FACT_TABLES[Grant]
        return self._get(
            ("grants_to", count),
            lambda: _grants_on(table).where(self._is_in(table.c.grantee_id, count)),
        )

    def grants_on(self) -> Prepared:
        return self._get("grants_on", lambda: _grants_on(FACT_TABLES[Grant]).limit(bindparam("limit")))

    def _is_in(self, column: Any, count: int) -> Any:
        if count == 0:
            return self._dialect.is_in(column, "ids")
        if count == 1:
            return column == bindparam("id0")
        return column.in_([bindparam(f"id{position}") for position in range(count)])

    def _get(self, key: Any, build: Any) -> Prepared:
        found = self._prepared.get(key)
        if found is None:
            found = self._prepared[key] = Prepared(self._dialect.engine, build())
        return found


def _grants_on(table: Any) -> Any:
    columns = (table.c[name] for name in GrantRow._fields)
    return select(*columns).where(
        live(table), table.c.entity_id == bindparam("entity"), table.c.entity_type == bindparam("type")
    )


def _tenant(table: Any) -> Any:
    return table.c.organization_id == bindparam("tenant")


def _joins(role_id: Any, roles: Any) -> Any:
    return (roles.c.id == role_id) & live(roles)
