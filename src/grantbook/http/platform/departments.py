"""The department tree, and who is in it."""

from typing import Annotated

from fastapi import Query, Response

from grantbook.http.exchange import Answer, Exchanged, done
from grantbook.http.platform import directory_rendering as rendering
from grantbook.http.platform import directory_shapes as shapes
from grantbook.http.routing import ORGANIZATION, documented, router
from grantbook.model.errors import ValidationFailed
from grantbook.model.limits import MAX_PAGE, MAX_SKIP
from grantbook.service import departments, members
from grantbook.service.desk import Writing

routes = router("Departments")
DEPARTMENTS = ORGANIZATION + "/departments"
DEPARTMENT = DEPARTMENTS + "/{department_id}"
_MAX_SCOPE = 100

Skip = Annotated[int, Query(ge=0, le=MAX_SKIP, description="Ours: items to leave out.")]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Ours: items to show; all, up to 10,000, if left out.")]
Scope = Annotated[str, Query(max_length=_MAX_SCOPE * 70, description="Ids of departments, separated by commas.")]


@routes.get(DEPARTMENTS + "/tree", **documented(list[shapes.DepartmentTree]))
def get_department_tree(organization_id: str, exchange: Exchanged, scope: Scope | None = None) -> Response:
    """All departments, or those of the scope with everything below them, each with its children."""
    wanted = None if scope is None else [each.strip() for each in scope.split(",")]
    if wanted is not None and len(wanted) > _MAX_SCOPE:
        raise ValidationFailed("scope", f"scope must have at most {_MAX_SCOPE} ids")
    with exchange.reading(organization_id) as reading:
        found = departments.list_tree(reading, wanted)
        return Answer(rendering.department_tree(reading, found)).response()


@routes.get(DEPARTMENTS, **documented(list[shapes.DepartmentAnswer]))
def list_departments(organization_id: str, exchange: Exchanged, skip: Skip = 0, limit: Limit | None = None) -> Response:
    """All departments as a flat list, oldest first."""
    with exchange.reading(organization_id) as reading:
        found = departments.list_departments(reading, skip=skip, limit=limit)
        return Answer([rendering.department(reading, each) for each in found]).response()


@routes.post(DEPARTMENTS, **documented(shapes.DepartmentAnswer, writes=True, status=201))
def create_department(organization_id: str, body: shapes.CreateDepartment, exchange: Exchanged) -> Response:
    """A department, at the top or below another."""

    def work(writing: Writing) -> Answer:
        made = departments.create(
            writing,
            name=body.name,
            description=body.description,
            parent_id=body.parent_id,
            department_id=body.id,
        )
        return Answer(rendering.department(writing, departments.view(writing, made.id)), 201)

    return exchange.write(organization_id, work)


@routes.get(DEPARTMENT, **documented(shapes.DepartmentAnswer))
def get_department(organization_id: str, department_id: str, exchange: Exchanged) -> Response:
    """A department. For every member."""
    with exchange.reading(organization_id) as reading:
        return Answer(rendering.department(reading, departments.view(reading, department_id))).response()


@routes.patch(DEPARTMENT, **documented(shapes.DepartmentAnswer, writes=True))
def update_department(
    organization_id: str, department_id: str, body: shapes.UpdateDepartment, exchange: Exchanged
) -> Response:
    """Another name or description."""

    def work(writing: Writing) -> Answer:
        departments.update(writing, department_id, name=body.name, description=body.cleared("description"))
        return Answer(rendering.department(writing, departments.view(writing, department_id)))

    return exchange.write(organization_id, work)


@routes.delete(DEPARTMENT, **documented(None, writes=True, status=204))
def delete_department(organization_id: str, department_id: str, exchange: Exchanged) -> Response:
    """Delete a department without sub-departments, with its memberships and the grants that name it."""
    return exchange.write(organization_id, done(lambda writing: departments.delete(writing, department_id)))


@routes.post(DEPARTMENT + "/reparent", **documented(shapes.DepartmentAnswer, writes=True))
def reparent_department(
    organization_id: str, department_id: str, body: shapes.ReparentDepartment, exchange: Exchanged
) -> Response:
    """Move a department, with everything below it, below another one or to the top."""

    def work(writing: Writing) -> Answer:
        departments.move(writing, department_id, body.new_parent_id)
        return Answer(rendering.department(writing, departments.view(writing, department_id)))

    return exchange.write(organization_id, work)


@routes.get(DEPARTMENT + "/members", **documented(list[shapes.DepartmentMemberAnswer]))
def list_department_members(
    organization_id: str, department_id: str, exchange: Exchanged, skip: Skip = 0, limit: Limit | None = None
) -> Response:
    """Who is in the department itself, in the order of joining."""
    with exchange.reading(organization_id) as reading:
        found = departments.list_members(reading, department_id, skip=skip, limit=limit)
        return Answer([rendering.department_member(joined, each) for joined, each in found]).response()


@routes.post(DEPARTMENT + "/members", **documented(shapes.DepartmentMemberAnswer, writes=True, status=201))
def add_department_member(
    organization_id: str, department_id: str, body: shapes.UserReference, exchange: Exchanged
) -> Response:
    """Put a member into a department; doing it again changes nothing."""

    def work(writing: Writing) -> Answer:
        joined = members.join_department(writing, department_id, body.user_id)
        return Answer(rendering.department_member(joined, members.view(writing, body.user_id)), 201)

    return exchange.write(organization_id, work)


@routes.delete(DEPARTMENT + "/members/{user_id}", **documented(None, writes=True, status=204))
def remove_department_member(organization_id: str, department_id: str, user_id: str, exchange: Exchanged) -> Response:
    """Take a member out of a department."""
    return exchange.write(
        organization_id, done(lambda writing: members.leave_department(writing, department_id, user_id))
    )
