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
from grantbook.model.resolution import Access
from grantbook.service.desk import Reading
from grantbook.service.values import valid_id

PRINCIPAL_KINDS: Mapping[str, type[Fact]] = {
    "user": Member,
    "department": Department,
    "role": Role,
    "organization": Organization,
}


def require_membership(reading: Reading) -> None:
    """Raises OrganizationAccessDenied for everybody but active members and the system."""
    if reading.caller.is_system and reading.rights.snapshot.revision > 0:
        return
    if reading.membership is None or not reading.membership.is_active:
        raise OrganizationAccessDenied(organization_id=reading.organization_id)


def require_capability(reading: Reading, *any_of: str) -> None:
    """Raises PermissionDenied(capability) unless the caller has one of them."""
    if not reading.capabilities & set(any_of):
        raise PermissionDenied(capability=any_of[0])


def find_entity(reading: Reading, ref: EntityRef) -> Entity | None:
    """The entity, archived or not."""
    reading.vocabulary.entity_type(ref.type)
    return reading.snapshot.find(Entity, ref.type, ref.id)


def get_entity(reading: Reading, ref: EntityRef) -> Entity:
    """The entity, archived or not. Raises NotFound(entity_type, entity_id)."""
    entity = find_entity(reading, ref)
    if entity is None:
        raise NotFound(f"{ref.type} not found", entity_type=ref.type, entity_id=ref.id)
    return entity


def access_of_caller(reading: Reading, ref: EntityRef) -> Access:
    """What the caller has on the entity: the system everything."""
    if reading.caller.is_system:
        return Access(level=reading.vocabulary.entity_type(ref.type).top_level, paths=())
    rights = reading.rights
    return decide.access(rights.snapshot, rights.vocabulary, rights.caller.user_id, ref, rights.at)


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
    return {getattr(fact, kind.KEY[0]) for fact in reading.snapshot.select(kind, {kind.KEY[0]: set(ids)})}


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
