"""Custom roles: named sets of capabilities that grants can name."""

from collections.abc import Collection

from grantbook.model import ids
from grantbook.model.errors import Conflict, PermissionDenied
from grantbook.model.facts import Member, Role, RoleAssignment, revised
from grantbook.model.governance import valid_capabilities
from grantbook.service import gates
from grantbook.service.desk import Reading, Writing
from grantbook.service.grants import revoke_dangling
from grantbook.service.listing import require_few
from grantbook.service.values import optional_text, valid_id, valid_name
from grantbook.store.port import Order


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
    _require_free(writing, role.name)
    if writing.snapshot.find(Role, role.id) is not None:
        raise Conflict("The role already exists", role_id=role.id)
    writing.book.add(role, "created")
    return role


def list_roles(reading: Reading, *, with_base_roles: bool = True) -> list[tuple[Role, int]]:
    """Roles in order (created_at, id), each with how many have it. Raises LimitExceeded where there are too many."""
    require_few(reading, Role)
    found = [role for role in reading.snapshot.select(Role) if with_base_roles or not role.is_base]
    counts = reading.snapshot.tally(RoleAssignment, "role_id")
    return [(role, counts.get(role.id, 0)) for role in sorted(found, key=lambda role: (role.created_at, role.id))]


def view(reading: Reading, role_id: str) -> tuple[Role, int]:
    """The role, and how many have it. Raises NotFound(role_id)."""
    role = gates.get_role(reading, role_id)
    return role, reading.snapshot.count(RoleAssignment, {"role_id": role_id})


def list_members(reading: Reading, role_id: str, *, skip: int, limit: int) -> tuple[list[Member], int]:
    """Who has the role, in the order of getting it, and how many they are. Raises NotFound(role_id)."""
    gates.get_role(reading, role_id)
    where = {"role_id": role_id}
    assigned = reading.snapshot.page(RoleAssignment, where, skip=skip, limit=limit, order=Order("assigned_at"))
    user_ids = [each.user_id for each in assigned]
    people = {member.user_id: member for member in reading.snapshot.select(Member, {"user_id": set(user_ids)})}
    return [people[user_id] for user_id in user_ids], reading.snapshot.count(RoleAssignment, where)


def update(
    writing: Writing,
    role_id: str,
    *,
    name: str | None = None,
    description: str | None = None,
    capabilities: Collection[str] | None = None,
) -> Role:
    """Another name, description or set of capabilities for a custom role; None leaves it.

    Raises ValidationFailed (name; code INVALID_CAPABILITY), NotFound(role_id), PermissionDenied (also for a base role,
    and for capabilities, before or after, that the caller lacks), Conflict(name).
    """
    wanted = None if name is None else valid_name("name", name)
    text = optional_text("description", description)
    given = None if capabilities is None else valid_capabilities(capabilities)
    present = gates.get_role(writing, role_id)
    gates.require_capability(writing, "manage_roles")
    if present.is_base:
        raise PermissionDenied("Base roles cannot be changed", role_id=role_id)
    changed = revised(
        present,
        name=wanted or present.name,
        description=present.description if text is None else text or None,
        capabilities=present.capabilities if given is None else given,
    )
    gates.require_holds(writing, present, changed)
    if changed.name != present.name:
        _require_free(writing, changed.name)
    writing.book.replace(present, changed, "updated")
    return changed


def _require_free(reading: Reading, name: str) -> None:
    if reading.snapshot.count(Role, {"name": name}):
        raise Conflict("A role of this name already exists", code="ROLE_ALREADY_EXISTS", name=name)


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
