"""Facts as the cache holds them: no more than decides, in the form in which deciding is cheapest.

Whom a grant names is one text, "user:usr_1", since a text knows its hash; a level is its rung on the ladder, from 0.
The answers equal `model.resolution`, which a law of the tests states for every store and size of the cache.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from typing import Any, Final

import msgspec

from grantbook.model.facts import EntityRef, Principal
from grantbook.model.instants import Instant
from grantbook.model.resolution import NO_ACCESS, Access, Path, in_order
from grantbook.model.vocabulary import EntityType

NONE: Final = -1
"""The rung of somebody without access."""
FOREVER: Final = 2**63 - 1
_MAX_SOURCES: Final = 32
Chain = tuple[EntityRef, ...]


def name_of(type_: str, id_: str) -> str:
    """A principal as one text."""
    return f"{type_}:{id_}"


class HeldGrant(msgspec.Struct, frozen=True, gc=False):
    """A grant, as far as it decides; always in force from 0 until FOREVER where it has no window."""

    rank: int
    id: str
    starts_at: Instant
    expires_at: Instant


class HeldUser(msgspec.Struct, frozen=True, gc=False):
    """Whom a user counts as, by name and, in any order, by `ids` alone. One whom the organization does not know is
    held too, as that."""

    id: str
    name: str
    is_known: bool
    is_active: bool
    who: frozenset[str]
    ids: tuple[str, ...]
    overriding: tuple[str, ...]
    """Roles that override all permissions."""


class HeldEntity(msgspec.Struct):
    """An entity with its grants; one that is not there is held too, as that.

    `grants` says None where it is known that there is no grant; what it does not mention is known only if `is_whole`.
    `holders` is what contains it, itself first, each with its chain; good while `shape` is that of the organization.
    All of them are whole where `settled` is that too. `is_plain`: whole, and nothing contains it. `moments` are
    those at which a window of its grants begins or ends, and maybe more.
    `answers` are rungs of users, good from `since` until `until`, while nothing changed since `answered`.
    `sources` are all whom it is owned by, open to, listed for or granted to, except users whom a grant names, and maybe
    more; None where they are too many to go through.
    """

    ref: EntityRef
    kind: EntityType
    is_bound: bool
    name: str = ""
    is_there: bool = False
    is_active: bool = False
    owner: str = ""
    owner_rank: int = NONE
    is_open: bool = False
    targets: frozenset[str] = frozenset()
    containers: tuple[EntityRef, ...] = ()
    sources: tuple[str, ...] | None = ()
    grants: dict[str, HeldGrant | None] = {}
    is_whole: bool = False
    is_plain: bool = False
    is_wide: bool = False
    was_probed: bool = False
    moments: frozenset[Instant] = frozenset()
    answers: dict[str, int] = {}
    answered: int = -1
    since: Instant = 0
    until: Instant = 0
    holders: "Holders" = ()
    shape: int = -1
    settled: int = -1

    def add_source(self, name: str) -> None:
        """One more of them."""
        if self.sources is not None and name not in self.sources:
            self.sources = (*self.sources, name) if len(self.sources) < _MAX_SOURCES else None

    def admits(self, user: HeldUser) -> bool:
        """Whether a grant could give the user anything."""
        return self.is_active and (user.is_active or not self.is_bound)

    def granted_rank(self, user: HeldUser, at: Instant) -> int:
        """The highest rung that grants on this very entity give."""
        best = NONE
        grants = self.grants
        for name in grants.keys() & user.who:
            grant = grants[name]
            if grant is not None and grant.rank > best and grant.starts_at <= at < grant.expires_at:
                best = grant.rank
        return best

    def lacks_grants_to(self, user: HeldUser) -> bool:
        """Whether a grant to the user could be there that is not held."""
        return not self.is_whole and not self.grants.keys() >= user.who


Holders = tuple[tuple[HeldEntity, Chain], ...]
Ids = dict[str, dict[str, int]]
"""Ids by the type of entity, each with a rung."""


class Timed(msgspec.Struct, frozen=True):
    """A grant with a window, and what it leads to while it is in force: by type, with the entity that it is on."""

    grant: HeldGrant
    reached: dict[str, tuple[str, ...]]

    def is_in_force(self, at: Instant) -> bool:
        return self.grant.starts_at <= at < self.grant.expires_at


class HeldPrincipal(msgspec.Struct, frozen=True):
    """What somebody is given, whom grants can name: only what is active. It never changes; another takes its place.

    `granted` has the grants without a window, by type and id of the entity, `timed` the others; `below` what lies
    within what is granted, at the highest rung; `standing` what is reached without a grant, by active members.
    `idle` has ids of what would be reached if it, or what contains it, were there and active.
    """

    granted: dict[str, dict[str, HeldGrant]]
    below: Ids
    timed: dict[EntityRef, Timed]
    standing: Ids
    idle: frozenset[str]

    def leads_to(self, entity_ids: set[str]) -> bool:
        """Whether a change of what has one of the ids, whatever its type, may change what grants and listings give."""
        parts: tuple[Mapping[str, Any], ...] = (*self.granted.values(), *self.below.values(), *self.standing.values())
        return (
            not self.idle.isdisjoint(entity_ids)
            or any(not ids.keys().isdisjoint(entity_ids) for ids in parts)
            or any(not entity_ids.isdisjoint(ids) for each in self.timed.values() for ids in each.reached.values())
        )

    @property
    def size(self) -> int:
        """About how many entities it is given, of which some may be counted twice."""
        parts: tuple[Mapping[str, Any], ...] = (*self.granted.values(), *self.below.values(), *self.standing.values())
        return sum(map(len, parts)) + sum(len(ids) for each in self.timed.values() for ids in each.reached.values())

    def grants(self, entity_type: str, at: Instant) -> Iterator[Mapping[str, HeldGrant]]:
        """The grants in force on entities of the type, by id: once without a window, once with one."""
        yield self.granted.get(entity_type, {})
        yield {
            ref.id: each.grant for ref, each in self.timed.items() if ref.type == entity_type and each.is_in_force(at)
        }

    def reached(self, entity_type: str, lowest: int, at: Instant, *, standing: bool) -> Iterator[Iterable[str]]:
        """Ids of the type that are reached at the rung `lowest` or above, each any number of times."""
        granted, below = self.granted.get(entity_type), self.below.get(entity_type)
        if granted:
            yield granted if lowest <= 0 else [id_ for id_, grant in granted.items() if grant.rank >= lowest]
        for ids in (below, self.standing.get(entity_type) if standing else None):
            if ids:
                yield ids if lowest <= 0 else [id_ for id_, rank in ids.items() if rank >= lowest]
        for each in self.timed.values():
            if each.grant.rank >= lowest and each.is_in_force(at):
                yield each.reached.get(entity_type, ())


Sources = Mapping[str, Sequence[tuple[Principal, Mapping[str, HeldGrant]]]]
"""Grants to those whom a user counts as, by the type of entity, then by whom, then by id."""
Granted = Mapping[EntityRef, Sequence[tuple[Principal, HeldGrant]]]


def rank_of(user: HeldUser, entity: HeldEntity, at: Instant) -> int:
    """The rung of the user's highest level, for an entity that nothing contains."""
    if not entity.is_active or not (user.is_active or not entity.is_bound):
        return NONE
    who, grants = user.who, entity.grants
    best = NONE
    for name in grants.keys() & who:
        grant = grants[name]
        if grant is not None and grant.rank > best and grant.starts_at <= at < grant.expires_at:
            best = grant.rank
    if not user.is_active:
        return best
    if user.overriding:
        return len(entity.kind.levels) - 1
    if best < entity.owner_rank and entity.owner in who:
        return entity.owner_rank
    if best < 0 and (entity.is_open or not entity.targets.isdisjoint(who)):
        return 0
    return best


