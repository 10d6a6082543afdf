"""People of an organization: invite, change state, roles and departments; remove with what would dangle, restore."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

from grantbook.model import ids
from grantbook.model.errors import Conflict, LastOwner, NotFound, ValidationFailed
from grantbook.model.facts import (
    MEMBER_STATES,
    AccessTarget,
    ApiKey,
    DepartmentMember,
    Entity,
    Member,
    Role,
    RoleAssignment,
    revised,
)
from grantbook.model.governance import MANAGE_ACCESS, MEMBER, OWNER
from grantbook.model.limits import MAX_DEPARTMENTS_PER_MEMBER, MAX_ROLES_PER_MEMBER
from grantbook.service import gates, invitations
from grantbook.service.desk import Reading, Writing
from grantbook.service.grants import revoke_dangling
from grantbook.service.values import valid_email, valid_id, valid_name, without_repeats
from grantbook.store.history import fact_in
from grantbook.store.port import Lookup


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberView:
    """A member with roles and departments, in order of their ids.

    `invitation_token` is told once, to the one who invites.
    """

    member: Member
    role_ids: tuple[str, ...]
    department_ids: tuple[str, ...]
    invitation_token: str | None = field(default=None, repr=False)


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
    """A new member: invited and pending, without access, or active at once. Without roles, the base role Member.

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
    # An id that was seen before may still own things: giving it to an address is more than inviting somebody new.
    is_known = user_id is not None and bool(writing.users_anywhere({user_id}))
    gates.require_capability(writing, "manage_users", *(() if is_active or is_known else ("invite_users",)))
    _require_may_change(writing, roles, department_ids)
    present = writing.snapshot.select(Member, {"email": address}, *([{"user_id": user_id}] if user_id else []))
    if present:
        raise Conflict("The user is already a member", code="MEMBER_ALREADY_EXISTS", user_id=present[0].user_id)
    identity = identify(writing, user_id)
    token = None if is_active else invitations.new_token(writing, identity)
    member = Member(
        user_id=identity,
        email=address,
        full_name=name,
        state="active" if is_active else "pending_invitation",
        invitation_digest=None if token is None else invitations.digest_of(token),
        invited_at=None if token is None else writing.at,
        created_at=writing.at,
        updated_at=writing.at,
    )
    writing.book.add(member, "added" if is_active else "invited")
    for role in roles or [base_role(writing, MEMBER)]:
        writing.book.add(RoleAssignment(role_id=role.id, user_id=identity, assigned_at=writing.at), "assigned")
    for department_id in department_ids:
        joined = DepartmentMember(department_id=department_id, user_id=identity, added_at=writing.at)
        writing.book.add(joined, "joined")
    return replace(view(writing, identity), invitation_token=token)


def identify(writing: Writing, user_id: str | None) -> str:
    """The id of a new member: the given one, or a fresh one.

    The first organization that knows a user is the user's home: only a key from there speaks for the user about rules
    of other organizations, so that nobody can speak for somebody else's user by making them a member. And nobody but
    the application itself makes a member of a user who is at home elsewhere: those there speak for that user.

    Raises Conflict(user_id) for one who is.
    """
    identity = writing.new_id(ids.USER) if user_id is None else valid_id("user_id", user_id, ids.USER)
    home = writing.book.claim(Lookup.USER, {identity: writing.organization_id})[identity]
    if home != writing.organization_id and identity != writing.caller.user_id and not writing.caller.is_system:
        raise Conflict("The id belongs to a user of another organization", user_id=identity)
    return identity


def view(reading: Reading, user_id: str) -> MemberView:
    """The member with roles and departments. Raises NotFound(user_id)."""
    (found,) = views(reading, [gates.get_member(reading, user_id)])
    return found


def views(reading: Reading, members: Sequence[Member]) -> list[MemberView]:
    """Members with roles and departments, in the order given; one query a kind."""
    where = {"user_id": {member.user_id for member in members}}
    roles: defaultdict[str, list[str]] = defaultdict(list)
    for assigned in reading.snapshot.select(RoleAssignment, where) if members else ():
        roles[assigned.user_id].append(assigned.role_id)
    departments: defaultdict[str, list[str]] = defaultdict(list)
    for joined in reading.snapshot.select(DepartmentMember, where) if members else ():
        departments[joined.user_id].append(joined.department_id)
    return [
        MemberView(
            member=member,
            role_ids=tuple(sorted(roles[member.user_id])),
            department_ids=tuple(sorted(departments[member.user_id])),
        )
        for member in members
    ]


