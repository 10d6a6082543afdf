"""Organizations: made with an owner and the base roles; changed, and ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from grantbook.model import ids
from grantbook.model.errors import Conflict, OrganizationAccessDenied, PermissionDenied
from grantbook.model.facts import Member, Organization, Role, RoleAssignment, revised
from grantbook.model.governance import (
    BASE_ROLES,
    CREATE_ORGANIZATIONS,
    DEFAULT_PRESET,
    DELETE_ORGANIZATION,
    MEMBER,
    OWNER,
    Preset,
    valid_preset,
)
from grantbook.model.ids import new_id
from grantbook.service import gates
from grantbook.service.desk import Caller, Desk, Reading, Writing
from grantbook.service.keys import Identity, opened
from grantbook.service.members import base_role, identify
from grantbook.service.values import check_attributes, valid_email, valid_id, valid_name


def found(
    writing: Writing,
    *,
    name: str,
    owner_email: str,
    owner_name: str | None = None,
    owner_id: str | None = None,
    attributes: Mapping[str, Any] | None = None,
    preset: str = DEFAULT_PRESET,
) -> Member:
    """Make the organization of this writing; its owner. For whom `found_for` let through, or who holds the database.

    Raises ValidationFailed(name, email, preset, ...), Conflict(organization_id).
    """
    if writing.snapshot.find(Organization, writing.organization_id) is not None:
        raise Conflict("The organization already exists", organization_id=writing.organization_id)
    email = valid_email("email", owner_email)
    check_attributes(attributes)
    capabilities_of = {**BASE_ROLES, MEMBER: valid_preset(preset).capabilities}
    organization = Organization(
        id=valid_id("organization_id", writing.organization_id, ids.ORGANIZATION),
        name=valid_name("name", name),
        attributes=dict(attributes or {}),
        creator_key_id=writing.caller.key_line_id,
        created_by=writing.caller.user_id,
        created_at=writing.at,
        updated_at=writing.at,
    )
    owner = Member(
        user_id=identify(writing, owner_id),
        email=email,
        full_name=None if owner_name is None else valid_name("full_name", owner_name),
        state="active",
        created_at=writing.at,
        updated_at=writing.at,
    )
    writing.book.add(organization, "created")
    writing.book.add(owner, "added")
    for role_name, capabilities in capabilities_of.items():
        role = Role(
            id=writing.new_id(ids.ROLE),
            name=role_name,
            capabilities=capabilities,
            is_base=True,
            created_at=writing.at,
        )
        writing.book.add(role, "created")
        if role_name == OWNER:
            assignment = RoleAssignment(role_id=role.id, user_id=owner.user_id, assigned_at=writing.at)
            writing.book.add(assignment, "assigned")
    return owner


def found_for(
    desk: Desk, home: str, caller: Caller, *, name: str, attributes: Mapping[str, Any], preset: str | None = None
) -> tuple[str, dict[str, Any]]:
    """The id and the owner of an organization that a user of `home` may make, for `found`.

    Raises ValidationFailed(preset), PermissionDenied(capability).
    """
    chosen = valid_preset(preset or DEFAULT_PRESET)
    with desk.reading(home, caller) as reading:
        gates.require_capability(reading, CREATE_ORGANIZATIONS)
        if reading.membership is None:
            raise PermissionDenied(capability=CREATE_ORGANIZATIONS)
        owner = {
            "name": name,
            "attributes": attributes,
            "preset": chosen.key,
            "owner_email": reading.membership.email,
            "owner_name": reading.membership.full_name,
            "owner_id": reading.membership.user_id,
        }
    return new_id(ids.ORGANIZATION, desk.random), owner


def owner_of(reading: Reading) -> str | None:
    """The member who has been an owner longest."""
    owners = {role.id for role in reading.snapshot.select(Role, {"name": OWNER}) if role.is_base}
    assigned = reading.snapshot.select(RoleAssignment, {"role_id": owners})
    first = min(assigned, key=lambda fact: (fact.assigned_at, fact.user_id), default=None)
    return None if first is None else first.user_id


@dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationView:
    """An organization, its owner, and how many members are active."""

    organization: Organization
    owner_id: str | None
    member_count: int


def view(reading: Reading) -> OrganizationView:
    """The organization of the reading. Raises OrganizationAccessDenied where there is none."""
    return OrganizationView(
        organization=get_organization(reading),
        owner_id=owner_of(reading),
        member_count=reading.snapshot.count(Member, {"state": "active"}),
    )


def list_opened(desk: Desk, identity: Identity, *, skip: int, limit: int) -> tuple[list[OrganizationView], int]:
    """Those of the caller's organizations that the key opens, in order (created_at, id), and how many they are."""
    found: list[Organization] = []
    for organization_id in opened(desk, identity):
        with desk.reading(organization_id, identity.caller) as reading:
            found.append(get_organization(reading))
    found.sort(key=lambda each: (each.created_at, each.id))
    shown: list[OrganizationView] = []
    for organization in found[skip : skip + limit]:
        with desk.reading(organization.id, identity.caller) as reading:
            shown.append(view(reading))
    return shown, len(found)


def update(writing: Writing, *, name: str | None = None, attributes: Mapping[str, Any]) -> OrganizationView:
    """Another name, and these attributes; one that is None goes. Raises ValidationFailed, PermissionDenied."""
    wanted = None if name is None else valid_name("name", name)
    check_attributes(attributes)
    present = get_organization(writing)
    gates.require_capability(writing, "manage_users")
    kept = {key: value for key, value in {**present.attributes, **attributes}.items() if value is not None}
    changed = revised(present, name=wanted or present.name, attributes=kept)
    if changed != present:
        writing.book.replace(present, revised(changed, updated_at=writing.at), "updated")
    return view(writing)


def delete(writing: Writing) -> None:
    """The organization ends for everybody, from this revision on; its book stays. Raises PermissionDenied."""
    present = get_organization(writing)
    gates.require_capability(writing, DELETE_ORGANIZATION)
    writing.book.replace(present, revised(present, deleted_at=writing.at, updated_at=writing.at), "deleted")


def member_role(reading: Reading) -> Role:
    """The base role that a preset fills."""
    return base_role(reading, MEMBER)


def change_preset(writing: Writing, key: str) -> tuple[Preset, int]:
    """What every member may do from now on, and how many have the base role Member.

    Raises ValidationFailed(preset), PermissionDenied(capability) for who lacks what it gives or takes.
    """
    preset = valid_preset(key)
    role = member_role(writing)
    gates.require_capability(writing, "manage_roles")
    gates.require_holds(writing, role, revised(role, capabilities=preset.capabilities))
    writing.book.replace(role, revised(role, capabilities=preset.capabilities), "updated")
    return preset, writing.snapshot.count(RoleAssignment, {"role_id": role.id})


def get_organization(reading: Reading) -> Organization:
    """The organization of the reading. Raises OrganizationAccessDenied where there is none."""
    gates.require_membership(reading)
    organization = reading.snapshot.find(Organization, reading.organization_id)
    if organization is None:
        raise OrganizationAccessDenied(organization_id=reading.organization_id)
    return organization
