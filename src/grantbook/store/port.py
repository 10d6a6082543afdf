"""What a store promises.

A store keeps, for each organization, versions of facts and the changes that made them. One write transaction
makes one revision: all of its facts and changes become visible together, or none do. A snapshot sees one
revision, whole, and does not move. Facts of one organization cannot be reached through another's snapshot.

`Where` is a conjunction: each field equals the value, is in the collection, or contains the text. "attributes.x" is
the text under x in a field that holds an object. Several of them are a disjunction; none at all means every fact of
the kind.
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


Where = Mapping[str, str | int | Collection[str] | Contains | None]


class Lookup(StrEnum):
    """The few questions that are asked before the organization is known. Each key has one value."""

    API_KEY = "api_key"  # digest of the secret -> organization id
    ENTITY = "entity"  # "rule/rule_..." -> organization id, for types not bound to the organization
    USER = "user"  # user id -> the organization that knew the user first


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

    def page(
        self, kind: type[F], *where: Where, skip: int, limit: int, after: tuple[Instant, str] | None = None
    ) -> list[F]:
        """Facts of a kind that has `created_at`, ordered by that and the last field of the key.

        Those after the place `after`, without the first `skip`. Of the newest revision only.
        """

    def count(self, kind: type[Fact], *where: Where) -> int:
        """How many match."""

    def tally(self, kind: type[Fact], field: str, *where: Where) -> dict[str, int]:
        """How many match, by the value of a text field; values that none has are left out."""

    def find_changes(
        self, *where: Where, first: int = 1, last: int | None = None, skip: int, limit: int
    ) -> list[Change]:
        """Changes that match, of the revisions `first` to `last`, newest first."""

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

    def organization_ids(self) -> list[str]:
        """Every organization, in order."""

    def changes(self, organization_id: str, *, after: int = 0) -> Iterator[Change]:
        """Changes of the revisions after `after`, oldest first."""

    def close(self) -> None:
        """Release files and connections."""
