"""Every method of the SDK's `roles`, for success and for its main errors."""

from aitronos import Aitronos

from tests.platform.conftest import Connect
from tests.platform.house import House
from tests.platform.refusals import ONCE, refused

# list_capabilities, list_role_templates


def test_list_capabilities(sdk: Aitronos, clerk: Aitronos, connect: Connect, house: House) -> None:
    found = {each.key: each for each in sdk.roles.list_capabilities()}
    assert clerk.roles.list_capabilities() == list(found.values())
    owner = next(role for role in sdk.organizations.list_roles(house.id) if role.name == "Owner")
    assert list(found) == owner.capabilities
    assert {key for key, each in found.items() if each.restricted} == {
        "manage_billing",
        "create_organizations",
        "delete_organization",
    }
    assert all(each.label and each.description and each.group for each in found.values())
    with refused(401, "INVALID_API_KEY"):
        connect("gb_nobody").roles.list_capabilities()


def test_list_role_templates_can_be_made(sdk: Aitronos, outsider: Aitronos, house: House) -> None:
    templates = sdk.roles.list_role_templates(house.id)
    assert len(templates) >= 4
    for each in templates:
        made = sdk.roles.create_custom_role(
            house.id, name=each.name, description=each.description, capabilities=each.capabilities
        )
        assert set(made.capabilities or ()) == set(each.capabilities)
    with refused(403, "ORGANIZATION_ACCESS_DENIED"):
        outsider.roles.list_role_templates(house.id)


# create_custom_role, get_role


def test_create_and_get_role(sdk: Aitronos, clerk: Aitronos, house: House) -> None:
    made = sdk.roles.create_custom_role(
        house.id, name="Librarian", description="Books", capabilities=["create_knowledge"]
    )
    sdk.roles.assign_role_member(house.id, made.id, user_id=house.user)
    found = sdk.roles.get_role(house.id, made.id)
    assert (found.name, found.description, found.capabilities) == ("Librarian", "Books", ["create_knowledge"])
    assert (found.member_count, found.is_custom, found.permissions) == (1, True, {"create_knowledge": True})
    shown = clerk.roles.get_role(house.id, made.id)
    assert (shown.name, shown.capabilities, shown.permissions) == ("Librarian", None, None)


def test_create_and_get_role_refuse(sdk: Aitronos, clerk: Aitronos, connect: Connect, house: House) -> None:
    with refused(404, "RESOURCE_NOT_FOUND", role_id="role_gone"):
        sdk.roles.get_role(house.id, "role_gone")
    with refused(422, "INVALID_CAPABILITY", field="capabilities"):
        sdk.roles.create_custom_role(house.id, name="X", capabilities=["fly"])
    with refused(409, "ROLE_ALREADY_EXISTS", name="Owner"):
        sdk.roles.create_custom_role(house.id, name="Owner", request_options=ONCE)
    with refused(403, "INSUFFICIENT_PERMISSIONS", capability="manage_roles"):
        clerk.roles.create_custom_role(house.id, name="X")
    admin = connect(house.tenant.person(house.tenant.base_role("Admin")).secret)
    with refused(403, "INSUFFICIENT_PERMISSIONS", capability="delete_organization"):
        admin.roles.create_custom_role(house.id, name="X", capabilities=["delete_organization"])


# update_custom_role


def test_update_custom_role(sdk: Aitronos, clerk: Aitronos, house: House) -> None:
    role = house.tenant.role(to=house.clerk.user_id)
    with refused(403, "INSUFFICIENT_PERMISSIONS", capability="create_knowledge"):
        clerk.knowledge.create_store(house.id, name="Files")
    changed = sdk.roles.update_custom_role(
        house.id, role, name="Writer", description="Writes", capabilities=["create_knowledge"]
    )
    assert (changed.name, changed.description, changed.capabilities) == ("Writer", "Writes", ["create_knowledge"])
    assert (changed.id, changed.member_count) == (role, 1)
    assert clerk.knowledge.create_store(house.id, name="Files").created_by == house.clerk.user_id
    assert sdk.roles.update_custom_role(house.id, role, name="Writer") == changed
    less = sdk.roles.update_custom_role(house.id, role, description=None, capabilities=[])
    assert (less.name, less.description, less.capabilities) == ("Writer", None, [])
    with refused(403, "INSUFFICIENT_PERMISSIONS"):
        clerk.knowledge.create_store(house.id, name="Files")


def test_update_custom_role_refuses(sdk: Aitronos, clerk: Aitronos, connect: Connect, house: House) -> None:
    tenant = house.tenant
    role, other = tenant.role("manage_billing"), tenant.role()
    keeper = connect(tenant.person(tenant.role("manage_roles", "view_audit_log")).secret)
    with refused(403, "INSUFFICIENT_PERMISSIONS", role_id=role, capability="manage_billing"):
        keeper.roles.update_custom_role(house.id, role, capabilities=[])
    with refused(403, "INSUFFICIENT_PERMISSIONS", role_id=other, capability="create_knowledge"):
        keeper.roles.update_custom_role(house.id, other, capabilities=["create_knowledge"])
    assert keeper.roles.update_custom_role(house.id, other, capabilities=["view_audit_log"]).id == other
    for base in ("Owner", "Admin", "Member"):
        with refused(403, "INSUFFICIENT_PERMISSIONS", role_id=tenant.base_role(base)):
            sdk.roles.update_custom_role(house.id, tenant.base_role(base), name="Mine")
    with refused(403, "INSUFFICIENT_PERMISSIONS", capability="manage_roles"):
        clerk.roles.update_custom_role(house.id, other, name="Mine")
    with refused(409, "ROLE_ALREADY_EXISTS", name="Owner"):
        sdk.roles.update_custom_role(house.id, other, name="Owner", request_options=ONCE)
    with refused(404, "RESOURCE_NOT_FOUND", role_id="role_gone"):
        sdk.roles.update_custom_role(house.id, "role_gone", name="X")
    with refused(422, "INVALID_CAPABILITY"):
        sdk.roles.update_custom_role(house.id, other, capabilities=["fly"])


