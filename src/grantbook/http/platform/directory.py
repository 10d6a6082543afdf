"""Organizations, members, departments and roles: what is needed to have somebody to grant to."""

from fastapi import Response

from grantbook.http import requests, responses
from grantbook.http.exchange import Answer, Exchanged
from grantbook.http.platform import rendering
from grantbook.http.routing import ORGANIZATION, documented, router
from grantbook.model.facts import DepartmentMember, Member, RoleAssignment
from grantbook.model.instants import to_text
from grantbook.service import departments, members, organizations, roles
from grantbook.service.desk import Writing

routes = router("Directory")


@routes.post("/v1/organizations", **documented(responses.OrganizationAnswer, writes=True, status=201))
def create_organization(body: requests.CreateOrganization, exchange: Exchanged) -> Response:
    """An organization that the caller owns; the key that made it opens it. Needs `create_organizations`."""
    attributes = body.model_dump(exclude_none=True, exclude={"name"})
    made, owner = organizations.found_for(
        exchange.desk, exchange.home, exchange.caller, name=body.name, attributes=attributes
    )

    def work(writing: Writing) -> Answer:
        founding = organizations.found(writing, **owner)
        return Answer(
            rendering.organization(founding.organization, owner_id=founding.owner.user_id, member_count=1), 201
        )

    return exchange.write(exchange.derived_id("org_", made), work, is_founding=True)


@routes.get(ORGANIZATION, **documented(responses.OrganizationAnswer))
def get_organization(organization_id: str, exchange: Exchanged) -> Response:
    """The organization. For every member."""
    with exchange.reading(organization_id) as reading:
        found = organizations.get_organization(reading)
        count = reading.snapshot.count(Member, {"state": "active"})
        owner_id = organizations.owner_of(reading)
        return Answer(rendering.organization(found, owner_id=owner_id, member_count=count)).response()


@routes.post(ORGANIZATION + "/users/invite/v2", **documented(responses.UserAnswer, writes=True, status=201))
def invite_user(organization_id: str, body: requests.InviteUser, exchange: Exchanged) -> Response:
    """A new member. Pending, without access, unless `send_invitation` is false: then active at once."""

    def work(writing: Writing) -> Answer:
        made = members.invite(
            writing,
            email=body.email,
            full_name=body.full_name,
            role_ids=body.role_ids or (),
            department_ids=body.department_ids or (),
            is_active=body.send_invitation is False,
            user_id=body.user_id,
        )
        return Answer(rendering.member(writing, made), 201)

    return exchange.write(organization_id, work)


@routes.patch(ORGANIZATION + "/users/{user_id}/memberships", **documented(responses.UserAnswer, writes=True))
def update_memberships(
    organization_id: str, user_id: str, body: requests.UpdateMemberships, exchange: Exchanged
) -> Response:
    """All roles and departments of a member, in place of the present ones."""

    def work(writing: Writing) -> Answer:
        changed = members.update_memberships(
            writing, user_id, role_ids=body.role_ids, department_ids=body.department_ids
        )
        return Answer(rendering.member(writing, changed))

    return exchange.write(organization_id, work)


@routes.delete(ORGANIZATION + "/users/{user_id}", **documented(None, writes=True, status=204))
def remove_user(organization_id: str, user_id: str, exchange: Exchanged) -> Response:
    """Remove a member, with memberships, keys and the grants that name them."""

    def work(writing: Writing) -> Answer:
        members.remove(writing, user_id)
        return Answer(None, 204)

    return exchange.write(organization_id, work)


@routes.post(ORGANIZATION + "/users/{user_id}/reactivate", **documented(responses.UserAnswer, writes=True))
def reactivate_user(organization_id: str, user_id: str, exchange: Exchanged) -> Response:
    """Make a pending or deactivated member active."""

    def work(writing: Writing) -> Answer:
        return Answer(rendering.member(writing, members.set_state(writing, user_id, "active")))

    return exchange.write(organization_id, work)


@routes.post(ORGANIZATION + "/departments", **documented(responses.DepartmentAnswer, writes=True, status=201))
def create_department(organization_id: str, body: requests.CreateDepartment, exchange: Exchanged) -> Response:
    """A department, at the top or below another."""

    def work(writing: Writing) -> Answer:
        made = departments.create(
            writing,
            name=body.name,
            description=body.description,
            parent_id=body.parent_id,
            department_id=body.id,
        )
        line = departments.line_above(writing, made)
        return Answer(rendering.department(writing, made, line, 0), 201)

    return exchange.write(organization_id, work)


