"""The tree may be moved but never tied in a knot; roles change within what the caller holds; lists are bounded."""

from typing import Any

import pytest

from grantbook.model.errors import Conflict, LimitExceeded, NotFound, PermissionDenied, ValidationFailed
from grantbook.model.facts import Department
from grantbook.model.governance import CAPABILITIES, OWNER, ROLE_TEMPLATES
from grantbook.model.limits import MAX_DEPARTMENT_DEPTH, MAX_UNPAGED
from grantbook.service import departments, members, roles
from grantbook.service.desk import SYSTEM
from tests.service.office import ADMIN, EDITOR, LOW, NOTES, OTHER, PLAIN, STRANGER, TOP, Office
from tests.worlds import MILLISECOND, ORGANIZATION, department, deposit, nothing_happens

DEPTH = MAX_DEPARTMENT_DEPTH


def _line(office: Office, name: str, length: int) -> list[str]:
    """Departments one below the other, from the top."""
    found: list[str] = []
    for number in range(length):
        made = office.do(SYSTEM, departments.create, name=f"{name}{number}", parent_id=found[-1] if found else None)
        office.clock.advance(MILLISECOND)
        found.append(made.id)
    return found


def test_a_move_is_one_change_and_takes_access_along(office: Office) -> None:
    office.give(NOTES, TOP, "read")
    assert office.level(PLAIN, NOTES) == "read"
    before = office.revision
    moved = office.do(ADMIN, departments.move, LOW.id, None)
    assert moved.parent_id is None
    (change,) = office.changes(before)
    assert (change.action, change.subject_id, change.subject_type) == ("moved", LOW.id, "department")
    assert office.level(PLAIN, NOTES) is None
    with nothing_happens(office.store, ORGANIZATION):
        office.do(ADMIN, departments.move, LOW.id, None)
    office.do(ADMIN, departments.move, LOW.id, TOP.id)
    assert office.level(PLAIN, NOTES) == "read"


def test_no_department_comes_to_be_below_itself(office: Office) -> None:
    line = _line(office, "a", 4)
    for upper in range(4):
        for lower in range(upper, 4):
            with nothing_happens(office.store, ORGANIZATION), pytest.raises(ValidationFailed) as raised:
                office.do(ADMIN, departments.move, line[upper], line[lower])
            assert raised.value.error_code == "DEPARTMENT_CYCLE"
    office.do(ADMIN, departments.move, line[3], line[0])
    office.do(ADMIN, departments.move, line[1], line[3])
    assert office.ask(PLAIN, departments.view, line[2]).line == ("a0", "a3", "a1", "a2")


def test_a_move_may_reach_the_greatest_depth_and_no_further(office: Office) -> None:
    upper, lower = _line(office, "a", DEPTH - 3), _line(office, "b", 4)
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(ValidationFailed) as raised:
        office.do(ADMIN, departments.move, lower[0], upper[-1])
    assert raised.value.details["field"] == "new_parent_id"
    office.do(ADMIN, departments.move, lower[1], upper[-1])
    assert len(office.ask(PLAIN, departments.view, lower[-1]).line) == DEPTH
    with pytest.raises(ValidationFailed):
        office.do(ADMIN, departments.create, name="x", parent_id=lower[-1])
    office.do(SYSTEM, members.join_department, lower[-1], OTHER)
    assert office.level(OTHER, NOTES) is None
    office.do(ADMIN, departments.move, lower[0], upper[-3])


def test_moving_takes_its_own_capability(office: Office) -> None:
    for held, allowed in (((), False), (("create_subdepartments",), False), (("reparent_departments",), True)):
        office.do(SYSTEM, roles.update, EDITOR.id, capabilities=held)
        if allowed:
            assert office.do(OTHER, departments.move, LOW.id, None).id == LOW.id
        else:
            with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied):
                office.do(OTHER, departments.move, LOW.id, None)
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied):
        office.do(OTHER, departments.update, LOW.id, name="Mine", description=None)
    with pytest.raises(NotFound):
        office.do(OTHER, departments.move, LOW.id, "dept_gone")
    with pytest.raises(NotFound):
        office.do(PLAIN, departments.move, "dept_gone", None)


