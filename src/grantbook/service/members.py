"""People of an organization: invite, change state, roles and departments; remove with all that would dangle."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from grantbook.model import ids
from grantbook.model.errors import Conflict, LastOwner, NotFound, PermissionDenied, ValidationFailed
from grantbook.model.facts import AccessTarget, ApiKey, DepartmentMember, Member, Role, RoleAssignment
from grantbook.model.governance import MEMBER, OWNER
from grantbook.model.limits import MAX_DEPARTMENTS_PER_MEMBER, MAX_ROLES_PER_MEMBER
from grantbook.service import gates
from grantbook.service.desk import Reading, Writing
from grantbook.service.grants import revoke_dangling
from grantbook.service.values import valid_email, valid_id, valid_name, without_repeats
from grantbook.store.port import Lookup


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberView:
    """A member with roles and departments, in order of their ids."""

    member: Member
    role_ids: tuple[str, ...]
    department_ids: tuple[str, ...]


def invite(
    writing: Writing,
    *,
    email: str,
    full_name: str | None = None,
    role_ids: Collection[str] = (),
    department_ids: Collection[str] = (),
    is_active: bool = False,
    user_id: str | None = None,
) -> MemberView:
    """A new member: pending, without access, or active at once. Without roles, the base role Member.

    `user_id` is for platforms that have ids of their own, or for a user of another organization.
    Raises ValidationFailed(email, role_ids, ...), NotFound(role_id, department_id), PermissionDenied(capability),
    Conflict(user_id) (code MEMBER_ALREADY_EXISTS).
    """
    address = valid_email("email", email)
    name = None if full_name is None else valid_name("full_name", full_name)
    _check_sets(role_ids, department_ids)
    if user_id is not None:
        valid_id("user_id", user_id, ids.USER)
    roles = [gates.get_role(writing, role_id) for role_id in role_ids]
    for department_id in department_ids:
        gates.get_department(writing, department_id)
    gates.require_capability(writing, "manage_users", *(() if is_active else ("invite_users",)))
    _require_may_change(writing, roles, department_ids)
    present = writing.snapshot.select(Member, {"email": address}, *([{"user_id": user_id}] if user_id else []))
    if present:
        raise Conflict("The user is already a member", code="MEMBER_ALREADY_EXISTS", user_id=present[0].user_id)
    identity = identify(writing, user_id)
    member = Member(
        user_id=identity,
        email=address,
        full_name=name,
        state="active" if is_active else "pending_invitation",
        created_at=writing.at,
        updated_at=writing.at,
    )
    writing.book.add(member, "added" if is_active else "invited")
    for role in roles or [_base_role(writing, MEMBER)]:
        writing.book.add(RoleAssignment(role_id=role.id, user_id=identity, assigned_at=writing.at), "assigned")
    for department_id in department_ids:
        joined = DepartmentMember(department_id=department_id, user_id=identity, added_at=writing.at)
        writing.book.add(joined, "joined")
    return view(writing, identity)


def identify(writing: Writing, user_id: str | None) -> str:
    """The id of a new member: the given one, or a fresh one.

    The first organization that knows a user is the user's home: only a key from there speaks for the user about rules
    of other organizations, so that nobody can speak for somebody else's user by making them a member.
    """
    identity = writing.new_id(ids.USER) if user_id is None else valid_id("user_id", user_id, ids.USER)
    writing.book.claim(Lookup.USER, identity, writing.organization_id)
    return identity


def view(reading: Reading, user_id: str) -> MemberView:
    """The member with roles and departments. Raises NotFound(user_id)."""
    member = gates.get_member(reading, user_id)
    assigned = reading.snapshot.select(RoleAssignment, {"user_id": user_id})
    joined = reading.snapshot.select(DepartmentMember, {"user_id": user_id})
    return MemberView(
        member=member,
        role_ids=tuple(sorted(fact.role_id for fact in assigned)),
        department_ids=tuple(sorted(fact.department_id for fact in joined)),
    )


def update_memberships(
    writing: Writing, user_id: str, *, role_ids: Collection[str], department_ids: Collection[str]
) -> MemberView:
    """Exactly these roles and departments from now on.

    Raises ValidationFailed, NotFound(user_id, role_id, department_id), PermissionDenied(capability), LastOwner.
    """
    _check_sets(role_ids, department_ids)
    before = view(writing, user_id)
    touched_roles = sorted(set(role_ids) ^ set(before.role_ids))
    touched_departments = sorted(set(department_ids) ^ set(before.department_ids))
    roles = [gates.get_role(writing, role_id) for role_id in touched_roles]
    for department_id in touched_departments:
        gates.get_department(writing, department_id)
    _require_may_change(writing, roles, touched_departments)
    for role_id in touched_roles:
        _set_role(writing, role_id, user_id, assigned=role_id in role_ids)
    for department_id in touched_departments:
        _set_department(writing, department_id, user_id, joined=department_id in department_ids)
    return view(writing, user_id)


def assign_role(writing: Writing, role_id: str, user_id: str) -> RoleAssignment:
    """The user has the role; saying it again changes nothing. Raises NotFound, PermissionDenied(capability)."""
    role = gates.get_role(writing, role_id)
    gates.get_member(writing, user_id)
    _require_may_change(writing, [role], ())
    _set_role(writing, role_id, user_id, assigned=True)
    assignment = writing.snapshot.find(RoleAssignment, role_id, user_id)
    if assignment is None:
        raise NotFound("Role assignment not found", role_id=role_id, user_id=user_id)
    return assignment


def unassign_role(writing: Writing, role_id: str, user_id: str) -> None:
    """Raises NotFound(role_id, user_id), PermissionDenied(capability), LastOwner."""
    role = gates.get_role(writing, role_id)
    if writing.snapshot.find(RoleAssignment, role_id, user_id) is None:
        raise NotFound("Role assignment not found", role_id=role_id, user_id=user_id)
    _require_may_change(writing, [role], ())
    _set_role(writing, role_id, user_id, assigned=False)


def join_department(writing: Writing, department_id: str, user_id: str) -> DepartmentMember:
    """The user is in the department; saying it again changes nothing. Raises NotFound, PermissionDenied."""
    gates.get_department(writing, department_id)
    gates.get_member(writing, user_id)
    _require_may_change(writing, (), [department_id])
    _set_department(writing, department_id, user_id, joined=True)
    joined = writing.snapshot.find(DepartmentMember, department_id, user_id)
    if joined is None:
        raise NotFound("Department membership not found", department_id=department_id, user_id=user_id)
    return joined


def leave_department(writing: Writing, department_id: str, user_id: str) -> None:
    """Raises NotFound(department_id, user_id), PermissionDenied(capability)."""
    gates.get_department(writing, department_id)
    if writing.snapshot.find(DepartmentMember, department_id, user_id) is None:
        raise NotFound("Department membership not found", department_id=department_id, user_id=user_id)
    _require_may_change(writing, (), [department_id])
    _set_department(writing, department_id, user_id, joined=False)


def set_state(writing: Writing, user_id: str, state: str) -> MemberView:
    """Activate or deactivate. Raises NotFound(user_id), PermissionDenied(capability), LastOwner."""
    before = view(writing, user_id)
    gates.require_capability(writing, "manage_users", *(("deactivate_users",) if state == "deactivated" else ()))
    _require_holds(writing, _roles(writing, before.role_ids))
    if state != "active":
        _keep_an_owner(writing, user_id)
    member = before.member
    if member.state != state:
        action = "reactivated" if state == "active" else "deactivated"
        writing.book.replace(member, replace(member, state=state, updated_at=writing.at), action)
    return view(writing, user_id)


def remove(writing: Writing, user_id: str) -> None:
    """The member goes, with memberships, keys and the grants that name them, in one transaction.

    What they own stays theirs by id and gives nothing, since they are no active member any more.
    Raises NotFound(user_id), PermissionDenied(capability), LastOwner.
    """
    before = view(writing, user_id)
    gates.require_capability(writing, "manage_users", "remove_users")
    _require_holds(writing, _roles(writing, before.role_ids))
    _keep_an_owner(writing, user_id)
    revoke_dangling(writing, {"grantee_type": "user", "grantee_id": user_id})
    _remove_all(writing, writing.snapshot.select(AccessTarget, {"target_type": "user", "target_id": user_id}))
    _remove_all(writing, writing.snapshot.select(DepartmentMember, {"user_id": user_id}))
    _remove_all(writing, writing.snapshot.select(RoleAssignment, {"user_id": user_id}))
    _remove_all(writing, writing.snapshot.select(ApiKey, {"user_id": user_id}))
    writing.book.remove(before.member, "removed")


def _remove_all(writing: Writing, facts: Iterable[AccessTarget | DepartmentMember | RoleAssignment | ApiKey]) -> None:
    for fact in facts:
        writing.book.remove(fact, "removed")


def _check_sets(role_ids: Collection[str], department_ids: Collection[str]) -> None:
    without_repeats("role_ids", list(role_ids), MAX_ROLES_PER_MEMBER)
    without_repeats("department_ids", list(department_ids), MAX_DEPARTMENTS_PER_MEMBER)


def _require_may_change(writing: Writing, roles: Collection[Role], department_ids: Collection[str]) -> None:
    if roles:
        gates.require_capability(writing, "assign_roles")
        _require_holds(writing, roles)
    if department_ids:
        gates.require_capability(writing, "manage_departments", "manage_users")


def _require_holds(writing: Writing, roles: Collection[Role]) -> None:
    """Nobody gives, takes or outranks a role whose capabilities they lack."""
    for role in roles:
        if lacking := sorted(set(role.capabilities) - writing.capabilities):
            raise PermissionDenied(role_id=role.id, capability=lacking[0])


def _roles(reading: Reading, role_ids: Collection[str]) -> list[Role]:
    return reading.snapshot.select(Role, {"id": set(role_ids)}) if role_ids else []


def _set_role(writing: Writing, role_id: str, user_id: str, *, assigned: bool) -> None:
    present = writing.snapshot.find(RoleAssignment, role_id, user_id)
    if assigned and present is None:
        writing.book.add(RoleAssignment(role_id=role_id, user_id=user_id, assigned_at=writing.at), "assigned")
    if not assigned and present is not None:
        if role_id == _base_role(writing, OWNER).id:
            _keep_an_owner(writing, user_id)
        writing.book.remove(present, "unassigned")


def _set_department(writing: Writing, department_id: str, user_id: str, *, joined: bool) -> None:
    present = writing.snapshot.find(DepartmentMember, department_id, user_id)
    if joined and present is None:
        fact = DepartmentMember(department_id=department_id, user_id=user_id, added_at=writing.at)
        writing.book.add(fact, "joined")
    if not joined and present is not None:
        writing.book.remove(present, "left")


def _keep_an_owner(writing: Writing, leaving: str) -> None:
    """Raises LastOwner(user_id) when nobody else who is active would own the organization."""
    owners = {
        fact.user_id for fact in writing.snapshot.select(RoleAssignment, {"role_id": _base_role(writing, OWNER).id})
    }
    if leaving not in owners:
        return
    others = writing.snapshot.select(Member, {"user_id": owners - {leaving}, "state": "active"})
    if not others:
        raise LastOwner(user_id=leaving)


def _base_role(reading: Reading, name: str) -> Role:
    for role in reading.snapshot.select(Role, {"name": name}):
        if role.is_base:
            return role
    raise ValidationFailed("role_ids", f"the base role {name} is missing")
