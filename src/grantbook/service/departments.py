"""The department tree."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from grantbook.model import ids
from grantbook.model.errors import Conflict, NotFound, ValidationFailed
from grantbook.model.facts import AccessTarget, Department, DepartmentMember, Entity, revised
from grantbook.model.limits import MAX_DEPARTMENT_DEPTH
from grantbook.service import gates
from grantbook.service.desk import Reading, Writing
from grantbook.service.grants import revoke_dangling
from grantbook.service.listing import part_of, require_few
from grantbook.service.members import MemberView, views_of
from grantbook.service.values import optional_text, valid_id, valid_name
from grantbook.store.port import Order, Where


@dataclass(frozen=True, slots=True, kw_only=True)
class DepartmentView:
    """A department, the names from the root down to it, and how many members are in it itself."""

    department: Department
    line: tuple[str, ...]
    member_count: int


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


def update(writing: Writing, department_id: str, *, name: str | None, description: str | None) -> Department:
    """Another name or description; None leaves it.

    Raises ValidationFailed(name, description), NotFound(department_id), PermissionDenied(capability).
    """
    wanted = None if name is None else valid_name("name", name)
    text = optional_text("description", description)
    present = gates.get_department(writing, department_id)
    gates.require_capability(writing, "manage_departments")
    changed = revised(
        present, name=wanted or present.name, description=present.description if text is None else text or None
    )
    writing.book.replace(present, changed, "updated")
    return changed


def move(writing: Writing, department_id: str, parent_id: str | None) -> Department:
    """Below another department, or to the top, with everything below it. Grants above it reach it from then on.

    Raises NotFound(department_id), PermissionDenied(capability), ValidationFailed(new_parent_id) for a cycle (code
    DEPARTMENT_CYCLE) or too deep a tree.
    """
    present = gates.get_department(writing, department_id)
    if parent_id is not None:
        gates.get_department(writing, parent_id)
    gates.require_capability(writing, "manage_departments", "reparent_departments")
    if parent_id == present.parent_id:
        return present
    above = [] if parent_id is None else writing.snapshot.departments_above([parent_id])
    if any(each.id == department_id for each in above):
        raise ValidationFailed("new_parent_id", "a department cannot be below itself", code="DEPARTMENT_CYCLE")
    below = writing.snapshot.departments_below([department_id])
    if len(above) + _height(below, department_id) > MAX_DEPARTMENT_DEPTH:
        raise ValidationFailed("new_parent_id", f"departments can be at most {MAX_DEPARTMENT_DEPTH} levels deep")
    if above:
        moving = {"user_id": writing.caller.user_id, "department_id": {each.id for each in below}}
        gates.require_no_gain(writing, {each.user_id for each in writing.snapshot.select(DepartmentMember, moving)})
    moved = revised(present, parent_id=parent_id)
    writing.book.replace(present, moved, "moved")
    return moved


def view(reading: Reading, department_id: str) -> DepartmentView:
    """Raises NotFound(department_id)."""
    (found,) = _views(reading, [gates.get_department(reading, department_id)])
    return found


def list_departments(reading: Reading, *, skip: int = 0, limit: int | None = None) -> list[DepartmentView]:
    """In order (created_at, id). Raises LimitExceeded where there are too many without a `limit`."""
    return _views(reading, part_of(reading, Department, skip=skip, limit=limit), is_all=limit is None and not skip)


def list_tree(reading: Reading, scope: Collection[str] | None = None) -> list[DepartmentView]:
    """Every department, or those of the scope with everything below them, in order (created_at, id).

    Raises NotFound(department_id), LimitExceeded where there are too many.
    """
    require_few(reading, Department)
    if scope is None:
        return _views(reading, reading.snapshot.select(Department), is_all=True)
    found = reading.snapshot.departments_below(scope)
    if missing := sorted(set(scope) - {each.id for each in found}):
        raise NotFound("Department not found", department_id=missing[0])
    return _views(reading, found)


def list_members(
    reading: Reading, department_id: str, *, skip: int = 0, limit: int | None = None
) -> list[tuple[DepartmentMember, MemberView]]:
    """Who is in the department itself, in the order of joining.

    Raises NotFound(department_id), LimitExceeded where there are too many without a `limit`.
    """
    gates.get_department(reading, department_id)
    joined = part_of(
        reading, DepartmentMember, {"department_id": department_id}, skip=skip, limit=limit, order=Order("added_at")
    )
    people = views_of(reading, [each.user_id for each in joined])
    return [(each, people[each.user_id]) for each in joined]


def _views(reading: Reading, found: list[Department], *, is_all: bool = False) -> list[DepartmentView]:
    """In order (created_at, id), with one query for what is above and one for the members."""
    shown = {each.id for each in found}
    if {each.parent_id for each in found} - {None} - shown:
        known = {each.id: each for each in reading.snapshot.departments_above(shown)}
    else:
        known = {each.id: each for each in found}
    where: list[Where] = [] if is_all else [{"department_id": shown}]
    counts = reading.snapshot.tally(DepartmentMember, "department_id", *where) if found else {}
    lines: dict[str, tuple[str, ...]] = {}
    return [
        DepartmentView(department=each, line=_line(known, each, lines), member_count=counts.get(each.id, 0))
        for each in sorted(found, key=lambda each: (each.created_at, each.id))
    ]


def _line(
    known: Mapping[str, Department], department: Department, lines: dict[str, tuple[str, ...]]
) -> tuple[str, ...]:
    """Names from the root down to the department; `lines` remembers those worked out."""
    if department.id not in lines:
        parent = known.get(department.parent_id or "")
        above = () if parent is None else _line(known, parent, lines)
        lines[department.id] = (*above, department.name)
    return lines[department.id]


def _height(below: Collection[Department], department_id: str) -> int:
    """How many levels the department and those below it have."""
    children: defaultdict[str | None, list[str]] = defaultdict(list)
    for each in below:
        children[each.parent_id].append(each.id)
    level, height = [department_id], 0
    while level:
        level = [child for id_ in level for child in children[id_]]
        height += 1
    return height


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
