"""Attributes of entities and organizations, by the type that an answer promises.

Whoever keeps a thing may put any JSON there, by the library or an import: what is of another type counts as not there.
"""

from collections.abc import Mapping
from math import isfinite
from typing import Any

from grantbook.model.instants import MAX_INSTANT, Instant

Attributes = Mapping[str, Any]


def text_in(attributes: Attributes, name: str) -> str | None:
    """A text."""
    value = attributes.get(name)
    return value if isinstance(value, str) else None


def texts_in(attributes: Attributes, name: str) -> list[str]:
    """A list of texts; none where one of them is no text."""
    value = attributes.get(name)
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return value
    return []


def whole_number_in(attributes: Attributes, name: str) -> int | None:
    """A whole number, which `true` is not."""
    value = attributes.get(name)
    return value if type(value) is int else None


def number_in(attributes: Attributes, name: str) -> float | None:
    """Any number, which `true` is not."""
    value = attributes.get(name)
    return value if type(value) is int or (type(value) is float and isfinite(value)) else None


def instant_in(attributes: Attributes, name: str) -> Instant | None:
    """A time that every edge can write down."""
    value = whole_number_in(attributes, name)
    return value if value is not None and 0 <= value <= MAX_INSTANT else None
