"""What a store promises.

A store keeps, for each organization, versions of facts and the changes that made them. One write transaction
makes one revision: all of its facts and changes become visible together, or none do. A snapshot sees one
revision, whole, and does not move. Facts of one organization cannot be reached through another's snapshot.

`Where` is a conjunction: each field equals the value, is in the collection, contains the text, differs from the value,
or is among the values of another kind. "attributes.x" is the text under x in a field that holds an object. Several of
them are a disjunction; none at all means every fact of the kind.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from string import ascii_lowercase, ascii_uppercase
from threading import Lock
from typing import Final, NamedTuple, Protocol, TypeVar

import msgspec

from grantbook.model.facts import Containment, Department, EntityRef, Fact, Principal
from grantbook.model.instants import Instant

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


class Notice(NamedTuple):
    """That a fact changed: as much of a `Change` as a cache of facts has to know."""

    kind: str
    subject_type: str
    subject_id: str
    target_id: str | None
    before: str | None
    after: str | None


class Standing(NamedTuple):
    """("member", state), ("role", role id), ("department", id of one joined), whether or not these are there."""

    part: str
    value: str


class Outline(NamedTuple):
    """("entity", status, owner, access mode, name), ("target", .., target, ..), ("container", .., container, ..)."""

    part: str
    status: str | None
    other_type: str
    other_id: str
    access_mode: str | None
    name: str | None


class Glance(NamedTuple):
    """A user's standing and an entity's outline, and the revision that both are of."""

    revision: int
    standing: Sequence[Standing]
    outline: Sequence[Outline]


class GrantRow(NamedTuple):
    """A live grant on an entity, as far as it decides."""

    grantee_type: str
    grantee_id: str
    access_level: str
    id: str
    starts_at: Instant | None
    expires_at: Instant | None


class GivenRow(NamedTuple):
    """What somebody is given: ("grant", .., its level, id and window), ("owned", ..), ("listed", ..) by an access mode,
    whatever the mode is. `status` is that of the entity, None where there is none."""

    part: str
    principal_type: str
    principal_id: str
    entity_type: str
    entity_id: str
    status: str | None
    access_level: str | None
    grant_id: str | None
    starts_at: Instant | None
    expires_at: Instant | None


class EdgeRow(NamedTuple):
    """What contains what, and the status of what is contained."""

    container_type: str
    container_id: str
    member_type: str
    member_id: str
    status: str | None


MAX_GLANCED: Final = 4
"""So many entities are asked about at a glance; whoever needs more begins a reading."""


class GlanceAtGroups(NamedTuple):
    """See `Present.glance_at_groups`."""

    revision: int
    departments: Sequence[tuple[str, str | None]]
    roles: Sequence[tuple[str, str]]


class Present(Protocol):
    """The newest state of every organization, for a cache of facts: cheap to ask, and to ask whether it moved.

    Everything asked within one `reading` is of one state. Rows may be plain tuples. Whoever asks holds the `lock`.
    """

    lock: Lock
    is_local: bool
    """Whether it is always known what was written last, and asking takes microseconds. Otherwise the version lags
    behind the commits of other processes, and questions cross a network."""

    def version(self) -> int:
        """A number that is another one after every commit, of whatever process. Raises StoreUnavailable."""

    def has_moved(self, organization_id: str, *, version: int, revision: int) -> bool:
        """Whether the organization may have a newer revision than this one, held as of that version."""

    def line(self) -> int:
        """Within a reading, or after a glance: the number of the connection. What was read on another one may be of
        another history, such as that of a database that another has taken the place of."""

    def reading(self) -> AbstractContextManager[int]:
        """One state for every question within it, by the number that `version` has for that state; negative where
        a store cannot tell it. Raises StoreUnavailable."""

    def tip(self, organization_id: str) -> tuple[int, str]:
        """The newest revision and its hash; 0 for an unknown organization."""

    def has_had(self, organization_id: str, revision: int, tip_hash: str) -> bool:
        """Whether that revision had this hash: a file may be restored under the same line, and go on from there. A
        server has another line then."""

    def notices(self, organization_id: str, *, after: int, limit: int) -> list[Notice]:
        """The first changes of the revisions after `after`, oldest first."""

    def is_deleted(self, organization_id: str) -> bool:
        """Whether the organization was deleted."""

    def standing(self, organization_id: str, user_id: str) -> Sequence[Standing]:
        """Membership, roles and departments of the user, in no promised order."""

    def standings(self, organization_id: str, user_ids: Collection[str]) -> Mapping[str, Sequence[Standing]]:
        """The same of each of the users, who may be missing if there is nothing."""

    def departments(self, organization_id: str, ids: Collection[str]) -> Sequence[tuple[str, str | None]]:
        """Those of the departments that are there and all above them, each once, with the id of its parent."""

    def roles(self, organization_id: str, ids: Collection[str]) -> Sequence[tuple[str, str]]:
        """Those of the roles that are there, with their capabilities as JSON."""

    def named_by_grants(self, organization_id: str, user_ids: Collection[str]) -> set[str]:
        """Those of the users whom a live grant names."""

    def outline(self, organization_id: str, entity: EntityRef) -> Sequence[Outline]:
        """The entity, its access targets and what contains it directly, in no promised order."""

    def outlines(
        self, organization_id: str, entities: Collection[EntityRef]
    ) -> Mapping[tuple[str, str], Sequence[Outline]]:
        """The same of each of the entities, and maybe of others; there may be none where there is nothing."""

    def grants_to(self, organization_id: str, entity: EntityRef, grantee_ids: Collection[str]) -> Sequence[GrantRow]:
        """Live grants on the entity to grantees with these ids."""

    def grants_to_each(
        self, organization_id: str, entities: Sequence[EntityRef], grantee_ids: Collection[str]
    ) -> Sequence[Sequence[GrantRow]]:
        """The same for each of the entities, none of them twice, in their order."""

    def glance(self, organization_id: str, user_id: str, entity: EntityRef) -> Glance:
        """All of one state, in a question that is no part of a reading; a negative revision where it did not answer."""

    def glance_at_groups(
        self, organization_id: str, department_ids: Collection[str], role_ids: Collection[str]
    ) -> GlanceAtGroups:
        """In the same way the revision, and what `departments` and `roles` have."""

    def glance_at_outlines(
        self, organization_id: str, entities: Collection[EntityRef]
    ) -> tuple[int, Mapping[tuple[str, str], Sequence[Outline]]]:
        """In the same way the revision, and what `outlines` has."""

    def glance_at_grants(
        self, organization_id: str, entities: Sequence[EntityRef], grantee_ids: Collection[str]
    ) -> tuple[int, Sequence[Sequence[GrantRow]]]:
        """In the same way the revision, and what `grants_to` has for a few grantees on each of up to `MAX_GLANCED`
        entities, in their order."""

    def grants_on(
        self, organization_id: str, entities: Sequence[EntityRef], *, limit: int
    ) -> Sequence[Sequence[GrantRow]]:
        """Live grants on each of the entities, in their order: at most `limit`, in no promised order."""

    def given_to(self, organization_id: str, principal_ids: Collection[str]) -> Sequence[GivenRow]:
        """What principals with these ids are given, of whatever type they are, in no promised order."""

    def edges_below(self, organization_id: str, container_ids: Collection[str]) -> Sequence[EdgeRow]:
        """Every edge downwards from the entities with these ids, at any depth, each once."""

    def active_entities(self, organization_id: str, *, only_open: bool) -> Sequence[tuple[str, str]]:
        """Types and ids of active entities: of all, or of those that are open to every member."""

    def departments_below(self, organization_id: str, department_ids: Collection[str]) -> Sequence[tuple[str, str]]:
        """Each of these departments that is there, with itself and each one below it."""

    def people_in(self, organization_id: str, department_ids: Collection[str]) -> Sequence[tuple[str, str]]:
        """Each of these departments with each active member who joined it."""

    def people_with(self, organization_id: str, role_ids: Collection[str]) -> Sequence[tuple[str, str]]:
        """Each of these roles with each active member to whom it is assigned."""

    def people(self, organization_id: str, *, only_active: bool) -> Sequence[tuple[str]]:
        """Members."""

    def active_among(self, organization_id: str, user_ids: Collection[str]) -> Sequence[tuple[str]]:
        """Those of the users who are active members."""

    def capabilities(self, organization_id: str) -> Sequence[tuple[str, str]]:
        """Each role with its capabilities as JSON."""

    def close(self) -> None:
        """Release the connection."""


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
