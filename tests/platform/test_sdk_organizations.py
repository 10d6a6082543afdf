"""Every listed method of the SDK's `organizations`, for success and for its main errors."""

from collections.abc import Callable
from functools import partial

import pytest
from aitronos import Aitronos

from tests.platform.conftest import Connect
from tests.platform.house import House
from tests.platform.refusals import ONCE, refused
from tests.serving import Server, Tenant

# list_organizations


def test_list_organizations_are_those_that_the_key_opens(sdk: Aitronos, tenant: Tenant) -> None:
    made = [sdk.organizations.create_organization(name=f"Branch {number}", type="company") for number in (1, 2)]
    found = sdk.organizations.list_organizations()
    assert [each.id for each in found.organizations] == [tenant.organization_id, *(each.id for each in made)]
    assert (found.total, found.skip, found.limit) == (3, 0, 20)
    assert found.organizations[1] == made[0]
    assert found.organizations[0].owner_id == tenant.owner.user_id
    page = sdk.organizations.list_organizations(skip=1, limit=1, active_only=True)
    assert ([each.id for each in page.organizations], page.total) == ([made[0].id], 3)


def test_list_organizations_leaves_out_what_the_key_does_not_open(connect: Connect, tenant: Tenant) -> None:
    elsewhere = Tenant.found(tenant.desk)
    elsewhere.user(user_id=tenant.owner.user_id)
    for secret in (tenant.owner.secret, tenant.key(tenant.owner.user_id)):
        found = connect(secret).organizations.list_organizations()
        assert [each.id for each in found.organizations] == [tenant.organization_id]
    sdk = connect(tenant.owner.secret)
    made = sdk.organizations.create_organization(name="Branch", type="company")
    other_key = connect(tenant.key(tenant.owner.user_id))
    assert made.id not in {each.id for each in other_key.organizations.list_organizations().organizations}


def test_list_organizations_refuses_odd_pages(sdk: Aitronos) -> None:
    for field, odd in (("limit", 0), ("limit", 101), ("skip", -1)):
        with refused(422, "VALIDATION_ERROR", field=field):
            sdk.organizations.list_organizations(**{field: odd})


def test_an_organization_has_a_logo_of_some_size(sdk: Aitronos) -> None:
    logo = "iVBORw0KGgo" * 10_000
    assert sdk.organizations.create_organization(name="Seen", type="company", logo_image=logo).logo_image == logo
    with refused(422, "VALIDATION_ERROR", field="logo_image"):
        sdk.organizations.create_organization(name="Unseen", type="company", logo_image=logo * 2)


# update_organization


def test_update_organization_changes_what_is_named(sdk: Aitronos, house: House) -> None:
    before = sdk.organizations.get_organization(house.id)
    changed = sdk.organizations.update_organization(
        house.id,
        name="Acme and Sons",
        description="Since 1900",
        domains=["acme.test"],
        api_usage_limit=5,
        is_active=True,
    )
    assert (changed.name, changed.description, changed.domains) == ("Acme and Sons", "Since 1900", ["acme.test"])
    assert (changed.api_usage_limit, changed.is_active, changed.owner_id) == (5, True, before.owner_id)
    assert changed.updated_at > before.updated_at
    kept = sdk.organizations.update_organization(house.id, website="https://acme.test", description=None)
    assert (kept.name, kept.description, kept.website) == ("Acme and Sons", None, "https://acme.test")
    assert sdk.organizations.get_organization(house.id) == kept
    assert kept.domains == ["acme.test"]
    assert kept.users_added_from_domains == 0


def test_update_organization_refuses(sdk: Aitronos, clerk: Aitronos, outsider: Aitronos, house: House) -> None:
    with refused(403, "INSUFFICIENT_PERMISSIONS", capability="manage_users"):
        clerk.organizations.update_organization(house.id, name="Mine")
    with refused(403, "ORGANIZATION_ACCESS_DENIED"):
        outsider.organizations.update_organization(house.id, name="Mine")
    with refused(422, "VALIDATION_ERROR", field="name"):
        sdk.organizations.update_organization(house.id, name=" ")
    with refused(422, "VALIDATION_ERROR", field="is_active"):
        sdk.organizations.update_organization(house.id, is_active=False)


