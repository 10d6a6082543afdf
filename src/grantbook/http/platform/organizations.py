"""Organizations: make, list, change, end; presets of what members may do; the states of members."""

from typing import Annotated

from fastapi import Query, Response

from grantbook.http.exchange import Answer, Exchanged, done
from grantbook.http.platform import directory_rendering as rendering
from grantbook.http.platform import directory_shapes as shapes
from grantbook.http.routing import ORGANIZATION, documented, router
from grantbook.model.limits import DEFAULT_PAGE, MAX_PAGE, MAX_SKIP
from grantbook.service import organizations
from grantbook.service.desk import Writing
from grantbook.service.values import called

routes = router("Organizations")
PRESET = ORGANIZATION + "/permission-preset"

Skip = Annotated[int, Query(ge=0, le=MAX_SKIP, description="Items to leave out before the page.")]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Items in the page.")]


@routes.get("/v1/organizations", **documented(shapes.OrganizationList))
def list_organizations(
    exchange: Exchanged,
    skip: Skip = 0,
    limit: Limit = DEFAULT_PAGE,
    active_only: Annotated[bool, Query(description="Deleted ones are not shown in any case.")] = True,  # noqa: ARG001
) -> Response:
    """The caller's organizations that the key opens, oldest first."""
    with exchange.reading(exchange.home):
        found, total = organizations.list_opened(exchange.desk, exchange.identity, skip=skip, limit=limit)
    shown = [rendering.organization(each) for each in found]
    return Answer({"organizations": shown, "total": total, "skip": skip, "limit": limit}).response()


@routes.post("/v1/organizations", **documented(shapes.OrganizationAnswer, writes=True, status=201))
def create_organization(body: shapes.CreateOrganization, exchange: Exchanged) -> Response:
    """An organization that the caller owns; the key that made it opens it. Needs `create_organizations`."""
    with called(preset="permission_preset"):
        made, founding = organizations.found_for(
            exchange.desk,
            exchange.home,
            exchange.caller,
            name=body.name,
            attributes=body.model_dump(exclude_none=True, exclude={"name", "permission_preset"}),
            preset=body.permission_preset,
        )

    def work(writing: Writing) -> Answer:
        organizations.found(writing, **founding)
        return Answer(rendering.organization(organizations.view(writing)), 201)

    return exchange.write(exchange.derived_id("org_", made), work, is_founding=True)


@routes.get(ORGANIZATION, **documented(shapes.OrganizationAnswer))
def get_organization(organization_id: str, exchange: Exchanged) -> Response:
    """The organization. For every member."""
    with exchange.reading(organization_id) as reading:
        return Answer(rendering.organization(organizations.view(reading))).response()


@routes.patch(ORGANIZATION, **documented(shapes.OrganizationAnswer, writes=True))
def update_organization(organization_id: str, body: shapes.UpdateOrganization, exchange: Exchanged) -> Response:
    """Change what is told about the organization. Needs `manage_users`, as the published API says."""
    attributes = body.model_dump(exclude_unset=True, exclude={"name", "is_active"})

    def work(writing: Writing) -> Answer:
        return Answer(rendering.organization(organizations.update(writing, name=body.name, attributes=attributes)))

    return exchange.write(organization_id, work)


@routes.delete(ORGANIZATION, **documented(None, writes=True, status=204))
def delete_organization(organization_id: str, exchange: Exchanged) -> Response:
    """End the organization: nobody opens it and nobody has access to anything of it any more. Its record stays."""
    return exchange.write(organization_id, done(organizations.delete))


@routes.get(PRESET, **documented(shapes.CurrentPreset))
def get_permission_preset(organization_id: str, exchange: Exchanged) -> Response:
    """What every member may do, and what else could be chosen."""
    with exchange.reading(organization_id) as reading:
        return Answer(rendering.current_preset(organizations.member_role(reading))).response()


@routes.patch(PRESET, **documented(shapes.ChangedPreset, writes=True))
def change_permission_preset(organization_id: str, body: shapes.ChangePreset, exchange: Exchanged) -> Response:
    """Let every member do this from now on. Needs `manage_roles`, and all that the preset gives or takes."""

    def work(writing: Writing) -> Answer:
        return Answer(rendering.changed_preset(*organizations.change_preset(writing, body.preset)))

    return exchange.write(organization_id, work)


@routes.get(ORGANIZATION + "/statuses", **documented(list[shapes.StatusAnswer]))
def list_statuses(
    organization_id: str,
    exchange: Exchanged,
    active_only: Annotated[bool, Query(description="All of them are.")] = True,  # noqa: ARG001
) -> Response:
    """The states that members can be in: the `status_id` of the list of members."""
    with exchange.reading(organization_id):
        return Answer(rendering.statuses(organization_id)).response()
