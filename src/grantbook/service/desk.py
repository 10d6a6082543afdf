"""Where a caller meets the book: opens readings and writings of one organization."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property, partial, wraps
from typing import Final, ParamSpec, TypeVar

from grantbook.engine.facts_cache import FactCache
from grantbook.model.errors import RevisionNotReached, TransactionAborted, ValidationFailed
from grantbook.model.facts import Grant, Member, Organization, Role, RoleAssignment
from grantbook.model.governance import CAPABILITIES
from grantbook.model.ids import RandomBytes, new_id
from grantbook.model.instants import Clock, Instant
from grantbook.model.limits import DEFAULT_CACHE_MB, MEBIBYTE
from grantbook.model.vocabulary import Vocabulary
from grantbook.service.key_uses import KeyUses
from grantbook.service.remembered import Recollection, Remembered
from grantbook.store.port import Author, F, Snapshot, Store, Transaction, Writable

SYSTEM_ID = "system"
_FEW = 4
"""So few facts are looked up one by one, and remembered so."""
_MORE_TRIES: Final = 2
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks. The system is the application that embeds the library, or the operator at the command line.

    `key_line_id` stays the same when the key is rotated; `key_expires_at` is the end of the key, if it has one.
    """

    user_id: str
    is_system: bool = False
    api_key_id: str | None = None
    key_line_id: str | None = None
    key_expires_at: Instant | None = None
    scopes: tuple[str, ...] | None = None
    trace_id: str | None = None


SYSTEM = Caller(user_id=SYSTEM_ID, is_system=True)


class Reading:
    """One question: one caller, one state of the book, one point in time.

    `rights` is the reading in which the caller's own rights are looked up: itself, or for a question about the past
    the present one. Who may ask is decided now, whatever it was then.
    """

    def __init__(
        self, desk: "Desk", snapshot: Snapshot, caller: Caller, at: Instant, rights: "Reading | None" = None
    ) -> None:
        self.rights = rights or self
        self.snapshot = snapshot
        self.caller = caller
        self.vocabulary = desk.vocabulary
        self.at = at
        self._store = desk.store
        self._key_uses = desk.key_uses

    @property
    def organization_id(self) -> str:
        return self.snapshot.organization_id

    def find(self, kind: type[F], *key: str) -> F | None:
        """The fact with that key, or None."""
        return self.snapshot.find(kind, *key)

    def find_each(self, kind: type[F], ids: Collection[str]) -> list[F]:
        """The facts with these ids that are there, of a kind whose key is an id."""
        return self.snapshot.select(kind, {kind.KEY[0]: set(ids)}) if ids else []

    def assigned_to(self, user_id: str) -> list[RoleAssignment]:
        """The roles that a user has."""
        return self.snapshot.select(RoleAssignment, {"user_id": user_id})

    def known_users(self, user_ids: Collection[str]) -> set[str]:
        """Those whom this organization knows: its members, and whom its grants name."""
        wanted = set(user_ids)
        members = {member.user_id for member in self.snapshot.select(Member, {"user_id": wanted})}
        if members == wanted:
            return members
        named = self.snapshot.select(Grant, {"grantee_id": wanted - members, "grantee_type": "user"})
        return members | {grant.grantee_id for grant in named}

    def users_anywhere(self, user_ids: Collection[str]) -> set[str]:
        """Those who are, or were, a member of any organization: for grants that anybody can be given."""
        return self._store.known_users(user_ids)

    def revision_at(self, at: Instant) -> int:
        """The newest revision made at or before a time; 0 if there was none."""
        return self._store.revision_at(self.organization_id, at)

    def last_uses(self, key_ids: Collection[str]) -> dict[str, Instant]:
        """When these keys were last used; what other processes saw in the last minute may be missing."""
        written = self._store.key_uses(self.organization_id, key_ids)
        noted = self._key_uses.of(self.organization_id, key_ids)
        return {id_: max(written.get(id_, 0), noted.get(id_, 0)) for id_ in written.keys() | noted.keys()}

    @cached_property
    def is_deleted(self) -> bool:
        """Whether the organization was deleted, now: then nobody is a member."""
        if self.rights is not self:
            return self.rights.is_deleted
        organization = self.find(Organization, self.organization_id)
        return organization is not None and organization.is_deleted

    @cached_property
    def membership(self) -> Member | None:
        """The caller's own membership, in whatever state; None for the system and for outsiders."""
        if self.rights is not self:
            return self.rights.membership
        if self.caller.is_system or self.is_deleted:
            return None
        return self.find(Member, self.caller.user_id)

    @cached_property
    def role_ids(self) -> frozenset[str]:
        """Roles of the caller, as an active member."""
        if self.rights is not self:
            return self.rights.role_ids
        if self.membership is None or not self.membership.is_active:
            return frozenset()
        return frozenset(fact.role_id for fact in self.assigned_to(self.caller.user_id))

    @cached_property
    def capabilities(self) -> frozenset[str]:
        """What the caller may do; the system may do everything."""
        if self.rights is not self:
            return self.rights.capabilities
        if self.caller.is_system:
            return frozenset(CAPABILITIES)
        if not self.role_ids:
            return frozenset()
        roles = self.find_each(Role, self.role_ids)
        return frozenset(key for role in roles for key in role.capabilities)


