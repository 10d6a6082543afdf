"""Whether something meets conditions, as the port defines them: for a store in memory, and for what has changed."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from grantbook.model.facts import Fact
from grantbook.store.history import SECRETS
from grantbook.store.port import SMALL_LETTERS, Among, Change, Contains, Not, Where

Told = Mapping[str, Any]
"""A fact as a change tells of it: its fields by name."""


def matches(thing: Fact | Change | Told, where: Sequence[Where]) -> bool:
    """Whether it meets one of the alternatives. `Among` has to be replaced by the values themselves before."""
    return not where or any(
        all(_holds(_value(thing, name), wanted) for name, wanted in conditions.items()) for conditions in where
    )


def is_told(where: Sequence[Where]) -> bool:
    """Whether a change tells enough of a fact to look at the conditions: not for secrets, nor for other facts."""
    return not any(
        name in SECRETS or isinstance(wanted, Among) for conditions in where for name, wanted in conditions.items()
    )


def _value(thing: Fact | Change | Told, name: str) -> Any:
    name, _, key = name.partition(".")
    value: Any = thing.get(name) if isinstance(thing, Mapping) else getattr(thing, name)
    if not key:
        return value
    inner = (json.loads(value or "{}") if isinstance(thing, Change) else value).get(key)
    return inner if isinstance(inner, str) else None


def _holds(value: Any, wanted: Any) -> bool:
    match wanted:
        case Not():
            return value is not None and value != wanted.value
        case Contains():
            return value is not None and contains(value, wanted)
        case None | str() | int():
            return bool(value == wanted)
        case _:
            return value in wanted


def contains(text: str, wanted: Contains) -> bool:
    """Whether the text is in the other, as the port defines it."""
    return _lower(wanted.text) in _lower(text)


def _lower(text: str) -> str:
    return text.translate(SMALL_LETTERS)
