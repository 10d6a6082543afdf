"""Statements about live facts in order, and how many there are. `matching` makes the condition that one meets a shape.

Of alternatives that each name ids, there is one query for each: the planner takes a disjunction for a reason to walk
through everything.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqlalchemy import CompoundSelect, Select, Table, and_, bindparam, func, select, tuple_, union
from sqlalchemy.sql.elements import ColumnElement

from grantbook.model.facts import Fact
from grantbook.store.port import Order
from grantbook.store.record import Matching
from grantbook.store.shapes import Shape, is_split, walks_in_order
from grantbook.store.tables import FACT_TABLES
from grantbook.store.versions import columns_of, live


def find(
    matching: Matching,
    not_by_index: Callable[[Any], Any],
    kind: type[Fact],
    shape: Shape,
    order: Order,
    *,
    is_after: bool,
    is_until: bool,
    walks: bool,
    only_places: bool,
) -> Select[Any]:
    """Matching facts in order, after a place and up to one if asked; or only their places.

    With `walks` all facts are visited in order, whatever they are asked for. Raises ValueError where places alone are
    asked for of alternatives that are found by their ids.
    """
    table = FACT_TABLES[kind]
    columns = (table.c[order.field], table.c[kind.KEY[-1]])
    between = _between(columns, order, is_after=is_after, is_until=is_until)
    if is_split(shape) and not walks:
        if only_places:
            raise ValueError("by the ids of alternatives whole facts are found")
        return _by_alternatives(matching, kind, shape, order, between)
    wanted = columns if only_places else columns_of(kind)
    query = select(*wanted).where(live(table), matching(shape, walks=walks), *between)
    by = columns
    if not walks and not walks_in_order(table, shape, order):
        by = (not_by_index(columns[0]), columns[1])
    return query.order_by(*_ordered(by, order)).offset(bindparam("skip")).limit(bindparam("limit"))


def has_places(kind: type[Fact], shape: Shape, order: Order) -> bool:
    """Whether a page is found by walking in order, and each fact has a place that one can go on from."""
    table = FACT_TABLES[kind]
    return walks_in_order(table, shape, order) and not table.c[order.field].nullable


def count(matching: Matching, kind: type[Fact], shape: Shape) -> Select[Any]:
    """How many match."""
    table = FACT_TABLES[kind]
    if is_split(shape):
        return select(func.count()).select_from(_each(matching, table, shape, _unique(table)).subquery())
    return select(func.count()).select_from(table).where(live(table), matching(shape))


def _between(columns: Sequence[Any], order: Order, *, is_after: bool, is_until: bool) -> list[ColumnElement[bool]]:
    at, after, until = (
        tuple_(*columns),
        tuple_(bindparam("after_at"), bindparam("after_key")),
        tuple_(bindparam("until_at"), bindparam("until_key")),
    )
    bounds: list[ColumnElement[bool]] = []
    if is_after:
        bounds.append(at < after if order.is_descending else at > after)
    if is_until:
        bounds.append(at >= until if order.is_descending else at <= until)
    return bounds


def _by_alternatives(
    matching: Matching, kind: type[Fact], shape: Shape, order: Order, conditions: Sequence[ColumnElement[bool]]
) -> Select[Any]:
    """The page of the places that any of the alternatives has, each found by its own ids."""
    table = FACT_TABLES[kind]
    names = tuple(dict.fromkeys((order.field, kind.KEY[-1], *kind.KEY)))
    found = _each(matching, table, shape, names, *conditions).subquery()
    by = _ordered((found.c[order.field], found.c[kind.KEY[-1]]), order)
    places = select(found).order_by(*by).offset(bindparam("skip")).limit(bindparam("limit")).subquery()
    same = (table.c[name] == places.c[name] for name in kind.KEY)
    by = _ordered((places.c[order.field], places.c[kind.KEY[-1]]), order)
    return select(*columns_of(kind)).join_from(places, table, and_(live(table), *same)).order_by(*by)


def _each(
    matching: Matching, table: Table, shape: Shape, names: Iterable[str], *conditions: ColumnElement[bool]
) -> CompoundSelect[Any]:
    """What each of the alternatives finds, once."""
    columns = [table.c[name] for name in names]
    return union(
        *(
            select(*columns).where(live(table), matching(shape, only=each), *conditions)
            for each in range(len(shape) - 1)
        )
    )


def _ordered(columns: Sequence[Any], order: Order) -> list[Any]:
    """By the columns; what is missing is less than all else, on every database."""
    if order.is_descending:
        return [column.desc().nulls_last() if _may_be_missing(column) else column.desc() for column in columns]
    return [column.nulls_first() if _may_be_missing(column) else column for column in columns]


def _may_be_missing(column: Any) -> bool:
    return bool(getattr(column, "nullable", True))


def _unique(table: Table) -> list[str]:
    """What tells one live version from the others, in an index."""
    return next([each.name for each in index.columns][1:] for index in table.indexes if index.unique)
