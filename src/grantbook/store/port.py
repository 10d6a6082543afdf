"""What a store promises.

A store keeps, for each organization, versions of facts and the changes that made them. One write transaction
makes one revision: all of its facts and changes become visible together, or none do. A snapshot sees one
revision, whole, and does not move. Facts of one organization cannot be reached through another's snapshot.

`Where` is a conjunction: each field equals the value, is in the collection, contains the text, differs from the value,
or is among the values of another kind. "attributes.x" is the text under x in a field that holds an object. Several of
them are a disjunction; none at all means every fact of the kind.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from string import ascii_lowercase, ascii_uppercase
from typing import Protocol, TypeVar

import msgspec

from grantbook.model.facts import Containment, Department, EntityRef, Fact
from grantbook.model.instants import Instant

F = TypeVar("F", bound=Fact)
SMALL_LETTERS = str.maketrans(ascii_uppercase, ascii_lowercase)


@dataclass(frozen=True, slots=True)
class Contains:
    """A text anywhere in a field; letters A to Z count as their small ones."""

    text: str


@dataclass(frozen=True, slots=True)
class Not:
    """Any value but this one. No value at all does not match."""

    value: str


@dataclass(frozen=True, slots=True)
class Among:
    """One of the values that `field` has in the facts of another kind whose field `by` has the value."""

    kind: type[Fact]
    field: str
    by: str
    value: str


Where = Mapping[str, str | int | Collection[str] | Contains | Not | Among | None]


@dataclass(frozen=True, slots=True)
class Order:
    """By a field, then by the last field of the key; texts by their code points, a missing one before all others."""

    field: str = "created_at"
    is_descending: bool = False


OLDEST_FIRST = Order()


class Lookup(StrEnum):
    """The few questions that are asked before the organization is known. Each key has one value."""

    API_KEY = "api_key"  # digest of the secret -> organization id
    ENTITY = "entity"  # "rule/rule_..." -> organization id, for types not bound to the organization
    USER = "user"  # user id -> the organization that knew the user first
    INVITATION = "invitation"  # digest of the token -> "organization id/user id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Author:
    """Who makes a change, for the record."""

    actor_id: str
    api_key_id: str | None = None
    trace_id: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The newest revision of an organization: 0 with `history.NO_HASH` before the first."""

    revision: int
    at: Instant
    hash: str


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One fact changed in one revision; `before` and `after` are JSON texts without secrets. `hash` comes last."""

    revision: int
    ordinal: int
    at: Instant
    actor_id: str
    api_key_id: str | None
    trace_id: str | None
    reason: str | None
    action: str
    kind: str
    key: str
    subject_type: str
    subject_id: str
    target_id: str | None
    before: str | None
    after: str | None
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResponse:
    """The answer to a request with an idempotency key. `fingerprint` is a digest of that request."""

    fingerprint: str
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


class Snapshot(Protocol):
    """Consistent reads of one organization at one revision."""

    organization_id: str
    revision: int

    def find(self, kind: type[F], *key: str) -> F | None:
        """The fact with that key, or None."""

    def select(self, kind: type[F], *where: Where) -> list[F]:
        """Every fact that matches, in no promised order, each once."""

    def find_all(self, kind: type[F], fields: tuple[str, ...], values: Collection[tuple[str, ...]]) -> list[F]:
        """Facts in which these fields together have one of these combinations, in no promised order, each once."""

    def iterate(self, kind: type[F]) -> Iterator[F]:
        """Every fact of a kind in order of its key, read in parts as it goes. Not while writing."""

    def page(
        self,
        kind: type[F],
        *where: Where,
        skip: int,
        limit: int,
        after: tuple[Instant, str] | tuple[str, str] | None = None,
        order: Order = OLDEST_FIRST,
    ) -> list[F]:
        """Facts in order: those after the place `after`, without the first `skip`. Of the newest revision only.

        A place is the values of the field ordered by, never a missing one, and of the last field of the key.
        """

    def count(self, kind: type[Fact], *where: Where) -> int:
        """How many match."""

    def tally(self, kind: type[Fact], field: str, *where: Where) -> dict[str, int]:
        """How many match, by the value of a text field; values that none has are left out."""

    def find_changes(
        self,
        *where: Where,
        first: int = 1,
        last: int | None = None,
        before: tuple[int, int] | None = None,
        skip: int,
        limit: int,
    ) -> list[Change]:
        """Changes that match, of the revisions `first` to `last`, newest first.

        Only those before the place `before`, a revision and an ordinal. "after.x" is the text under x in the fact after
        the change, "before.x" in the one before it.
        """

    def count_changes(self, *where: Where, first: int = 1, last: int | None = None) -> int:
        """How many match."""

    def departments_above(self, department_ids: Collection[str]) -> list[Department]:
        """The departments named and every one above them, each once."""

    def departments_below(self, department_ids: Collection[str]) -> list[Department]:
        """The departments named and every one below them, each once."""

    def containers_of(self, entities: Collection[EntityRef]) -> list[Containment]:
        """Every edge upwards from the entities, at any depth, each once."""

    def contents_of(self, entities: Collection[EntityRef]) -> list[Containment]:
        """Every edge downwards from the entities, at any depth, each once."""


class Transaction(Snapshot, Protocol):
    """A write: reads see the writes before them. Leaving the block commits; an exception undoes everything.

    `revision` is the one that the transaction makes, if it has any changes; without changes it makes none.
    """

    now: Instant

    @property
    def has_changes(self) -> bool:
        """Whether anything was written so far."""

    def add(self, fact: Fact, action: str) -> None:
        """A fact that was not there. Raises Conflict, here or when the block ends, where its key is live."""

    def replace(self, old: Fact, new: Fact, action: str) -> None:
        """A new version of a live fact with the same key. Nothing happens when they are equal. Raises as `remove`."""

    def remove(self, fact: Fact, action: str) -> None:
        """A live fact ends; its history stays. Raises Conflict, here or when the block ends, where none is live."""

    def claim(self, lookup: Lookup, key: str, value: str) -> str:
        """Set the key if it is free; the value that now holds."""

    def find_response(self, idempotency_key: str) -> StoredResponse | None:
        """What was answered under this key of this organization in the last day."""

    def keep_response(self, idempotency_key: str, response: StoredResponse) -> None:
        """Remember an answer for a day, in the same transaction as its effects. Raises Conflict where one is kept."""


class Store(Protocol):
    """One book for many organizations."""

    def snapshot(self, organization_id: str, *, revision: int | None = None) -> AbstractContextManager[Snapshot]:
        """The newest revision, or an older one. An unknown organization reads as empty at revision 0."""

    def transaction(self, organization_id: str, author: Author) -> AbstractContextManager[Transaction]:
        """The only way to write. Writers of one organization take turns."""

    def head(self, organization_id: str) -> Head:
        """The newest revision."""

    def revision_at(self, organization_id: str, at: Instant) -> int:
        """The newest revision made at or before `at`; 0 if there was none."""

    def look_up(self, lookup: Lookup, key: str) -> str | None:
        """The value of a global key."""

    def organizations_of(self, user_id: str) -> list[str]:
        """Organizations in which the user is or was a member, in order."""

    def known_users(self, user_ids: Collection[str]) -> set[str]:
        """Those of the ids that are or were a member somewhere."""

    def note_key_uses(self, uses: Mapping[tuple[str, str], Instant]) -> None:
        """When keys (organization, key id) were used; the latest is kept. Makes no revision and no change."""

    def key_uses(self, organization_id: str, key_ids: Collection[str]) -> dict[str, Instant]:
        """The last use of each of these keys that has one."""

    def organization_ids(self) -> list[str]:
        """Every organization, in order."""

    def changes(self, organization_id: str, *, after: int = 0) -> Iterator[Change]:
        """Changes of the revisions after `after`, oldest first."""

    def close(self) -> None:
        """Release files and connections."""
