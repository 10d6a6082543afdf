"""Statements about the record of changes, newest first. `matching` makes the condition that a change meets a shape."""

from collections.abc import Sequence
from typing import Any, Final, Protocol

from sqlalchemy import Select, bindparam, func, select, tuple_, union
from sqlalchemy.sql.elements import ColumnElement

from grantbook.store.shapes import Shape, has_alternatives
from grantbook.store.tables import changes

_COLUMNS: Final = [column for column in changes.c if column.name != "organization_id"]
_PLACE: Final = (changes.c.revision, changes.c.ordinal)


class Matching(Protocol):
    """The condition that a change meets the shape, or `only` the one alternative of it; with `walks`, such that the
    planner is not tempted by ids."""

    def __call__(self, shape: Shape, *, only: int | None = None, walks: bool = False) -> ColumnElement[bool]:
        """See above."""


def find(
    matching: Matching, shape: Shape, *, is_after: bool, is_until: bool, walks: bool, only_places: bool
) -> Select[Any]:
    """Matching changes between two revisions, newest first, after a place and up to one if asked; or only their
    places. With `walks` all changes are visited in order, whatever they are asked for."""
    columns = _PLACE if only_places else _COLUMNS
    bounds = _bounds(is_after=is_after, is_until=is_until)
    queries = _between(matching, shape, columns, bounds, walks=walks)
    query = queries[0] if len(queries) == 1 else select(union(*queries).subquery())
    revision, ordinal = query.selected_columns[0], query.selected_columns[1]
    return query.order_by(revision.desc(), ordinal.desc()).offset(bindparam("skip")).limit(bindparam("limit"))


def count(matching: Matching, shape: Shape) -> Select[Any]:
    """How many match between two revisions."""
    places = _between(matching, shape, _PLACE, _bounds())
    if len(places) == 1:
        return places[0].with_only_columns(func.count())
    return select(func.count()).select_from(union(*places).subquery())


def after(limit: int) -> Select[Any]:
    """The first changes after a place, oldest first."""
    place = tuple_(bindparam("after_revision"), bindparam("after_ordinal"))
    here = (changes.c.organization_id == bindparam("tenant"), tuple_(*_PLACE) > place)
    return select(*_COLUMNS).where(*here).order_by(*_PLACE).limit(limit)


def last_hash() -> Select[Any]:
    """The hash of the last change of a revision."""
    here = (changes.c.organization_id == bindparam("tenant"), changes.c.revision == bindparam("wanted"))
    return select(changes.c.hash).where(*here).order_by(changes.c.ordinal.desc()).limit(1)


def _between(
    matching: Matching,
    shape: Shape,
    columns: Sequence[Any],
    bounds: Sequence[ColumnElement[bool]],
    *,
    walks: bool = False,
) -> list[Select[Any]]:
    """The matching changes within the bounds; of alternatives that each name ids, one query for each.

    The planner takes a disjunction for a reason to walk through everything.
    """
    alternatives = range(len(shape) - 1) if has_alternatives(shape) and not walks else [None]
    here = changes.c.organization_id == bindparam("tenant")
    return [select(*columns).where(here, *bounds, matching(shape, only=each, walks=walks)) for each in alternatives]


def _bounds(*, is_after: bool = False, is_until: bool = False) -> list[ColumnElement[bool]]:
    """One bound on each side: of two the planner might walk from the wider one."""
    at = tuple_(*_PLACE)
    place = tuple_(bindparam("after_at"), bindparam("after_key"))
    end = tuple_(bindparam("until_at"), bindparam("until_key"))
    return [
        at >= end if is_until else changes.c.revision >= bindparam("first"),
        at < place if is_after else changes.c.revision <= bindparam("last"),
    ]
