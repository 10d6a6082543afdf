"""A whole organization with its history, out of one book and into another as it was: the same ids, revisions and
hashes, so that every question about any time has the same answer, and keys go on working.

What is carried says as much about a book as its database does: it is for those who hold the one and the other.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import Any, Final, NamedTuple, TypeAlias

from grantbook.model import ids
from grantbook.model.errors import Conflict, DamagedBook, ValidationFailed
from grantbook.model.facts import FACT_KINDS, ApiKey, Entity, Fact, Member
from grantbook.model.ids import is_id
from grantbook.model.instants import Instant
from grantbook.service.entities import lookup_key
from grantbook.store.history import Chain, joined_key
from grantbook.store.port import Archive, Change, Head, Lookup, Restoration, Store, StoredResponse, Version

_PART: Final = 5_000


class Claim(NamedTuple):
    """A global key that leads to the organization; of a user, to the one that knew the user first."""

    lookup: Lookup
    key: str
    value: str


class KeyUse(NamedTuple):
    """When a key was used last."""

    key_id: str
    at: Instant


class KeptAnswer(NamedTuple):
    """What a repeated request is answered with, for a day."""

    idempotency_key: str
    at: Instant
    response: StoredResponse


Piece: TypeAlias = Change | Version | Claim | KeyUse | KeptAnswer


def pieces(archive: Archive) -> Iterator[Piece]:
    """All of an organization: the changes, oldest first; then every version of every fact, with the global keys that it
    has; then what else is kept.

    Raises TamperedHistory(organization_id, revision, ordinal), DamagedBook(organization_id, kind, key): what is broken
    could not be restored.
    """
    organization_id = archive.snapshot.organization_id
    chain = Chain(organization_id)
    for change in archive.changes():
        chain.take(change)
        yield change
    chain.require(archive.head)
    for kind in FACT_KINDS:
        versions = archive.versions(kind)
        while part := list(islice(versions, _PART)):
            for version in part:
                if version.fact is None:
                    raise DamagedBook(organization_id=organization_id, kind=kind.__name__, key=joined_key(version.key))
                yield version
            yield from _claims(archive, [version.fact for version in part if version.fact is not None])
    yield from (KeyUse(key_id, at) for key_id, at in archive.key_uses())
    yield from (KeptAnswer(*each) for each in archive.responses())


def restore(store: Store, organization_id: str, head: Head, found: Iterable[Piece]) -> bool:
    """Bring in an organization, all or nothing; False where it is there already with this history, and perhaps more
    since. The chain of the changes is followed up to this head before anything is kept.

    Raises ValidationFailed(organization_id, look_up, ...), TamperedHistory(organization_id, revision, ordinal),
    Conflict(organization_id, revision) where it is there with another history, Conflict(key) where another
    organization has an id that can only be one's.
    """
    if not is_id(organization_id, ids.ORGANIZATION):
        raise ValidationFailed("organization_id", "organization_id must be an id of an organization")
    there = store.head(organization_id)
    if there.revision:
        _require_same(store, organization_id, there, head)
        return False
    chain = Chain(organization_id)
    try:
        with store.restoring(organization_id) as book:
            for part in _parts(found):
                _add(book, part, chain, head)
            chain.require(head)
    except Conflict:
        there = store.head(organization_id)
        if not there.revision:
            raise
        _require_same(store, organization_id, there, head)  # somebody else brought it in meanwhile
        return False
    return True


def expected_claims(organization_id: str, fact: Fact) -> list[tuple[Lookup, str, str | None]]:
    """The global keys that go with a fact, and their values; None for any. For an entity: if its type is not bound."""
    match fact:
        case ApiKey():
            return [(Lookup.API_KEY, fact.digest, organization_id)]
        case Entity():
            return [(Lookup.ENTITY, lookup_key(fact.ref), organization_id)]
        case Member():
            invited = (Lookup.INVITATION, fact.invitation_digest or "", f"{organization_id}/{fact.user_id}")
            return [(Lookup.USER, fact.user_id, None), *([invited] if fact.invitation_digest else [])]
    return []


def _claims(archive: Archive, facts: Iterable[Fact]) -> Iterator[Claim]:
    """Those that are there, each once."""
    organization_id = archive.snapshot.organization_id
    wanted: dict[Lookup, dict[str, str | None]] = {}
    for fact in facts:
        for lookup, key, value in expected_claims(organization_id, fact):
            wanted.setdefault(lookup, {})[key] = value
    for lookup, values in wanted.items():
        for key, value in sorted(archive.look_up(lookup, values).items()):
            if values[key] in {None, value}:
                yield Claim(lookup, key, value)


def _require_same(store: Store, organization_id: str, there: Head, head: Head) -> None:
    if there.revision >= head.revision:
        with store.snapshot(organization_id) as snapshot:
            last = snapshot.find_changes(first=head.revision, last=head.revision, skip=0, limit=1)
        if last and last[0].hash == head.hash:
            return
    raise Conflict(
        f"The organization is in this book already, at revision {there.revision}, and not with this history",
        code="ORGANIZATION_EXISTS",
        organization_id=organization_id,
        revision=there.revision,
    )


def _parts(found: Iterable[Piece]) -> Iterator[list[Piece]]:
    """Neighbours of one sort together."""
    for _, group in groupby(found, key=_sort):
        while part := list(islice(group, _PART)):
            yield part


def _sort(piece: Piece) -> Any:
    match piece:
        case Version():
            return type(piece.fact)
        case Claim():
            return piece.lookup
    return type(piece)


def _add(book: Restoration, part: Sequence[Piece], chain: Chain, head: Head) -> None:
    match part[0]:
        case Change():
            changes = [piece for piece in part if isinstance(piece, Change)]
            for change in changes:
                chain.take(change)
            book.add_changes(changes)
        case Version():
            versions = [piece for piece in part if isinstance(piece, Version)]
            for version in versions:
                _check_version(version, head)
            book.add_versions(versions)
        case Claim(lookup=lookup):
            _claim(book, chain.organization_id, lookup, [piece for piece in part if isinstance(piece, Claim)])
        case KeyUse():
            book.add_key_uses({piece.key_id: piece.at for piece in part if isinstance(piece, KeyUse)})
        case KeptAnswer():
            for piece in part:
                if isinstance(piece, KeptAnswer):
                    book.add_response(*piece)


def _check_version(version: Version, head: Head) -> None:
    until = head.revision + 1 if version.until is None else version.until
    if version.fact is None or not 1 <= version.since < until <= head.revision + 1:
        raise ValidationFailed("since", "a version is from a revision of the history until a later one")


def _claim(book: Restoration, organization_id: str, lookup: Lookup, claims: Sequence[Claim]) -> None:
    """A user who is known here already keeps the home that they have here."""
    for claim in claims:
        home = claim.value.partition("/")[0]
        if not is_id(home, ids.ORGANIZATION) or (lookup is not Lookup.USER and home != organization_id):
            raise ValidationFailed("look_up", f"what leads to an organization is carried with it, not {lookup.value}")
    wanted = {claim.key: claim.value for claim in claims}
    held = book.claim(lookup, wanted)
    for key, value in wanted.items():
        if lookup is not Lookup.USER and held[key] != value:
            named = {"key": key} if lookup is Lookup.ENTITY else {}
            raise Conflict(
                f"Another organization has the same {lookup.value}", organization_id=organization_id, **named
            )
