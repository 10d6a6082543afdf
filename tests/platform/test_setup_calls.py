"""The SDK's calls that set up an organization: people, departments, roles, knowledge and rules."""

import pytest
from aitronos import Aitronos
from aitronos.types import RemoveUserRequest

from tests.platform.conftest import Connect
from tests.platform.house import House
from tests.platform.refusals import refused
from tests.serving import Tenant

# organizations


def test_create_and_get_organization(sdk: Aitronos, tenant: Tenant) -> None:
    made = sdk.organizations.create_organization(
        name="Branch", type="company", description="Of Acme", domains=["branch.test"], permission_preset="balanced"
    )
    assert made.id.startswith("org_")
    assert (made.name, made.type, made.description, made.domains) == ("Branch", "company", "Of Acme", ["branch.test"])
    assert (made.owner_id, made.is_active, made.member_count) == (tenant.owner.user_id, True, 1)
    assert sdk.organizations.get_organization(made.id) == made
    slice_ = sdk.knowledge.create_slice(made.id, name="First", owner_type="user", owner_id=tenant.owner.user_id)
    assert slice_.organization_id == made.id


def test_organizations_are_for_those_who_may(clerk: Aitronos, outsider: Aitronos, house: House) -> None:
    assert clerk.organizations.get_organization(house.id).member_count == 3
    with refused(403, "INSUFFICIENT_PERMISSIONS", capability="create_organizations"):
        clerk.organizations.create_organization(name="Mine", type="company")
    with refused(403, "ORGANIZATION_ACCESS_DENIED", organization_id=house.id):
        outsider.organizations.get_organization(house.id)


def test_list_roles(sdk: Aitronos, tenant: Tenant) -> None:
    custom = sdk.roles.create_custom_role(tenant.organization_id, name="Librarian", capabilities=["create_knowledge"])
    roles = {role.name: role for role in sdk.organizations.list_roles(tenant.organization_id)}
    assert set(roles) == {"Owner", "Admin", "Member", "Librarian"}
    assert roles["Librarian"] == custom
    assert (roles["Owner"].is_base_role, roles["Owner"].is_custom, roles["Owner"].member_count) == (True, False, 1)
    assert {"override_all_permissions", "manage_access_control"} <= set(roles["Admin"].capabilities or ())
    assert roles["Member"].capabilities == []


# users_v2


def test_invite_user_with_an_invitation_makes_a_pending_member(sdk: Aitronos, house: House) -> None:
    for number, options in enumerate(({}, {"send_invitation": True})):
        user = sdk.users_v2.invite_user_v2(house.id, email=f"kim{number}@acme.test", full_name="Kim", **options)
        assert (user.account_state, user.full_name) == ("pending_invitation", "Kim")
        assert user.invited_at is not None
        house.create(sdk, house.slice, to=user.id)
        assert sdk.access_control.get_resolved_access(house.id, user.id).slice_access == []
        active = sdk.users_v2.reactivate_user(house.id, user.id)
        assert active.account_state == "active"
        assert sdk.access_control.get_resolved_access(house.id, user.id).slice_access != []


def test_invite_user_without_an_invitation_makes_an_active_member(sdk: Aitronos, house: House) -> None:
    department, role = house.tenant.department(), house.tenant.role()
    user = sdk.users_v2.invite_user_v2(
        house.id, email="Kim@Acme.test", role_ids=[role], department_ids=[department], send_invitation=False
    )
    assert user.id.startswith("usr_")
    assert (user.account_state, user.email) == ("active", "kim@acme.test")
    assert (user.role_ids, user.department_ids, user.organization_id) == ([role], [department], house.id)


