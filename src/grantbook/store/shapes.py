"""The shape of a question: which fields its conditions are on, and of what form, without their values.

A shape is the conditions that all alternatives share, then each alternative. It decides how a statement is written.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

from sqlalchemy import Table

from grantbook.model.facts import Fact
from grantbook.store.port import Order, Where

Form: TypeAlias = str | tuple[type[Fact], str, str]
Shape: TypeAlias = tuple[tuple[tuple[str, Form], ...], ...]

NULL, ONE, MANY, CONTAINS, NOT = "null", "one", "many", "contains", "not"


def shared(where: Sequence[Where]) -> Where:
    """The conditions that all alternatives have."""
    first, *others = where
    return {name: wanted for name, wanted in first.items() if all(_says(each, name, wanted) for each in others)}


def has_alternatives(shape: Shape) -> bool:
    """Whether each of several alternatives names ids."""
    return len(shape) > 2 and narrows(shape)


def is_split(shape: Shape) -> bool:
    """Whether each of several alternatives names ids of its own, and what they share does not."""
    return has_alternatives(shape) and not narrows(shape[:1])


def narrows(shape: Shape) -> bool:
    """Whether all that match have ids that are named: then few rows match, while an index on anything else, or in the
    order of the page, would visit many to find those few."""
    shared, *alternatives = (any(names_id(*condition) for condition in conditions) for conditions in shape)
    return shared or (bool(alternatives) and all(alternatives))


def walks_in_order(table: Table, shape: Shape, order: Order) -> bool:
    """Whether a page is found in its order, rather than by ids and then sorted."""
    return not narrows(shape) or _is_served(table, shape, order)


def names_id(name: str, form: Form) -> bool:
    """Whether the condition names ids."""
    return (name == "id" or name.endswith("_id")) and form in {ONE, MANY}


def parameter_of(position: int, name: str) -> str:
    """The parameter that a value is bound to, of the alternative at the position; what all share is at 0."""
    return f"w{position}_{name.replace('.', '_')}"


def _is_served(table: Table, shape: Shape, order: Order) -> bool:
    """Whether an index has the fields that are asked for, then the order of the page: so it finds the page at once."""
    conditions = [condition for alternative in shape for condition in alternative]
    if len(shape) > 2 or any(form != ONE for _, form in conditions):
        return False
    asked = {name for name, _ in conditions}
    served = ([column.name for column in index.columns][1 : len(asked) + 2] for index in table.indexes)
    return any(set(names[:-1]) == asked and names[-1] == order.field for names in served if names)


def _says(conditions: Where, name: str, wanted: Any) -> bool:
    return name in conditions and conditions[name] == wanted
