"""JSON Lines of a whole organization: one fact a line, in the order of `transfer.KINDS`, after a line that counts them.

    {"kind": "export", "version": 1, "organization_id": "org_1", "counts": {"organization": 1, "grant": 2, ...}}
    {"kind": "organization", "id": "org_1", "name": "Acme", "created_at": "2026-01-01T00:00:00Z", ...}

Times are ISO 8601 in UTC; a field that is left out has its default.
"""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache, reduce
from operator import or_
from typing import Any, Final

import msgspec

from grantbook.model.errors import ValidationFailed
from grantbook.model.facts import Fact
from grantbook.model.instants import from_datetime, to_text
from grantbook.service.transfer import KINDS, TIMES

VERSION: Final = 1
HEADER: Final = "export"
_NAMES: Final = {kind: re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower() for kind in KINDS}
_KINDS: Final = {name: kind for kind, name in _NAMES.items()}
_FIELDS: Final = {kind: kind.__struct_fields__ for kind in KINDS}
_KNOWN: Final = {kind: frozenset(names) for kind, names in _FIELDS.items()}
_PLACE: Final = re.compile(r" - at `\$\.?([^`]*)`$")
_QUOTED: Final = re.compile(r"`([^`]+)`$")


def header(organization_id: str, counts: Mapping[type[Fact], int]) -> bytes:
    """The first line."""
    told = {_NAMES[kind]: count for kind, count in counts.items()}
    return _line({"kind": HEADER, "version": VERSION, "organization_id": organization_id, "counts": told})


def line_of(fact: Fact) -> bytes:
    """A fact as a line; fields without a value are left out."""
    kind = type(fact)
    values: dict[str, Any] = {"kind": _NAMES[kind]}
    for name in _FIELDS[kind]:
        value = getattr(fact, name)
        if value is not None:
            values[name] = to_text(value) if name in TIMES[kind] else value
    return _line(values)


def read(line: bytes) -> Fact | dict[str, Any]:
    """The fact of a line, or the header as it is. Raises ValidationFailed naming the field."""
    try:
        written = _WRITTEN.decode(line)
        return _READERS[type(written)](written)
    except (msgspec.MsgspecError, UnicodeDecodeError, TypeError, ValueError):
        return _read_slowly(line)  # which can say what is wrong


def _read_slowly(line: bytes) -> Fact | dict[str, Any]:
    try:
        values = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValidationFailed("line", f"the line is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise ValidationFailed("line", "the line is not an object")
    name = values.pop("kind", None)
    if name == HEADER:
        return values
    kind = _KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ValidationFailed("kind", f"kind must be one of {', '.join(_KINDS)}")
    for each in TIMES[kind]:
        given = values.get(each)
        if given is not None:
            values[each] = _instant(each, given)
    if not values.keys() <= _KNOWN[kind]:
        unknown = sorted(values.keys() - _KNOWN[kind])[0]
        raise ValidationFailed(unknown, f"{unknown} is not a known field")
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise _refusal(str(error)) from error


def _line(values: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode(values) + b"\n"


def _instant(field: str, value: Any) -> int:
    try:
        return _parsed(value)
    except (TypeError, ValueError) as error:
        raise ValidationFailed(field, f"{field} must be a time such as 2026-04-15T10:00:00Z") from error


@lru_cache(4_096)  # neighbours in a file often have the same times
def _parsed(text: str) -> int:
    return from_datetime(datetime.fromisoformat(text))


def _refusal(text: str) -> ValidationFailed:
    """What msgspec found, as ours: it names the field in one of two ways."""
    found = _PLACE.search(text) or _QUOTED.search(text)
    field = found[1] if found else "line"
    return ValidationFailed(field, f"{field}: {_PLACE.sub('', text)}")


def _written_form(kind: type[Fact]) -> type[msgspec.Struct]:
    """How a fact of the kind is written: its times are texts."""
    fields: list[Any] = []
    for field in msgspec.structs.fields(kind):
        type_ = (str if field.required else str | None) if field.name in TIMES[kind] else field.type
        if field.required:
            fields.append((field.name, type_))
        else:
            given: dict[str, Any] = {"default": field.default, "default_factory": field.default_factory}
            fields.append((field.name, type_, msgspec.field(**given)))
    return msgspec.defstruct(
        f"Written{kind.__name__}",
        fields,
        tag_field="kind",
        tag=_NAMES[kind],
        kw_only=True,
        forbid_unknown_fields=True,
        gc=False,
    )


def _reader(kind: type[Fact]) -> Callable[[Any], Fact]:
    """Written out for the kind, as in the rows of a store: what is read by the hundred thousand must cost little."""
    arguments = ", ".join(
        f"{name}={f'at(written.{name})' if name in TIMES[kind] else f'written.{name}'}" for name in _FIELDS[kind]
    )
    read_: Callable[[Any], Fact] = eval(f"lambda written: kind({arguments})", {"kind": kind, "at": _at})  # noqa: S307 - our own fields
    return read_


def _at(text: str | None) -> int | None:
    return None if text is None else _parsed(text)


_FORMS: Final = {kind: _written_form(kind) for kind in KINDS}
_READERS: Final = {form: _reader(kind) for kind, form in _FORMS.items()}
_WRITTEN: Final = msgspec.json.Decoder(reduce(or_, _FORMS.values()))
