"""Checks of what callers send, the same for the server, the library and the command line."""

import json
import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

from grantbook.model.errors import ValidationFailed
from grantbook.model.ids import is_id
from grantbook.model.instants import MAX_INSTANT, Instant
from grantbook.model.limits import (
    MAX_ATTRIBUTE_DEPTH,
    MAX_EMAIL_LENGTH,
    MAX_METADATA_DEPTH,
    MAX_METADATA_LENGTH,
    MAX_NAME_LENGTH,
    MAX_RULE_CONTENT_LENGTH,
    MAX_TEXT_LENGTH,
)

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_UNSEEN: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Breaks of lines, controls, and what turns the direction of a text: in a name they make one look like another."""
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s.]+|[^@\s]+@localhost")


class _Bounds(NamedTuple):
    """Of a value of the caller's own: how deep, how long each text in it, and how large each number."""

    depth: int
    text: int
    number: float
    numbers: str


_OF_METADATA: Final = _Bounds(MAX_METADATA_DEPTH, MAX_TEXT_LENGTH, 2**53, "between -2^53 and 2^53")
_OF_ATTRIBUTES: Final = _Bounds(MAX_ATTRIBUTE_DEPTH, MAX_RULE_CONTENT_LENGTH, sys.float_info.max, "that JSON can hold")


def valid_id(field: str, value: str, prefix: str = "") -> str:
    """The id, or ValidationFailed naming the field."""
    if not is_id(value, prefix):
        wanted = f"'{prefix}' and" if prefix else "a lower-case prefix, '_' and"
        raise ValidationFailed(field, f"{field} must be {wanted} 1 to 64 letters, digits, '_' or '-'")
    return value


def valid_name(field: str, value: str) -> str:
    """A name of 1 to 200 characters, in one line, without white space around it or control characters in it."""
    name = value.strip()
    if not name or len(name) > MAX_NAME_LENGTH:
        raise ValidationFailed(field, f"{field} must have 1 to {MAX_NAME_LENGTH} characters")
    if _UNSEEN.search(name):
        raise ValidationFailed(field, f"{field} must be one line, without control characters or changes of direction")
    return valid_text(field, name)


def valid_text(field: str, value: str, maximum: int = MAX_TEXT_LENGTH) -> str:
    """A text within its bound and free of control characters (line breaks and tabs may stay)."""
    if len(value) > maximum:
        raise ValidationFailed(field, f"{field} must have at most {maximum} characters")
    if _CONTROL.search(value):
        raise ValidationFailed(field, f"{field} must not contain control characters")
    return value


def optional_text(field: str, value: str | None) -> str | None:
    """`valid_text`, where there is one."""
    return None if value is None else valid_text(field, value)


def check_attributes(attributes: Mapping[str, Any] | None) -> None:
    """Raises ValidationFailed, of the attribute, for the first that JSON cannot hold, or with a text that
    `valid_text` refuses."""
    for name, value in (attributes or {}).items():
        _check_json(_valid_key("attributes", name), value, _OF_ATTRIBUTES)


def valid_metadata(field: str, value: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """An object of the caller's own, bounded in length and depth, of what every JSON can hold."""
    if value is None:
        return None
    _check_json(field, value, _OF_METADATA)
    if len(json.dumps(value)) > MAX_METADATA_LENGTH:
        raise ValidationFailed(field, f"{field} must have at most {MAX_METADATA_LENGTH} characters as JSON")
    return dict(value)


def _check_json(field: str, value: Any, bounds: _Bounds, level: int = 0) -> None:
    match value:
        case None | bool():
            return
        case str():
            valid_text(field, value, bounds.text)
        case int() | float():
            if not abs(value) <= bounds.number:  # nor what is no number
                raise ValidationFailed(field, f"{field} must have numbers {bounds.numbers}")
        case dict() | list() | tuple() if level == bounds.depth:
            raise ValidationFailed(field, f"{field} must not be nested deeper than {bounds.depth} levels")
        case dict():
            for name, inner in value.items():
                _valid_key(field, name)
                _check_json(field, inner, bounds, level + 1)
        case list() | tuple():
            for inner in value:
                _check_json(field, inner, bounds, level + 1)
        case _:
            raise ValidationFailed(field, f"{field} must be what JSON can hold, which a {type(value).__name__} is not")


def _valid_key(field: str, name: object) -> str:
    """The name of something in an object. Raises ValidationFailed(field)."""
    if not isinstance(name, str):
        raise ValidationFailed(field, f"{field} must have texts for names")
    return valid_text(field, name)


def valid_email(field: str, value: str) -> str:
    """The address in lower case."""
    email = value.strip().lower()
    if len(email) > MAX_EMAIL_LENGTH or not _EMAIL.fullmatch(email) or _CONTROL.search(email):
        raise ValidationFailed(field, f"{field} must be an e-mail address")
    return email


def optional_instant(field: str, value: Instant | None) -> Instant | None:
    """A time that every edge can write down."""
    if value is not None and type(value) is not int:
        raise ValidationFailed(field, f"{field} must be an instant: whole microseconds since 1970")
    if value is not None and not 0 <= value <= MAX_INSTANT:
        raise ValidationFailed(field, f"{field} must lie in the years 1970 to 9999")
    return value


@contextmanager
def item_of(field: str, position: int) -> Iterator[None]:
    """A block about one item of a list: what is wrong in it is told with its place, such as `grants.3.access_level`."""
    try:
        yield
    except ValidationFailed as error:
        raise error.about(f"{field}.{position}.{error.details['field']}") from error


@contextmanager
def called(**names: str) -> Iterator[None]:
    """A block about fields that the caller knows by other names: its errors have those."""
    try:
        yield
    except ValidationFailed as error:
        field, dot, place = str(error.details["field"]).partition(".")
        if field not in names:
            raise
        raise error.about(names[field] + dot + place) from error


def one_of(field: str, value: str, allowed: Collection[str]) -> str:
    """The value, or ValidationFailed naming the field and what is allowed."""
    if value not in allowed:
        raise ValidationFailed(field, f"{field} must be one of {', '.join(sorted(allowed))}")
    return value


def without_repeats(field: str, values: Sequence[Any], maximum: int) -> None:
    """Raises ValidationFailed when there are too many values or one comes twice."""
    if len(values) > maximum:
        raise ValidationFailed(field, f"{field} must have at most {maximum} items")
    seen: set[Any] = set()
    for position, value in enumerate(values):
        if value in seen:
            raise ValidationFailed(f"{field}.{position}", f"{field}.{position} repeats an earlier item")
        seen.add(value)