def test_update_memberships_replaces_them(sdk: Aitronos, clerk: Aitronos, house: House) -> None:
    tenant = house.tenant
    old, new = tenant.department(None, house.user), tenant.department()
    role = tenant.role()
    changed = sdk.users_v2.update_memberships(house.id, house.user, role_ids=[role], department_ids=[new])
    assert (changed.role_ids, changed.department_ids) == ([role], [new])
    house.create(sdk, house.slice, to=old, kind="department")
    house.create(sdk, house.store, to=new, kind="department")
    found = sdk.access_control.get_resolved_access(house.id, house.user)
    assert (found.slice_access, len(found.store_access or ())) == ([], 1)
    with refused(403, "CANNOT_REMOVE_LAST_OWNER"):
        sdk.users_v2.update_memberships(house.id, tenant.owner.user_id, role_ids=[], department_ids=[])
    with refused(403, "INSUFFICIENT_PERMISSIONS"):
        clerk.users_v2.update_memberships(house.id, house.user, role_ids=[], department_ids=[])
    with refused(404, "RESOURCE_NOT_FOUND", user_id="usr_gone"):
        sdk.users_v2.update_memberships(house.id, "usr_gone", role_ids=[], department_ids=[])


def test_nobody_gives_a_role_that_they_lack(connect: Connect, house: House) -> None:
    tenant = house.tenant
    assigner = tenant.person(tenant.role("assign_roles", "manage_users"))
    sdk = connect(assigner.secret)
    for role in (tenant.base_role(), tenant.base_role("Owner"), tenant.role("manage_billing")):
        with refused(403, "INSUFFICIENT_PERMISSIONS"):
            sdk.roles.assign_role_member(house.id, role, user_id=assigner.user_id)
        with refused(403, "INSUFFICIENT_PERMISSIONS"):
            sdk.users_v2.update_memberships(house.id, assigner.user_id, role_ids=[role], department_ids=[])
    assert sdk.roles.assign_role_member(house.id, tenant.role("assign_roles"), user_id=house.user).user_id == house.user


@pytest.mark.parametrize("with_body", [False, True])
def test_remove_user_takes_their_grants_along(sdk: Aitronos, house: House, with_body: bool) -> None:
    house.create(sdk, house.slice)
    body = RemoveUserRequest(confirm=True) if with_body else None
    sdk.users_v2.remove_user(house.id, house.user, request=body)
    assert sdk.access_control.list_grants(house.id).items == []
    with refused(404, "RESOURCE_NOT_FOUND", user_id=house.user):
        sdk.users_v2.remove_user(house.id, house.user, request=body)
    with refused(403, "CANNOT_REMOVE_LAST_OWNER"):
        sdk.users_v2.remove_user(house.id, house.tenant.owner.user_id, request=body)


# departments


def test_departments_nest_and_a_grant_covers_what_is_below(sdk: Aitronos, house: House) -> None:
    top = sdk.departments.create_department(house.id, name="Law", description="All of it")
    inner = sdk.departments.create_department(house.id, name="Contracts", parent_id=top.id)
    assert (top.path, top.depth, top.parent_id) == ("/Law", 0, None)
    assert (inner.path, inner.depth, inner.parent_id) == ("/Law/Contracts", 1, top.id)
    member = sdk.departments.add_department_member(house.id, inner.id, user_id=house.user)
    assert (member.user_id, member.account_state) == (house.user, "active")
    assert sdk.departments.add_department_member(house.id, inner.id, user_id=house.user) == member
    house.create(sdk, house.slice, to=top.id, kind="department")
    found = sdk.access_control.get_resolved_access(house.id, house.user).slice_access
    assert found is not None
    (reached,) = found
    assert reached.grant_paths is not None
    assert reached.grant_paths[0].source_id == top.id
    sdk.departments.remove_department_member(house.id, inner.id, house.user)
    assert sdk.access_control.get_resolved_access(house.id, house.user).slice_access == []


# roles


