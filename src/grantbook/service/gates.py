"""The only ways to get at something on a caller's behalf: each returns it, or raises the right error."""

from collections.abc import Collection, Mapping, Sequence

from grantbook.engine import decide, lookup
from grantbook.model.errors import NotFound, OrganizationAccessDenied, PermissionDenied
from grantbook.model.facts import (
    EVERYONE,
    Department,
    Entity,
    EntityRef,
    Fact,
    Member,
    Organization,
    Principal,
    Role,
)
from grantbook.model.governance import MANAGE_ACCESS
from grantbook.model.resolution import OVERRIDE, Access
from grantbook.service.desk import Reading
from grantbook.service.values import valid_id

MANAGERS: Mapping[str, str] = {
    "knowledge_slice": "manage_knowledge_slices",
    "vector_store": "manage_knowledge_slices",
    "assistant": "manage_assistants",
    "rule": "manage_rules",
}
"""By entity type, the capability to see all of it and to change what it is, though not who reaches it."""

PRINCIPAL_KINDS: Mapping[str, type[Fact]] = {
    "user": Member,
    "department": Department,
    "role": Role,
    "organization": Organization,
}


def require_membership(reading: Reading) -> None:
    """Raises OrganizationAccessDenied for everybody but active members and the system, and once it is deleted."""
    if reading.caller.is_system and reading.rights.snapshot.revision > 0 and not reading.is_deleted:
        return
    if reading.membership is None or not reading.membership.is_active:
        raise OrganizationAccessDenied(organization_id=reading.organization_id)


def require_capability(reading: Reading, *any_of: str) -> None:
    """Raises PermissionDenied(capability) unless the caller has one of them."""
    if not reading.capabilities & set(any_of):
        raise PermissionDenied(capability=any_of[0])


def require_holds(reading: Reading, *roles: Role) -> None:
    """Nobody gives, takes, changes or outranks what they lack. Raises PermissionDenied(role_id, capability)."""
    for role in roles:
        if lacking := sorted(set(role.capabilities) - reading.capabilities):
            raise PermissionDenied(role_id=role.id, capability=lacking[0])


def require_no_gain(reading: Reading, user_ids: Collection[str]) -> None:
    """Nobody lets themself into a department or a role, for what is granted to it, without `manage_access_control`.

    `user_ids` come into it. Raises PermissionDenied(capability).
    """
    if reading.caller.user_id in user_ids:
        require_capability(reading, MANAGE_ACCESS)


def find_entity(reading: Reading, ref: EntityRef) -> Entity | None:
    """The entity, archived or not."""
    reading.vocabulary.entity_type(ref.type)
    return reading.find(Entity, ref.type, ref.id)


def get_entity(reading: Reading, ref: EntityRef) -> Entity:
    """The entity, archived or not. Raises NotFound(entity_type, entity_id)."""
    entity = find_entity(reading, ref)
    if entity is None:
        raise NotFound(f"{ref.type} not found", entity_type=ref.type, entity_id=ref.id)
    return entity


def access_of_caller(reading: Reading, ref: EntityRef) -> Access:
    """What the caller has on the entity: the system everything."""
    return accesses_of_caller(reading, [ref])[ref]


def accesses_of_caller(reading: Reading, refs: Collection[EntityRef]) -> Mapping[EntityRef, Access]:
    """What the caller has on each of the entities, with as many queries as for one."""
    if reading.caller.is_system:
        return {ref: Access(level=reading.vocabulary.entity_type(ref.type).top_level, paths=()) for ref in refs}
    if not refs:
        return {}
    rights, user_id = reading.rights, reading.caller.user_id
    found = decide.access_many(rights.snapshot, rights.vocabulary, [(user_id, ref) for ref in refs], rights.at)
    return {ref: found[user_id, ref] for ref in refs}


def has_level(reading: Reading, ref: EntityRef, level: str) -> bool:
    """Whether the caller has at least the level on the entity."""
    return lookup.reaches(reading.vocabulary, ref, access_of_caller(reading, ref), level)


def require_level(reading: Reading, ref: EntityRef, level: str) -> None:
    """Raises PermissionDenied(entity_type, entity_id, access_level) below the level."""
    if not has_level(reading, ref, level):
        raise PermissionDenied(entity_type=ref.type, entity_id=ref.id, access_level=level)


def administers(reading: Reading, ref: EntityRef) -> bool:
    """Whether the caller may share the entity: by capability, or by the top level on it."""
    return MANAGE_ACCESS in reading.capabilities or has_level(
        reading, ref, reading.vocabulary.entity_type(ref.type).top_level
    )


def require_administration(reading: Reading, ref: EntityRef) -> Entity:
    """The entity, for changing who reaches it. Raises NotFound, then PermissionDenied."""
    entity = get_entity(reading, ref)
    if not administers(reading, ref):
        raise PermissionDenied(entity_type=ref.type, entity_id=ref.id)
    return entity


