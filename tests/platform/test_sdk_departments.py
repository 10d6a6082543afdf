"""Every method of the SDK's `departments`, for success and for its main errors."""

import pytest
from aitronos import Aitronos
from aitronos.types import DepartmentTreeResponse

from grantbook.model.limits import MAX_DEPARTMENT_DEPTH
from tests.http.calls import unknown
from tests.platform.conftest import Connect
from tests.platform.house import House
from tests.platform.refusals import refused


@pytest.fixture
def law(sdk: Aitronos, house: House) -> dict[str, str]:
    """Law > Contracts > Drafts, and Sales: ids by name."""
    found: dict[str, str] = {}
    for name, above in (("Law", None), ("Contracts", "Law"), ("Drafts", "Contracts"), ("Sales", None)):
        parent_id = found[above] if above else None
        found[name] = sdk.departments.create_department(house.id, name=name, parent_id=parent_id).id
    return found


def names(tree: list[DepartmentTreeResponse]) -> list[object]:
    return [[node.name, *names(node.children or [])] for node in tree]


# get_department_tree


def test_get_department_tree(sdk: Aitronos, clerk: Aitronos, house: House, law: dict[str, str]) -> None:
    sdk.departments.add_department_member(house.id, law["Contracts"], user_id=house.user)
    tree = sdk.departments.get_department_tree(house.id)
    assert names(tree) == [["Law", ["Contracts", ["Drafts"]]], ["Sales"]]
    contracts = (tree[0].children or [])[0]
    assert (contracts.path, contracts.depth, contracts.member_count) == ("/Law/Contracts", 1, 1)
    assert (tree[0].member_count, tree[0].parent_id, contracts.parent_id) == (0, None, law["Law"])
    assert clerk.departments.get_department_tree(house.id) == tree


def test_get_department_tree_of_a_scope(sdk: Aitronos, outsider: Aitronos, house: House, law: dict[str, str]) -> None:
    scope = ",".join((law["Contracts"], law["Drafts"], law["Sales"]))
    tree = sdk.departments.get_department_tree(house.id, scope=scope)
    assert names(tree) == [["Contracts", ["Drafts"]], ["Sales"]]
    assert (tree[0].path, tree[0].depth) == ("/Law/Contracts", 1)
    with refused(404, "RESOURCE_NOT_FOUND", department_id="dept_gone"):
        sdk.departments.get_department_tree(house.id, scope=f"{law['Law']},dept_gone")
    with refused(422, "VALIDATION_ERROR", field="scope"):
        sdk.departments.get_department_tree(house.id, scope=",".join(["dept_x"] * 101))
    with refused(403, "ORGANIZATION_ACCESS_DENIED"):
        outsider.departments.get_department_tree(house.id)


# list_departments


def test_list_departments(
    sdk: Aitronos, clerk: Aitronos, outsider: Aitronos, house: House, law: dict[str, str]
) -> None:
    found = clerk.departments.list_departments(house.id)
    assert [each.id for each in found] == list(law.values())
    assert [each.path for each in found] == ["/Law", "/Law/Contracts", "/Law/Contracts/Drafts", "/Sales"]
    assert found == [sdk.departments.get_department(house.id, id_) for id_ in law.values()]
    with refused(403, "ORGANIZATION_ACCESS_DENIED"):
        outsider.departments.list_departments(house.id)


# create_department


def test_create_department(sdk: Aitronos, clerk: Aitronos, connect: Connect, house: House) -> None:
    made = sdk.departments.create_department(house.id, name="Law/Order", description="All of it")
    assert (made.name, made.description, made.path, made.depth) == ("Law/Order", "All of it", "/Law-Order", 0)
    assert (made.member_count, made.is_active, made.created_by) == (0, True, house.tenant.owner.user_id)
    below = connect(house.tenant.person(house.tenant.role("create_subdepartments")).secret)
    assert below.departments.create_department(house.id, name="Contracts", parent_id=made.id).parent_id == made.id
    with refused(403, "INSUFFICIENT_PERMISSIONS", capability="manage_departments"):
        below.departments.create_department(house.id, name="Sales")
    with refused(403, "INSUFFICIENT_PERMISSIONS"):
        clerk.departments.create_department(house.id, name="Contracts", parent_id=made.id)
    with refused(404, "RESOURCE_NOT_FOUND", department_id="dept_gone"):
        sdk.departments.create_department(house.id, name="X", parent_id="dept_gone")
    with refused(422, "VALIDATION_ERROR", field="name"):
        sdk.departments.create_department(house.id, name="")


# get_department


def test_get_department(sdk: Aitronos, clerk: Aitronos, house: House, law: dict[str, str]) -> None:
    found = clerk.departments.get_department(house.id, law["Drafts"])
    assert (found.name, found.path, found.depth) == ("Drafts", "/Law/Contracts/Drafts", 2)
    with refused(404, "RESOURCE_NOT_FOUND", department_id=unknown("dept_x")):
        sdk.departments.get_department(house.id, unknown("dept_x"))


# update_department


def test_update_department(sdk: Aitronos, clerk: Aitronos, house: House, law: dict[str, str]) -> None:
    changed = sdk.departments.update_department(house.id, law["Law"], name="Legal", description="New")
    assert (changed.name, changed.description, changed.path) == ("Legal", "New", "/Legal")
    assert sdk.departments.get_department(house.id, law["Drafts"]).path == "/Legal/Contracts/Drafts"
    assert sdk.departments.update_department(house.id, law["Law"]) == changed
    assert sdk.departments.update_department(house.id, law["Law"], description=None).description is None
    with refused(403, "INSUFFICIENT_PERMISSIONS", capability="manage_departments"):
        clerk.departments.update_department(house.id, law["Law"], name="Mine")
    with refused(404, "RESOURCE_NOT_FOUND", department_id="dept_gone"):
        sdk.departments.update_department(house.id, "dept_gone", name="X")
    with refused(422, "VALIDATION_ERROR", field="name"):
        sdk.departments.update_department(house.id, law["Law"], name="")