def test_custom_roles_come_and_go(sdk: Aitronos, house: House) -> None:
    role = sdk.roles.create_custom_role(
        house.id, name="Librarian", description="Books", capabilities=["manage_knowledge_slices", "create_knowledge"]
    )
    assert role.id.startswith("role_")
    assert (role.is_custom, role.is_base_role, role.organization_id) == (True, False, house.id)
    assert set(role.capabilities or ()) == {"create_knowledge", "manage_knowledge_slices"}
    assigned = sdk.roles.assign_role_member(house.id, role.id, user_id=house.user)
    assert (assigned.user_id, assigned.role_id, assigned.organization_id) == (house.user, role.id, house.id)
    assert sdk.roles.assign_role_member(house.id, role.id, user_id=house.user) == assigned
    house.create(sdk, house.slice, to=role.id, kind="role")
    assert len(sdk.access_control.get_resolved_access(house.id, house.user).slice_access or ()) == 1
    sdk.roles.remove_role_member(house.id, role.id, house.user)
    assert sdk.access_control.get_resolved_access(house.id, house.user).slice_access == []
    sdk.roles.delete_custom_role(house.id, role.id)
    assert sdk.access_control.list_grants(house.id).items == []


# knowledge


def test_slices_are_private_unless_said_otherwise(sdk: Aitronos, clerk: Aitronos, house: House) -> None:
    made = sdk.knowledge.create_slice(
        house.id, name="Handbook", owner_type="user", owner_id=house.tenant.owner.user_id, description="How we work"
    )
    assert made.id.startswith("kslice_")
    assert (made.access_mode, made.status, made.is_composite, made.store_count) == ("private", "active", False, 0)
    assert (made.owner_type, made.owner_id, made.created_by) == (
        "user",
        house.tenant.owner.user_id,
        house.tenant.owner.user_id,
    )
    assert sdk.knowledge.get_slice(house.id, made.id) == made
    with refused(403, "INSUFFICIENT_PERMISSIONS", entity_id=made.id):
        clerk.knowledge.get_slice(house.id, made.id)
    listed = sdk.knowledge.create_slice(
        house.id,
        name="Shared",
        owner_type="organization",
        owner_id=house.id,
        access_mode="private",
        access_target_ids=[house.clerk.user_id],
    )
    assert listed.access_target_ids == [house.clerk.user_id]
    assert clerk.knowledge.get_slice(house.id, listed.id).name == "Shared"


def test_archiving_a_slice_ends_access_and_keeps_the_grants(sdk: Aitronos, clerk: Aitronos, house: House) -> None:
    house.create(sdk, house.slice, to=house.clerk.user_id)
    assert clerk.knowledge.get_slice(house.id, house.slice.id).status == "active"
    archived = sdk.knowledge.archive_slice(house.id, house.slice.id)
    assert (archived.status, archived.archived_at is not None) == ("archived", True)
    with refused(403, "INSUFFICIENT_PERMISSIONS"):
        clerk.knowledge.get_slice(house.id, house.slice.id)
    assert sdk.knowledge.unarchive_slice(house.id, house.slice.id).status == "active"
    assert clerk.knowledge.get_slice(house.id, house.slice.id).archived_at is None
    with refused(403, "INSUFFICIENT_PERMISSIONS"):
        clerk.knowledge.archive_slice(house.id, house.slice.id)


def test_a_composite_gives_access_to_its_members(sdk: Aitronos, clerk: Aitronos, house: House) -> None:
    other = house.tenant.entity()
    made = sdk.knowledge.create_composite(
        house.id, name="Everything", member_slice_ids=[house.slice.id, other.id], description="All slices"
    )
    assert (made.is_composite, made.owner_id) == (True, house.tenant.owner.user_id)
    assert set(made.member_slice_ids or ()) == {house.slice.id, other.id}
    sdk.access_control.create_grant(
        house.id,
        entity_type="knowledge_slice",
        entity_id=made.id,
        grantee_type="user",
        grantee_id=house.clerk.user_id,
        access_level="read",
    )
    assert clerk.knowledge.get_slice(house.id, other.id).id == other.id
    with refused(404, "RESOURCE_NOT_FOUND", entity_id="kslice_gone"):
        sdk.knowledge.create_composite(house.id, name="X", member_slice_ids=["kslice_gone"])
    with refused(403, "INSUFFICIENT_PERMISSIONS"):
        clerk.knowledge.create_composite(house.id, name="X", member_slice_ids=[other.id])