def manages_type(reading: Reading, entity_type: str) -> bool:
    """Whether the caller has the capability to change what entities of the type are."""
    return bool(reading.capabilities & {MANAGE_ACCESS, MANAGERS.get(entity_type, MANAGE_ACCESS)})


def sees_type(reading: Reading, entity_type: str) -> bool:
    """Whether the caller sees all entities of the type, reached or not, archived or not."""
    return OVERRIDE in reading.capabilities or manages_type(reading, entity_type)


def owns(reading: Reading, entity: Entity) -> bool:
    """Whether the caller is the owner, also of what is archived and so reached by nobody."""
    is_active = reading.membership is not None and reading.membership.is_active
    return is_active and entity.owner == Principal("user", reading.caller.user_id)


def manages(reading: Reading, entity: Entity) -> bool:
    """Whether the caller may change what the entity is: by capability, as its owner, or by the top level on it."""
    return manages_type(reading, entity.entity_type) or owns(reading, entity) or administers(reading, entity.ref)


def require_management(reading: Reading, ref: EntityRef) -> Entity:
    """The entity, for changing what it is. Raises NotFound, then PermissionDenied."""
    entity = get_entity(reading, ref)
    if not manages(reading, entity):
        raise PermissionDenied(entity_type=ref.type, entity_id=ref.id)
    return entity


def sees(reading: Reading, entity: Entity) -> bool:
    """Whether the caller may see that the entity is there, and what it is."""
    return bool(seen(reading, [entity]))


def seen(reading: Reading, entities: Collection[Entity]) -> set[EntityRef]:
    """Those that the caller `sees`, with as many queries as for one."""
    found = {each.ref for each in entities if sees_type(reading, each.entity_type) or owns(reading, each)}
    accesses = accesses_of_caller(reading, {each.ref for each in entities} - found)
    return found | {ref for ref, access in accesses.items() if access.level is not None}


def require_sight(reading: Reading, ref: EntityRef) -> Entity:
    """The entity, for those who may see it. Raises NotFound, then PermissionDenied(.., access_level)."""
    entity = get_entity(reading, ref)
    if not sees(reading, entity):
        lowest = reading.vocabulary.entity_type(ref.type).lowest_level
        raise PermissionDenied(entity_type=ref.type, entity_id=ref.id, access_level=lowest)
    return entity


def may_ask_about(reading: Reading, user_id: str) -> bool:
    """Whether the caller may ask about that user's access."""
    return (
        user_id == reading.caller.user_id
        or MANAGE_ACCESS in reading.capabilities
        or "check" in (reading.caller.scopes or ())
    )


def require_principals(reading: Reading, wanted: Sequence[Principal], field: str) -> None:
    """Raises NotFound(field_type, field_id) for the first principal that the organization does not have."""
    for stranger in unknown_principals(reading, wanted):
        details = {f"{field}_type": stranger.type, f"{field}_id": stranger.id}
        raise NotFound(f"{stranger.type} not found", **details)


def unknown_principals(reading: Reading, wanted: Sequence[Principal]) -> list[Principal]:
    """Those that the organization does not have, in order; one query a kind."""
    ids: dict[str, set[str]] = {}
    for principal in wanted:
        if principal != EVERYONE:
            ids.setdefault(principal.type, set()).add(principal.id)
    known = {EVERYONE} | {
        Principal(kind, id_) for kind, values in ids.items() for id_ in _existing(reading, kind, values)
    }
    return [principal for principal in wanted if principal not in known]


def _existing(reading: Reading, type_: str, ids: Collection[str]) -> set[str]:
    if type_ == "organization":
        return {reading.organization_id} & set(ids)
    kind = PRINCIPAL_KINDS[type_]
    return {getattr(fact, kind.KEY[0]) for fact in reading.find_each(kind, ids)}


def get_member(reading: Reading, user_id: str) -> Member:
    """The member in any state. Raises NotFound(user_id)."""
    member = reading.snapshot.find(Member, user_id)
    if member is None:
        raise NotFound("User not found", user_id=user_id)
    return member


def get_department(reading: Reading, department_id: str) -> Department:
    """Raises NotFound(department_id)."""
    department = reading.snapshot.find(Department, department_id)
    if department is None:
        raise NotFound("Department not found", department_id=department_id)
    return department


def get_role(reading: Reading, role_id: str) -> Role:
    """Raises NotFound(role_id)."""
    role = reading.snapshot.find(Role, role_id)
    if role is None:
        raise NotFound("Role not found", role_id=role_id)
    return role


def entity_ref(reading: Reading, entity_type: str, entity_id: str) -> EntityRef:
    """A reference that is well-formed, whether or not it exists. Raises ValidationFailed(entity_type)."""
    reading.vocabulary.entity_type(entity_type)
    valid_id("entity_id", entity_id)
    return EntityRef(entity_type, entity_id)