def rank_within(user: HeldUser, holders: Holders, at: Instant) -> int:
    """The rung of the user's highest level, for the first of the holders."""
    entity = holders[0][0]
    best = rank_of(user, entity, at)
    if len(holders) > 1 and entity.admits(user):
        for holder, _ in holders[1:]:
            best = max(best, holder.granted_rank(user, at))
    return best


def access_of(user: HeldUser, holders: Holders, organization_id: str, at: Instant) -> Access:
    """The level with every path, as `resolution.access_of`, for the first of the holders."""
    kind = holders[0][0].kind
    granted = [
        grant_path(principal_of(name), kind.levels[grant.rank], grant.id, chain)
        for holder, chain in holders
        for name in holder.grants.keys() & user.who
        for grant in [holder.grants[name]]
        if grant is not None and grant.starts_at <= at < grant.expires_at
    ]
    return _access(user, holders[0][0], granted, organization_id)


def grants_on(refs: Iterable[EntityRef], sources: Sources) -> Granted:
    """The grants on each of the entities that has any, by all the sources."""
    ids: defaultdict[str, set[str]] = defaultdict(set)
    for ref in refs:
        ids[ref.type].add(ref.id)
    found: defaultdict[EntityRef, list[tuple[Principal, HeldGrant]]] = defaultdict(list)
    for type_, wanted in ids.items():
        for source, grants in sources.get(type_, ()):
            for id_ in grants.keys() & wanted:  # goes through the shorter of the two
                found[EntityRef(type_, id_)].append((source, grants[id_]))
    return found


