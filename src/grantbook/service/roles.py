"""Custom roles: named sets of capabilities that grants can name."""

from collections import Counter
from collections.abc import Collection

from grantbook.model import ids
from grantbook.model.errors import Conflict, PermissionDenied
from grantbook.model.facts import Role, RoleAssignment
from grantbook.model.governance import valid_capabilities
from grantbook.service import gates
from grantbook.service.desk import Reading, Writing
from grantbook.service.grants import revoke_dangling
from grantbook.service.values import optional_text, valid_id, valid_name


def create(
    writing: Writing,
    *,
    name: str,
    description: str | None = None,
    capabilities: Collection[str] = (),
    role_id: str | None = None,
) -> Role:
    """A custom role, of capabilities that the caller has too.

    Raises ValidationFailed (name; code INVALID_CAPABILITY), PermissionDenied(capability), Conflict(role_id or name).
    """
    role = Role(
        id=writing.new_id(ids.ROLE) if role_id is None else valid_id("id", role_id, ids.ROLE),
        name=valid_name("name", name),
        description=optional_text("description", description),
        capabilities=valid_capabilities(capabilities),
        created_at=writing.at,
    )
    gates.require_capability(writing, "manage_roles")
    if lacking := sorted(set(role.capabilities) - writing.capabilities):
        raise PermissionDenied(capability=lacking[0])
    if any(present.name == role.name for present in writing.snapshot.select(Role, {"name": role.name})):
        raise Conflict("A role of this name already exists", code="ROLE_ALREADY_EXISTS", name=role.name)
    if writing.snapshot.find(Role, role.id) is not None:
        raise Conflict("The role already exists", role_id=role.id)
    writing.book.add(role, "created")
    return role


def list_roles(reading: Reading, *, with_base_roles: bool = True) -> list[tuple[Role, int]]:
    """Roles in order (created_at, id), each with how many have it."""
    found = [role for role in reading.snapshot.select(Role) if with_base_roles or not role.is_base]
    counts = Counter(fact.role_id for fact in reading.snapshot.select(RoleAssignment))
    return [(role, counts[role.id]) for role in sorted(found, key=lambda role: (role.created_at, role.id))]


def delete(writing: Writing, role_id: str) -> None:
    """The role goes, with its assignments and the grants that name it, in one transaction.

    Raises NotFound(role_id), PermissionDenied (also for a base role).
    """
    role = gates.get_role(writing, role_id)
    gates.require_capability(writing, "manage_roles")
    if role.is_base or set(role.capabilities) - writing.capabilities:
        raise PermissionDenied("Base roles, and roles above one's own, cannot be deleted", role_id=role_id)
    revoke_dangling(writing, {"grantee_type": "role", "grantee_id": role_id})
    for assigned in writing.snapshot.select(RoleAssignment, {"role_id": role_id}):
        writing.book.remove(assigned, "unassigned")
    writing.book.remove(role, "deleted")
