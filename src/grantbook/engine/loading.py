"""The facts that a question needs: never more queries for more facts."""

from collections.abc import Collection, Iterable
from dataclasses import replace

from grantbook.model.facts import (
    EVERYONE,
    AccessTarget,
    Department,
    DepartmentMember,
    Entity,
    EntityRef,
    Fact,
    Facts,
    Grant,
    Member,
    Organization,
    Principal,
    Role,
    RoleAssignment,
)
from grantbook.model.resolution import OVERRIDE, principals
from grantbook.model.vocabulary import OPEN_MODES, Vocabulary
from grantbook.store.port import Snapshot, Where


def within(vocabulary: Vocabulary, facts: Facts) -> Facts:
    """The facts without entities of types that the vocabulary does not have any more, and without those in others that
    it does not let contain them any more: they are kept, and give nothing."""
    known = {ref: entity for ref, entity in facts.entities.items() if ref.type in vocabulary.types}
    containers_of = {
        ref: tuple(each for each in containers if vocabulary.may_contain(each.type, ref.type))
        for ref, containers in facts.containers_of.items()
    }
    return replace(facts, entities=known, containers_of=containers_of)


def for_users_and_entities(snapshot: Snapshot, user_ids: Collection[str], entities: Collection[EntityRef]) -> Facts:
    """Everything that decides about these users on these entities."""
    people = _people(snapshot, {"user_id": set(user_ids)})
    edges = snapshot.containers_of(entities)
    holders = {*entities, *(edge.container for edge in edges)}
    holder_ids = {holder.id for holder in holders}
    who = _principals(snapshot.organization_id, people, user_ids)
    grants = snapshot.select(Grant, {"entity_id": holder_ids, "grantee_id": {principal.id for principal in who}})
    things = snapshot.select(Entity, {"id": holder_ids})
    targets = snapshot.select(AccessTarget, {"entity_id": {entity.id for entity in entities}})
    return Facts.of(snapshot.organization_id, [*people, *edges, *grants, *things, *targets])


def for_user(snapshot: Snapshot, user_id: str, entity_type: str | None = None) -> Facts:
    """Everything that decides what one user reaches: no other entities of the type can be in the answer."""
    people = _people(snapshot, {"user_id": user_id})
    who = _principals(snapshot.organization_id, people, [user_id])
    ids = {principal.id for principal in who}
    grants = snapshot.select(Grant, {"grantee_id": ids})
    edges = snapshot.contents_of({grant.entity for grant in grants})
    targets = snapshot.select(AccessTarget, {"target_id": ids})
    reached = {
        *(grant.entity_id for grant in grants),
        *(edge.member_id for edge in edges),
        *(target.entity_id for target in targets),
    }
    of_type: Where = {} if entity_type is None else {"entity_type": entity_type}
    if any(isinstance(fact, Role) and OVERRIDE in fact.capabilities for fact in people):
        wanted: list[Where] = [of_type, {"id": reached}]
    else:
        wanted = [
            {"id": reached},
            {"owner_id": ids, **of_type},
            {"access_mode": OPEN_MODES, **of_type},
        ]
    things = snapshot.select(Entity, *wanted)
    return Facts.of(snapshot.organization_id, [*people, *grants, *edges, *targets, *things])


def for_entity(snapshot: Snapshot, entity: EntityRef) -> Facts:
    """Everything that decides who reaches one entity: only members, and users whom the grants name, can be."""
    edges = snapshot.containers_of([entity])
    holders = {entity, *(edge.container for edge in edges)}
    things = snapshot.select(Entity, {"id": {holder.id for holder in holders}})
    grants = [
        grant
        for grant in snapshot.select(Grant, {"entity_id": {holder.id for holder in holders}})
        if grant.entity in holders
    ]
    targets = snapshot.select(AccessTarget, {"entity_id": entity.id, "entity_type": entity.type})
    roles = snapshot.select(Role)
    named = {
        *(grant.grantee for grant in grants),
        *(target.target for target in targets),
        *(thing.owner for thing in things if thing.ref == entity),
        *(Principal("role", role.id) for role in roles if OVERRIDE in role.capabilities),
    }
    shown_to_all = any(thing.ref == entity and thing.access_mode in OPEN_MODES for thing in things)
    if shown_to_all or EVERYONE in named or any(principal.type == "organization" for principal in named):
        people = _people(snapshot)
    else:
        people = _people(snapshot, {"user_id": _named_users(snapshot, named)})
    return Facts.of(snapshot.organization_id, [*people, *edges, *grants, *targets, *things])


def _named_users(snapshot: Snapshot, named: Collection[Principal]) -> set[str]:
    users = {principal.id for principal in named if principal.type == "user"}
    departments = {principal.id for principal in named if principal.type == "department"}
    if departments:
        below = {department.id for department in snapshot.departments_below(departments)}
        users |= {joined.user_id for joined in snapshot.select(DepartmentMember, {"department_id": below})}
    roles = {principal.id for principal in named if principal.type == "role"}
    if roles:
        users |= {assigned.user_id for assigned in snapshot.select(RoleAssignment, {"role_id": roles})}
    return users


def _people(snapshot: Snapshot, *where: Where) -> list[Fact]:
    """Members, what they joined with the departments above, their roles; and the organization, which may be deleted."""
    joined = snapshot.select(DepartmentMember, *where)
    assigned = snapshot.select(RoleAssignment, *where)
    departments: Iterable[Department] = snapshot.departments_above({fact.department_id for fact in joined})
    roles = snapshot.select(Role, {"id": {fact.role_id for fact in assigned}}) if assigned else []
    organization = snapshot.select(Organization)
    return [*organization, *snapshot.select(Member, *where), *joined, *departments, *assigned, *roles]


def _principals(organization_id: str, people: list[Fact], user_ids: Iterable[str]) -> set[Principal]:
    facts = Facts.of(organization_id, people)
    return {principal for user_id in user_ids for principal in principals(facts, user_id)}