class Writing(Reading):
    """One change in the making. `at` is the time that everything in it carries."""

    def __init__(self, desk: "Desk", transaction: Transaction, caller: Caller) -> None:
        super().__init__(desk, transaction, caller, transaction.now)
        self.book = transaction
        self.random = desk.random
        self.recollection = Recollection(desk.remembered, transaction)

    def find(self, kind: type[F], *key: str) -> F | None:
        if kind is Grant:  # which is what those before this one changed
            return super().find(kind, *key)
        return self.recollection.answer((kind, *key), lambda: self.snapshot.find(kind, *key))

    def find_each(self, kind: type[F], ids: Collection[str]) -> list[F]:
        if len(ids) > _FEW:
            return super().find_each(kind, ids)
        found = (self.find(kind, id_) for id_ in set(ids))
        return [fact for fact in found if fact is not None]

    def assigned_to(self, user_id: str) -> list[RoleAssignment]:
        find = partial(super().assigned_to, user_id)
        return self.recollection.answer((RoleAssignment, "of", user_id), find)

    def new_id(self, prefix: str) -> str:
        return new_id(prefix, self.random)


class Desk:
    """What every use-case needs, wired once by `bootstrap`."""

    def __init__(
        self,
        store: Store,
        vocabulary: Vocabulary,
        clock: Clock,
        random: RandomBytes,
        *,
        cache_bytes: int = DEFAULT_CACHE_MB * MEBIBYTE,
    ) -> None:
        self.store = store
        self.facts = FactCache(store, vocabulary, cache_bytes)
        self.vocabulary = vocabulary
        self.clock = clock
        self.random = random
        self.key_uses = KeyUses()
        self.remembered = Remembered()

    def close(self) -> None:
        """Release the database."""
        self.facts.close()
        self.store.close()

    @contextmanager
    def reading(
        self,
        organization_id: str,
        caller: Caller,
        *,
        as_of: Instant | None = None,
        at_least: str | None = None,
        is_full: bool = True,
    ) -> Iterator[Reading]:
        """The newest state, or the one of a past time. Raises RevisionNotReached(revision) for a token to come.

        Where it is not full, a replica of the store may answer: see `Store.snapshot`.
        """
        wanted = 0 if at_least is None else revision_of(organization_id, at_least)
        may_lag = None if is_full else wanted
        with self.store.snapshot(organization_id, at_least=may_lag) as snapshot:
            if snapshot.revision < wanted:
                raise RevisionNotReached(revision=wanted)
            present = Reading(self, snapshot, caller, self.clock())
            if as_of is None:
                yield present
                return
            revision = self.store.revision_at(organization_id, as_of)
            with self.store.snapshot(organization_id, revision=revision, at_least=may_lag) as past:
                yield Reading(self, past, caller, as_of, rights=present)

    @contextmanager
    def writing(
        self, organization_id: str, caller: Caller, *, reason: str | None = None, within: Writable | None = None
    ) -> Iterator[Writing]:
        """A transaction: leaving the block commits it, an exception undoes it. It may lie `within` others."""
        author = Author(actor_id=caller.user_id, api_key_id=caller.api_key_id, trace_id=caller.trace_id, reason=reason)
        with (within or self.store).transaction(organization_id, author) as transaction:
            writing = Writing(self, transaction, caller)
            yield writing
            writing.recollection.leave()


def again_if_aborted(change: Callable[P, R]) -> Callable[P, R]:
    """The change, made again where the database ends its transaction for the sake of another, a few times."""

    @wraps(change)
    def changed(*args: P.args, **kwargs: P.kwargs) -> R:
        for _ in range(_MORE_TRIES):
            with suppress(TransactionAborted):
                return change(*args, **kwargs)
        return change(*args, **kwargs)

    return changed


def token_of(organization_id: str, revision: int) -> str:
    """The consistency token of a revision; opaque to clients."""
    return f"{organization_id}.{revision}"


def revision_of(organization_id: str, token: str) -> int:
    """The revision that a token of this organization names. Raises ValidationFailed(at_least)."""
    owner, _, revision = token.rpartition(".")
    if owner != organization_id or not (revision.isascii() and revision.isdecimal()) or len(revision) > 18:
        raise ValidationFailed("at_least", "at_least must be a Grantbook-Revision token of this organization")
    return int(revision)
