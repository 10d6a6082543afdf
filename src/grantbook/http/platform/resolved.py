"""Everything that a user reaches, in the superset of both published shapes, a part at a time."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Final

import msgspec

from grantbook.engine.lists import KeptList
from grantbook.http.platform import rendering
from grantbook.model.facts import EntityRef
from grantbook.model.instants import to_text
from grantbook.service.desk import Reading

_PART: Final = 500
Item = tuple[EntityRef, str | None, str, msgspec.Raw]


def resolved_access(reading: Reading, user_id: str, found: KeptList) -> Iterator[bytes]:
    """The answer as JSON. Nothing is read from the book any more when the first part is taken."""
    render = rendering.paths_of(reading, found.accesses)

    def items(of_type: str | None = None) -> Iterator[Item]:
        for ref, access, name in zip(found.places, found.accesses, found.names, strict=True):
            if of_type in {None, ref.type}:
                paths = rendering.entity_paths(render, ref, access.paths)
                yield ref, access.level, name, msgspec.Raw(msgspec.json.encode(paths))

    head = msgspec.json.encode({"user_id": user_id, "resolved_at": to_text(reading.at)})
    return _parts(head, items)


def _parts(head: bytes, items: Callable[..., Iterator[Item]]) -> Iterator[bytes]:
    yield head[:-1] + b',"entities":'
    yield from _array(_entity(*each) for each in items())
    yield b',"slice_access":'
    yield from _array(_named("slice", *each) for each in items("knowledge_slice"))
    yield b',"store_access":'
    yield from _array(_named("store", *each) for each in items("vector_store"))
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
