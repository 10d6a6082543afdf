"""That a statement is about one organization: read off its SQLAlchemy expression, before that is compiled.

A database that is spread over machines by `organization_id` answers such a statement on one of them. So each table
that a statement names, wherever in it, has to be held to `organization_id = :tenant` by conditions that every one of
its rows meets; a table of global keys to a key that is bound. Rows that are written carry their own. What the suites
make is looked at, in their own processes and in those of `serving.Server`: `inspect_all` is called before there is any.
That no statement is a text, which could not be looked at, is a house rule.
"""

from collections.abc import Collection, Iterator
from functools import wraps
from typing import Any, Final

from sqlalchemy import (
    CTE,
    Alias,
    CompoundSelect,
    Delete,
    Engine,
    Executable,
    Join,
    Lateral,
    Select,
    Subquery,
    Table,
    Update,
)
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import BinaryExpression, BindParameter, BooleanClauseList, CompilerElement, Grouping
from sqlalchemy.sql.selectable import FromClause

from grantbook.store.distribute import GLOBAL_KEYS, distribution_key

TENANT: Final = "tenant"
EVERYWHERE: Final = {
    ("heads.organization_id",): "organization_ids, for those who look after the whole book",
    ("user_organizations.user_id",): "known_users, which of many ids belong to anybody at all",
    ("lookups.key", "lookups.value"): "global keys, many at once, of an archive or an import",
}
"""The only statements that ask every machine: each reads these columns of one table, and nothing else."""


class CrossesOrganizations(AssertionError):
    """A statement is not about one organization."""


def inspect_all() -> None:
    """From now on, a statement of the store that crosses organizations is an error where it is compiled."""
    make = CompilerElement.compile

    @wraps(make)
    def inspect(self: Any, bind: Any = None, **options: Any) -> Any:
        if isinstance(bind, Engine) and isinstance(self, Executable):  # else it is shown to somebody, or is a part
            require_one_organization(self)
        return make(self, bind, **options)

    CompilerElement.compile = inspect  # type: ignore[method-assign,assignment]


def require_one_organization(statement: Any) -> None:
    """Raises CrossesOrganizations, and names the tables."""
    if _is_everywhere(statement):
        return
    if strays := sorted(set(_strays(statement, frozenset()))):
        raise CrossesOrganizations(f"{', '.join(strays)} of every organization in:\n{statement}")


def _is_everywhere(statement: Any) -> bool:
    if not isinstance(statement, Select):
        return False
    tables = [str(getattr(each, "name", each)) for each in statement.get_final_froms()]
    columns = tuple(str(column) for column in statement.selected_columns)
    return len(tables) == 1 and columns in EVERYWHERE and columns[0].startswith(f"{tables[0]}.")


def _strays(element: Any, outer: frozenset[Any]) -> Iterator[str]:
    """Tables that nothing holds to the organization; those of the statements around it are `outer`."""
    match element:
        case Select():
            yield from _strays_of_select(element, outer)
        case CompoundSelect():
            for each in element.selects:
                yield from _strays(each, outer)
        case CTE() | Subquery() | Lateral():
            yield from _strays(element.element, frozenset())
        case Update() | Delete():
            conditions = list(_conjuncts(element.whereclause))
            yield from _unless_held(element.table, conditions)
            yield from _within(element, outer | {element.table})
        case _:  # what an INSERT gives, or an expression
            yield from _within(element, outer)


def _strays_of_select(query: Select[Any], outer: frozenset[Any]) -> Iterator[str]:
    where = list(_conjuncts(query.whereclause))
    leaves = [leaf for each in query.get_final_froms() for leaf in _leaves(each, where)]
    own = [(leaf, conditions) for leaf, conditions in leaves if leaf not in outer]
    for leaf, conditions in own or leaves:  # one that has none of its own is not correlated
        if isinstance(leaf, CTE | Subquery | Lateral):
            yield from _strays(leaf, outer)
        else:
            yield from _unless_held(leaf, conditions)
    yield from _within(query, outer | {leaf for leaf, _ in leaves})


def _within(element: Any, outer: frozenset[Any]) -> Iterator[str]:
    """In the expressions of it; what it reads from is looked at by the caller."""
    for child in element.get_children():
        if isinstance(child, Join):
            yield from _within(child, outer)
        elif not isinstance(child, Table | Alias | CTE | Subquery | Lateral):
            yield from _strays(child, outer)


def _leaves(source: FromClause, conditions: Collection[Any]) -> Iterator[tuple[Any, Collection[Any]]]:
    """What is joined, each with the conditions that its rows meet: those of an outer join are of one side."""
    if not isinstance(source, Join):
        yield source, conditions
        return
    on = list(_conjuncts(source.onclause))
    left = [] if source.isouter or source.full else on
    right = [] if source.full else on
    yield from _leaves(source.left, [*conditions, *left])
    yield from _leaves(source.right, [*conditions, *right])


def _conjuncts(condition: Any) -> Iterator[Any]:
    if isinstance(condition, Grouping):
        yield from _conjuncts(condition.element)
    elif isinstance(condition, BooleanClauseList) and condition.operator is operators.and_:
        for each in condition.clauses:
            yield from _conjuncts(each)
    elif condition is not None:
        yield condition


def _unless_held(source: Any, conditions: Collection[Any]) -> Iterator[str]:
    table: Any = source.element if isinstance(source, Alias) else source
    key = distribution_key(table) if isinstance(table, Table) else None
    if key is not None and not any(_holds(source, key, each) for each in conditions):
        yield table.name


def _holds(source: Any, key: str, condition: Any) -> bool:
    """Whether the condition is that the column equals a parameter, which for an organization is the tenant."""
    if not isinstance(condition, BinaryExpression) or condition.operator is not operators.eq:
        return False
    sides = (condition.left, condition.right)
    parameter = next((side for side in sides if isinstance(side, BindParameter)), None)
    column = next((side for side in sides if getattr(side, "table", None) is source), None)
    if parameter is None or column is None or column.name != key:
        return False
    return key in GLOBAL_KEYS.values() or parameter.key == TENANT
