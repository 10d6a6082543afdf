"""Roles: what they may carry, custom ones, and who has them."""

from typing import Annotated

from fastapi import Query, Response

from grantbook.http.exchange import Answer, Exchanged, done
from grantbook.http.platform import directory_rendering as rendering
from grantbook.http.platform import directory_shapes as shapes
from grantbook.http.routing import ORGANIZATION, documented, router
from grantbook.model.governance import CAPABILITIES, ROLE_TEMPLATES
from grantbook.model.instants import to_text
from grantbook.model.limits import DEFAULT_PAGE, MAX_PAGE, MAX_SKIP
from grantbook.service import members, permissions, roles
from grantbook.service.desk import Writing

routes = router("Roles")
ROLES = ORGANIZATION + "/roles"
ROLE = ROLES + "/{role_id}"

Skip = Annotated[int, Query(ge=0, le=MAX_SKIP, description="Items to leave out before the page.")]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Items in the page.")]


@routes.get("/v1/capabilities", **documented(list[shapes.CapabilityAnswer]))
def list_capabilities(exchange: Exchanged) -> Response:
    """Every capability that a role can carry, the same in every organization."""
    shown = [
        {
            "key": each.key,
            "label": each.label,
            "description": each.description,
            "group": each.group,
            "restricted": each.restricted,
        }
        for each in CAPABILITIES.values()
    ]
    with exchange.reading(exchange.home):
        return Answer(shown).response()


@routes.get(ROLES + "/templates", **documented(list[shapes.RoleTemplateAnswer]))
def list_role_templates(organization_id: str, exchange: Exchanged) -> Response:
    """Proposals for custom roles."""
    with exchange.reading(organization_id):
        shown = [
            {"name": each.name, "description": each.description, "capabilities": list(each.capabilities)}
            for each in ROLE_TEMPLATES
        ]
        return Answer(shown).response()


@routes.post(ROLES, **documented(shapes.RoleAnswer, writes=True, status=201))
def create_custom_role(organization_id: str, body: shapes.CreateRole, exchange: Exchanged) -> Response:
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


@routes.get(ROLES, **documented(list[shapes.RoleAnswer]))
def list_roles(organization_id: str, exchange: Exchanged, include_global: bool = True) -> Response:
    """Every role; without the base roles where `include_global` is false."""
    with exchange.reading(organization_id) as reading:
        found = roles.list_roles(reading, with_base_roles=include_global)
        return Answer([rendering.role(reading, role, count) for role, count in found]).response()


@routes.get(ROLE, **documented(shapes.RoleAnswer))
def get_role(organization_id: str, role_id: str, exchange: Exchanged) -> Response:
    """A role. For every member."""
    with exchange.reading(organization_id) as reading:
        return Answer(rendering.role(reading, *roles.view(reading, role_id))).response()


@routes.patch(ROLE, **documented(shapes.RoleAnswer, writes=True))
def update_custom_role(organization_id: str, role_id: str, body: shapes.UpdateRole, exchange: Exchanged) -> Response:
    """Another name, description or set of capabilities. The caller has all that the role had, and all it gets."""

    def work(writing: Writing) -> Answer:
        roles.update(
            writing,
            role_id,
            name=body.name,
            description=body.cleared("description"),
            capabilities=body.capabilities,
        )
        return Answer(rendering.role(writing, *roles.view(writing, role_id)))

    return exchange.write(organization_id, work)


@routes.delete(ROLE, **documented(None, writes=True, status=204))
def delete_custom_role(organization_id: str, role_id: str, exchange: Exchanged) -> Response:
    """Delete a custom role, with its assignments and the grants that name it."""
    return exchange.write(organization_id, done(lambda writing: roles.delete(writing, role_id)))


@routes.get(ROLE + "/members", **documented(shapes.RoleMemberList))
def list_role_members(
    organization_id: str, role_id: str, exchange: Exchanged, skip: Skip = 0, limit: Limit = DEFAULT_PAGE
) -> Response:
    """Who has the role, in the order of getting it."""
    with exchange.reading(organization_id) as reading:
        found, total = roles.list_members(reading, role_id, skip=skip, limit=limit)
        return Answer({"members": [rendering.role_member(each) for each in found], "total": total}).response()


@routes.post(ROLE + "/members", **documented(shapes.RoleAssignmentAnswer, writes=True, status=201))
def assign_role_member(organization_id: str, role_id: str, body: shapes.UserReference, exchange: Exchanged) -> Response:
    """Give a member a role; doing it again changes nothing."""

    def work(writing: Writing) -> Answer:
        assigned = members.assign_role(writing, role_id, body.user_id)
        shown = {
            "id": f"{role_id}.{body.user_id}",
            "user_id": assigned.user_id,
            "role_id": assigned.role_id,
            "organization_id": organization_id,
            "assigned_at": to_text(assigned.assigned_at),
        }
        return Answer(shown, 201)

    return exchange.write(organization_id, work)


@routes.delete(ROLE + "/members/{user_id}", **documented(None, writes=True, status=204))
def remove_role_member(organization_id: str, role_id: str, user_id: str, exchange: Exchanged) -> Response:
    """Take a role from a member."""
    return exchange.write(organization_id, done(lambda writing: members.unassign_role(writing, role_id, user_id)))


@routes.get(ORGANIZATION + "/users/{user_id}/effective-permissions", **documented(shapes.EffectivePermissions))
def get_effective_permissions(organization_id: str, user_id: str, exchange: Exchanged) -> Response:
    """What a member may do by all roles: for oneself, or for those who keep members or roles."""
    with exchange.reading(organization_id) as reading:
        found = permissions.effective(reading, user_id)
        return Answer(rendering.effective_permissions(reading, found)).response()
