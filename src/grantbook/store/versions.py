"""Which versions of facts a statement is about: those that live, or those of the revision that is bound as `past`."""

from typing import Any

from sqlalchemy import and_, bindparam, or_
from sqlalchemy.sql.elements import ColumnElement

from grantbook.model.facts import Fact
from grantbook.store.tables import FACT_TABLES


def columns_of(kind: type[Fact]) -> list[Any]:
    """The columns of the fields, in order."""
    return [FACT_TABLES[kind].c[name] for name in kind.__struct_fields__]


def live(table: Any) -> ColumnElement[bool]:
    """A version that lives now."""
    return and_(table.c.organization_id == bindparam("tenant"), table.c.until_revision.is_(None))


def begun(table: Any) -> ColumnElement[bool]:
    """A version that had begun by then."""
    condition: ColumnElement[bool] = table.c.since_revision <= bindparam("past")
    return condition


def ended_since(table: Any) -> ColumnElement[bool]:
    """A version that lived then, and has ended since."""
    return and_(
        table.c.organization_id == bindparam("tenant"),
        table.c.until_revision.is_not(None),
        table.c.until_revision > bindparam("past"),
        begun(table),
    )


def at_past(table: Any) -> ColumnElement[bool]:
    """A version that lived then, whether or not it lives now."""
    return and_(
        table.c.organization_id == bindparam("tenant"),
        begun(table),
        or_(table.c.until_revision.is_(None), table.c.until_revision > bindparam("past")),
    )