# delete_custom_role


def test_delete_custom_role(sdk: Aitronos, clerk: Aitronos, house: House) -> None:
    role = house.tenant.role(to=house.user)
    house.create(sdk, house.slice, to=role, kind="role")
    with refused(403, "INSUFFICIENT_PERMISSIONS"):
        clerk.roles.delete_custom_role(house.id, role)
    sdk.roles.delete_custom_role(house.id, role)
    assert sdk.access_control.list_grants(house.id).items == []
    with refused(404, "RESOURCE_NOT_FOUND", role_id=role):
        sdk.roles.delete_custom_role(house.id, role)
    with refused(403, "INSUFFICIENT_PERMISSIONS"):
        sdk.roles.delete_custom_role(house.id, house.tenant.base_role("Member"))


# list_role_members, assign_role_member, remove_role_member


def test_role_members_come_and_go(sdk: Aitronos, clerk: Aitronos, house: House) -> None:
    role = house.tenant.role()
    for user_id in (house.user, house.clerk.user_id, house.user):
        assigned = sdk.roles.assign_role_member(house.id, role, user_id=user_id)
        assert (assigned.user_id, assigned.role_id, assigned.organization_id) == (user_id, role, house.id)
    found = clerk.roles.list_role_members(house.id, role)
    assert ([each.user_id for each in found.members], found.total) == ([house.user, house.clerk.user_id], 2)
    assert (found.members[0].account_state, found.members[0].avatar_url) == ("active", None)
    page = clerk.roles.list_role_members(house.id, role, skip=1, limit=1)
    assert ([each.user_id for each in page.members], page.total) == ([house.clerk.user_id], 2)
    sdk.roles.remove_role_member(house.id, role, house.user)
    assert clerk.roles.list_role_members(house.id, role).total == 1


def test_role_members_refuse(sdk: Aitronos, clerk: Aitronos, house: House) -> None:
    role = house.tenant.role()
    with refused(404, "RESOURCE_NOT_FOUND", role_id="role_gone"):
        sdk.roles.list_role_members(house.id, "role_gone")
    with refused(422, "VALIDATION_ERROR", field="limit"):
        sdk.roles.list_role_members(house.id, role, limit=101)
    with refused(404, "RESOURCE_NOT_FOUND", role_id="role_gone"):
        sdk.roles.assign_role_member(house.id, "role_gone", user_id=house.user)
    with refused(404, "RESOURCE_NOT_FOUND", user_id="usr_gone"):
        sdk.roles.assign_role_member(house.id, role, user_id="usr_gone")
    with refused(403, "INSUFFICIENT_PERMISSIONS", capability="assign_roles"):
        clerk.roles.assign_role_member(house.id, role, user_id=house.clerk.user_id)
    with refused(404, "RESOURCE_NOT_FOUND", user_id=house.user):
        sdk.roles.remove_role_member(house.id, role, house.user)
    with refused(403, "CANNOT_REMOVE_LAST_OWNER"):
        sdk.roles.remove_role_member(house.id, house.tenant.base_role("Owner"), house.tenant.owner.user_id)


# get_effective_permissions


def test_get_effective_permissions(sdk: Aitronos, clerk: Aitronos, house: House) -> None:
    tenant = house.tenant
    department = tenant.department(None, house.user)
    roles = [tenant.role("create_knowledge", to=house.user), tenant.role("view_audit_log", to=house.user)]
    found = sdk.roles.get_effective_permissions(house.id, house.user)
    assert found.capabilities == ["view_audit_log", "create_knowledge"]
    assert found.department_scope == [department]
    assert set(found.role_ids) == {*roles, tenant.base_role("Member")}
    own = sdk.roles.get_effective_permissions(house.id, tenant.owner.user_id)
    assert (own.department_scope, len(own.capabilities)) == ("all", len(sdk.roles.list_capabilities()))
    assert clerk.roles.get_effective_permissions(house.id, house.clerk.user_id).capabilities == []
    tenant.set_state(house.user, "deactivated")
    ended = sdk.roles.get_effective_permissions(house.id, house.user)
    assert (ended.capabilities, ended.department_scope) == ([], [])


def test_get_effective_permissions_refuses(sdk: Aitronos, clerk: Aitronos, house: House) -> None:
    with refused(403, "INSUFFICIENT_PERMISSIONS", capability="manage_roles"):
        clerk.roles.get_effective_permissions(house.id, house.user)
    with refused(404, "RESOURCE_NOT_FOUND", user_id="usr_gone"):
        sdk.roles.get_effective_permissions(house.id, "usr_gone")
