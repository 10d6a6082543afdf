"""Conditions for the store, put together: what one asks for, and what another may see."""

from collections.abc import Iterable
from itertools import product
from typing import Any

from grantbook.store.matching import contains
from grantbook.store.port import Contains, Where


def crossed(*choices: Iterable[Where]) -> list[Where]:
    """The alternatives that meet one of each of the choices; none at all where nothing can meet them."""
    found: list[Where] = [{}]
    for alternatives in choices:
        found = [both for one, other in product(found, alternatives) if (both := _both(one, other)) is not None]
    return found


def _both(one: Where, other: Where) -> Where | None:
    """Both at once; None where nothing can meet them."""
    both: dict[str, Any] = {**one, **other}
    for name in one.keys() & other.keys():
        common = _common(one[name], other[name])
        if not common:
            return None
        both[name] = next(iter(common)) if len(common) == 1 else common
    return both


def _common(one: Any, other: Any) -> set[str]:
    """The values that meet two conditions on one field, the first of which is a value or a collection of values."""
    values = _values(one)
    if isinstance(other, Contains):
        return {value for value in values if contains(value, other)}
    return values & _values(other)


def _values(wanted: Any) -> set[str]:
    return {wanted} if isinstance(wanted, str) else set(wanted)