def views_of(reading: Reading, user_ids: Collection[str]) -> dict[str, MemberView]:
    """Those of the users who are members, in whatever state."""
    members = reading.snapshot.select(Member, {"user_id": set(user_ids)}) if user_ids else []
    return {found.member.user_id: found for found in views(reading, members)}


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


def update(
    writing: Writing,
    user_id: str,
    *,
    role_id: str | None = None,
    state: str | None = None,
    first_name: str | None = None,
    last_name: str | None = None,
) -> MemberView:
    """Another name, for oneself or with `manage_users`; this role and no other; another state.

    Raises ValidationFailed, NotFound(user_id, role_id, status_id), PermissionDenied(capability), LastOwner.
    """
    before = view(writing, user_id)
    if role_id is not None:
        gates.get_role(writing, role_id)
    if state not in {None, *MEMBER_STATES}:
        raise NotFound("Status not found", status_id=state)
    if state == "pending_invitation" != before.member.state:
        raise ValidationFailed("status_id", "status_id must be active or deactivated")
    if first_name is not None or last_name is not None:
        _rename(writing, before, first_name, last_name)
    if role_id is not None:
        update_memberships(writing, user_id, role_ids=[role_id], department_ids=before.department_ids)
    if state is not None and state != before.member.state:
        set_state(writing, user_id, state)
    return view(writing, user_id)


def set_state(writing: Writing, user_id: str, state: str) -> MemberView:
    """Activate or deactivate. Raises NotFound(user_id), PermissionDenied(capability), LastOwner."""
    before = view(writing, user_id)
    gates.require_capability(writing, "manage_users", *(("deactivate_users",) if state == "deactivated" else ()))
    gates.require_holds(writing, *_roles(writing, before.role_ids))
    if state != "active":
        _keep_an_owner(writing, user_id)
    member = before.member
    if member.state != state:
        changed = revised(
            member,
            state=state,
            invitation_digest=member.invitation_digest if state == "active" else None,
            deactivated_at=writing.at if state == "deactivated" else None,
            updated_at=writing.at,
        )
        writing.book.replace(member, changed, "reactivated" if state == "active" else "deactivated")
    return view(writing, user_id)


def deactivate(writing: Writing, user_id: str, *, heir_id: str | None = None) -> MemberView:
    """The member has no access until reactivated. What they own goes to a department, if one is named.

    Raises NotFound(user_id, department_id), PermissionDenied(capability), LastOwner.
    """
    gates.get_member(writing, user_id)
    if heir_id is not None:
        gates.get_department(writing, heir_id)
    found = set_state(writing, user_id, "deactivated")
    if heir_id is not None:
        _hand_over(writing, user_id, heir_id)
    return found


def remove(writing: Writing, user_id: str, *, heir_id: str | None = None) -> None:
    """The member goes, with memberships, keys and the grants that name them, in one transaction.

    What they own goes to a department, if one is named. Else it stays theirs by id and gives nothing, since they are
    no active member any more.
    Raises NotFound(user_id, department_id), PermissionDenied(capability), LastOwner.
    """
    before = view(writing, user_id)
    if heir_id is not None:
        gates.get_department(writing, heir_id)
    gates.require_capability(writing, "manage_users", "remove_users")
    gates.require_holds(writing, *_roles(writing, before.role_ids))
    _keep_an_owner(writing, user_id)
    if heir_id is not None:
        _hand_over(writing, user_id, heir_id)
    revoke_dangling(writing, {"grantee_type": "user", "grantee_id": user_id})
    _remove_all(writing, writing.snapshot.select(AccessTarget, {"target_type": "user", "target_id": user_id}))
    _remove_all(writing, writing.snapshot.select(DepartmentMember, {"user_id": user_id}))
    _remove_all(writing, writing.snapshot.select(RoleAssignment, {"user_id": user_id}))
    _remove_all(writing, writing.snapshot.select(ApiKey, {"user_id": user_id}))
    writing.book.remove(before.member, "removed")


