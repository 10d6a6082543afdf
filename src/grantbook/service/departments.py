"""The department tree."""

from grantbook.model import ids
from grantbook.model.errors import Conflict, ValidationFailed
from grantbook.model.facts import AccessTarget, Department, DepartmentMember, Entity
from grantbook.model.limits import MAX_DEPARTMENT_DEPTH
from grantbook.service import gates
from grantbook.service.desk import Reading, Writing
from grantbook.service.grants import revoke_dangling
from grantbook.service.values import optional_text, valid_id, valid_name


def create(
    writing: Writing,
    *,
    name: str,
    description: str | None = None,
    parent_id: str | None = None,
    department_id: str | None = None,
) -> Department:
    """A department, at the top or below another.

    Raises ValidationFailed(name, parent_id), NotFound(department_id), PermissionDenied, Conflict(department_id).
    """
    department = Department(
        id=writing.new_id(ids.DEPARTMENT) if department_id is None else valid_id("id", department_id, ids.DEPARTMENT),
        name=valid_name("name", name),
        description=optional_text("description", description),
        parent_id=parent_id,
        created_by=writing.caller.user_id,
        created_at=writing.at,
    )
    if parent_id is not None:
        gates.get_department(writing, parent_id)
        if len(writing.snapshot.departments_above([parent_id])) >= MAX_DEPARTMENT_DEPTH:
            raise ValidationFailed("parent_id", f"departments can be at most {MAX_DEPARTMENT_DEPTH} levels deep")
    gates.require_capability(writing, "manage_departments", *(("create_subdepartments",) if parent_id else ()))
    if writing.snapshot.find(Department, department.id) is not None:
        raise Conflict("The department already exists", department_id=department.id)
    writing.book.add(department, "created")
    return department


def line_above(reading: Reading, department: Department) -> list[Department]:
    """From the root down to the department."""
    known = {each.id: each for each in reading.snapshot.departments_above([department.id])}
    line, current = [department], department.parent_id
    while current is not None and current in known and len(line) <= MAX_DEPARTMENT_DEPTH:
        line.append(known[current])
        current = known[current].parent_id
    return line[::-1]


def delete(writing: Writing, department_id: str) -> None:
    """The department goes, with its memberships and the grants that name it, in one transaction.

    Raises NotFound(department_id), PermissionDenied, ValidationFailed (code DEPARTMENT_HAS_CHILDREN),
    Conflict (code DEPARTMENT_OWNS_ENTITIES).
    """
    department = gates.get_department(writing, department_id)
    gates.require_capability(writing, "manage_departments")
    if writing.snapshot.count(Department, {"parent_id": department_id}):
        raise ValidationFailed(
            "department_id",
            "the department has sub-departments: move or delete them first",
            code="DEPARTMENT_HAS_CHILDREN",
        )
    if writing.snapshot.count(Entity, {"owner_type": "department", "owner_id": department_id}):
        raise Conflict(
            "The department owns entities: give them another owner first",
            code="DEPARTMENT_OWNS_ENTITIES",
            department_id=department_id,
        )
    revoke_dangling(writing, {"grantee_type": "department", "grantee_id": department_id})
    for target in writing.snapshot.select(AccessTarget, {"target_type": "department", "target_id": department_id}):
        writing.book.remove(target, "removed")
    for joined in writing.snapshot.select(DepartmentMember, {"department_id": department_id}):
        writing.book.remove(joined, "left")
    writing.book.remove(department, "deleted")