# delete_organization


def test_delete_organization_ends_it_for_everybody_at_once(sdk: Aitronos, clerk: Aitronos, house: House) -> None:
    branch = sdk.organizations.create_organization(name="Branch", type="company")
    house.create(sdk, house.slice, to=house.clerk.user_id)
    assert clerk.knowledge.get_slice(house.id, house.slice.id)
    sdk.organizations.delete_organization(house.id)
    for ended in (sdk, clerk):
        attempts: list[Callable[[], object]] = [
            partial(ended.organizations.get_organization, house.id),
            ended.organizations.list_organizations,
            partial(ended.organizations.delete_organization, house.id),
            ended.roles.list_capabilities,
            partial(ended.knowledge.get_slice, house.id, house.slice.id),
            partial(ended.access_control.get_resolved_access, house.id, house.clerk.user_id),
        ]
        for attempt in attempts:
            with refused(403, "ORGANIZATION_ACCESS_DENIED", organization_id=house.id):
                attempt()
    with refused(403, "ORGANIZATION_ACCESS_DENIED", organization_id=house.id):
        sdk.organizations.get_organization(branch.id)


def test_delete_organization_ends_what_its_rules_gave_to_others(house: House, server: Server) -> None:
    tenant, elsewhere = house.tenant, Tenant.found(house.tenant.desk)
    rule = tenant.entity("rule")
    tenant.permit(rule, "use", "all", "*")
    tenant.permit(rule, "modify", "user", elsewhere.owner.user_id)
    with server.client(elsewhere.owner.secret) as stranger, server.client(tenant.owner.secret) as owner:
        path = f"/v1/rules/{rule.id}/permissions"
        assert len(stranger.get(path).json()["grants"]) == 2
        assert owner.delete(tenant.path).status_code == 204
        for each in (stranger.get(path), stranger.put(path, json=[]), owner.get(path)):
            assert each.status_code == 403
        assert len(tenant.grants()) == 2


def test_delete_organization_of_a_key_leaves_its_home_alone(sdk: Aitronos, tenant: Tenant) -> None:
    branch = sdk.organizations.create_organization(name="Branch", type="company")
    sdk.organizations.delete_organization(branch.id)
    with refused(403, "ORGANIZATION_ACCESS_DENIED", organization_id=branch.id):
        sdk.organizations.get_organization(branch.id)
    (left,) = sdk.organizations.list_organizations().organizations
    assert left.id == tenant.organization_id


def test_delete_organization_is_for_owners_alone(
    clerk: Aitronos, outsider: Aitronos, connect: Connect, house: House
) -> None:
    admin = connect(house.tenant.person(house.tenant.base_role("Admin")).secret)
    for sdk in (admin, clerk):
        with refused(403, "INSUFFICIENT_PERMISSIONS", capability="delete_organization"):
            sdk.organizations.delete_organization(house.id)
    with refused(403, "ORGANIZATION_ACCESS_DENIED"):
        outsider.organizations.delete_organization(house.id)
    assert admin.organizations.get_organization(house.id).is_active


# list_roles


def test_list_roles_shows_plain_members_names_alone(sdk: Aitronos, clerk: Aitronos, house: House) -> None:
    told, shown = sdk.organizations.list_roles(house.id), clerk.organizations.list_roles(house.id)
    assert [role.id for role in told] == [role.id for role in shown]
    assert all(role.capabilities is not None and role.permissions is not None for role in told)
    assert all(role.capabilities is None and role.permissions is None for role in shown)
    counts = {role.name: role.member_count for role in told}
    assert counts == {"Owner": 1, "Admin": 0, "Member": 2}


def test_list_roles_without_the_base_ones(sdk: Aitronos, outsider: Aitronos, house: House) -> None:
    custom = house.tenant.role()
    assert [role.id for role in sdk.organizations.list_roles(house.id, include_global=False)] == [custom]
    with refused(403, "ORGANIZATION_ACCESS_DENIED"):
        outsider.organizations.list_roles(house.id)