def test_the_tree_is_told_with_its_counts_and_names(office: Office) -> None:
    office.do(SYSTEM, departments.create, name="Side", department_id="dept_side")
    found = {each.department.id: each for each in office.ask(PLAIN, departments.list_tree)}
    assert {id_: (each.line, each.member_count) for id_, each in found.items()} == {
        TOP.id: (("Top",), 0),
        LOW.id: (("Top", "Low"), 1),
        "dept_side": (("Side",), 0),
    }
    (part,) = office.ask(PLAIN, departments.list_tree, [LOW.id])
    assert part == found[LOW.id]
    assert [each.department.id for each in office.ask(PLAIN, departments.list_tree, [TOP.id])] == [LOW.id, TOP.id]
    assert {each.department.id for each in office.ask(PLAIN, departments.list_departments)} == set(found)
    assert office.ask(PLAIN, departments.list_departments, skip=1, limit=1)[0].department.id in found
    assert office.ask(PLAIN, departments.list_departments, skip=9, limit=1) == []
    with pytest.raises(NotFound):
        office.ask(PLAIN, departments.list_tree, [LOW.id, "dept_gone"])


def test_members_of_a_department_come_in_the_order_of_joining(office: Office) -> None:
    office.clock.advance(MILLISECOND)
    for user_id in (OTHER, ADMIN):
        office.do(SYSTEM, members.join_department, LOW.id, user_id)
        office.clock.advance(MILLISECOND)

    def listed(skip: int = 0, limit: int | None = None) -> list[str]:
        found = office.ask(PLAIN, departments.list_members, LOW.id, skip=skip, limit=limit)
        assert all(joined.user_id == view.member.user_id for joined, view in found)
        return [joined.user_id for joined, _ in found]

    assert listed() == [PLAIN, OTHER, ADMIN]
    assert (listed(1, 1), listed(3)) == ([OTHER], [])
    with pytest.raises(NotFound):
        office.ask(PLAIN, departments.list_members, "dept_gone")


def test_a_list_without_a_limit_is_whole_or_refused(office: Office) -> None:
    more = [department(f"dept_{number:05}") for number in range(MAX_UNPAGED - 2)]
    deposit(office.store, ORGANIZATION, more)
    assert len(office.ask(PLAIN, departments.list_departments)) == MAX_UNPAGED
    assert len(office.ask(PLAIN, departments.list_tree)) == MAX_UNPAGED
    deposit(office.store, ORGANIZATION, [department("dept_straw")])
    for ask in (departments.list_departments, departments.list_tree):
        with pytest.raises(LimitExceeded) as raised:
            office.ask(PLAIN, ask)
        assert raised.value.details == {"limit": "unpaged_items", "maximum": MAX_UNPAGED}
    assert len(office.ask(PLAIN, departments.list_departments, skip=MAX_UNPAGED, limit=100)) == 1


def test_an_update_clears_with_an_empty_text_and_keeps_with_none(office: Office) -> None:
    office.do(ADMIN, departments.update, LOW.id, name=None, description="Below")
    assert _kept(office.department(LOW.id)) == ("Low", "Below")
    office.do(ADMIN, departments.update, LOW.id, name=" Lower ", description=None)
    assert _kept(office.department(LOW.id)) == ("Lower", "Below")
    office.do(ADMIN, departments.update, LOW.id, name=None, description="")
    assert _kept(office.department(LOW.id)) == ("Lower", None)
    with nothing_happens(office.store, ORGANIZATION):
        office.do(ADMIN, departments.update, LOW.id, name="Lower", description=None)
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(ValidationFailed):
        office.do(ADMIN, departments.update, LOW.id, name=" ", description=None)


