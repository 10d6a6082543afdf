"""Effective access: the one definition that everything else must equal.

    principals(u)      who the user counts as
    reach(e)           the entity itself and everything that contains it, transitively
    paths(u, e, t)     every reason why u has access to e at time t
    access(u, e, t)    the highest level among the paths, with all the paths; or none

Access is a union: there are no negative grants, so adding a grant never takes access away and the paths are
a complete explanation. A grant of a type, or at a level, that the vocabulary lost gives nothing. Time is an
argument. Whoever calls vouches that the user is known: an unknown one would count as an outsider, whom `all`
includes.
"""

from collections.abc import Mapping
from typing import Final, NoReturn

import msgspec

from grantbook.model.errors import LimitExceeded
from grantbook.model.facts import EVERYONE, EntityRef, Facts, Principal
from grantbook.model.instants import Instant
from grantbook.model.limits import MAX_CONTAINMENT_DEPTH, MAX_DEPARTMENT_DEPTH
from grantbook.model.vocabulary import LISTED_MODES, EntityType, Vocabulary

OVERRIDE: Final = "override_all_permissions"
PATH_TYPES: Final = (
    "direct", "department", "role", "organization", "all", "owner", "access_mode", "capability",
)  # fmt: skip


class Path(msgspec.Struct, frozen=True, kw_only=True):
    """One reason for access: sufficient alone for its level.

    `source` is whom the reason names (grantee, owner, listed target, role); `through` is the chain of containers
    from the one that the grant is on down to the one next to the entity, empty for a grant on the entity itself.
    """

    type: str
    access_level: str
    source: Principal
    grant_id: str | None = None
    through: tuple[EntityRef, ...] = ()


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """The highest level and every path, highest first; `level` is None when there is none."""

    level: str | None
    paths: tuple[Path, ...]

    def __bool__(self) -> NoReturn:
        raise TypeError("an Access has no truth value: compare .level, or ask for a Decision and read .allowed")


NO_ACCESS: Final = Access(level=None, paths=())


def is_active(facts: Facts, user_id: str) -> bool:
    """Whether the user is an active member of the organization."""
    member = facts.members.get(user_id)
    return member is not None and member.is_active


def principals(facts: Facts, user_id: str) -> frozenset[Principal]:
    """Everything a grant may name to mean this user, with each department above the ones joined."""
    found = {Principal("user", user_id), EVERYONE}
    if is_active(facts, user_id):
        found.add(Principal("organization", facts.organization_id))
        found.update(Principal("role", role_id) for role_id in facts.roles_of.get(user_id, ()))
        for department_id in facts.departments_of.get(user_id, ()):
            found.update(Principal("department", above) for above in line_of(facts, department_id))
    return frozenset(found)


def line_of(facts: Facts, department_id: str) -> list[str]:
    """The department and each one above it, up to the root."""
    line: list[str] = []
    current: str | None = department_id
    while current is not None and current in facts.departments and current not in line:
        line.append(current)
        if len(line) > MAX_DEPARTMENT_DEPTH:
            raise LimitExceeded(limit="department_depth", maximum=MAX_DEPARTMENT_DEPTH)
        current = facts.departments[current].parent_id
    return line


def reach(facts: Facts, entity: EntityRef) -> Mapping[EntityRef, tuple[EntityRef, ...]]:
    """The entity and its active containers at any depth, each with its shortest chain (ties: smallest ids)."""
    chains: dict[EntityRef, tuple[EntityRef, ...]] = {entity: ()}
    frontier = [entity]
    for _ in range(MAX_CONTAINMENT_DEPTH + 1):
        nearer, frontier = frontier, []
        for inner in nearer:
            for container in sorted(facts.containers_of.get(inner, ())):
                known = facts.entities.get(container)
                if container not in chains and known is not None and known.is_active:
                    chains[container] = (container, *chains[inner])
                    frontier.append(container)
        if not frontier:
            return chains
    raise LimitExceeded(limit="containment_depth", maximum=MAX_CONTAINMENT_DEPTH)


def paths(facts: Facts, vocabulary: Vocabulary, user_id: str, entity: EntityRef, at: Instant) -> tuple[Path, ...]:
    """Every reason, highest level first, then in the order of PATH_TYPES, source and grant."""
    return _paths(facts, vocabulary.entity_type(entity.type), user_id, principals(facts, user_id), entity, at)


def access(facts: Facts, vocabulary: Vocabulary, user_id: str, entity: EntityRef, at: Instant) -> Access:
    """The highest level among the paths, with all of them."""
    return access_of(facts, vocabulary, user_id, principals(facts, user_id), entity, at)


def access_of(
    facts: Facts, vocabulary: Vocabulary, user_id: str, who: frozenset[Principal], entity: EntityRef, at: Instant
) -> Access:
    """`access` for one user and many entities: `who` is `principals(facts, user_id)`, worked out once."""
    found = _paths(facts, vocabulary.entity_type(entity.type), user_id, who, entity, at)
    return Access(level=found[0].access_level, paths=found) if found else NO_ACCESS


def _paths(
    facts: Facts, kind: EntityType, user_id: str, who: frozenset[Principal], entity: EntityRef, at: Instant
) -> tuple[Path, ...]:
    known = facts.entities.get(entity)
    if facts.is_deleted or known is None or not known.is_active:
        return ()
    active = is_active(facts, user_id)
    if kind.is_bound and not active:
        return ()
    found = [
        Path(
            type="direct" if grant.grantee_type == "user" else grant.grantee_type,
            access_level=grant.access_level,
            source=grant.grantee,
            grant_id=grant.id,
            through=chain,
        )
        for holder, chain in reach(facts, entity).items()
        for grant in facts.grants_on.get(holder, ())
        if grant.grantee in who and grant.is_in_force(at) and grant.access_level in kind.ranks
    ]
    if active:
        found += _standing_paths(facts, kind, user_id, who, entity)
    return in_order(kind, found)


def _standing_paths(
    facts: Facts, kind: EntityType, user_id: str, who: frozenset[Principal], entity: EntityRef
) -> list[Path]:
    """What needs no grant: ownership, the entity's own visibility, a role that overrides."""
    known = facts.entities[entity]
    found: list[Path] = []
    if known.owner in who:
        found.append(Path(type="owner", access_level=kind.owner_levels[known.owner_type], source=known.owner))
    if known.access_mode in LISTED_MODES:
        found.extend(
            Path(type="access_mode", access_level=kind.lowest_level, source=target)
            for target in facts.targets_of.get(entity, ())
            if target in who
        )
    else:
        source = Principal("organization", facts.organization_id)
        found.append(Path(type="access_mode", access_level=kind.lowest_level, source=source))
    for role_id in facts.roles_of.get(user_id, ()):
        role = facts.roles.get(role_id)
        if role is not None and OVERRIDE in role.capabilities:
            found.append(Path(type="capability", access_level=kind.top_level, source=Principal("role", role_id)))
    return found


def in_order(kind: EntityType, found: list[Path]) -> tuple[Path, ...]:
    """Highest level first, then in the order of PATH_TYPES, source and grant."""
    if len(found) > 1:
        found.sort(key=lambda path: _order(kind, path))
    return tuple(found)


def _order(kind: EntityType, path: Path) -> tuple[object, ...]:
    return (-kind.rank(path.access_level), PATH_TYPES.index(path.type), path.source, path.through, path.grant_id or "")
