"""Everything that a user reaches, in the superset of both published shapes, a part at a time."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

import msgspec

from grantbook.engine.lists import Reached
from grantbook.http.platform import rendering
from grantbook.model.facts import EntityRef
from grantbook.model.instants import to_text
from grantbook.service import names
from grantbook.service.desk import Reading

_PART: Final = 500
_NOUNS: Final = {"slice": "knowledge_slice", "store": "vector_store"}
_AGAIN: Final = frozenset(_NOUNS.values())
"""Types that the older dialect is told of once more."""
Item = tuple[EntityRef, str | None, str, msgspec.Raw]


def resolved_access(reading: Reading, user_id: str, found: Reached[EntityRef]) -> Iterator[bytes]:
    """The answer as JSON. Nothing is read from the book any more when the first part is taken."""
    render = rendering.PathRenderer(names.of_principals(reading, found.sources))
    told: list[Item] = []

    def items() -> Iterator[Item]:
        for ref in found:
            access = found[ref]
            paths = msgspec.Raw(msgspec.json.encode(render(ref, access.paths)))
            item = (ref, access.level, found.name(ref), paths)
            if ref.type in _AGAIN:
                told.append(item)
            yield item

    head = msgspec.json.encode({"user_id": user_id, "resolved_at": to_text(reading.at)})
    return _parts(head, items(), told)


def _parts(head: bytes, items: Iterator[Item], told: list[Item]) -> Iterator[bytes]:
    yield head[:-1] + b',"entities":'
    yield from _array(_entity(*each) for each in items)
    for noun, type_ in _NOUNS.items():
        yield f',"{noun}_access":'.encode()
        yield from _array(_named(noun, *each) for each in told if each[0].type == type_)
    yield b"}"


def _entity(ref: EntityRef, level: str | None, _: str, paths: msgspec.Raw) -> dict[str, Any]:
    return {"entity_type": ref.type, "entity_id": ref.id, "access_level": level, "grant_paths": paths}


def _named(noun: str, ref: EntityRef, level: str | None, name: str, paths: msgspec.Raw) -> dict[str, Any]:
    return {f"{noun}_id": ref.id, f"{noun}_name": name, "access_level": level, "grant_paths": paths}


def _array(values: Iterable[Any]) -> Iterator[bytes]:
    opening, rest = b"[", iter(values)
    while part := list(islice(rest, _PART)):
        yield opening + msgspec.json.encode(part)[1:-1]
        opening = b","
    yield b"[]" if opening == b"[" else b"]"