def access_by(user: HeldUser, holders: Holders, granted: Granted, organization_id: str) -> Access:
    """As `access_of`, by the grants that are held of those whom the user counts as, and not of the entities."""
    levels = holders[0][0].kind.levels
    found = [
        grant_path(source, levels[grant.rank], grant.id, chain)
        for holder, chain in holders
        if holder.ref in granted
        for source, grant in granted[holder.ref]
    ]
    return _access(user, holders[0][0], found, organization_id)


def _access(user: HeldUser, entity: HeldEntity, granted: list[Path], organization_id: str) -> Access:
    if not entity.admits(user):
        return NO_ACCESS
    if user.is_active:
        granted += standing_paths(entity, user.who, user.overriding, organization_id)
    return access_with(entity.kind, granted)


def access_with(kind: EntityType, found: list[Path]) -> Access:
    """The access that these paths give."""
    ordered = in_order(kind, found)
    return Access(level=ordered[0].access_level, paths=ordered) if ordered else NO_ACCESS


def grant_path(source: Principal, access_level: str, grant_id: str, chain: Chain) -> Path:
    """The path by a grant to `source`."""
    return Path(
        type="direct" if source.type == "user" else source.type,
        access_level=access_level,
        source=source,
        grant_id=grant_id,
        through=chain,
    )


def standing_paths(entity: HeldEntity, who: Set[str], overriding: Iterable[str], organization_id: str) -> list[Path]:
    """What needs no grant, for active members who count as these, with these roles that override all permissions."""
    kind = entity.kind
    found: list[Path] = []
    if entity.owner in who:
        level = kind.levels[entity.owner_rank]
        found.append(Path(type="owner", access_level=level, source=principal_of(entity.owner)))
    if entity.is_open:
        source = Principal("organization", organization_id)
        found.append(Path(type="access_mode", access_level=kind.lowest_level, source=source))
    for target in entity.targets & who:
        found.append(Path(type="access_mode", access_level=kind.lowest_level, source=principal_of(target)))
    for role_id in overriding:
        found.append(Path(type="capability", access_level=kind.top_level, source=Principal("role", role_id)))
    return found


def principal_of(name: str) -> Principal:
    """The principal that is one text."""
    type_, _, id_ = name.partition(":")
    return Principal(type_, id_)