def restore(writing: Writing, user_id: str) -> MemberView:
    """A removed member comes back in the state that they had, with the base role Member and nothing else.

    Raises NotFound(user_id), PermissionDenied(capability), ValidationFailed(user_id) for who is a member,
    Conflict(user_id) (code MEMBER_ALREADY_EXISTS) where somebody else has the address now.
    """
    removed = writing.snapshot.find_changes(
        {"kind": Member.__name__, "subject_id": user_id, "action": "removed"}, skip=0, limit=1
    )
    present = writing.snapshot.find(Member, user_id)
    if present is None and not removed:
        raise NotFound("User not found", user_id=user_id)
    gates.require_capability(writing, "manage_users")
    if present is not None:
        raise ValidationFailed("user_id", "the user is a member: only removed ones can be restored")
    former = fact_in(Member, removed[0].before or "")
    if others := writing.snapshot.select(Member, {"email": former.email}):
        raise Conflict("The address is a member's", code="MEMBER_ALREADY_EXISTS", user_id=others[0].user_id)
    writing.book.add(revised(former, updated_at=writing.at), "restored")
    assignment = RoleAssignment(role_id=base_role(writing, MEMBER).id, user_id=user_id, assigned_at=writing.at)
    writing.book.add(assignment, "assigned")
    return view(writing, user_id)


def _rename(writing: Writing, before: MemberView, first_name: str | None, last_name: str | None) -> None:
    member = before.member
    if member.user_id != writing.caller.user_id:
        gates.require_capability(writing, "manage_users")
        gates.require_holds(writing, *_roles(writing, before.role_ids))
    known_first, _, known_last = (member.full_name or "").partition(" ")
    parts = (known_first if first_name is None else first_name, known_last if last_name is None else last_name)
    name = valid_name("full_name", " ".join(part.strip() for part in parts))
    if name != member.full_name:
        writing.book.replace(member, revised(member, full_name=name, updated_at=writing.at), "updated")


def _hand_over(writing: Writing, user_id: str, department_id: str) -> None:
    """The department owns what the user owned. Whoever is in it gains by that, so it takes the right to share it."""
    owned = writing.snapshot.select(Entity, {"owner_type": "user", "owner_id": user_id})
    if owned:
        gates.require_capability(writing, MANAGE_ACCESS)
    for entity in owned:
        heir = revised(entity, owner_type="department", owner_id=department_id, updated_at=writing.at)
        writing.book.replace(entity, heir, "updated")


def _remove_all(writing: Writing, facts: Iterable[AccessTarget | DepartmentMember | RoleAssignment | ApiKey]) -> None:
    for fact in facts:
        writing.book.remove(fact, "removed")


def _check_sets(role_ids: Collection[str], department_ids: Collection[str]) -> None:
    without_repeats("role_ids", list(role_ids), MAX_ROLES_PER_MEMBER)
    without_repeats("department_ids", list(department_ids), MAX_DEPARTMENTS_PER_MEMBER)


def _require_may_change(writing: Writing, roles: Collection[Role], department_ids: Collection[str]) -> None:
    if roles:
        gates.require_capability(writing, "assign_roles")
        gates.require_holds(writing, *roles)
    if department_ids:
        gates.require_capability(writing, "manage_departments", "manage_users")


def _roles(reading: Reading, role_ids: Collection[str]) -> list[Role]:
    return reading.snapshot.select(Role, {"id": set(role_ids)}) if role_ids else []


def _set_role(writing: Writing, role_id: str, user_id: str, *, assigned: bool) -> None:
    present = writing.snapshot.find(RoleAssignment, role_id, user_id)
    if assigned and present is None:
        gates.require_no_gain(writing, {user_id})
        writing.book.add(RoleAssignment(role_id=role_id, user_id=user_id, assigned_at=writing.at), "assigned")
    if not assigned and present is not None:
        if role_id == base_role(writing, OWNER).id:
            _keep_an_owner(writing, user_id)
        writing.book.remove(present, "unassigned")


def _set_department(writing: Writing, department_id: str, user_id: str, *, joined: bool) -> None:
    present = writing.snapshot.find(DepartmentMember, department_id, user_id)
    if joined and present is None:
        gates.require_no_gain(writing, {user_id})
        fact = DepartmentMember(department_id=department_id, user_id=user_id, added_at=writing.at)
        writing.book.add(fact, "joined")
    if not joined and present is not None:
        writing.book.remove(present, "left")


def _keep_an_owner(writing: Writing, leaving: str) -> None:
    """Raises LastOwner(user_id) when nobody else who is active would own the organization."""
    owners = {
        fact.user_id for fact in writing.snapshot.select(RoleAssignment, {"role_id": base_role(writing, OWNER).id})
    }
    if leaving not in owners:
        return
    others = writing.snapshot.select(Member, {"user_id": owners - {leaving}, "state": "active"})
    if not others:
        raise LastOwner(user_id=leaving)


def base_role(reading: Reading, name: str) -> Role:
    """Owner, Admin or Member of the organization."""
    for role in reading.snapshot.select(Role, {"name": name}):
        if role.is_base:
            return role
    raise ValidationFailed("role_ids", f"the base role {name} is missing")
