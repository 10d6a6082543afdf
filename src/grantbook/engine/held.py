"""Facts as the cache holds them: no more than decides, in the form in which deciding is cheapest.

Whom a grant names is one text, "user:usr_1", since a text knows its hash; a level is its rung on the ladder, from 0.
The answers equal `model.resolution`, which a law of the tests states for every store and size of the cache.
"""

from typing import Final

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
    """Whom a user counts as. One whom the organization does not know is held too, as that."""

    id: str
    name: str
    is_known: bool
    is_active: bool
    who: frozenset[str]
    overriding: tuple[str, ...]
    """Roles that override all permissions."""


class HeldEntity(msgspec.Struct):
    """An entity with its grants; one that is not there is held too, as that.

    `grants` says None where it is known that there is no grant; what it does not mention is known only if `is_whole`.
    `holders` is what contains it, itself first, each with its chain; good while `shape` is that of the organization.
    All of them are whole where `settled` is that too. `is_plain`: whole, and nothing contains it.
    `sources` are all whom it is owned by, open to, listed for or granted to, except users whom a grant names, and maybe
    more; None where they are too many to go through.
    """

    ref: EntityRef
    kind: EntityType
    is_bound: bool
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
    entity = holders[0][0]
    if not entity.admits(user):
        return NO_ACCESS
    kind = entity.kind
    found = [
        Path(
            type="direct" if source.type == "user" else source.type,
            access_level=kind.levels[grant.rank],
            source=source,
            grant_id=grant.id,
            through=chain,
        )
        for holder, chain in holders
        for name in holder.grants.keys() & user.who
        for grant in [holder.grants[name]]
        if grant is not None and grant.starts_at <= at < grant.expires_at
        for source in [_principal(name)]
    ]
    if user.is_active:
        found += _standing_paths(user, entity, organization_id)
    ordered = in_order(kind, found)
    return Access(level=ordered[0].access_level, paths=ordered) if ordered else NO_ACCESS


def _standing_paths(user: HeldUser, entity: HeldEntity, organization_id: str) -> list[Path]:
    kind = entity.kind
    found: list[Path] = []
    if entity.owner in user.who:
        level = kind.levels[entity.owner_rank]
        found.append(Path(type="owner", access_level=level, source=_principal(entity.owner)))
    if entity.is_open:
        source = Principal("organization", organization_id)
        found.append(Path(type="access_mode", access_level=kind.lowest_level, source=source))
    for target in entity.targets & user.who:
        found.append(Path(type="access_mode", access_level=kind.lowest_level, source=_principal(target)))
    for role_id in user.overriding:
        found.append(Path(type="capability", access_level=kind.top_level, source=Principal("role", role_id)))
    return found


def _principal(name: str) -> Principal:
    type_, _, id_ = name.partition(":")
    return Principal(type_, id_)