def test_stores_are_readable_in_the_organization_unless_said_otherwise(
    sdk: Aitronos, clerk: Aitronos, house: House
) -> None:
    made = sdk.knowledge.create_store(house.id, name="Files", description="All of them")
    assert made.id.startswith("vs_")
    assert (made.access_mode, made.is_active, made.slice_ids) == ("organization", True, [])
    assert (made.organization_id, made.created_by) == (house.id, house.tenant.owner.user_id)
    assert clerk.knowledge.get_store(house.id, made.id) == made
    private = sdk.knowledge.create_store(house.id, name="Mine", access_mode="private")
    with refused(403, "INSUFFICIENT_PERMISSIONS"):
        clerk.knowledge.get_store(house.id, private.id)
    listed = sdk.knowledge.create_store(
        house.id, name="Law", access_mode="department", access_target_id=house.tenant.department(None, house.user)
    )
    found = sdk.access_control.get_resolved_access(house.id, house.user, entity_type="vector_store").store_access
    assert {each.store_id for each in found or ()} == {made.id, listed.id}


def test_a_store_in_a_slice_is_reached_through_it(sdk: Aitronos, clerk: Aitronos, house: House) -> None:
    made = sdk.knowledge.create_store_in_slice(house.id, house.slice.id, name="Files", access_mode="private")
    assert (made.slice_id, made.slice_ids) == (house.slice.id, [house.slice.id])
    assert sdk.knowledge.get_slice(house.id, house.slice.id).store_count == 1
    house.create(sdk, house.slice, "add_new", to=house.clerk.user_id)
    assert clerk.knowledge.get_store(house.id, made.id).id == made.id
    with refused(404, "RESOURCE_NOT_FOUND", entity_id="kslice_gone"):
        sdk.knowledge.create_store_in_slice(house.id, "kslice_gone", name="X")
    with refused(403, "INSUFFICIENT_PERMISSIONS"):
        clerk.knowledge.create_store_in_slice(house.id, house.slice.id, name="X")
    with refused(404, "RESOURCE_NOT_FOUND", entity_id="vs_gone"):
        sdk.knowledge.get_store(house.id, "vs_gone")


def test_knowledge_refuses(sdk: Aitronos, house: House) -> None:
    owner = house.tenant.owner.user_id
    for field, odd in (("owner_type", "team"), ("access_mode", "secret"), ("name", "")):
        body = {"name": "X", "owner_type": "user", "owner_id": owner, field: odd}
        with refused(422, "VALIDATION_ERROR", field=field):
            sdk.knowledge.create_slice(house.id, **body)
    with refused(404, "RESOURCE_NOT_FOUND", owner_id="usr_gone"):
        sdk.knowledge.create_slice(house.id, name="X", owner_type="user", owner_id="usr_gone")


# rules


def test_create_rule(sdk: Aitronos, clerk: Aitronos, house: House) -> None:
    rule = sdk.rules.create_rule(
        house.id,
        name="Be kind",
        content="Always.",
        description="To all",
        category="safety",
        rule_type="guardrails",
        scope="organization",
        apply_mode="always",
        is_public=False,
        is_active=True,
    )
    assert rule.id.startswith("rule_")
    assert (rule.name, rule.content, rule.content_length) == ("Be kind", "Always.", 7)
    assert (rule.category, rule.rule_type, rule.scope) == ("safety", "guardrails", "organization")
    assert (rule.created_by, rule.organization_id) == (house.tenant.owner.user_id, house.id)
    assert (rule.can_edit, rule.is_public, rule.version) == (True, False, 1)
    with refused(403, "INSUFFICIENT_PERMISSIONS", capability="manage_rules"):
        clerk.rules.create_rule(house.id, name="Mine", content="")
    with refused(422, "VALIDATION_ERROR", field="name"):
        sdk.rules.create_rule(house.id, name="", content="x")
