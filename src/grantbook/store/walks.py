"""Statements that walk: up and down departments and containers, and from grants to what they lead to.

UNION drops what was seen before, so a cycle ends.
"""

from collections.abc import Callable
from typing import Any, Protocol

from sqlalchemy import Select, bindparam, exists, or_, select
from sqlalchemy.sql.elements import ColumnElement

from grantbook.model.facts import Containment, Entity, Fact, Grant
from grantbook.store.tables import FACT_TABLES
from grantbook.store.versions import at_past, columns_of, live


class Dialect(Protocol):
    """What walking needs of `statements.Dialect`."""

    def is_in(self, column: Any, parameter: str) -> ColumnElement[bool]:
        """`column` in the list that is bound as one value."""

    def not_by_index(self, column: Any) -> Any:
        """The column, such that it is not found by an index."""


def closure(dialect: Dialect, kind: type[Fact], by: str, near: str, far: str, *, past: bool) -> Select[Any]:
    """Facts whose `by` column is in `:start`, or among the ids reached from there by following `near` to `far`."""
    table = FACT_TABLES[kind]
    inner = table.alias()
    at = at_past if past else live
    first = select(table.c[by].label("reached")).where(at(table), dialect.is_in(table.c[by], "start"))
    reach = first.cte("reach", recursive=True)
    step = select(inner.c[far]).where(at(inner), inner.c[near] == reach.c.reached, inner.c[far].is_not(None))
    reach = reach.union(step)
    return select(*columns_of(kind)).where(at(table), table.c[by].in_(select(reach.c.reached)))


def given(dialect: Dialect, *, past: bool) -> Select[Any]:
    """Types and ids of what grants of `:levels` to `:grantees` are on, each of them active and of one of `:types`, some
    of them more than once. `:names` are the grantees with their types."""
    at = at_past if past else live
    grants = FACT_TABLES[Grant]
    return select(grants.c.entity_type, grants.c.entity_id).where(
        at(grants),
        dialect.is_in(grants.c.grantee_id, "grantees"),
        dialect.is_in(dialect.not_by_index(grants.c.entity_type), "types"),
        dialect.is_in(grants.c.access_level, "levels"),
        or_(grants.c.starts_at.is_(None), grants.c.starts_at <= bindparam("at")),
        or_(grants.c.expires_at.is_(None), grants.c.expires_at > bindparam("at")),
        dialect.is_in(grants.c.grantee_type + ":" + grants.c.grantee_id, "names"),
        _is_active(grants.c.entity_type, grants.c.entity_id, at),
    )


def active_inside(dialect: Dialect, *, past: bool) -> Select[Any]:
    """What lies directly in the `:containers`, container first: what of it is active and of one of `:types`."""
    at = at_past if past else live
    edges = FACT_TABLES[Containment]
    ends = [edges.c.container_type, edges.c.container_id, edges.c.member_type, edges.c.member_id]
    return select(*ends).where(
        at(edges),
        dialect.is_in(edges.c.container_id, "containers"),
        dialect.is_in(dialect.not_by_index(edges.c.member_type), "types"),
        _is_active(edges.c.member_type, edges.c.member_id, at),
    )


def _is_active(type_: Any, id_: Any, at: Callable[[Any], ColumnElement[bool]]) -> ColumnElement[bool]:
    """Asked for each, so that no plan begins with everything that is."""
    entity = FACT_TABLES[Entity].alias()
    return exists().where(at(entity), entity.c.entity_type == type_, entity.c.id == id_, entity.c.status == "active")