# get_permission_preset, change_permission_preset


def test_the_least_preset_is_the_default(sdk: Aitronos, clerk: Aitronos, outsider: Aitronos, house: House) -> None:
    preset = clerk.organizations.get_permission_preset(house.id)
    assert (preset.current_preset, preset.member_capabilities) == ("controlled", [])
    assert [each.key for each in preset.available_presets] == ["controlled", "balanced", "collaborative"]
    assert preset.current_description == preset.available_presets[0].description
    made = sdk.organizations.create_organization(name="Branch", type="company", permission_preset="collaborative")
    chosen = sdk.organizations.get_permission_preset(made.id)
    assert chosen.current_preset == "collaborative"
    assert chosen.member_capabilities == chosen.available_presets[2].member_capabilities
    with refused(403, "ORGANIZATION_ACCESS_DENIED"):
        outsider.organizations.get_permission_preset(house.id)


def test_change_permission_preset_reaches_every_member(sdk: Aitronos, clerk: Aitronos, house: House) -> None:
    with refused(403, "INSUFFICIENT_PERMISSIONS"):
        clerk.knowledge.create_slice(house.id, name="X", owner_type="user", owner_id=house.clerk.user_id)
    changed = sdk.organizations.change_permission_preset(house.id, preset="balanced")
    assert (changed.preset, changed.member_capabilities, changed.members_affected) == (
        "balanced",
        ["create_knowledge"],
        2,
    )
    clerk.knowledge.create_slice(house.id, name="X", owner_type="user", owner_id=house.clerk.user_id)
    sdk.organizations.change_permission_preset(house.id, preset="controlled")
    with refused(403, "INSUFFICIENT_PERMISSIONS"):
        clerk.knowledge.create_slice(house.id, name="Y", owner_type="user", owner_id=house.clerk.user_id)


def test_change_permission_preset_takes_what_it_gives_or_takes(
    sdk: Aitronos, clerk: Aitronos, connect: Connect, house: House
) -> None:
    tenant = house.tenant
    with refused(403, "INSUFFICIENT_PERMISSIONS", capability="manage_roles"):
        clerk.organizations.change_permission_preset(house.id, preset="balanced")
    keeper = connect(tenant.person(tenant.role("manage_roles")).secret)
    with refused(403, "INSUFFICIENT_PERMISSIONS", capability="create_knowledge"):
        keeper.organizations.change_permission_preset(house.id, preset="balanced")
    sdk.organizations.change_permission_preset(house.id, preset="balanced")
    with refused(403, "INSUFFICIENT_PERMISSIONS", capability="create_knowledge"):
        keeper.organizations.change_permission_preset(house.id, preset="controlled")
    writer = connect(tenant.person(tenant.role("manage_roles", "create_knowledge")).secret)
    assert writer.organizations.change_permission_preset(house.id, preset="controlled").preset == "controlled"
    with refused(422, "VALIDATION_ERROR", field="preset"):
        sdk.organizations.change_permission_preset(house.id, preset="anarchy")
    with refused(422, "VALIDATION_ERROR", field="permission_preset"):
        sdk.organizations.create_organization(name="X", type="company", permission_preset="anarchy")


# list_statuses


def test_list_statuses_names_what_the_list_of_members_takes(sdk: Aitronos, outsider: Aitronos, house: House) -> None:
    for status in sdk.organizations.list_statuses(house.id):
        found = sdk.crew_management_members.list_members(house.id, status_id=status.id)
        assert {each.status.name for each in found.users} <= {status.name}
    assert [each.id for each in sdk.organizations.list_statuses(house.id, active_only=True)] == [
        "active",
        "pending_invitation",
        "deactivated",
    ]
    with refused(403, "ORGANIZATION_ACCESS_DENIED"):
        outsider.organizations.list_statuses(house.id)


@pytest.mark.parametrize("odd", ["", "x" * 201])
def test_create_organization_refuses_odd_names(sdk: Aitronos, odd: str) -> None:
    with refused(422, "VALIDATION_ERROR", field="name"):
        sdk.organizations.create_organization(name=odd, type="company", request_options=ONCE)