# delete_department


def test_delete_department(sdk: Aitronos, clerk: Aitronos, house: House, law: dict[str, str]) -> None:
    house.create(sdk, house.slice, to=law["Sales"], kind="department")
    sdk.departments.delete_department(house.id, law["Sales"])
    assert sdk.access_control.list_grants(house.id).items == []
    with refused(422, "DEPARTMENT_HAS_CHILDREN"):
        sdk.departments.delete_department(house.id, law["Law"])
    with refused(403, "INSUFFICIENT_PERMISSIONS"):
        clerk.departments.delete_department(house.id, law["Drafts"])
    with refused(404, "RESOURCE_NOT_FOUND", department_id=law["Sales"]):
        sdk.departments.delete_department(house.id, law["Sales"])


# reparent_department


def test_reparent_department_takes_everything_below_along(
    sdk: Aitronos, clerk: Aitronos, house: House, law: dict[str, str]
) -> None:
    sdk.departments.add_department_member(house.id, law["Drafts"], user_id=house.clerk.user_id)
    house.create(sdk, house.slice, to=law["Law"], kind="department")
    house.create(sdk, house.store, to=law["Sales"], kind="department")
    assert clerk.knowledge.get_slice(house.id, house.slice.id)
    moved = sdk.departments.reparent_department(house.id, law["Contracts"], new_parent_id=law["Sales"])
    assert (moved.path, moved.depth, moved.parent_id) == ("/Sales/Contracts", 1, law["Sales"])
    assert sdk.departments.get_department(house.id, law["Drafts"]).path == "/Sales/Contracts/Drafts"
    with refused(403, "INSUFFICIENT_PERMISSIONS"):
        clerk.knowledge.get_slice(house.id, house.slice.id)
    assert clerk.knowledge.get_store(house.id, house.store.id)
    top = sdk.departments.reparent_department(house.id, law["Contracts"], new_parent_id=None)
    assert (top.path, top.depth, top.parent_id) == ("/Contracts", 0, None)
    with refused(403, "INSUFFICIENT_PERMISSIONS"):
        clerk.knowledge.get_store(house.id, house.store.id)


def test_reparent_department_refuses(
    sdk: Aitronos, clerk: Aitronos, connect: Connect, house: House, law: dict[str, str]
) -> None:
    for below in ("Law", "Contracts", "Drafts"):
        with refused(422, "DEPARTMENT_CYCLE", field="new_parent_id"):
            sdk.departments.reparent_department(house.id, law["Law"], new_parent_id=law[below])
    with refused(404, "RESOURCE_NOT_FOUND", department_id="dept_gone"):
        sdk.departments.reparent_department(house.id, law["Law"], new_parent_id="dept_gone")
    with refused(404, "RESOURCE_NOT_FOUND", department_id="dept_gone"):
        sdk.departments.reparent_department(house.id, "dept_gone", new_parent_id=law["Law"])
    with refused(403, "INSUFFICIENT_PERMISSIONS"):
        clerk.departments.reparent_department(house.id, law["Sales"], new_parent_id=law["Law"])
    deep = None
    for _ in range(MAX_DEPARTMENT_DEPTH - 2):
        deep = house.tenant.department(deep)
    with refused(422, "VALIDATION_ERROR", field="new_parent_id"):
        sdk.departments.reparent_department(house.id, law["Law"], new_parent_id=deep)
    mover = connect(house.tenant.person(house.tenant.role("reparent_departments")).secret)
    assert mover.departments.reparent_department(house.id, law["Contracts"], new_parent_id=deep).depth == 30


# list_department_members, add_department_member, remove_department_member


def test_list_department_members_are_those_in_it_itself(
    sdk: Aitronos, clerk: Aitronos, house: House, law: dict[str, str]
) -> None:
    added = [
        sdk.departments.add_department_member(house.id, law["Law"], user_id=user_id)
        for user_id in (house.user, house.clerk.user_id)
    ]
    sdk.departments.add_department_member(house.id, law["Contracts"], user_id=house.tenant.owner.user_id)
    assert clerk.departments.list_department_members(house.id, law["Law"]) == added
    assert (added[0].user_id, added[0].account_state) == (house.user, "active")
    assert added[0].role_ids == [house.tenant.base_role("Member")]
    sdk.departments.remove_department_member(house.id, law["Law"], house.user)
    assert clerk.departments.list_department_members(house.id, law["Law"]) == added[1:]


def test_department_members_refuse(sdk: Aitronos, clerk: Aitronos, house: House, law: dict[str, str]) -> None:
    with refused(404, "RESOURCE_NOT_FOUND", department_id="dept_gone"):
        sdk.departments.list_department_members(house.id, "dept_gone")
    with refused(404, "RESOURCE_NOT_FOUND", user_id="usr_gone"):
        sdk.departments.add_department_member(house.id, law["Law"], user_id="usr_gone")
    with refused(404, "RESOURCE_NOT_FOUND", user_id=house.user):
        sdk.departments.remove_department_member(house.id, law["Law"], house.user)
    with refused(403, "INSUFFICIENT_PERMISSIONS"):
        clerk.departments.add_department_member(house.id, law["Law"], user_id=house.clerk.user_id)
    sdk.departments.add_department_member(house.id, law["Law"], user_id=house.user)
    with refused(403, "INSUFFICIENT_PERMISSIONS"):
        clerk.departments.remove_department_member(house.id, law["Law"], house.user)