def _kept(found: Department | None) -> tuple[str, str | None]:
    assert found is not None
    return found.name, found.description


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (("manage_billing",), ()),
        (("manage_billing",), ("manage_billing",)),
        ((), ("manage_billing",)),
        (("manage_roles",), ("manage_roles", "create_knowledge")),
    ],
)
def test_a_role_changes_only_within_what_the_caller_holds(
    office: Office, before: tuple[str, ...], after: tuple[str, ...]
) -> None:
    office.do(SYSTEM, roles.update, EDITOR.id, capabilities=["manage_roles", "view_audit_log"])
    role = office.do(SYSTEM, roles.create, name="Target", capabilities=before)
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied):
        office.do(OTHER, roles.update, role.id, capabilities=after)
    assert office.do(SYSTEM, roles.update, role.id, capabilities=after).capabilities == after


def test_nobody_makes_their_own_role_better(office: Office) -> None:
    office.do(SYSTEM, roles.update, EDITOR.id, capabilities=["manage_roles"])
    for capability in CAPABILITIES:
        if capability != "manage_roles":
            with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied):
                office.do(OTHER, roles.update, EDITOR.id, capabilities=["manage_roles", capability])
    office.do(OTHER, roles.update, EDITOR.id, capabilities=[])
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied):
        office.do(OTHER, roles.update, EDITOR.id, capabilities=["manage_roles"])


def test_base_roles_stay_as_they_are(office: Office) -> None:
    changes: tuple[dict[str, Any], ...] = ({"name": "Mine"}, {"capabilities": []}, {"description": "x"})
    for name in (OWNER, "Admin", "Member"):
        for change in changes:
            with nothing_happens(office.store, ORGANIZATION), pytest.raises(PermissionDenied):
                office.do(SYSTEM, roles.update, office.base_role(name), **change)


def test_a_role_keeps_its_name_or_takes_a_free_one(office: Office) -> None:
    other = office.do(SYSTEM, roles.create, name="Other")
    with nothing_happens(office.store, ORGANIZATION), pytest.raises(Conflict):
        office.do(ADMIN, roles.update, other.id, name="Editor")
    with nothing_happens(office.store, ORGANIZATION):
        office.do(ADMIN, roles.update, other.id, name="Other")
    office.do(ADMIN, roles.delete, EDITOR.id)
    assert office.do(ADMIN, roles.update, other.id, name="Editor").name == "Editor"


def test_members_of_a_role_come_in_the_order_of_getting_it(office: Office) -> None:
    for user_id in (PLAIN, ADMIN):
        office.clock.advance(MILLISECOND)
        office.do(SYSTEM, members.assign_role, EDITOR.id, user_id)

    def listed(skip: int, limit: int) -> tuple[list[str], int]:
        found, total = office.ask(PLAIN, roles.list_members, EDITOR.id, skip=skip, limit=limit)
        return [each.user_id for each in found], total

    assert listed(0, 10) == ([OTHER, PLAIN, ADMIN], 3)
    assert listed(2, 10) == ([ADMIN], 3)
    assert listed(3, 10) == ([], 3)
    assert office.ask(PLAIN, roles.view, EDITOR.id)[1] == 3
    counts = {role.name: count for role, count in office.ask(PLAIN, roles.list_roles)}
    assert counts == {"Owner": 1, "Admin": 1, "Member": 1, "Editor": 3}
    with pytest.raises(NotFound):
        office.ask(STRANGER, roles.list_members, "role_gone", skip=0, limit=1)


def test_templates_are_of_capabilities_that_there_are() -> None:
    for template in ROLE_TEMPLATES:
        assert template.capabilities
        assert set(template.capabilities) <= CAPABILITIES.keys()
        assert not any(CAPABILITIES[key].restricted for key in template.capabilities)
