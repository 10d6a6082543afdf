"""What a store promises.

A store keeps, for each organization, versions of facts and the changes that made them. One write transaction
makes one revision: all of its facts and changes become visible together, or none do. A snapshot sees one
revision, whole, and does not move. Facts of one organization cannot be reached through another's snapshot.

`Where` is a conjunction: each field equals the value, is in the collection, contains the text, differs from the value,
or is among the values of another kind. "attributes.x" is the text under x in a field that holds an object, and what is
no text there counts as missing. Several of them are a disjunction; none at all means every fact of the kind.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from string import ascii_lowercase, ascii_uppercase
from typing import NamedTuple, Protocol, TypeVar

import msgspec

from grantbook.model.facts import Containment, Department, EntityRef, Fact, Principal
from grantbook.model.instants import Instant
from grantbook.store.present_port import Present

F = TypeVar("F", bound=Fact)
NAME_FIELDS = ("name", "full_name", "email")
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


class Change(msgspec.Struct, frozen=True):
    """One fact changed in one revision; `before` and `after` are JSON texts without secrets. `hash` comes last.

    The fields are in the order of a row, and of what is hashed.
    """

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


class ToldText(NamedTuple):
    """A text that changes tell: an "id", a "word" (an action or a type), a "reason", or a "name", one of the
    `NAME_FIELDS` before or after. The last two with the id of the subject; otherwise `about` is empty."""

    field: str
    text: str
    about: str


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

    def iterate(self, kind: type[F], *, after: tuple[str, ...] = ()) -> Iterator[F]:
        """Every fact of a kind in order of its key, or those after a key, in parts as it goes. Not while writing."""

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

    def find_texts(self, wanted: Contains, *, limit: int) -> list[ToldText]:
        """Texts of the newest record in which the text is, each once, in no promised order."""

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

    def led_to(
        self,
        grantees: Collection[Principal],
        contents: Mapping[str, Collection[str]],
        levels: Collection[str],
        at: Instant,
    ) -> set[EntityRef]:
        """Active entities that grants in force lead to: those to one of the grantees, at one of the levels, on the
        entity or on something active that contains it, through active ones at any depth. All are of the types that
        `contents` has, each with those that it may contain."""


class Transaction(Snapshot, Protocol):
    """A write: reads see the writes before them. Leaving the block commits; an exception undoes everything.

    `revision` is the one that the transaction makes, if it has any changes; without changes it makes none.
    """

    now: Instant

    @property
    def has_changes(self) -> bool:
        """Whether anything was written so far."""

    @property
    def changed_kinds(self) -> Collection[type[Fact]]:
        """The kinds of the facts that were written so far."""

    @property
    def tip(self) -> Head:
        """The newest revision, with what was written so far. Its hash tells apart all states that there ever were."""

    def add(self, fact: Fact, action: str) -> None:
        """A fact that was not there. Raises Conflict, here or when the block ends, where its key is live."""

    def replace(self, old: Fact, new: Fact, action: str) -> None:
        """A new version of a live fact with the same key. Nothing happens when they are equal. Raises as `remove`."""

    def remove(self, fact: Fact, action: str) -> None:
        """A live fact ends; its history stays. Raises Conflict, here or when the block ends, where none is live."""

    def claim(self, lookup: Lookup, values: Mapping[str, str]) -> dict[str, str]:
        """Set those of the global keys that are free; the values that now hold."""

    def find_response(self, idempotency_key: str) -> StoredResponse | None:
        """What was answered under this key of this organization in the last day."""

    def keep_response(self, idempotency_key: str, response: StoredResponse) -> None:
        """Remember an answer for a day, in the same transaction as its effects. Raises Conflict where one is kept."""


class Version(NamedTuple):
    """A fact from one revision until another, or while it lives until None. `fact` is None where it cannot be read."""

    key: tuple[str, ...]
    fact: Fact | None
    since: int
    until: int | None


class Archive(Protocol):
    """One organization with its whole history, as of its newest revision. Everything is of one state, and streams come
    in parts as they go, whatever is written meanwhile."""

    head: Head
    snapshot: Snapshot

    def count(self) -> int:
        """How many changes and versions there are."""

    def revisions(self) -> Iterator[tuple[int, Instant]]:
        """Every revision and its time, in order."""

    def changes(self) -> Iterator[Change]:
        """Every change, oldest first."""

    def versions(self, kind: type[Fact]) -> Iterator[Version]:
        """Every version of every fact of the kind, by key and then by age."""

    def look_up(self, lookup: Lookup, keys: Collection[str]) -> dict[str, str]:
        """The values of those of the global keys that have one."""

    def known_users(self, user_ids: Collection[str]) -> set[str]:
        """Those of the ids that are or were a member of this organization, as `Store.organizations_of` knows it; maybe
        also who joined since the archive began."""

    def key_uses(self) -> Iterator[tuple[str, Instant]]:
        """Keys and their last use, by key."""

    def responses(self) -> Iterator[tuple[str, Instant, StoredResponse]]:
        """Answers that are kept, each with its idempotency key and its time, by key."""


class Restoration(Protocol):
    """An organization that comes into the book with its history, as it was elsewhere. Leaving the block commits it, an
    exception undoes everything. The last change makes the head."""

    def add_changes(self, changes: Sequence[Change]) -> None:
        """The next changes, in order. Whether they are one chain is for the caller to know."""

    def add_versions(self, versions: Sequence[Version]) -> None:
        """Versions of facts of one kind, which can be read. Raises Conflict where one is there already."""

    def claim(self, lookup: Lookup, values: Mapping[str, str]) -> dict[str, str]:
        """Set those of the global keys that are free; the values that now hold."""

    def add_key_uses(self, uses: Mapping[str, Instant]) -> None:
        """When keys were used last."""

    def add_response(self, idempotency_key: str, at: Instant, response: StoredResponse) -> None:
        """An answer to keep for as long as it would have been."""


class Writable(Protocol):
    """Where transactions are made."""

    def transaction(self, organization_id: str, author: Author) -> AbstractContextManager[Transaction]:
        """The only way to write. Writers of one organization take turns."""


class Store(Writable, Protocol):
    """One book for many organizations."""

    def snapshot(
        self, organization_id: str, *, revision: int | None = None, at_least: int | None = None
    ) -> AbstractContextManager[Snapshot]:
        """The newest revision, or an older one. An unknown organization reads as empty at revision 0.

        With `at_least` the newest may be one that a replica has: not older than the store's staleness, nor than what
        this process wrote or heard of, nor than that revision.
        """

    def together(self) -> AbstractContextManager[Writable]:
        """A block whose transactions, one after the other, become durable at once when it ends.

        Each makes a revision of its own and sees those before it; one that fails undoes only itself. None of them has
        happened before the block has ended without an error. Within it, write by nothing else. Raises StoreUnavailable.
        """

    def require_ready(self) -> None:
        """Raises StoreUnavailable where the database does not answer, or is not the one that was opened."""

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

    def present(self) -> Present:
        """A way of one's own to the newest state of every organization."""

    def filling(self) -> AbstractContextManager[None]:
        """A block that adds very much. Where the book is still empty it goes faster, and reads are slow until it ends;
        all else holds, whenever the process ends."""

    def organization_ids(self) -> list[str]:
        """Every organization, in order."""

    def changes(self, organization_id: str, *, after: int = 0) -> Iterator[Change]:
        """Changes of the revisions after `after`, oldest first."""

    def archive(self, organization_id: str) -> AbstractContextManager[Archive]:
        """Everything that is kept of the organization. An unknown one is empty, at revision 0."""

    def restoring(self, organization_id: str) -> AbstractContextManager[Restoration]:
        """Bring in an organization that has no revision here. Raises Conflict(organization_id) where it has one."""

    def close(self) -> None:
        """Release files and connections."""