@routes.delete(ORGANIZATION + "/departments/{department_id}", **documented(None, writes=True, status=204))
def delete_department(organization_id: str, department_id: str, exchange: Exchanged) -> Response:
    """Delete a department, with its memberships and the grants that name it."""

    def work(writing: Writing) -> Answer:
        departments.delete(writing, department_id)
        return Answer(None, 204)

    return exchange.write(organization_id, work)


@routes.post(
    ORGANIZATION + "/departments/{department_id}/members",
    **documented(responses.DepartmentMemberAnswer, writes=True, status=201),
)
def add_department_member(
    organization_id: str, department_id: str, body: requests.UserReference, exchange: Exchanged
) -> Response:
    """Put a member into a department; doing it again changes nothing."""

    def work(writing: Writing) -> Answer:
        joined: DepartmentMember = members.join_department(writing, department_id, body.user_id)
        found = members.view(writing, body.user_id)
        shown = {
            "user_id": found.member.user_id,
            "full_name": found.member.full_name,
            "email": found.member.email,
            "account_state": found.member.state,
            "role_ids": list(found.role_ids),
            "added_at": to_text(joined.added_at),
        }
        return Answer(shown, 201)

    return exchange.write(organization_id, work)


@routes.delete(
    ORGANIZATION + "/departments/{department_id}/members/{user_id}", **documented(None, writes=True, status=204)
)
def remove_department_member(organization_id: str, department_id: str, user_id: str, exchange: Exchanged) -> Response:
    """Take a member out of a department."""

    def work(writing: Writing) -> Answer:
        members.leave_department(writing, department_id, user_id)
        return Answer(None, 204)

    return exchange.write(organization_id, work)


@routes.post(ORGANIZATION + "/roles", **documented(responses.RoleAnswer, writes=True, status=201))
def create_custom_role(organization_id: str, body: requests.CreateRole, exchange: Exchanged) -> Response:
    """A custom role, of capabilities that the caller has too."""

    def work(writing: Writing) -> Answer:
        made = roles.create(
            writing,
            name=body.name,
            description=body.description,
            capabilities=body.capabilities or (),
            role_id=body.id,
        )
        return Answer(rendering.role(writing, made, 0), 201)

    return exchange.write(organization_id, work)


@routes.get(ORGANIZATION + "/roles", **documented(list[responses.RoleAnswer]))
def list_roles(organization_id: str, exchange: Exchanged, include_global: bool = True) -> Response:
    """Every role; without the base roles where `include_global` is false."""
    with exchange.reading(organization_id) as reading:
        found = roles.list_roles(reading, with_base_roles=include_global)
        return Answer([rendering.role(reading, role, count) for role, count in found]).response()


@routes.delete(ORGANIZATION + "/roles/{role_id}", **documented(None, writes=True, status=204))
def delete_custom_role(organization_id: str, role_id: str, exchange: Exchanged) -> Response:
    """Delete a custom role, with its assignments and the grants that name it."""

    def work(writing: Writing) -> Answer:
        roles.delete(writing, role_id)
        return Answer(None, 204)

    return exchange.write(organization_id, work)


@routes.post(
    ORGANIZATION + "/roles/{role_id}/members",
    **documented(responses.RoleAssignmentAnswer, writes=True, status=201),
)
def assign_role_member(
    organization_id: str, role_id: str, body: requests.UserReference, exchange: Exchanged
) -> Response:
    """Give a member a role; doing it again changes nothing."""

    def work(writing: Writing) -> Answer:
        assigned: RoleAssignment = members.assign_role(writing, role_id, body.user_id)
        shown = {
            "id": f"{role_id}.{body.user_id}",
            "user_id": assigned.user_id,
            "role_id": assigned.role_id,
            "organization_id": organization_id,
            "assigned_at": to_text(assigned.assigned_at),
        }
        return Answer(shown, 201)

    return exchange.write(organization_id, work)


@routes.delete(ORGANIZATION + "/roles/{role_id}/members/{user_id}", **documented(None, writes=True, status=204))
def remove_role_member(organization_id: str, role_id: str, user_id: str, exchange: Exchanged) -> Response:
    """Take a role from a member."""

    def work(writing: Writing) -> Answer:
        members.unassign_role(writing, role_id, user_id)
        return Answer(None, 204)

    return exchange.write(organization_id, work)
