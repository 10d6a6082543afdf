"""JSON Lines of organizations with their histories: for each a header, then one piece a line, then an end.

    {"kind": "history", "version": 1, "organization_id": "org_1", "head": {"revision": 2, "at": 1767225600000000, ...}}
    {"kind": "change", "change": {"revision": 1, "ordinal": 0, "at": 1767225600000000, "action": "created", ...}}
    {"kind": "grant", "fact": {"id": "agrant_1", "entity_type": "vector_store", ...}, "since": 1, "until": 2}
    {"kind": "look_up", "lookup": "user", "key": "usr_1", "value": "org_1"}
    {"kind": "end", "digest": "..."}

Times are whole microseconds since 1970. The digest is the SHA-256 of the lines from the header on.
"""

import re
from collections.abc import Iterable, Iterator
from functools import reduce
from hashlib import sha256
from itertools import chain
from operator import or_
from typing import Any, Final

import msgspec

from grantbook.model.errors import GrantbookError, InvalidLines
from grantbook.model.facts import FACT_KINDS, Fact, key_of
from grantbook.model.instants import Instant
from grantbook.service import moves
from grantbook.service.moves import Claim, KeptAnswer, KeyUse, Piece
from grantbook.store.port import Archive, Change, Head, Lookup, StoredResponse, Version

VERSION: Final = 1
BEGINNING: Final = b'{"kind":"history",'
"""Of every such file."""
MAX_LINE_BYTES: Final = 16 * 1024 * 1024


class _Line(msgspec.Struct, tag_field="kind", forbid_unknown_fields=True, omit_defaults=True):
    """Base of all lines."""


class Header(_Line, tag="history"):
    """Whose history follows, and where it leads to."""

    version: int
    organization_id: str
    head: Head


class _Change(_Line, tag="change"):
    change: Change


class _LookUp(_Line, tag="look_up"):
    lookup: Lookup
    key: str
    value: str


class _KeyUse(_Line, tag="key_use"):
    key_id: str
    at: Instant


class _Response(_Line, tag="response"):
    idempotency_key: str
    at: Instant
    response: StoredResponse


class _End(_Line, tag="end"):
    digest: str


def _version_line(kind: type[Fact]) -> Any:
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
    fields: list[Any] = [("fact", kind), ("since", int), ("until", int | None, None)]
    return msgspec.defstruct(f"{kind.__name__}Line", fields, bases=(_Line,), tag=name)


_VERSIONS: Final[dict[Any, Any]] = {kind: _version_line(kind) for kind in FACT_KINDS}
_LINES: Final = (Header, _Change, _LookUp, _KeyUse, _Response, _End, *_VERSIONS.values())
_DECODER: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(reduce(or_, _LINES))
_ENCODER: Final = msgspec.json.Encoder()


def written(archive: Archive) -> Iterator[bytes]:
    """The lines of an organization. Raises as `moves.pieces`."""
    digest = sha256()
    header = Header(version=VERSION, organization_id=archive.snapshot.organization_id, head=archive.head)
    for told in chain([header], map(_told, moves.pieces(archive))):
        line = _ENCODER.encode(told) + b"\n"
        digest.update(line)
        yield line
    yield _ENCODER.encode(_End(digest=digest.hexdigest())) + b"\n"


def read(lines: Iterable[bytes]) -> Iterator[tuple[Header, Iterator[Piece]]]:
    """Each organization's header and pieces; what is left of the pieces is read before the next.

    Raises InvalidLines for a line that is not one of these, for a history that is cut off or was changed.
    """
    numbered = enumerate(lines, 1)
    for number, line in numbered:
        header = _read(number, line)
        if not isinstance(header, Header):
            raise _refusal(number, "kind", "a history begins with its header")
        if header.version != VERSION:
            raise _refusal(number, "version", f"this release reads version {VERSION}")
        pieces = _pieces(number, line, numbered)
        yield header, pieces
        for _ in pieces:
            pass


def _pieces(number: int, header: bytes, numbered: Iterator[tuple[int, bytes]]) -> Iterator[Piece]:
    digest = sha256(header)
    for number, line in numbered:  # noqa: PLR1704 - the last one is named where none ends it
        told = _read(number, line)
        match told:
            case _End():
                if told.digest != digest.hexdigest():
                    raise _refusal(number, "digest", "the lines before are not those that were written")
                return
            case _Change():
                yield told.change
            case _LookUp():
                yield Claim(told.lookup, told.key, told.value)
            case _KeyUse():
                yield KeyUse(told.key_id, told.at)
            case _Response():
                yield KeptAnswer(told.idempotency_key, told.at, told.response)
            case Header():
                raise _refusal(number, "kind", "the history before has no end: it is cut off")
            case _:
                yield Version(key_of(told.fact), told.fact, told.since, told.until)
        digest.update(line)
    raise _refusal(number, "kind", "the history has no end: it is cut off")


def _told(piece: Piece) -> _Line:
    match piece:
        case Change():
            return _Change(change=piece)
        case Claim():
            return _LookUp(lookup=piece.lookup, key=piece.key, value=piece.value)
        case KeyUse():
            return _KeyUse(key_id=piece.key_id, at=piece.at)
        case KeptAnswer():
            return _Response(idempotency_key=piece.idempotency_key, at=piece.at, response=piece.response)
        case Version():
            line: _Line = _VERSIONS[type(piece.fact)](fact=piece.fact, since=piece.since, until=piece.until)
            return line


def _read(number: int, line: bytes) -> Any:
    if len(line) > MAX_LINE_BYTES:
        raise _refusal(number, "line", f"a line has at most {MAX_LINE_BYTES} bytes")
    try:
        return _DECODER.decode(line)
    except GrantbookError as error:
        raise _refusal(number, str(error.details.get("field", "line")), error.explanation) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _refusal(number, "line", f"this is no line of a history: {error}") from error


def _refusal(number: int, field: str, message: str) -> InvalidLines:
    return InvalidLines([{"line": number, "field": field, "message": message}])
