"""What a member may do by their roles, and what one's own access is made of."""

from dataclasses import dataclass
from typing import Final

from grantbook.engine import decide
from grantbook.engine.loading import for_users_and_entities
from grantbook.model.errors import OrganizationAccessDenied
from grantbook.model.facts import Entity, Grant, Principal, Role
from grantbook.model.governance import CAPABILITIES
from grantbook.model.limits import MAX_SHOWN_RESOURCES
from grantbook.model.resolution import OVERRIDE, Access, principals
from grantbook.service import gates
from grantbook.service.desk import Reading
from grantbook.service.members import MemberView, view

ROLE_KEEPERS: Final = ("manage_roles", "assign_roles", "manage_users")
_EVERYWHERE: Final = frozenset({OVERRIDE, "manage_departments", "manage_users"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """The capabilities of a member, in the order of the catalogue: those of all roles, none unless active.

    `department_ids` are those joined; None where the capabilities reach all departments.
    """

    view: MemberView
    capabilities: tuple[str, ...]
    department_ids: tuple[str, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnAccess:
    """The caller's roles and capabilities, what they own, and what is shared with them by grants in force.

    The first hundred of the owned (oldest first) and of the shared (by type and id); the counts are of all.
    """

    permissions: Permissions
    role_names: tuple[str, ...]
    owned: list[Entity]
    owned_count: int
    shared: list[tuple[Entity, Access]]
    shared_count: int


def effective(reading: Reading, user_id: str) -> Permissions:
    """For oneself, or for those who keep members or roles. Raises NotFound(user_id), PermissionDenied(capability)."""
    found = view(reading, user_id)
    if user_id != reading.caller.user_id:
        gates.require_capability(reading, *ROLE_KEEPERS)
    return _permissions(found, _roles(reading, found))


def own_access(reading: Reading) -> OwnAccess:
    """The caller's own. Raises OrganizationAccessDenied for who is no member, such as the system."""
    user_id = reading.caller.user_id
    if reading.membership is None:
        raise OrganizationAccessDenied(organization_id=reading.organization_id)
    found = view(reading, user_id)
    roles = _roles(reading, found)
    owned = {"owner_type": "user", "owner_id": user_id, "status": "active"}
    shared = _shared(reading, user_id)
    refs = [entity.ref for entity in shared[:MAX_SHOWN_RESOURCES]]
    accesses = decide.access_many(reading.snapshot, reading.vocabulary, [(user_id, ref) for ref in refs], reading.at)
    return OwnAccess(
        permissions=_permissions(found, roles),
        role_names=tuple(sorted(role.name for role in roles)),
        owned=reading.snapshot.page(Entity, owned, skip=0, limit=MAX_SHOWN_RESOURCES),
        owned_count=reading.snapshot.count(Entity, owned),
        shared=[(entity, accesses[user_id, entity.ref]) for entity in shared[:MAX_SHOWN_RESOURCES]],
        shared_count=len(shared),
    )


def _shared(reading: Reading, user_id: str) -> list[Entity]:
    """Active entities of others with a grant in force to one of the user's principals, in order of type and id."""
    facts = for_users_and_entities(reading.snapshot, [user_id], [])
    mine = principals(facts, user_id)
    named = reading.snapshot.select(Grant, {"grantee_id": {principal.id for principal in mine}})
    granted = {grant.entity for grant in named if grant.grantee in mine and grant.is_in_force(reading.at)}
    if not granted:
        return []
    found = reading.snapshot.select(Entity, {"id": {ref.id for ref in granted}, "status": "active"})
    owner = Principal("user", user_id)
    return sorted(
        (entity for entity in found if entity.ref in granted and entity.owner != owner), key=lambda entity: entity.ref
    )


def _roles(reading: Reading, found: MemberView) -> list[Role]:
    return reading.snapshot.select(Role, {"id": set(found.role_ids)}) if found.role_ids else []


def _permissions(found: MemberView, roles: list[Role]) -> Permissions:
    given = {key for role in roles for key in role.capabilities} if found.member.is_active else set()
    return Permissions(
        view=found,
        capabilities=tuple(key for key in CAPABILITIES if key in given),
        department_ids=None if given & _EVERYWHERE else found.department_ids if found.member.is_active else (),
    )
