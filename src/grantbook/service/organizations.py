"""Organizations: made with an owner and the base roles."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from grantbook.model import ids
from grantbook.model.errors import Conflict, OrganizationAccessDenied, PermissionDenied
from grantbook.model.facts import Member, Organization, Role, RoleAssignment
from grantbook.model.governance import BASE_ROLES, CREATE_ORGANIZATIONS, OWNER
from grantbook.model.ids import new_id
from grantbook.service import gates
from grantbook.service.desk import Caller, Desk, Reading, Writing
from grantbook.service.members import identify
from grantbook.service.values import check_attributes, valid_email, valid_id, valid_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Founding:
    """A new organization, its owner, and how many members it has."""

    organization: Organization
    owner: Member
    revision: int


def found(
    writing: Writing,
    *,
    name: str,
    owner_email: str,
    owner_name: str | None = None,
    owner_id: str | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> Founding:
    """Make the organization of this writing. Only for those who were let through by `may_found` or hold the database.

    Raises ValidationFailed(name, email, ...), Conflict(organization_id).
    """
    if writing.snapshot.find(Organization, writing.organization_id) is not None:
        raise Conflict("The organization already exists", organization_id=writing.organization_id)
    email = valid_email("email", owner_email)
    check_attributes(attributes)
    organization = Organization(
        id=valid_id("organization_id", writing.organization_id, ids.ORGANIZATION),
        name=valid_name("name", name),
        attributes=dict(attributes or {}),
        creator_key_id=writing.caller.api_key_id,
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
    for role_name, capabilities in BASE_ROLES.items():
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
    return Founding(organization=organization, owner=owner, revision=writing.snapshot.revision)


def found_for(
    desk: Desk, home: str, caller: Caller, *, name: str, attributes: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """The id and the owner of an organization that a user of `home` may make, for `found`.

    Raises PermissionDenied(capability).
    """
    with desk.reading(home, caller) as reading:
        gates.require_capability(reading, CREATE_ORGANIZATIONS)
        if reading.membership is None:
            raise PermissionDenied(capability=CREATE_ORGANIZATIONS)
        owner = {
            "name": name,
            "attributes": attributes,
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


def get_organization(reading: Reading) -> Organization:
    """The organization of the reading. Raises OrganizationAccessDenied where there is none."""
    gates.require_membership(reading)
    organization = reading.snapshot.find(Organization, reading.organization_id)
    if organization is None:
        raise OrganizationAccessDenied(organization_id=reading.organization_id)
    return organization
