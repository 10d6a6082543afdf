"""JSON values against the schemas of the OpenAPI document: as much of JSON Schema as the document uses."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from tests.http.calls import OPENAPI

Schema = dict[str, Any]
_TYPES: Final[dict[str, type | tuple[type, ...]]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": type(None),
}
_KNOWN: Final = {
    "$ref", "additionalProperties", "anyOf", "const", "default", "description", "examples", "format", "items",
    "properties", "required", "title", "type",
}  # fmt: skip


def problems(value: Any, schema: Schema, place: str = "body") -> Iterator[str]:
    """What does not fit. A property that the schema does not name does not fit either."""
    assert set(schema) <= _KNOWN, f"{place}: teach this validator about {set(schema) - _KNOWN}"
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        yield from problems(value, OPENAPI["components"]["schemas"][name], place)
    elif "anyOf" in schema:
        if all(list(problems(value, each, place)) for each in schema["anyOf"]):
            yield f"{place}: {value!r} is none of {schema['anyOf']}"
    elif "type" in schema:
        yield from _of_type(value, schema, place)


def _of_type(value: Any, schema: Schema, place: str) -> Iterator[str]:
    wanted = schema["type"]
    if not _is(value, wanted):
        yield f"{place}: {value!r} is no {wanted}"
    elif wanted == "array":
        for position, item in enumerate(value):
            yield from problems(item, schema["items"], f"{place}.{position}")
    elif wanted == "object":
        yield from _of_object(value, schema, place)
    elif schema.get("format") == "date-time" and not (value.endswith("Z") and datetime.fromisoformat(value).tzinfo):
        yield f"{place}: {value!r} is no time in UTC"


def _is(value: object, wanted: str) -> bool:
    return isinstance(value, _TYPES[wanted]) and (wanted == "boolean" or not isinstance(value, bool))


def _of_object(value: dict[str, Any], schema: Schema, place: str) -> Iterator[str]:
    known = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{place}.{name} is missing"
    for name, inner in value.items():
        if name in known:
            yield from problems(inner, known[name], f"{place}.{name}")
        elif isinstance(schema.get("additionalProperties"), dict):
            yield from problems(inner, schema["additionalProperties"], f"{place}.{name}")
        elif not schema.get("additionalProperties"):
            yield f"{place}.{name} is not in the schema"
